"""The answers of several requests as the one answer of a batch."""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np

from ._errors import InvalidResponseError, ModelMismatchError
from ._response import Dense, Heatmaps, Result
from ._types import NumpyArray

#: What an answer has or lacks as a whole.
OPTIONAL = ("dense", "advantages", "heatmaps", "texts", "boxes", "images", "cached")

#: An answer with the places of its samples in the batch.
Part = Tuple[Sequence[int], Result[NumpyArray]]


def merge(parts: Sequence[Part]) -> Result[NumpyArray]:
    """One result of those of several requests, each with the places of its
    samples. Raises `ModelMismatchError` if servers scored with different checkpoints
    and `InvalidResponseError` if some lack what others have."""
    if len(parts) == 1:
        return parts[0][1]
    first = parts[0][1]
    others = {(p.evaluator, p.model) for _, p in parts}
    if len(others) > 1:
        raise ModelMismatchError("servers of one client hold different models: " + ", ".join(f"{e} {m}" for e, m in sorted(others)))
    for name in OPTIONAL:
        if len({getattr(p, name) is None for _, p in parts}) > 1:
            raise InvalidResponseError(f"{name}: some requests of one batch were answered with it and some without")
    if len({(frozenset(p.scores), frozenset(p.heatmaps or ())) for _, p in parts}) > 1:
        raise InvalidResponseError("scores, heatmaps: some requests of one batch were answered with others than the rest")
    n = sum(len(places) for places, _ in parts)
    merged: Result[NumpyArray] = Result(
        rewards=_join_numbers(parts, n, lambda p: p.rewards),
        scores={name: _join_numbers(parts, n, lambda p, name=name: p.scores[name]) for name in first.scores},
        missing=_join_lists(parts, n, lambda p: p.missing) or [],
        errors=_join_lists(parts, n, lambda p: p.errors) or [],
        evaluator=first.evaluator,
        model=first.model,
        resize=first.resize,
        timing_ms={stage: max(p.timing_ms.get(stage, 0.0) for _, p in parts) for stage in first.timing_ms},
        advantages=_join_advantages(parts, n),
        texts=_join_lists(parts, n, lambda p: p.texts),
        boxes=_join_lists(parts, n, lambda p: p.boxes),
        images=_join_lists(parts, n, lambda p: p.images),
        cached=_join_lists(parts, n, lambda p: p.cached),
        warnings=list(dict.fromkeys(w for _, p in parts for w in p.warnings)),
    )
    if first.dense is not None:
        weight = _join_maps(parts, n, lambda p: p.dense.weight)
        grid = [m.shape for m in weight] if isinstance(weight, list) else weight.shape[1:]
        merged.dense = Dense(grid, weight, _join_maps(parts, n, lambda p: p.dense.reward))
    if first.heatmaps is not None:
        merged.heatmaps = Heatmaps(
            (name, _join_maps(parts, n, lambda p, name=name: p.heatmaps[name])) for name in first.heatmaps
        )
    return merged


def _join_numbers(parts: Sequence[Part], n: int, field: Callable[..., Any]) -> Any:
    """The field's numbers, (k) each, as one array (n) in the samples' order."""
    joined = np.empty(n, dtype=field(parts[0][1]).dtype)
    for places, part in parts:
        joined[list(places)] = field(part)
    return joined


def _join_advantages(parts: Sequence[Part], n: int) -> Any:
    first = parts[0][1].advantages
    if first is None:
        return None
    if not isinstance(first, list) and first.ndim == 1:
        return _join_numbers(parts, n, lambda p: p.advantages)
    return _join_maps(parts, n, lambda p: p.advantages)


def _join_maps(parts: Sequence[Part], n: int, field: Callable[..., Any]) -> Any:
    """The field's maps, (k,h,w) each, as one array (n,h,w) in the samples' order; as
    a list of (h,w), which is what one request would be answered with, where their
    sizes differ.

    Maps of a request whose samples all failed have whatever size the server
    fell back to, and nothing to say: they become NaN of the others' size.
    """
    fields = [(places, field(p), bool(p.ok.any())) for places, p in parts]
    shapes = {one.shape for _, maps, ok in fields if ok for one in maps} or {one.shape for _, maps, _ in fields for one in maps}
    if len(shapes) > 1 or any(isinstance(maps, list) for _, maps, _ in fields):
        single: List[Any] = [None] * n
        for places, maps, _ in fields:
            for place, one in zip(places, maps):
                single[place] = one
        return single
    joined = np.full((n, *shapes.pop()), np.nan, dtype=fields[0][1].dtype)
    for places, maps, _ in fields:
        if maps.shape[1:] == joined.shape[1:]:
            joined[list(places)] = maps
    return joined


def _join_lists(parts: Sequence[Part], n: int, field: Callable[..., Any]) -> Optional[List[Any]]:
    if field(parts[0][1]) is None:
        return None
    joined: List[Any] = [None] * n
    for places, part in parts:
        for place, value in zip(places, field(part)):
            joined[place] = value
    return joined
