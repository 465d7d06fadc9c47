"""Losses on the forward process: DiffusionNFT, AWM and Diffusion-DPO.

Images are noised anew, x_t = (1-t) x_0 + t eps (`noised`), and the velocity v that the
model gives for x_t is compared with ``target`` = eps - x_0 (`velocity_target`). ``sigma``
(B) is t, above 0 and at most 1. Package flowgrpo/forward documents the sources.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

import torch
from torch import Tensor

from .layout import as_map, compute_dtype, hold, image_mean, per_image, square_mean
from .losses import clipped, exp_ratio, weighted


class NFTLoss(NamedTuple):
    """0-d numbers, of which only ``loss`` has a gradient; so with the others here."""

    loss: Tensor
    policy_loss: Tensor
    kl: Tensor  # mean of (v - v_ref)^2, without beta
    positive_loss: Tensor
    negative_loss: Tensor


class MatchingLoss(NamedTuple):
    loss: Tensor
    policy_loss: Tensor
    kl: Tensor
    ratio_mean: Tensor  # of images; of locations with a "direct" ratio
    clip_frac: Tensor


class PreferenceLoss(NamedTuple):
    loss: Tensor
    accuracy: Tensor  # the share of pairs that the policy orders as they were preferred
    margin: Tensor  # the mean implicit reward by which it does


def noised(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """x_t = (1-t) x_0 + t eps, float32 or float64."""
    dtype = compute_dtype(clean, noise)
    t = per_image(sigma, clean, dtype)
    return (1 - t) * clean.to(dtype) + t * noise.to(dtype)


def velocity_target(clean: Tensor, noise: Tensor) -> Tensor:
    """eps - x_0, float32 or float64."""
    dtype = compute_dtype(clean, noise)
    return noise.to(dtype) - clean.to(dtype)


def diffusion_nft_loss(
    sigma: Tensor,
    target: Tensor,
    model_output: Tensor,
    old_model_output: Tensor,
    advantages: Tensor,
    weight: Optional[Tensor] = None,
    *,
    beta: float = 1.0,
    advantage_clip: float = 5.0,
    kl_beta: float = 0.0,
    ref_model_output: Optional[Tensor] = None,
    step_weights: Optional[Tensor] = None,
) -> NFTLoss:
    """DiffusionNFT (arXiv 2509.16117): with r = clamp(A w / (2 advantage_clip) + 1/2, 0, 1),
    v+ = beta v + (1-beta) v_old and v- = (1+beta) v_old - beta v,

        advantage_clip/beta mean of (r |x+ - x_0|^2 / c+ + (1-r) |x- - x_0|^2 / c-),

    x = x_t - t v the image that a velocity predicts, and c an image's mean |x - x_0|,
    at least 1e-5 and without a gradient. Of a map, r is that of the location."""
    if not (beta > 0 and advantage_clip > 0):
        raise ValueError(f"beta {beta} and advantage_clip {advantage_clip} must be positive")
    dtype = compute_dtype(target, model_output, old_model_output, ref_model_output)
    v, old, u = hold(model_output.to(dtype)), hold(old_model_output.detach().to(dtype)), hold(target.detach().to(dtype))
    t = per_image(sigma, v, dtype)
    plus, minus = t * (u - (beta * v + (1 - beta) * old)), t * (u - ((1 + beta) * old - beta * v))
    positive, negative = _adaptive(plus), _adaptive(minus)
    r = (weighted(advantages, weight, step_weights, positive, advantage_clip) / advantage_clip / 2 + 0.5).clamp(0, 1)
    policy = ((r * positive + (1 - r) * negative) / beta * advantage_clip).mean()
    loss, kl = _with_kl(policy, v, ref_model_output, kl_beta)
    return NFTLoss(loss, policy.detach(), kl, positive.detach().mean(), negative.detach().mean())


def awm_loss(
    sigma: Tensor,
    target: Tensor,
    model_output: Tensor,
    old_model_output: Optional[Tensor],
    advantages: Tensor,
    weight: Optional[Tensor] = None,
    *,
    weighting: str = "Uniform",
    ghuber_power: float = 0.25,
    ratio: str = "image",
    clip_range: float = 1e-4,
    advantage_clip: float = 5.0,
    kl_beta: float = 0.0,
    ref_model_output: Optional[Tensor] = None,
    step_weights: Optional[Tensor] = None,
) -> MatchingLoss:
    """Advantage Weighted Matching (arXiv 2509.25050): the clipped loss with log p =
    -weighted(mean((target - v)^2)). ``weighting`` is "Uniform", "t", "t**2", "huber" or
    "ghuber", ``ratio`` "image", "detached" or "direct"; the Huber weightings have an
    image's ratio alone. Without ``old_model_output`` every ratio is 1."""
    dtype = compute_dtype(target, model_output, old_model_output, ref_model_output)
    v, u = model_output.to(dtype), target.detach().to(dtype)
    errors = square_mean(u - v)
    if old_model_output is None:
        old_errors = errors.detach()
    else:
        apart = u - old_model_output.detach().to(dtype)
        old_errors = square_mean(apart)
    linear = weighting in ("Uniform", "t", "t**2")
    if ratio not in ("image", "detached", "direct") or (ratio != "image" and not linear):
        raise ValueError(f"ratio {ratio!r} with weighting {weighting!r}")
    if ratio == "image" and (weight is not None or advantages.dim() != 1):
        raise ValueError('an "image" ratio takes neither an advantage map nor a weight')
    source, old_logs = (_matching_log_prob(image_mean(e), sigma, weighting, ghuber_power) for e in (errors, old_errors))
    image = each = exp_ratio(source.detach() - old_logs)
    if ratio != "image":
        source, old_logs = (_matching_log_prob(e, sigma, weighting, ghuber_power) for e in (errors, old_errors))
        each = exp_ratio(source.detach() - old_logs) if ratio == "direct" else per_image(image, source, dtype).expand(source.shape)
    policy = clipped(source, each, weighted(advantages, weight, step_weights, each, advantage_clip), clip_range)
    loss, kl = _with_kl(policy, v, ref_model_output, kl_beta)
    over = each if ratio == "direct" else image
    return MatchingLoss(loss, policy.detach(), kl, over.mean(), ((over - 1).abs() > clip_range).to(dtype).mean())


