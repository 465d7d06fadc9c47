"""Reward functions for flow_grpo and its relatives (DenseFlow-GRPO, DiffusionNFT).

These trainers keep a table of reward functions in ``flow_grpo/rewards.py``, each
made by a factory and called as ``(images, prompts, metadata)``. The DenseFlow-GRPO
script of EthanG97/ImageDoctor finds ``image_doctor_hp`` there, which loads the
evaluator into every training process. One line of the table makes it ask a server
instead:

    from densereward.integrations.flow_grpo import image_doctor_hp
    ...
        "image_doctor_hp": lambda: image_doctor_hp("http://host:8080"),

What it returns is what the public scorer returns: float32 scores (N), and the
average of the two heatmaps on 64x64 for each image. Two differences: the scalar is
0.8 alignment + 0.1 aesthetics + 0.1 plausibility (give ``weights`` for another),
and the maps are float32 on the CPU rather than bfloat16 on the evaluator's GPU;
the script moves them to its device either way.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from .._client import Client
from .._errors import PixelRangeError, NotFiniteError
from .._pixels import to_uint8
from .._response import Result
from .._tensor import is_torch, to_torch
from .._types import ClientOptions, Missing, NumpyArray
from . import _settings as settings
from ._settings import ENV_SERVERS as ENV_SERVERS

if TYPE_CHECKING:
    from typing_extensions import Unpack

log = logging.getLogger("densereward")

#: What the tables of the trainers call this reward.
NAME = "image_doctor_hp"

#: The grid of the public scorer, whatever the size of the images.
GRID = (64, 64)

#: Scores (N) and what the trainer calls reward metadata.
Scored = Tuple[Any, Dict[str, Any]]
RewardFunction = Callable[..., Scored]


def image_doctor_hp(
    servers: Union[str, Sequence[str], None] = None,
    *,
    weights: Optional[Mapping[str, Mapping[str, float]]] = None,
    missing: Optional[Missing] = None,
    failed: Optional[float] = None,
    **options: Unpack[ClientOptions],
) -> RewardFunction:
    """The function ``(images, prompts, metadata) -> (scores, {"heatmap": maps})``.

    ``images`` are a torch tensor (N,3,h,w) of floats in [0,1], a numpy array
    (N,h,w,3) of uint8, or PIL images; ``metadata`` is not looked at. ``scores`` is
    a numpy float32 array (N), ``maps`` a list of N float32 maps of 64x64, as torch
    tensors where the process uses torch, in [0,1], 1 for flawed.

    An image that cannot be scored raises `densereward.SamplesFailedError`, unless
    ``failed`` is given: then it gets that score and a map of zeros, and a line in
    the log. ``missing`` says what becomes of scores and heatmaps that an answer
    lacks, "zero" as the public scorer has it, or "error"; without it they are zero,
    with a warning. ``options`` go to `densereward.Client`; it is made by the first call,
    in the process that calls.
    """
    addresses = settings.servers(servers)
    clients: List[Client] = []

    def score(images: Any, prompts: Sequence[str], metadata: Any = None) -> Scored:
        if not clients:
            clients.append(Client(addresses, **options))
        result = clients[0].score(_levels(images), list(prompts), grid=GRID, weights=weights, missing=missing)
        return _scores(result, failed), {"heatmap": _maps(result)}

    return score


def multi_score(
    device: Any,
    score_dict: Mapping[str, float],
    servers: Union[str, Sequence[str], None] = None,
    others: Optional[Callable[[Any, Mapping[str, float]], RewardFunction]] = None,
    **options: Unpack[ClientOptions],
) -> RewardFunction:
    """The trainer's ``multi_score(device, score_dict)`` with this reward served.

    Entries of ``score_dict`` other than "image_doctor_hp" are left to ``others``,
    the trainer's own `multi_score` (``flow_grpo.rewards.multi_score`` where that
    can be imported). The function it gives, ``(images, prompts, metadata,
    ref_images=None, only_strict=True)``, returns the scores by name with their
    weighted sum as "avg", and the heatmaps.
    """
    local = {name: weight for name, weight in score_dict.items() if name != NAME}
    weight = score_dict.get(NAME)
    served = None if weight is None else image_doctor_hp(servers, **options)
    rest = (others or _trainers_own(list(local)))(device, local) if local else None

    def score(images: Any, prompts: Sequence[str], metadata: Any, ref_images: Any = None, only_strict: bool = True) -> Scored:
        details: Dict[str, Any] = {}
        heatmaps: Dict[str, Any] = {}
        total = np.zeros(len(prompts))
        if rest is not None:
            details, _ = rest(images, prompts, metadata, ref_images=ref_images, only_strict=only_strict)
            details = dict(details)
            total += np.asarray([float(s) for s in details.pop("avg")])
        if served is not None and weight is not None:
            details[NAME], heatmaps = served(images, prompts, metadata)
            total += weight * details[NAME].astype(np.float64)
        details["avg"] = list(total)
        return details, heatmaps

    return score


def _trainers_own(names: Sequence[str]) -> Callable[[Any, Mapping[str, float]], RewardFunction]:
    try:
        trainer = importlib.import_module("flow_grpo.rewards")
    except ImportError as e:
        raise ValueError(f"rewards {', '.join(names)}: give others=, a multi_score that knows them") from e
    function: Callable[[Any, Mapping[str, float]], RewardFunction] = trainer.multi_score
    return function


def _levels(images: Any) -> Any:
    """Floats as 8-bit levels on the device they are on, as the public scorer does
    it too, so that a quarter of the bytes leave it. A batch with NaN, infinity or
    another range goes as it is, so that the sample can be named."""
    if not is_torch(images) and not isinstance(images, np.ndarray):
        return images
    try:
        return to_uint8(images)
    except (NotFiniteError, PixelRangeError):
        return images


def _scores(result: Result[NumpyArray], failed: Optional[float]) -> Any:
    if failed is None:
        result.raise_for_errors()
    scores = result.rewards.astype(np.float32)
    for place, error in enumerate(result.errors):
        if error is not None:
            log.warning("sample %d gets the score %s: %s", place, failed, error)
            scores[place] = failed
    return scores


def _maps(result: Result[NumpyArray]) -> List[Any]:
    assert result.dense is not None and not isinstance(result.dense.weight, list)  # the grid is named
    heatmaps = np.float32(1) - result.dense.weight
    heatmaps[~result.ok] = 0
    return list(to_torch(heatmaps) if sys.modules.get("torch") is not None else heatmaps)
