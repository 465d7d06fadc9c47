"""Records what UniRL's own client sends to a server and makes of its answers.

    python record_unirl.py UNIRL SERVER > unirl.json

UNIRL is a checkout of github.com/Tencent-Hunyuan/UniRL at the commit that unirl.go
names; SERVER the address of client/python/tests/testdata/fakeserver. Needs torch,
torchvision, Pillow, requests and omegaconf; fetches nothing.
"""

import json
import sys
from types import SimpleNamespace

import torch

sys.path.insert(0, sys.argv[1])
from unirl.reward.remote import RemoteRewardBackend, RemoteRewardSpec  # noqa: E402
from unirl.types.reward import RewardRequest  # noqa: E402


class Primitive(SimpleNamespace):
    """Stands in for UniRL's batches of texts and images, which its trainer makes."""

    def __len__(self):
        return len(next(iter(vars(self).values())))


def images(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return Primitive(pixels=torch.rand((n, 3, 24, 32), generator=generator))


def request(prompts, metadata=None, condition=None):
    primitives = {"text": Primitive(texts=prompts)}
    if condition is not None:
        primitives["image"] = condition
    return RewardRequest(primitives=primitives, generated={"image": images(len(prompts), 0)}, metadata=metadata)


def backend(reward, reduce="first"):
    spec = RemoteRewardSpec(
        base_url=sys.argv[2], required_rewards=(reward,), image_format="PNG", sub_metric_reduce=reduce, max_retries=1
    )
    return RemoteRewardBackend(config=spec, base_device="cpu")


def exchange(name, client, asked):
    sent = {}

    def keep(response, **_):
        sent.update(method=response.request.method, path=response.request.path_url, status=response.status_code)
        sent.update(request=json.loads(response.request.body), response=response.json())

    client._session.hooks["response"] = [keep]
    made = {"name": name}
    try:
        got = client.compute_rewards(asked)
        made["rewards"], made["successes"], made["errors"] = got.rewards, got.successes, got.errors
    except RuntimeError as e:
        made["raised"] = type(e).__name__
    return {**made, **sent}


def main():
    available = backend("fake")
    assert available.is_available(), "the server is not healthy"
    try:
        backend("nobody").is_available()
    except ValueError as e:
        assert "required_rewards=['nobody'] not served" in str(e), e
    else:
        raise AssertionError("a reward that the server lacks was not noticed")
    prompts = ["a cat", "größe \"x\"", "a dog"]
    recorded = [
        exchange("two samples", backend("fake"), request(prompts[:2])),
        exchange("the mean of all metrics", backend("fake", "mean"), request(prompts)),
        exchange("metadata", backend("fake"), request(prompts[:1], metadata=[{"text": "hi", "n": [1, 2.5, None, True]}])),
        exchange("an edited image", backend("fake"), request(prompts[:1], condition=images(1, 7))),
        exchange("a failed reward", backend("fake"), request(["a cat", "fail: a dog"])),
        exchange("a reward that is not there", backend("nobody"), request(prompts[:1])),
    ]
    json.dump(recorded, sys.stdout, indent=1, ensure_ascii=False)
    print()


main()
