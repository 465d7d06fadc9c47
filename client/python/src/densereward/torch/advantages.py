"""Group-relative advantages, of images and of locations.

``rewards`` are (N), or (N, ...) with a number for each location, column or step that
is normalised over its group by itself. ``groups`` says which samples share a prompt:
any hashable names (N), or a LongTensor (N) of numbers from 0. Where torch.compile is
to trace this, give the tensor and ``num_groups``. A group whose rewards are all equal
has advantages of exactly 0.
"""

from __future__ import annotations

import math
from typing import Dict, Hashable, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from .layout import compute_dtype, is_compiling

Groups = Union[Tensor, Sequence[Hashable]]


class Moments(NamedTuple):
    mean: Tensor  # (G, ...)
    std: Tensor  # (G, ...), exactly 0 where all rewards are equal
    group: Tensor  # (N), the group of each sample


def group_index(groups: Groups, device: Optional[torch.device] = None) -> Tensor:
    """The group of each sample as a number, in the order of first appearance."""
    if isinstance(groups, Tensor):
        return groups.to(device=device, dtype=torch.long)
    numbers: Dict[Hashable, int] = {}
    return torch.tensor([numbers.setdefault(g, len(numbers)) for g in groups], dtype=torch.long, device=device)


def group_moments(rewards: Tensor, groups: Groups, *, sample_std: bool = False, num_groups: Optional[int] = None) -> Moments:
    """Mean and standard deviation of each group, the population's or, with
    ``sample_std``, the sample's, which is 0 for a single reward."""
    index = group_index(groups, rewards.device)
    if index.shape != rewards.shape[:1]:
        raise ValueError(f"{index.shape[0]} groups for {rewards.shape[0]} rewards")
    if num_groups is None:
        num_groups = int(index.max()) + 1 if len(index) else 0
    rewards = rewards.to(compute_dtype(rewards))
    shape = (num_groups, *rewards.shape[1:])
    per_sample = [1] * (rewards.dim() - 1)
    n = rewards.new_zeros(num_groups).index_add(0, index, torch.ones_like(index, dtype=rewards.dtype)).reshape(-1, *per_sample)
    mean = rewards.new_zeros(shape).index_add(0, index, rewards) / n.clamp(min=1)
    distance = rewards - mean[index]
    square = rewards.new_zeros(shape).index_add(0, index, distance * distance)
    std = torch.sqrt(square / (n - 1 if sample_std else n).clamp(min=1))

    # Any member stands for a group whose rewards are all equal: its mean does not round.
    one = torch.zeros_like(index[:1]).expand(num_groups).scatter(0, index, torch.arange(len(index), device=index.device))
    member = rewards[one]
    differ = rewards.new_zeros(shape).index_add(0, index, (rewards != member[index]).to(rewards.dtype))
    equal = differ == 0
    return Moments(torch.where(equal, member, mean), torch.where(equal, torch.zeros_like(std), std), index)


def group_advantages(
    rewards: Tensor,
    groups: Groups,
    *,
    global_std: bool = False,
    sample_std: bool = False,
    epsilon: float = 1e-4,
    floor: float = 0.0,
    num_groups: Optional[int] = None,
) -> Tensor:
    """A = (R - mean) / max(std + epsilon, floor), of the group, at each location by itself.

    The defaults are Flow-GRPO's and DenseFlow-GRPO's. With ``global_std`` there is one
    deviation over all rewards and locations. Raises ValueError for a reward that is NaN,
    infinite or too large for a variance, which it names (not while torch.compile traces).
    """
    check_finite(rewards)
    mean, std, index = group_moments(rewards, groups, sample_std=sample_std, num_groups=num_groups)
    rewards = rewards.to(mean.dtype)
    if global_std:
        std = rewards.std(unbiased=sample_std) if rewards.numel() > 1 else torch.zeros_like(mean[:1])
        sigma = (std + epsilon).clamp(min=floor)
    else:
        sigma = (std + epsilon).clamp(min=floor)[index]
    distance = rewards - mean[index]
    return torch.where(distance == 0, torch.zeros_like(distance), distance / sigma)


