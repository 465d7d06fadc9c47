"""Runs `densereward.integrations.flow_factory` and `flow_factory_dense` in Flow-Factory's
own code, and records what its processor of rewards calls the models with:

    python record_flow_factory.py FLOW_FACTORY SERVER > ../testdata/flow_factory.json

FLOW_FACTORY is a checkout of github.com/X-GenGroup/Flow-Factory at the commit that
reward/compat/README.md names, SERVER the address of testdata/fakeserver. Needs torch,
diffusers, accelerate, peft and what else Flow-Factory imports, and this package; fetches
nothing.
"""

import base64
import inspect
import json
import logging
import os
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "src"))
SERVER = os.environ["DENSEREWARD_URL"] = sys.argv[2]

from accelerate import Accelerator  # noqa: E402
from flow_factory.hparams import RewardArguments  # noqa: E402
from flow_factory.rewards import RewardBuffer, RewardProcessor, load_reward_model  # noqa: E402
from flow_factory.samples import T2ISample  # noqa: E402
from flow_factory.scheduler.flow_match_euler_discrete import FlowMatchEulerDiscreteSDEScheduler  # noqa: E402

import densereward  # noqa: E402

PROMPTS = ["a cat", 'größe "x"', "a dog", "a fish"]
ACCELERATOR = Accelerator(cpu=True)


def samples(prompts):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (len(prompts), 3, 8, 8), generator=generator) / 255
    return [T2ISample(prompt=p, image=i, height=8, width=8, all_latents=torch.zeros(4, 16, 1, 1)) for p, i in zip(prompts, pixels)]


def described(value):
    if isinstance(value, torch.Tensor):
        return {"dtype": str(value.dtype).split(".")[1], "shape": list(value.shape), "data": base64.b64encode(value.numpy().tobytes()).decode()}
    return [described(v) for v in value] if isinstance(value, list) else value


def run(kind, prompts, **entries):
    """What the trainer makes of a batch, and the arguments of each call."""
    named = {"name": "r", "reward_model": f"densereward.integrations.flow_factory.{kind}", "server_url": SERVER, "device": "cpu", "batch_size": 2}
    config = RewardArguments.from_dict({**named, **entries})
    model = load_reward_model(config, ACCELERATOR)
    calls, one = [], type(model).__call__

    class Recorded(type(model)):
        def __call__(self, *args, **kwargs):
            assert not args
            calls.append({name: described(value) for name, value in kwargs.items()})
            return one(self, **kwargs)

        __call__.__signature__ = inspect.signature(one)

    model.__class__ = Recorded
    processor = RewardProcessor(ACCELERATOR, {"r": model}, {"r": config}, group_on_same_rank=True, verbose=False)
    buffer = RewardBuffer(processor, group_size=len(prompts))
    buffer.add_samples(samples(prompts))
    rewards = buffer.finalize()["r"].tolist()
    return rewards, sorted(calls, key=lambda c: c["prompt"])


def known(prompts):
    with densereward.Client(SERVER) as client:
        return client.score([s.image for s in samples(prompts)], prompts).rewards.tolist()


def models():
    recorded = {}
    for kind in ("DenseRewardModel", "DenseGroupwiseRewardModel"):
        prompts = PROMPTS if kind == "DenseRewardModel" else ["a cat"] * 4
        for entries in ({}, {"async_reward": True, "num_workers": 4}):
            rewards, calls = run(kind, prompts, **entries)
            assert max(abs(a - b) for a, b in zip(rewards, known(prompts))) < 1e-6, (kind, entries, rewards)
            try:
                run(kind, ["fail: a cat"] * 4, **entries)
            except densereward.SamplesFailedError:
                pass
            else:
                raise AssertionError(f"{kind} {entries}: a failed reward was taken")
        whole = len(calls) == 1
        recorded[kind] = [{"arguments": call, "rewards": rewards if whole else [rewards[prompts.index(p)] for p in call["prompt"]]} for call in calls]
    return recorded


def dense():
    """The maps of log-probabilities of the trainer's own scheduler have its own
    log-probability for a mean. What the trainer makes of them is in flow/real_flow_factory.py."""
    from densereward.integrations.flow_factory_dense import with_log_prob_maps

    generator = torch.Generator().manual_seed(1)
    for dynamics in ("Flow-SDE", "Dance-SDE", "CPS"):
        scheduler = FlowMatchEulerDiscreteSDEScheduler(dynamics_type=dynamics, shift=3.0)
        scheduler.set_timesteps(10)
        for shape in ((2, 16, 4, 6), (2, 24, 64)):
            latents, noise = (torch.randn(shape, generator=generator) for _ in range(2))
            taken = scheduler.step(noise, scheduler.timesteps[3].expand(2), latents, timestep_next=scheduler.timesteps[4].expand(2), noise_level=0.7)
            step = with_log_prob_maps(scheduler.step, scheduler.dynamics_type)
            maps = step(noise, scheduler.timesteps[3].expand(2), latents, next_latents=taken.next_latents, timestep_next=scheduler.timesteps[4].expand(2), noise_level=0.7)
            assert maps.log_prob.shape == ((2, 4, 6) if len(shape) == 4 else (2, 24)), maps.log_prob.shape
            mean = maps.log_prob.flatten(1).mean(1)
            assert torch.allclose(mean, taken.log_prob, rtol=1e-5, atol=1e-6), (dynamics, mean, taken.log_prob)


def main():
    logging.disable(logging.CRITICAL)
    recorded = models()
    dense()
    json.dump(recorded, sys.stdout, indent=1, ensure_ascii=False)
    print()


main()
