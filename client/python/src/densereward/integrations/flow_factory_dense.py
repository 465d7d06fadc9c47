"""BoxFlow-GRPO's loss on Flow-Factory's own GRPO trainer, without a change to it.

The trainer's clipped loss is written element by element: where log-probabilities and
advantages are maps, so is its ratio, and its mean is the dense loss. In the training
configuration, with the server's address in DENSEREWARD_URL:

    train:
      trainer_type: "densereward.integrations.flow_factory_dense.DenseGRPOTrainer"

Two hooks make the maps. The scheduler's step gives log p(l), the mean over channels,
for log p; and an image's advantage is multiplied by 1-H, which the server draws. Where
`densereward.integrations.flow_factory.DenseRewardModel` has scored the images, the
server answers from its cache. flow_grpo has no such hook: its loss stands in a script,
whose inner loop `densereward.torch` replaces in a few lines.
"""

from __future__ import annotations

import os
from typing import Any, Callable, ClassVar, List, Sequence, Union

import torch
from flow_factory.trainers.grpo import GRPOTrainer

from .. import Client
from ..torch import log_prob_map_about

#: What the scheduler's step returns unless told otherwise.
RETURNED = ("next_latents", "next_latents_mean", "std_dev_t", "dt", "log_prob", "noise_pred")


def with_log_prob_maps(step: Callable[..., Any], dynamics_type: str) -> Callable[..., Any]:
    """The step of one of Flow-Factory's SDE schedulers with log p(l), (B,h,w) or (B,L) of
    packed latents, for its log_prob."""

    def dense_step(*args: Any, compute_log_prob: bool = True, return_kwargs: Sequence[str] = RETURNED, return_dict: bool = True, **kwargs: Any) -> Any:
        if not compute_log_prob:
            return step(*args, compute_log_prob=False, return_kwargs=list(return_kwargs), return_dict=return_dict, **kwargs)
        if not return_dict:
            raise ValueError("log-probability maps are returned by name: return_dict must be true")
        needed = [*return_kwargs, "next_latents", "next_latents_mean", "std_dev_t", "dt"]
        out = step(*args, compute_log_prob=False, return_kwargs=[n for n in dict.fromkeys(needed) if n != "log_prob"], **kwargs)
        dynamics = kwargs.get("dynamics_type") or dynamics_type
        if dynamics == "ODE":
            raise ValueError("ODE steps have no log-probability")
        noise = None if dynamics == "CPS" else out.std_dev_t * torch.sqrt(-out.dt)
        out.log_prob = log_prob_map_about(out.next_latents_mean, out.next_latents, noise)
        return out

    return dense_step


class DenseGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """Flow-Factory's GRPO with a weight 1-H at each location. ``grid`` is that of the
    latents: "sd3", or "flux" for FLUX and Qwen-Image."""

    grid: ClassVar[Union[str, Sequence[int]]] = "sd3"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        servers = os.environ.get("DENSEREWARD_URL", "")
        if not servers:
            raise ValueError("DenseGRPOTrainer asks a server for its maps: set DENSEREWARD_URL to its address")
        self.client = Client(servers)
        scheduler = self.adapter.scheduler
        scheduler.step = with_log_prob_maps(scheduler.step, scheduler.dynamics_type)

    def compute_advantages(self, samples: List[Any], rewards: Any, store_to_samples: bool = True, aggregation_func: Any = None) -> Any:
        """The trainer's own advantages; stored in the samples, each times its map."""
        advantages = super().compute_advantages(samples, rewards, store_to_samples=store_to_samples, aggregation_func=aggregation_func)
        if store_to_samples:
            result = self.client.score([s.image for s in samples], [s.prompt for s in samples], grid=self.grid, output="torch")
            result.raise_for_errors()
            assert result.dense is not None
            for sample, advantage, weight in zip(samples, advantages, result.dense.weight):
                packed = sample.log_probs is not None and sample.log_probs.dim() == 2  # (T,L) rather than (T,h,w)
                sample.extra_kwargs["advantage"] = advantage * (weight.flatten() if packed else weight).to(advantage.device)
        return advantages
