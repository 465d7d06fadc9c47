"""Where the channels of latents are, and the types that numbers are computed in."""

from __future__ import annotations

import math
from typing import Optional

import torch
from torch import Tensor


def channel_dim(latents: Tensor) -> int:
    """The dimension of the channels: 1 of (B,C,H,W) and (B,C,T,H,W), the last of
    packed (B,L,D). All others are the batch and the locations, in the maps' order."""
    if latents.dim() < 3:
        raise ValueError(f"latents of shape {tuple(latents.shape)}: (B,C,H,W) or packed (B,L,D) is wanted")
    return 2 if latents.dim() == 3 else 1


def compute_dtype(*tensors: Optional[Tensor]) -> torch.dtype:
    """float64 where any tensor is, otherwise float32."""
    return torch.float64 if any(t is not None and t.dtype == torch.float64 for t in tensors) else torch.float32


def per_image(values: Tensor, like: Tensor, dtype: torch.dtype) -> Tensor:
    """(B) as (B,1,...), to meet a tensor of latents or a map."""
    return values.to(device=like.device, dtype=dtype).reshape(-1, *([1] * (like.dim() - 1)))


def image_mean(values: Tensor) -> Tensor:
    """The mean over all but the batch, (B)."""
    return values if values.dim() == 1 else values.flatten(1).mean(1)


def channel_mean(latents: Tensor) -> Tensor:
    """The mean over the channels: (B,H,W) or (B,L)."""
    return latents.mean(channel_dim(latents))


def hold_bound(dtype: torch.dtype) -> float:
    """The square beyond which `square_mean` holds: means and sums of so many of it as a
    batch has, times a step's precision, stay within the type."""
    return 2.0**640 if dtype == torch.float64 else 2.0**80


def square_mean(apart: Tensor) -> Tensor:
    """The mean of squares over the channels, (B,H,W) or (B,L). Where it passes
    `hold_bound` it is held there and its gradient is 0, so that finite latents, however
    large, give finite numbers without a look at them; one that is not finite gives NaN."""
    square = channel_mean(apart * apart)
    bound = hold_bound(square.dtype)
    return torch.where(square < bound, square, bound + not_finite(apart))


def not_finite(latents: Tensor) -> Tensor:
    """NaN where a channel is NaN or infinite and 0 elsewhere, without a gradient: (B,H,W) or (B,L)."""
    return 0 * channel_mean(latents.detach())


def product_mean(a: Tensor, b: Tensor) -> Tensor:
    """The mean of products over the channels, held like `square_mean`; 0 where products
    overflow to either side."""
    bound = hold_bound(a.dtype)
    product = torch.nan_to_num(channel_mean(a * b).clamp(-bound, bound), nan=0.0)
    return product + not_finite(a.detach() + b.detach())


def hold(values: Tensor) -> Tensor:
    """Values within what `square_mean` holds the square of; NaN for one that is not finite."""
    bound = math.sqrt(hold_bound(values.dtype))
    return values.clamp(-bound, bound) + 0 * values.detach()


def as_map(values: Tensor, like: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """Numbers of images (B) or locations in a form that meets the map ``like``. A map
    may be flat, (B,H*W), where the latents are not, and (B,h,w) where they are packed."""
    values = values.to(device=like.device, dtype=dtype)
    if values.dim() == 1 and values.shape[0] == like.shape[0]:
        return values.reshape(-1, *([1] * (like.dim() - 1)))
    if values.shape == like.shape:
        return values
    flat = values.dim() == 2 or like.dim() == 2
    if flat and values.dim() > 1 and values.shape[0] == like.shape[0] and values[0].numel() == like[0].numel():
        return values.reshape(like.shape)
    raise ValueError(f"{name} of shape {tuple(values.shape)} for maps of shape {tuple(like.shape)}")


def is_compiling() -> bool:
    """Whether torch.compile traces this: then nothing may look at values."""
    compiler = getattr(torch, "compiler", None)
    return bool(compiler is not None and compiler.is_compiling())
