"""The answers of several requests as the one answer of a batch."""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np

from ._errors import GridMismatchError, InvalidResponseError, ModelMismatchError
from ._response import SCORES, Dense, Heatmaps, Result

#: What an answer has or lacks as a whole.
OPTIONAL = ("dense", "advantages", "heatmaps", "texts", "boxes", "images", "cached")

#: An answer with the places of its samples in the batch.
Part = Tuple[Sequence[int], Result]


def merge(parts: Sequence[Part]) -> Result:
    """One result of those of several requests, each with the places of its
    samples. Raises `ModelMismatchError` if servers scored with different checkpoints,
    `GridMismatchError` if their maps differ in size and `InvalidResponseError` if some lack
    what others have."""
    if len(parts) == 1:
        return parts[0][1]
    first = parts[0][1]
    others = {(p.evaluator, p.model) for _, p in parts}
    if len(others) > 1:
        raise ModelMismatchError("servers of one client hold different models: " + ", ".join(f"{e} {m}" for e, m in sorted(others)))
    for name in OPTIONAL:
        if len({getattr(p, name) is None for _, p in parts}) > 1:
            raise InvalidResponseError(f"{name}: some requests of one batch were answered with it and some without")
    n = sum(len(places) for places, _ in parts)
    timing = {stage: max(p.timing_ms.get(stage, 0.0) for _, p in parts) for stage in first.timing_ms}
    merged = Result(
        rewards=_join_arrays(parts, n, lambda p: p.rewards, "rewards"),
        scores={name: _join_arrays(parts, n, lambda p: p.scores[name], name) for name in SCORES},
        missing=_join_lists(parts, n, lambda p: p.missing) or [],
        errors=_join_lists(parts, n, lambda p: p.errors) or [],
        evaluator=first.evaluator,
        model=first.model,
        timing_ms=timing,
        advantages=_join_arrays(parts, n, lambda p: p.advantages, "advantages"),
        texts=_join_lists(parts, n, lambda p: p.texts),
        boxes=_join_lists(parts, n, lambda p: p.boxes),
        images=_join_lists(parts, n, lambda p: p.images),
        cached=_join_lists(parts, n, lambda p: p.cached),
    )
    if first.dense is not None:
        weight = _join_arrays(parts, n, lambda p: p.dense.weight, "dense")
        merged.dense = Dense(weight.shape[1:], weight, _join_arrays(parts, n, lambda p: p.dense.reward, "dense"))
    if first.heatmaps is not None:
        merged.heatmaps = Heatmaps(
            _join_arrays(parts, n, lambda p: p.heatmaps.misalignment, "heatmaps"),
            _join_arrays(parts, n, lambda p: p.heatmaps.artifact, "heatmaps"),
        )
    return merged


def _join_arrays(parts: Sequence[Part], n: int, field: Callable[[Any], Any], name: str) -> Any:
    """The field's arrays, (k,...) each, as one (n,...) in the samples' order.

    Maps of a request whose samples all failed have whatever size the server
    fell back to, and nothing to say: they become NaN of the others' size.
    """
    arrays = [(places, field(p), p) for places, p in parts]
    if arrays[0][1] is None:
        return None
    shapes = {a.shape[1:] for _, a, p in arrays if p.ok.any()} or {arrays[0][1].shape[1:]}
    if len(shapes) > 1:
        raise GridMismatchError(f"{name}: images of different sizes need an explicit grid, got maps of {sorted(shapes)}")
    joined = np.full((n, *shapes.pop()), np.nan, dtype=arrays[0][1].dtype)
    for places, array, _ in arrays:
        if array.shape[1:] == joined.shape[1:]:
            joined[list(places)] = array
    return joined


def _join_lists(parts: Sequence[Part], n: int, field: Callable[[Any], Any]) -> Optional[List[Any]]:
    if field(parts[0][1]) is None:
        return None
    joined: List[Any] = [None] * n
    for places, part in parts:
        for place, value in zip(places, field(part)):
            joined[place] = value
    return joined