def diffusion_dpo_loss(
    chosen_target: Tensor,
    rejected_target: Tensor,
    chosen_output: Tensor,
    rejected_output: Tensor,
    chosen_ref_output: Tensor,
    rejected_ref_output: Tensor,
    chosen_weight: Optional[Tensor] = None,
    rejected_weight: Optional[Tensor] = None,
    *,
    beta: float = 2000.0,
) -> PreferenceLoss:
    """Diffusion-DPO (arXiv 2311.12908) of pairs, each noised to one level with one noise:
    the mean of -log sigmoid(-beta/2 ((E_w - E_w,ref) - (E_l - E_l,ref))), E the mean of w
    (target - v)^2 with w the weight of each location, 1 without one."""
    win = _advance(chosen_target, chosen_output, chosen_ref_output, chosen_weight)
    lose = _advance(rejected_target, rejected_output, rejected_ref_output, rejected_weight)
    inside = -0.5 * beta * (win - lose)
    frozen = inside.detach()
    return PreferenceLoss(-torch.nn.functional.logsigmoid(inside).mean(), (frozen > 0).to(frozen.dtype).mean(), frozen.mean())


def _adaptive(apart: Tensor) -> Tensor:
    """Square errors of locations over their image's mean absolute error."""
    scale = image_mean(apart.detach().abs()).clamp(min=1e-5)
    square = square_mean(apart)
    return square / per_image(scale, square, square.dtype)


def _matching_log_prob(errors: Tensor, sigma: Tensor, weighting: str, power: float) -> Tensor:
    t, eps = per_image(sigma, errors, errors.dtype), 1e-10
    if weighting == "Uniform":
        return -errors
    if weighting == "t":
        return -t * errors
    if weighting == "t**2":
        return -t * t * errors
    if weighting == "huber":
        root: Tensor = torch.sqrt(errors + eps) - eps**0.5
        return -t * root
    if weighting == "ghuber":
        raised: Tensor = torch.pow(errors + eps, power) - eps**power
        return -t * raised / power
    raise ValueError(f"unknown weighting {weighting!r}")


def _advance(target: Tensor, output: Tensor, ref_output: Tensor, weight: Optional[Tensor]) -> Tensor:
    """How much larger the policy's error is than the reference's, (B)."""
    dtype = compute_dtype(target, output, ref_output)
    u = target.detach().to(dtype)
    apart, ref_apart = u - output.to(dtype), u - ref_output.detach().to(dtype)
    errors = square_mean(apart) - square_mean(ref_apart)
    if weight is not None:
        errors = errors * as_map(weight.detach(), errors, dtype, "weight")
    return image_mean(errors)


def _with_kl(policy: Tensor, v: Tensor, ref_model_output: Optional[Tensor], kl_beta: float) -> "tuple[Tensor, Tensor]":
    if ref_model_output is None:
        if kl_beta != 0:
            raise ValueError("a kl_beta without a ref_model_output")
        return policy, torch.zeros_like(policy.detach())
    apart = v - ref_model_output.detach().to(v.dtype)
    kl = image_mean(square_mean(apart)).mean()
    return (policy + kl_beta * kl if kl_beta != 0 else policy), kl.detach()