def box_advantages(reward_maps: Tensor, groups: Groups, *, floor: float = 0.1, num_groups: Optional[int] = None) -> Tensor:
    """BoxFlow-GRPO's advantages of reward maps (N,h,w): the sample's deviation, and not
    less than ``floor``."""
    return group_advantages(reward_maps, groups, sample_std=True, epsilon=0.0, floor=floor, num_groups=num_groups)


def gdpo_advantages(
    rewards: Sequence[Tensor],
    weights: Sequence[float],
    groups: Groups,
    *,
    sample_std: bool = True,
    epsilon: float = 1e-4,
    floor: float = 0.0,
    num_groups: Optional[int] = None,
) -> Tensor:
    """GDPO (arXiv 2601.05242) of several rewards, each (N), or (N, ...) of which the shapes
    agree: each is normalised over its group, the weighted sum over the whole batch. A
    reward of images counts at every location. The defaults are NVlabs/GDPO's;
    Flow-Factory has ``sample_std=False, epsilon=0, floor=1e-6``."""
    if len(rewards) == 0 or len(rewards) != len(weights):
        raise ValueError(f"{len(weights)} weights for {len(rewards)} rewards")
    shape = max((r.shape for r in rewards), key=len)
    combined: Optional[Tensor] = None
    for reward, weight in zip(rewards, weights):
        if reward.shape not in (shape, shape[:1]):
            raise ValueError(f"rewards of shapes {tuple(shape)} and {tuple(reward.shape)}")
        one = group_advantages(reward, groups, sample_std=sample_std, epsilon=epsilon, floor=floor, num_groups=num_groups)
        one = weight * one.reshape(-1, *([1] * (len(shape) - one.dim())), *one.shape[1:]).expand(shape)
        combined = one if combined is None else combined + one
    assert combined is not None
    whole = group_moments(combined.reshape(-1), torch.zeros(combined.numel(), dtype=torch.long, device=combined.device), sample_std=sample_std, num_groups=1)
    distance = combined - whole.mean
    return torch.where(distance == 0, torch.zeros_like(distance), distance / (whole.std + epsilon).clamp(min=floor))


def step_gains(rewards: Tensor) -> Tensor:
    """The step rewards of DenseGRPO (arXiv 2601.20218), R_{t-1} - R_t: of rewards (N,T+1)
    or maps (N,T+1,h,w) of the images to which the ODE completes the latents, from the
    noise to the finished image, the gains (N,T, ...). `group_advantages` normalises each
    step by itself."""
    if rewards.dim() < 2 or rewards.shape[1] < 2:
        raise ValueError(f"rewards of shape {tuple(rewards.shape)}: those of two latents or more are wanted")
    rewards = rewards.to(compute_dtype(rewards))
    return rewards[:, 1:] - rewards[:, :-1]


def mask_advantages(advantages: Tensor, mask: Tensor, *, normalized: bool = False) -> Tensor:
    """A(l) = A M(l): the advantages (N) allocated by an external mask (N,h,w), at least 0,
    as STAR (arXiv 2606.17979) does by attention; ``normalized``, by M / mean(M), which
    keeps the mean of A(l) at A. Raises ValueError that names the sample for a mask that is
    negative, NaN or infinite or, normalized, 0 everywhere (not while torch.compile traces)."""
    _check_mask(mask, normalized)
    dtype = compute_dtype(advantages, mask)
    mask = mask.to(dtype)
    if normalized:
        mask = mask / mask.flatten(1).mean(1).reshape(-1, *([1] * (mask.dim() - 1)))
    return advantages.to(dtype).reshape(-1, *([1] * (mask.dim() - 1))) * mask


