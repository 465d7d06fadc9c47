"""The other advantages of flow_grpo's PerPromptStatTracker: of the best image of a
group, of a pair, and GARDO's. ``rewards`` are (N), ``groups`` as for `group_advantages`.
These go group by group, and are not for torch.compile.
"""

from __future__ import annotations

from typing import Iterator, Tuple

import torch
from torch import Tensor

from .advantages import Groups, check_finite, group_index, group_moments
from .layout import compute_dtype


def sft_advantages(rewards: Tensor, groups: Groups) -> Tensor:
    """1 for the best of a group's images, all of them on a tie, and 0 elsewhere."""
    out = _zeros(rewards)
    for members, values in _groups(rewards, groups):
        out[members] = (values == values.max()).to(out.dtype)
    return out


def dpo_advantages(rewards: Tensor, groups: Groups) -> Tensor:
    """1 for the first best of a group's images, -1 for the first worst, and 0 elsewhere:
    which is chosen and which rejected. Where all rewards are equal the second image is
    chosen over the first, as in the public code; a single image has 0."""
    out = _zeros(rewards)
    for members, values in _groups(rewards, groups):
        if len(members) < 2:
            continue
        equal = bool((values == values[0]).all())
        best, worst = (1, 0) if equal else ((values == values.max()).nonzero()[0], (values == values.min()).nonzero()[0])
        out[members[best]], out[members[worst]] = 1, -1
    return out


def gardo_advantages(rewards: Tensor, embeddings: Tensor, groups: Groups) -> Tensor:
    """R - mean of the group, times the image's diversity where it is at least 0: the
    smallest cosine distance between its embedding (N,D) and the group's others, over
    the group's mean of that. The factor is 1 for a single image and for one embedding."""
    moments = group_moments(rewards, groups)
    out = rewards.to(moments.mean.dtype) - moments.mean[moments.group]
    units = torch.nn.functional.normalize(embeddings.to(compute_dtype(embeddings)), dim=1)
    for members, _ in _groups(rewards, groups):
        if len(members) < 2:
            continue
        apart = 1 - (units[members] @ units[members].T).clamp(-1, 1)
        apart.fill_diagonal_(float("inf"))
        nearest = apart.min(1).values
        mean = nearest.mean()
        if mean < 1e-12:
            continue
        factor = torch.where(out[members] >= 0, (nearest / mean).to(out.dtype), torch.ones_like(out[members]))
        out[members] = out[members] * factor
    return out


def _zeros(rewards: Tensor) -> Tensor:
    return torch.zeros(rewards.shape, dtype=compute_dtype(rewards), device=rewards.device)


def _groups(rewards: Tensor, groups: Groups) -> Iterator[Tuple[Tensor, Tensor]]:
    """The members of each group with their rewards."""
    check_finite(rewards)
    index = group_index(groups, rewards.device)
    if index.shape != rewards.shape:
        raise ValueError(f"{len(index)} groups for rewards of shape {tuple(rewards.shape)}")
    for group in range(int(index.max()) + 1 if len(index) else 0):
        members = (index == group).nonzero()[:, 0]
        if len(members):
            yield members, rewards[members]
