"""Records what verl-omni's reward managers call `densereward.integrations.verl_omni` with,
and what they make of what it gives or raises:

    python record_verl_omni.py VERL_OMNI SERVER > ../testdata/verl_omni.json

VERL_OMNI is a checkout of github.com/verl-project/verl-omni at the commit that
reward/compat/README.md names, SERVER the address of testdata/fakeserver. Needs verl with
tensordict and what it imports, and this package; fetches nothing. The managers are
imported without their package's front, which imports vLLM.
"""

import asyncio
import base64
import functools
import json
import logging
import pathlib
import sys
import types

import torch

for name, folder in {"verl_omni": "verl_omni", "verl_omni.reward_loop": "verl_omni/reward_loop"}.items():
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(pathlib.Path(sys.argv[1]) / folder)]

from omegaconf import OmegaConf  # noqa: E402
from verl import DataProto  # noqa: E402
from verl_omni.reward_loop.reward_manager.multi import MultiVisualRewardManager  # noqa: E402
from verl_omni.reward_loop.reward_manager.visual import VisualRewardManager  # noqa: E402

import densereward.integrations.verl_omni as ours  # noqa: E402

calls = []
scored = ours.compute_score


@functools.wraps(scored)
async def compute_score(**kwargs):
    calls.append({name: described(value) for name, value in kwargs.items() if name != "server_url"})
    return await scored(**kwargs)


ours.compute_score = compute_score


def described(value):
    if isinstance(value, torch.Tensor):
        data = value.contiguous().numpy().tobytes()
        return {"dtype": str(value.dtype).split(".")[1], "shape": list(value.shape), "data": base64.b64encode(data).decode()}
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def sample(prompt, seed=0):
    pixels = torch.randint(256, (1, 3, 24, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return DataProto.from_dict(
        tensors={"responses": pixels},
        non_tensors={"data_source": ["flow"], "reward_model": [{"ground_truth": prompt}], "extra_info": [{"split": "train"}]},
    )


def config(functions=None):
    pipeline = {"output_type": "image"}
    return OmegaConf.create(
        {
            "actor_rollout_ref": {"rollout": {"pipeline": pipeline, "val_kwargs": {"pipeline": pipeline}}},
            "reward": {"reward_functions": functions or {}, "reward_model": {"model_path": "judge"}},
        }
    )


def entry(server, **more):
    return {"path": "pkg://densereward.integrations.verl_omni", "name": "compute_score", "weight": 1.0, "server_url": server, **more}


def run(name, manager, prompt):
    calls.clear()
    made = {"name": name, "calls": calls}
    try:
        made["made"] = asyncio.run(manager.run_single(sample(prompt)))
    except Exception as e:  # whatever stops the trainer
        made["raised"] = f"{type(e).__name__}: {str(e).split(' [')[0]}"
    return json.loads(json.dumps(made))


def main():
    server = sys.argv[2]
    logging.disable(logging.CRITICAL)
    single = VisualRewardManager(config(), None, functools.partial(compute_score, server_url=server), reward_router_address="router:1")
    required = MultiVisualRewardManager(config({"doctor": entry(server, required=True), "half": entry(server, required=True, weight=0.5, weights={"scores": {"overall": 1.0}})}), None, None)
    optional = MultiVisualRewardManager(config({"doctor": entry(server)}), None, None)
    recorded = [
        run("one reward", single, "a cat"),
        run("several rewards", required, "größe \"x\""),
        run("one reward that fails", single, "fail: a cat"),
        run("a required reward that fails", required, "fail: a cat"),
        run("a reward that fails and is not required", optional, "fail: a cat"),
    ]
    json.dump(recorded, sys.stdout, indent=1, ensure_ascii=False)
    print()


main()
