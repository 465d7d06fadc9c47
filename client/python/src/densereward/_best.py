"""The best of several samples."""

from __future__ import annotations

from typing import Any, Dict, Hashable, List, Sequence

import numpy as np


def best(rewards: Any, groups: Sequence[Hashable], k: int) -> List[List[int]]:
    """The samples of each group from the best to the worst, at most ``k``, by their
    rewards (N). Samples that failed, whose reward is NaN, are in none, and of equal
    rewards the earlier one is the better; groups come in the order in which they
    first appear."""
    if k < 1:
        raise ValueError(f"k is {k}: want at least 1")
    members: Dict[Hashable, List[int]] = {}
    values = np.asarray(rewards, np.float64)
    for i, group in enumerate(groups):
        listed = members.setdefault(group, [])
        if not np.isnan(values[i]):
            listed.append(i)
    return [sorted(listed, key=lambda i: float(-values[i]))[:k] for listed in members.values()]