def noise_weights(noise_std: Tensor) -> Tensor:
    """TempFlow-GRPO's weights (arXiv 2508.04324, equation 8) of the steps that are trained,
    (T): their ``Step.noise_std`` over its mean. Index them by step for ``step_weights``."""
    return noise_std / noise_std.mean()


def smooth(maps: Tensor, kernel: int) -> Tensor:
    """Maps (N,h,w) convolved with a Gaussian of ``kernel`` locations, an even one counting
    as the next odd one and 0 as none, reflected at the border: BoxFlow-GRPO's smoothing."""
    half = kernel // 2
    if kernel < 0 or half >= maps.shape[1] or half >= maps.shape[2]:
        raise ValueError(f"a kernel of {kernel} for maps of shape {tuple(maps.shape[1:])}")
    maps = maps.to(compute_dtype(maps))
    if half == 0:
        return maps
    at = torch.arange(-half, half + 1, dtype=maps.dtype, device=maps.device)
    gauss = torch.exp(-0.5 * (at / ((2 * half + 1) / 3)) ** 2)
    gauss = gauss / gauss.sum()
    padded = torch.nn.functional.pad(maps[:, None], (half, half, half, half), mode="reflect")
    return torch.nn.functional.conv2d(torch.nn.functional.conv2d(padded, gauss.reshape(1, 1, -1, 1)), gauss.reshape(1, 1, 1, -1))[:, 0]


def dense_weight(heatmap: Tensor) -> Tensor:
    """1-H, the factor that DenseFlow-GRPO's published code puts on an image's advantage
    at each location. H is 1 where the image is flawed."""
    return 1 - heatmap.to(compute_dtype(heatmap))


def dense_reward(rewards: Tensor, heatmap: Tensor) -> Tensor:
    """R (1-H), the dense reward of DenseFlow-GRPO's paper: rewards (N), heatmap (N,h,w)."""
    dtype = compute_dtype(rewards, heatmap)
    return rewards.to(dtype).reshape(-1, *([1] * (heatmap.dim() - 1))) * (1 - heatmap.to(dtype))


def pool(heatmap: Tensor, size: Sequence[int]) -> Tensor:
    """Heatmaps (N,H,W) averaged to a grid of (h,w) cells, as the published scorer does."""
    height, width = size
    return torch.nn.functional.adaptive_avg_pool2d(heatmap[:, None].to(compute_dtype(heatmap)), (height, width))[:, 0]


def check_finite(rewards: Tensor) -> None:
    """Raises ValueError that names a reward which is NaN or infinite, or so large that the
    variance of so many overflows."""
    if is_compiling() or rewards.numel() == 0:
        return
    bound = math.sqrt(torch.finfo(compute_dtype(rewards)).max / (4 * rewards.shape[0]))
    wrong = _named(rewards, rewards.detach().abs() <= bound)
    if wrong:
        sample, value = wrong
        more = "" if not math.isfinite(value) else ", too large for the variance of its group"
        raise ValueError(f"reward of sample {sample} is {value}{more}")


def _check_mask(mask: Tensor, normalized: bool) -> None:
    if is_compiling() or mask.numel() == 0:
        return
    wrong = _named(mask, (mask >= 0) & torch.isfinite(mask))
    if wrong:
        raise ValueError(f"mask of sample {wrong[0]} is {wrong[1]}: at least 0 and finite is wanted")
    if normalized and (empty := _named(mask, (mask > 0).flatten(1).any(1))):
        raise ValueError(f"mask of sample {empty[0]} is 0 everywhere")


def _named(values: Tensor, good: Tensor) -> Optional[Tuple[int, float]]:
    """The first sample that is not good throughout, with its first such value."""
    if bool(good.all()):
        return None
    sample = int((~good).flatten(1).any(1).nonzero()[0]) if good.dim() > 1 else int((~good).nonzero()[0])
    row = values[sample].detach().flatten()
    return sample, float(row[~good[sample].flatten()][0] if good.shape == values.shape else row[0])
