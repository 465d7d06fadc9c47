"""The clipped policy-gradient losses of Flow-GRPO, DenseFlow-GRPO and BoxFlow-GRPO.

All are

    mean over images and locations of max(-A w rho, -A w clamp(rho, 1-clip, 1+clip)) + beta KL

and differ in the ratio rho: the image's r = exp(log p - log p_old) (Flow-GRPO); sg(r)
p(l) / (sg(p(l)) + 1e-10), r in value and local in gradient (DenseFlow-GRPO); exp(log
p(l) - log p_old(l)) (BoxFlow-GRPO). Papers: arXiv 2505.05470, 2510.01010 and 2606.06113.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor

from .layout import as_map, compute_dtype, hold, hold_bound, image_mean, per_image, square_mean
from .steps import Step, log_prob_map

# Keeps the detached ratio's denominator from zero, as in the public code.
DETACHED_EPSILON = 1e-10


class Loss(NamedTuple):
    """A loss with what a trainer logs of it, all 0-d. Only ``loss`` has a gradient."""

    loss: Tensor
    policy_loss: Tensor
    kl: Tensor  # without beta
    approx_kl: Tensor  # half the mean square of log p - log p_old
    clip_frac: Tensor  # of images; of locations for BoxFlow-GRPO
    clip_frac_gt_one: Tensor
    clip_frac_lt_one: Tensor
    ratio_mean: Tensor  # of images for Flow-GRPO, otherwise of locations
    ratio_std: Tensor  # the sample's, 0 for a single ratio
    ratio_min: Tensor
    ratio_max: Tensor


def flow_grpo_loss(
    step: Step,
    model_output: Tensor,
    sample: Tensor,
    prev_sample: Tensor,
    old_log_prob: Tensor,
    advantages: Tensor,
    *,
    clip_range: float = 1e-4,
    advantage_clip: float = 5.0,
    kl_beta: float = 0.0,
    ref_model_output: Optional[Tensor] = None,
    step_weights: Optional[Tensor] = None,
) -> Loss:
    """Flow-GRPO: ``advantages`` (B); ``old_log_prob`` (B), or the map of which it is the
    mean. ``advantage_clip`` bounds |A|, 0 for no bound; ``step_weights`` (B) multiply what
    it leaves, as `noise_weights` gives them."""
    model_output = widen(model_output, sample, prev_sample, ref_model_output)
    log_prob = image_mean(log_prob_map(step, model_output, sample, prev_sample))
    if advantages.dim() != 1:
        raise ValueError(f"advantages of shape {tuple(advantages.shape)}: Flow-GRPO takes one an image")
    old = image_mean(old_log_prob.detach().to(log_prob))
    ratio = exp_ratio(log_prob.detach() - old)
    policy = clipped(log_prob, ratio, weighted(advantages, None, step_weights, log_prob, advantage_clip), clip_range)
    return summarize(policy, kl_loss(step, model_output, ref_model_output, kl_beta), kl_beta, log_prob, old, ratio, ratio, clip_range)


def dense_flow_grpo_loss(
    step: Step,
    model_output: Tensor,
    sample: Tensor,
    prev_sample: Tensor,
    old_log_prob: Tensor,
    advantages: Tensor,
    weight: Optional[Tensor] = None,
    *,
    clip_range: float = 1e-4,
    advantage_clip: float = 5.0,
    kl_beta: float = 0.0,
    ref_model_output: Optional[Tensor] = None,
    step_weights: Optional[Tensor] = None,
) -> Loss:
    """DenseFlow-GRPO. With ``advantages`` (B) and ``weight`` 1-H (B,H,W) it is the form
    published as code; with an advantage map from R(1-H) that of the paper. Maps may be
    flat, (B,H*W). With neither it is Flow-GRPO, to 1e-10."""
    model_output = widen(model_output, sample, prev_sample, ref_model_output)
    logs = log_prob_map(step, model_output, sample, prev_sample)
    log_prob = image_mean(logs)
    old = image_mean(old_log_prob.detach().to(logs))
    image_ratio = exp_ratio(log_prob.detach() - old)
    # r p/(p+eps), written so that no p overflows.
    ratio = per_image(image_ratio, logs, logs.dtype) / (1 + DETACHED_EPSILON * torch.exp(-logs.detach()))
    policy = clipped(logs, ratio, weighted(advantages, weight, step_weights, logs, advantage_clip), clip_range)
    return summarize(policy, kl_loss(step, model_output, ref_model_output, kl_beta), kl_beta, log_prob, old, image_ratio, ratio, clip_range)


def box_flow_grpo_loss(
    step: Step,
    model_output: Tensor,
    sample: Tensor,
    prev_sample: Tensor,
    old_log_prob_map: Tensor,
    advantages: Tensor,
    weight: Optional[Tensor] = None,
    *,
    clip_range: float = 1e-4,
    advantage_clip: float = 0.0,
    kl_beta: float = 0.0,
    ref_model_output: Optional[Tensor] = None,
    step_weights: Optional[Tensor] = None,
) -> Loss:
    """BoxFlow-GRPO: an advantage map (B,H,W), or advantages (B), and the old
    log-probabilities of locations. It clips no advantages."""
    model_output = widen(model_output, sample, prev_sample, ref_model_output)
    logs = log_prob_map(step, model_output, sample, prev_sample)
    log_prob = image_mean(logs)
    old_logs = as_map(old_log_prob_map.detach(), logs, logs.dtype, "old_log_prob_map")
    if old_logs.shape != logs.shape:
        raise ValueError("box_flow_grpo_loss needs the old log-probabilities of locations, not of images")
    ratio = exp_ratio(logs.detach() - old_logs)
    policy = clipped(logs, ratio, weighted(advantages, weight, step_weights, logs, advantage_clip), clip_range)
    return summarize(policy, kl_loss(step, model_output, ref_model_output, kl_beta), kl_beta, log_prob, image_mean(old_logs), ratio, ratio, clip_range)


def widen(model_output: Tensor, *others: Optional[Tensor]) -> Tensor:
    """The model output in the type that all is computed in. It is converted once, so
    that the terms of its gradient are added up before they are rounded."""
    return model_output.to(compute_dtype(model_output, *others))


def largest_exponent(dtype: torch.dtype) -> float:
    return math.log(hold_bound(dtype)) / 2


def exp_ratio(log_ratio: Tensor) -> Tensor:
    """exp, held where its square is what `square_mean` holds, and its gradient ends: of
    finite log-probabilities a loss may be absurdly large but is never NaN."""
    return torch.exp(torch.clamp(log_ratio, max=largest_exponent(log_ratio.dtype)))


class _Sloped(torch.autograd.Function):  # type: ignore[misc]
    """A value whose gradient by ``exponent`` is ``slope``. It keeps one tensor for the
    backward pass where autograd, going through a ratio and its clip, would keep six."""

    @staticmethod
    def forward(ctx: Any, exponent: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> "tuple[Tensor, None, None]":
        (slope,) = ctx.saved_tensors
        return grad * slope, None, None


def surrogate(exponent: Tensor, ratio: Tensor, losses: Tensor, alive: Tensor) -> Tensor:
    """The mean of ``losses``, which are -A w rho times a constant where ``alive``, and
    constant elsewhere. rho, which ``ratio`` holds, is its own derivative by the exponent
    in every form."""
    held = 0.999 * math.exp(largest_exponent(ratio.dtype))  # below what `exp_ratio` holds, however that rounds
    slope = torch.where(alive & (ratio < held), losses, torch.zeros_like(losses)) / losses.numel()
    value: Tensor = _Sloped.apply(exponent, losses.mean(), slope)
    return value


def clamp_advantages(advantages: Tensor, bound: float) -> Tensor:
    """|A| at most bound, unless that is 0."""
    advantages = advantages.detach()
    return advantages if bound == 0 else advantages.clamp(-bound, bound)


def weighted(advantages: Tensor, weight: Optional[Tensor], step_weights: Optional[Tensor], like: Tensor, bound: float) -> Tensor:
    """A w in a form that meets the map, or the numbers of images, ``like``: the bound is
    on A alone."""
    scaled = clamp_advantages(as_map(advantages, like, like.dtype, "advantages"), bound)
    for name, factor in (("weight", weight), ("step_weights", step_weights)):
        if factor is not None:
            scaled = scaled * as_map(factor.detach(), like, like.dtype, name)
    return scaled


def clipped(exponent: Tensor, ratio: Tensor, scaled: Tensor, clip_range: float, factor: Optional[Tensor] = None) -> Tensor:
    """The mean of max(-A w rho, -A w clamp(rho)), times ``factor``. Inside the clip range
    both arms carry the gradient; outside, the unclipped one does where it is larger."""
    low, high = 1 - clip_range, 1 + clip_range
    free, bounded = -scaled * ratio, -scaled * ratio.clamp(low, high)
    losses = torch.maximum(free, bounded)
    if factor is not None:
        losses = losses * factor
    return surrogate(exponent, ratio, losses, ((ratio >= low) & (ratio <= high)) | (free > bounded))


def kl_loss(step: Step, model_output: Tensor, ref_model_output: Optional[Tensor], kl_beta: float) -> Tensor:
    """The mean square of the distance between the means of x_{t-1} under the policy and
    the reference, over 2 std_dev_t^2 for an SDE step. The means differ by output_coef
    (v - v_ref)."""
    if ref_model_output is None:
        if kl_beta != 0:
            raise ValueError("a kl_beta without a ref_model_output")
        return torch.zeros((), dtype=compute_dtype(model_output), device=model_output.device)
    dtype = compute_dtype(model_output, ref_model_output)
    apart = model_output.to(dtype) - ref_model_output.detach().to(dtype)
    return (image_mean(square_mean(apart)) * (step.kl_scale * step.output_coef * step.output_coef).to(apart)).mean()


def summarize(
    policy: Tensor, kl: Tensor, kl_beta: float, log_prob: Tensor, old: Tensor, clip_ratio: Tensor, ratio: Tensor, clip_range: float
) -> Loss:
    """The loss with its diagnostics: fractions over clip_ratio, statistics of ratio."""
    loss = policy + kl_beta * kl if kl_beta != 0 else policy
    change = hold((log_prob - old).detach())
    over, ratio = clip_ratio.detach() - 1, ratio.detach()
    above, below = (over > clip_range).to(over.dtype).mean(), (-over > clip_range).to(over.dtype).mean()
    std = ratio.std() if ratio.numel() > 1 else torch.zeros_like(above)
    return Loss(
        loss,
        policy.detach(),
        kl.detach(),
        0.5 * (change * change).mean(),
        above + below,
        above,
        below,
        ratio.mean(),
        std,
        ratio.min(),
        ratio.max(),
    )
