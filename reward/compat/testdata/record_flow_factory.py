"""Records what Flow-Factory's own remote reward models send to a server and make of its
answers, called by its own processor of rewards.

    python record_flow_factory.py FLOW_FACTORY SERVER > flow_factory.json

FLOW_FACTORY is a checkout of github.com/X-GenGroup/Flow-Factory at the commit that
../README.md names; SERVER the address of client/python/tests/testdata/fakeserver. Needs
torch, diffusers, accelerate, requests and Pillow; fetches nothing.
"""

import json
import logging
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "src"))
from accelerate import Accelerator  # noqa: E402
from flow_factory.hparams import RewardArguments  # noqa: E402
from flow_factory.rewards import RewardBuffer, RewardProcessor, load_reward_model  # noqa: E402
from flow_factory.samples import T2ISample  # noqa: E402

HOME = "flow_factory.rewards.my_reward_remote."


def samples(prompts):
    pixels = torch.rand((len(prompts), 3, 24, 32), generator=torch.Generator().manual_seed(0))
    return [T2ISample(prompt=p, image=i, height=24, width=32) for p, i in zip(prompts, pixels)]


def model(kind, accelerator, server=sys.argv[2], **entries):
    config = RewardArguments.from_dict(
        {"name": "r", "reward_model": HOME + kind, "server_url": server, "device": "cpu", "batch_size": 2, "retry_attempts": 1, **entries}
    )
    return config, load_reward_model(config, accelerator)


def exchange(name, kind, prompts, accelerator, **entries):
    config, one = model(kind, accelerator, **entries)
    sent = []

    def keep(response, **_):
        sent.append(
            {
                "method": response.request.method, "path": response.request.path_url, "status": response.status_code,
                "request": json.loads(response.request.body), "response": response.json(),
            }  # fmt: skip
        )

    one.client._session.hooks["response"] = [keep]
    processor = RewardProcessor(accelerator, {"r": one}, {"r": config}, group_on_same_rank=True, verbose=False)
    buffer = RewardBuffer(processor, group_size=len(prompts))
    made = {}
    try:
        buffer.add_samples(samples(prompts))
        made["rewards"] = buffer.finalize()["r"].tolist()
    except RuntimeError as e:
        made["raised"] = f"{type(e).__name__}: {str(e).split(' for url')[0].split('http')[0]}"
    return [{"name": f"{name}, request {i}" if len(sent) > 1 else name, **made, **s} for i, s in enumerate(sorted(sent, key=lambda s: s["request"]["prompt"]))]


def main():
    logging.disable(logging.CRITICAL)
    accelerator = Accelerator(cpu=True)
    try:
        model("RemotePointwiseRewardModel", accelerator, server="http://127.0.0.1:9")
    except RuntimeError as e:
        assert "Cannot connect" in str(e), e
    else:
        raise AssertionError("a server that is not there was not noticed")
    point, group = "RemotePointwiseRewardModel", "RemoteGroupwiseRewardModel"
    recorded = [
        *exchange("batches of two", point, ["a cat", "größe \"x\"", "a dog"], accelerator),
        *exchange("asynchronous batches", point, ["a cat", "b", "c", "d"], accelerator, async_reward=True, num_workers=2),
        *exchange("a group", group, ["a cat"] * 3, accelerator),
        *exchange("a failed reward", point, ["a cat", "fail: a dog"], accelerator),
        *exchange("a failed reward of an asynchronous batch", point, ["fail: a", "b"], accelerator, async_reward=True),
        *exchange("a failed reward of a group", group, ["fail: a cat"] * 2, accelerator),
    ]
    json.dump(recorded, sys.stdout, indent=1, ensure_ascii=False)
    print()


main()
