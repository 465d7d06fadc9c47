"""Reward models for Flow-Factory.

Flow-Factory's own ``RemotePointwiseRewardModel`` works with a DenseReward server as
it is: it posts PNG files in JSON and gets the scalar rewards. `DenseRewardModel` is
its dense sibling: it sends raw pixels, in a quarter of the time, and returns the
scores and the dense maps as well. In the training configuration:

    rewards:
      - name: "image_doctor"
        reward_model: "densereward.integrations.flow_factory.DenseRewardModel"
        server_url: "http://host:8080"     # several with commas between
        grid: "sd3"                        # or "flux", or [64, 64]
        batch_size: 16

The trainer itself reads ``rewards`` alone; ``extra_info`` is for forks and for
algorithms that know what to do with a map.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Dict, List, Optional, Tuple

import torch
from flow_factory.rewards.abc import PointwiseRewardModel, RewardModelOutput

from .._client import Client
from .._errors import InvalidValueError, NotFiniteError
from .._pixels import to_uint8
from .._response import Result

log = logging.getLogger("densereward")


class DenseRewardModel(PointwiseRewardModel):  # type: ignore[misc]
    """Scores images on a server and returns the dense maps in ``extra_info``.

    Settings, of the reward's entry in the training configuration: ``server_url``
    (required), ``grid`` ("sd3" by default), ``mode`` ("answer"), ``evaluator`` (the
    server's first), ``weights`` (the server's), ``timeout`` (seconds, 300), ``token``.

    ``extra_info``, tensors on the trainer's device, N images: "dense_weight" and
    "dense_reward", float32 (N,h,w), 1-H and R(1-H); "heatmap", H itself; "scores",
    a map of float64 (N) by name; "model", the checkpoint's fingerprint.
    """

    required_fields: ClassVar[Tuple[str, ...]] = ("prompt", "image")
    use_tensor_inputs: ClassVar[bool] = True

    def __init__(self, config: Any, accelerator: Any) -> None:
        super().__init__(config, accelerator)
        servers = getattr(config, "server_url", None)
        if not servers:
            raise ValueError("server_url is required for DenseRewardModel")
        grid = getattr(config, "grid", None)
        self._options: Dict[str, Any] = {
            "grid": grid if grid is None or isinstance(grid, str) else tuple(grid),
            "mode": getattr(config, "mode", None),
            "evaluator": getattr(config, "evaluator", None),
            "weights": getattr(config, "weights", None),
        }
        timeout = getattr(config, "timeout", None)
        self.client = Client(servers, token=getattr(config, "token", None), timeout=300.0 if timeout is None else float(timeout))
        ready = self.client.health()
        if not any(ready.values()):
            raise RuntimeError(f"no reward server is ready at {', '.join(ready)}")

    @torch.no_grad()  # type: ignore[misc]
    def __call__(
        self,
        prompt: List[str],
        image: Optional[List[Any]] = None,
        video: Optional[List[Any]] = None,
        condition_images: Optional[List[Any]] = None,
        condition_videos: Optional[List[Any]] = None,
        **kwargs: Any,
    ) -> Any:
        """Rewards of N images, float32 (N). Raises `densereward.SamplesFailedError` where
        an image could not be scored: a pointwise reward has no other way to say so."""
        if image is None:
            raise ValueError("DenseRewardModel scores images; the batch has none")
        if condition_images is not None or condition_videos is not None:
            log.warning("the evaluator does not look at condition images or videos")
        result = self.client.score([_levels(i) for i in image], list(prompt), output="torch", **self._options)
        result.raise_for_errors()
        rewards = result.rewards.to(device=self.device, dtype=torch.float32)
        return RewardModelOutput(rewards=rewards, extra_info=self._extra(result))

    def _extra(self, result: Result[Any]) -> Dict[str, Any]:
        assert result.dense is not None
        weight = result.dense.weight.to(self.device)
        return {
            "dense_weight": weight,
            "dense_reward": result.dense.reward.to(self.device),
            "heatmap": 1 - weight,
            "scores": {name: values.to(self.device) for name, values in result.scores.items()},
            "model": result.model,
        }


def _levels(image: Any) -> Any:
    """A tensor of floats as 8-bit levels on its device; PIL images, and floats
    that have no levels, as they are, so that the sample can be named."""
    try:
        return to_uint8(image) if isinstance(image, torch.Tensor) else image
    except (NotFiniteError, InvalidValueError):
        return image
