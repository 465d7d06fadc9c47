"""Reward models for Flow-Factory.

Flow-Factory's own ``RemotePointwiseRewardModel`` works with a DenseReward server as
it is: it posts PNG files in JSON and gets the scalar rewards. `DenseRewardModel` is
its dense sibling: it sends raw pixels, in a quarter of the time, and returns the
scores and the dense maps as well; `DenseGroupwiseRewardModel` gets whole groups and
returns advantages too. In the training configuration:

    rewards:
      - name: "image_doctor"
        reward_model: "densereward.integrations.flow_factory.DenseRewardModel"
        server_url: "http://host:8080"     # several with commas between
        grid: "sd3"                        # or "flux", or [64, 64]
        batch_size: 16
        async_reward: true                 # score while the next images are drawn,
        num_workers: 4                     # four requests at a time

The trainer itself reads ``rewards`` alone; ``extra_info`` is for forks and for
algorithms that know what to do with a map. Both models may be called by many threads
at once, which is what ``async_reward`` does.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Dict, List, Optional, Tuple

import torch
from flow_factory.rewards.abc import GroupwiseRewardModel, PointwiseRewardModel, RewardModelOutput

from .._client import Client
from .._errors import PixelRangeError, NotFiniteError
from .._pixels import to_uint8
from .._response import Result

log = logging.getLogger("densereward")


# The models name what they take: for a **kwargs the trainer would gather every field of
# its samples, the latents of the whole trajectory too, and move them to their device.


class _Scorer:
    """What a reward's entry in the training configuration asks for, and the client
    that asks it. ``groupwise`` tells whether a call is one group."""

    def __init__(self, config: Any, groupwise: bool) -> None:
        servers = getattr(config, "server_url", None)
        if not servers:
            raise ValueError("server_url is required")
        grid = getattr(config, "grid", None)
        self._groupwise = groupwise
        self._options: Dict[str, Any] = {
            "grid": grid if grid is None or isinstance(grid, (str, int)) else tuple(grid),
            **{name: getattr(config, name, None) for name in ("mode", "evaluator", "weights", "missing")},
        }
        if groupwise:
            self._options["advantage"] = getattr(config, "advantage", None)
        timeout = getattr(config, "timeout", None)
        seconds = 300.0 if timeout is None else float(timeout)
        workers = int(getattr(config, "num_workers", None) or 1)
        self.client = Client(servers, token=getattr(config, "token", None), timeout=seconds, concurrency=max(8, workers))
        ready = self.client.health()
        if not any(ready.values()):
            raise RuntimeError(f"no reward server is ready at {', '.join(ready)}")

    def score(self, prompt: List[str], image: Optional[List[Any]], conditions: bool) -> Result[torch.Tensor]:
        """Scores a batch, or a group. Raises `densereward.SamplesFailedError` where an
        image could not be scored: Flow-Factory has no other way to say so."""
        if image is None:
            raise ValueError("the reward scores images; the batch has none")
        if conditions:
            log.warning("the evaluator does not look at condition images, videos or audio")
        prompts = list(prompt)
        groups = ["group"] * len(prompts) if self._groupwise and self._options["advantage"] else None
        result: Result[torch.Tensor] = self.client.score(
            [_levels(i) for i in image], prompts, groups=groups, output="torch", **self._options
        )
        return result.raise_for_errors()

    @staticmethod
    def output(result: Result[torch.Tensor], device: Any) -> Any:
        """What Flow-Factory takes, on the trainer's device."""
        assert result.dense is not None
        weight = _moved(result.dense.weight, device)
        extra = {
            "dense_weight": weight,
            "dense_reward": _moved(result.dense.reward, device),
            "heatmap": [1 - w for w in weight] if isinstance(weight, list) else 1 - weight,
            "scores": {name: values.to(device) for name, values in result.scores.items()},
            "model": result.model,
        }
        if result.advantages is not None:
            extra["advantages"] = _moved(result.advantages, device)
        return RewardModelOutput(rewards=result.rewards.to(device=device, dtype=torch.float32), extra_info=extra)


class DenseRewardModel(PointwiseRewardModel):  # type: ignore[misc]
    """Scores images on a server and returns the dense maps in ``extra_info``.

    Settings, of the reward's entry in the training configuration: ``server_url``
    (required), ``grid`` ("sd3" by default), ``mode``, ``evaluator``, ``weights`` (the
    server's first or own), ``missing`` ("zero" or "error"), ``timeout`` (seconds, 300),
    ``token``, and Flow-Factory's ``async_reward`` and ``num_workers``.

    ``extra_info``, tensors on the trainer's device, N images: "dense_weight" and
    "dense_reward", float32 (N,h,w), 1-H and R(1-H); "heatmap", H itself; "scores",
    a map of float64 (N) by name; "model", the checkpoint's fingerprint.
    """

    required_fields: ClassVar[Tuple[str, ...]] = ("prompt", "image")
    use_tensor_inputs: ClassVar[bool] = True

    def __init__(self, config: Any, accelerator: Any) -> None:
        super().__init__(config, accelerator)
        self._scorer = _Scorer(config, groupwise=False)
        self.client = self._scorer.client

    @torch.no_grad()  # type: ignore[misc]
    def __call__(
        self,
        prompt: List[str],
        image: Optional[List[Any]] = None,
        video: Optional[List[Any]] = None,
        condition_images: Optional[List[Any]] = None,
        condition_videos: Optional[List[Any]] = None,
    ) -> Any:
        """Rewards of N images, float32 (N). Raises `densereward.SamplesFailedError` where
        an image could not be scored."""
        result = self._scorer.score(prompt, image, condition_images is not None or condition_videos is not None)
        return self._scorer.output(result, self.device)


class DenseGroupwiseRewardModel(GroupwiseRewardModel):  # type: ignore[misc]
    """As `DenseRewardModel`, for the images of one group: its settings take
    ``advantage`` too, a method or a map of it with its settings, and ``extra_info``
    has "advantages" over the group then, float64 (N) or float32 (N,h,w).
    """

    required_fields: ClassVar[Tuple[str, ...]] = ("prompt", "image")
    use_tensor_inputs: ClassVar[bool] = True

    def __init__(self, config: Any, accelerator: Any) -> None:
        super().__init__(config, accelerator)
        self._scorer = _Scorer(config, groupwise=True)
        self.client = self._scorer.client

    @torch.no_grad()  # type: ignore[misc]
    def __call__(
        self,
        prompt: List[str],
        image: Optional[List[Any]] = None,
        video: Optional[List[Any]] = None,
        condition_images: Optional[List[Any]] = None,
        condition_videos: Optional[List[Any]] = None,
    ) -> Any:
        """Rewards of the group's N images, float32 (N). Raises
        `densereward.SamplesFailedError` where an image could not be scored."""
        result = self._scorer.score(prompt, image, condition_images is not None or condition_videos is not None)
        return self._scorer.output(result, self.device)


def _moved(maps: Any, device: Any) -> Any:
    """Maps on a device: a tensor, or a list of them where their sizes differ."""
    return [m.to(device) for m in maps] if isinstance(maps, list) else maps.to(device)


def _levels(image: Any) -> Any:
    """A tensor of floats as 8-bit levels on its device; PIL images, and floats
    that have no levels, as they are, so that the sample can be named."""
    try:
        return to_uint8(image) if isinstance(image, torch.Tensor) else image
    except (NotFiniteError, PixelRangeError):
        return image
