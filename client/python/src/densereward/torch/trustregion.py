"""GRPO-Guard and Flow-DPPO: policy losses that replace the plain clip of the ratio.

Both compare with the mean under the policy that sampled, given by its velocity
``old_model_output`` or as ``old_mean``. With e = x_{t-1} - mean_old and delta = mean -
mean_old, log p - log p_old is precision mean(2 e delta - delta^2). ``ratio`` says whose
it is: "image", one for the image; "detached", the image's in value and local in
gradient; "direct", one for each location. An advantage map or a weight needs one of
the last two. Package flowgrpo/trustregion documents the sources.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

import torch
from torch import Tensor

from .layout import compute_dtype, image_mean, per_image, product_mean, square_mean
from .losses import Loss, clipped, exp_ratio, kl_loss, summarize, surrogate, weighted
from .steps import Step, step_mean


class Transition(NamedTuple):
    """What the losses are made of, in the type that all is computed in."""

    model_output: Tensor
    cross: Tensor  # mean over channels of e delta, of each location
    square: Tensor  # and of delta^2


def grpo_guard_loss(
    step: Step,
    model_output: Tensor,
    sample: Tensor,
    prev_sample: Tensor,
    advantages: Tensor,
    weight: Optional[Tensor] = None,
    *,
    old_model_output: Optional[Tensor] = None,
    old_mean: Optional[Tensor] = None,
    ratio: str = "image",
    clip_range: float = 2e-6,
    advantage_clip: float = 5.0,
    kl_beta: float = 0.0,
    ref_model_output: Optional[Tensor] = None,
    step_weights: Optional[Tensor] = None,
    unweighted: bool = False,
) -> Loss:
    """GRPO-Guard (arXiv 2510.22319): r = exp(s (log p - log p_old + mean(delta^2)/(2 s^2)))
    with s the step's noise_std, which is exp(mean(e delta) / s); clipped, and divided by
    -dt unless ``unweighted``. For SDE steps with noise alone."""
    moved = _transition(step, model_output, sample, prev_sample, old_model_output, old_mean, ref_model_output)
    exponent = moved.cross / per_image(step.noise_std, moved.cross, moved.cross.dtype)
    source, image, each = _ratios(exponent, ratio, advantages, weight)
    factor = None if unweighted else per_image(1 / (step.sigma - step.sigma_prev), each, each.dtype)
    policy = clipped(source, each, weighted(advantages, weight, step_weights, each, advantage_clip), clip_range, factor)
    kl = kl_loss(step, moved.model_output, ref_model_output, kl_beta)
    over = each if ratio == "direct" else image
    return summarize(policy, kl, kl_beta, image_mean(exponent), torch.zeros_like(image), over, over, clip_range)


def flow_dppo_loss(
    step: Step,
    model_output: Tensor,
    sample: Tensor,
    prev_sample: Tensor,
    advantages: Tensor,
    weight: Optional[Tensor] = None,
    *,
    old_model_output: Optional[Tensor] = None,
    old_mean: Optional[Tensor] = None,
    ratio: str = "image",
    threshold: float = 1e-5,
    kl_beta: float = 0.0,
    ref_model_output: Optional[Tensor] = None,
    step_weights: Optional[Tensor] = None,
    unscaled: bool = False,
) -> Loss:
    """Flow-DPPO (arXiv 2606.11025): -A w r, masked where the divergence of the two
    Gaussians, mean(delta^2) / (2 noise_std^2), has reached ``threshold`` and the ratio
    has moved with its advantage. ``unscaled`` leaves the noise out of the divergence.
    The clip fractions are the masked shares."""
    moved = _transition(step, model_output, sample, prev_sample, old_model_output, old_mean, ref_model_output)
    exponent = per_image(step.precision, moved.cross, moved.cross.dtype) * (2 * moved.cross - moved.square)
    source, image, each = _ratios(exponent, ratio, advantages, weight)
    square = moved.square.detach() if ratio == "direct" else per_image(image_mean(moved.square.detach()), each, each.dtype)
    noise = per_image(torch.where(step.noise_std > 0, step.noise_std, torch.ones_like(step.noise_std)), each, each.dtype)
    divergence = square / 2 if unscaled else square / (2 * noise * noise)
    scaled, far = weighted(advantages, weight, step_weights, each, 0.0), divergence >= threshold
    above, below = far & (scaled > 0) & (each > 1), far & (scaled < 0) & (each < 1)
    masked = above | below
    policy = surrogate(source, each, torch.where(masked, torch.zeros_like(scaled), -scaled * each), ~masked)
    kl = kl_loss(step, moved.model_output, ref_model_output, kl_beta)
    over = each if ratio == "direct" else image
    out = summarize(policy, kl, kl_beta, image_mean(exponent), torch.zeros_like(image), over, over, 0.0)
    high, low = above.to(each.dtype).mean(), below.to(each.dtype).mean()
    return out._replace(clip_frac=high + low, clip_frac_gt_one=high, clip_frac_lt_one=low)


def _transition(
    step: Step,
    model_output: Tensor,
    sample: Tensor,
    prev_sample: Tensor,
    old_model_output: Optional[Tensor],
    old_mean: Optional[Tensor],
    ref_model_output: Optional[Tensor],
) -> Transition:
    dtype = compute_dtype(model_output, sample, prev_sample, old_model_output, old_mean, ref_model_output)
    output = model_output.to(dtype)
    if (old_model_output is None) == (old_mean is None):
        raise ValueError("a trust region needs either old_model_output or old_mean")
    if old_model_output is not None:
        # The means are linear in the velocity: their difference is exact this way.
        old_output = old_model_output.detach().to(dtype)
        mean = step_mean(step, old_output, sample.to(dtype))
        delta = per_image(step.output_coef, output, dtype) * (output - old_output)
    else:
        assert old_mean is not None
        mean = old_mean.detach().to(dtype)
        delta = step_mean(step, output, sample.to(dtype)) - mean
    e = prev_sample.detach().to(dtype) - mean
    return Transition(output, product_mean(e, delta), square_mean(delta))


def _ratios(exponent: Tensor, ratio: str, advantages: Tensor, weight: Optional[Tensor]) -> "tuple[Tensor, Tensor, Tensor]":
    """The exponent that carries the gradient, the ratio of each image (B), and the ratio
    that the loss is taken of, (B) or a map."""
    mean = image_mean(exponent)
    image = exp_ratio(mean.detach())
    if ratio == "image":
        if weight is not None or advantages.dim() != 1:
            raise ValueError('an "image" ratio takes neither an advantage map nor a weight')
        return mean, image, image
    if ratio == "detached":
        return exponent, image, per_image(image, exponent, exponent.dtype).expand(exponent.shape)
    if ratio == "direct":
        return exponent, image, exp_ratio(exponent.detach())
    raise ValueError(f'ratio {ratio!r} is not one of "image", "detached" and "direct"')
