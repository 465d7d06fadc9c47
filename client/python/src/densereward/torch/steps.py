"""Transitions x_t -> x_{t-1} and their log-probabilities, per image and per location.

Every method's mean is linear in what it starts from, ``sample_coef * sample +
output_coef * model_output``, with the model output v the velocity. Sources: Flow-GRPO
(arXiv 2505.05470) and Flow-CPS (2509.05952), as ``sd3_sde_with_logprob.py`` of
yifan123/flow_grpo and IamCreateAI/FlowCPS; the details that matter stand in the
documentation of package flowgrpo.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Optional, Sequence, Union

import torch
from torch import Tensor

from .layout import channel_dim, compute_dtype, image_mean, per_image, square_mean

# log(sqrt(2 pi)) as the public code has it, a float32 constant even for float64 latents.
LOG_SQRT_2PI = 0.9189385175704956


class Step(NamedTuple):
    """The transitions of a batch: one step of the schedule an image. All are (B)."""

    sigma: Tensor
    sigma_prev: Tensor  # of the next step, and the smaller
    std_dev: Tensor  # std_dev_t as the public code returns it
    noise_std: Tensor  # standard deviation of x_{t-1} about its mean
    sample_coef: Tensor
    output_coef: Tensor
    # The log-probability at distance d from the mean is log_norm - precision d^2, and
    # the KL term kl_scale times the mean square of the distance between two means.
    precision: Tensor
    log_norm: Tensor
    kl_scale: Tensor


Index = Union[int, Sequence[int], Tensor]


def sde_step(sigmas: Tensor, index: Index, noise_level: float = 0.7) -> Step:
    """Flow-GRPO's step of its stochastic differential equation,

        std_dev_t = a sqrt(sigma / (1-sigma))
        mean      = x (1 + std_dev_t^2/(2 sigma) dt) + v (1 + std_dev_t^2 (1-sigma)/(2 sigma)) dt
        x_{t-1}   ~ N(mean, std_dev_t^2 (-dt)),

    with ``index`` (B), or one for the whole batch, the step of the schedule ``sigmas``
    and ``noise_level`` a. At sigma 1 the 1-sigma below the root takes the second
    sigma. A step without noise has the log-probability -d^2, so that it is finite.
    """
    sigma, following, second = _ends(sigmas, index)
    _check_level(noise_level)
    dt = following - sigma
    below = 1 - torch.where(sigma == 1, second, sigma)
    std_dev = torch.sqrt(sigma / below) * noise_level
    noise_std = std_dev * torch.sqrt(torch.clamp(-dt, min=0))
    drift = noise_level * noise_level / (2 * below)
    noisy = noise_std > 0
    one = torch.ones_like(sigma)
    safe_noise, safe_dev = torch.where(noisy, noise_std, one), torch.where(noisy, std_dev, one)
    return Step(
        sigma,
        following,
        std_dev,
        noise_std,
        1 + drift * dt,
        (1 + drift * (1 - sigma)) * dt,
        torch.where(noisy, 1 / (2 * safe_noise * safe_noise), one),
        torch.where(noisy, -torch.log(safe_noise) - LOG_SQRT_2PI, torch.zeros_like(one)),
        torch.where(noisy, 1 / (2 * safe_dev * safe_dev), one),
    )


def cps_step(sigmas: Tensor, index: Index, noise_level: float = 0.7) -> Step:
    """Coefficients-Preserving Sampling: with x_0 = x - sigma v and x_1 = x + (1-sigma) v,

        std_dev_t = sigma_{t-1} sin(noise_level pi/2)
        mean      = (1-sigma_{t-1}) x_0 + sqrt(sigma_{t-1}^2 - std_dev_t^2) x_1
        x_{t-1}   ~ N(mean, std_dev_t^2).

    Constants are left out of its log-probability, which is -d^2, and of its KL term.
    """
    sigma, following, _ = _ends(sigmas, index)
    _check_level(noise_level)
    std_dev = following * math.sin(noise_level * math.pi / 2)
    noise = torch.sqrt(torch.clamp(following * following - std_dev * std_dev, min=0))
    return _plain(
        sigma,
        following,
        std_dev,
        (1 - following) + noise,
        noise * (1 - sigma) - sigma * (1 - following),
    )


def ode_step(sigmas: Tensor, index: Index) -> Step:
    """The deterministic Euler step, whose log-probability is -d^2."""
    sigma, following, _ = _ends(sigmas, index)
    return _plain(sigma, following, torch.zeros_like(sigma), torch.ones_like(sigma), following - sigma)


def step_mean(step: Step, model_output: Tensor, sample: Tensor) -> Tensor:
    """The mean of x_{t-1}, in the shape of the latents, float32 or float64."""
    channel_dim(sample)
    if model_output.shape != sample.shape or step.sigma.shape[0] not in (1, sample.shape[0]):
        raise ValueError(
            f"model output of shape {tuple(model_output.shape)} and {step.sigma.shape[0]} steps for latents of shape {tuple(sample.shape)}"
        )
    dtype = compute_dtype(model_output, sample)
    by_sample, by_output = per_image(step.sample_coef, sample, dtype), per_image(step.output_coef, sample, dtype)
    return by_sample * sample.to(dtype) + by_output * model_output.to(dtype)


def sample_step(step: Step, model_output: Tensor, sample: Tensor, generator: Optional[torch.Generator] = None) -> Tensor:
    """x_{t-1}, drawn: the mean plus noise, float32 or float64. A trainer that stores
    it in bfloat16 must score what it stored."""
    mean = step_mean(step, model_output, sample)
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    return mean + per_image(step.noise_std, mean, mean.dtype) * noise


def log_prob_map(step: Step, model_output: Tensor, sample: Tensor, prev_sample: Tensor) -> Tensor:
    """log p(l) of a given x_{t-1}, the mean over channels at each location: (B,H,W),
    or (B,L) of packed latents. Differentiable by the model output; x_{t-1} is data."""
    if prev_sample.shape != sample.shape:
        raise ValueError(f"prev_sample of shape {tuple(prev_sample.shape)} for latents of shape {tuple(sample.shape)}")
    dtype = compute_dtype(model_output, sample, prev_sample)
    d = prev_sample.detach().to(dtype) - step_mean(step, model_output.to(dtype), sample)
    square = square_mean(d)
    return per_image(step.log_norm, square, dtype) - per_image(step.precision, square, dtype) * square


def log_prob_map_about(mean: Tensor, prev_sample: Tensor, noise_std: Optional[Tensor] = None) -> Tensor:
    """`log_prob_map` for a trainer whose own step gives the mean: of x_{t-1} about it with
    ``noise_std`` (B), or (B,1,...), which for an SDE step is std_dev_t sqrt(-dt); -d^2
    without one, as CPS has it."""
    dtype = compute_dtype(mean, prev_sample)
    d = prev_sample.detach().to(dtype) - mean.to(dtype)
    square = square_mean(d)
    if noise_std is None:
        return -square
    std = per_image(noise_std, square, dtype)
    return -square / (2 * std * std) - torch.log(std) - LOG_SQRT_2PI


def log_prob(step: Step, model_output: Tensor, sample: Tensor, prev_sample: Tensor) -> Tensor:
    """log p of each image (B): the mean over channels and locations."""
    return image_mean(log_prob_map(step, model_output, sample, prev_sample))


def _plain(sigma: Tensor, following: Tensor, std_dev: Tensor, sample_coef: Tensor, output_coef: Tensor) -> Step:
    one = torch.ones_like(sigma)
    return Step(sigma, following, std_dev, std_dev.abs(), sample_coef, output_coef, one, torch.zeros_like(one), one)


def _ends(sigmas: Tensor, index: Index) -> "tuple[Tensor, Tensor, Tensor]":
    """sigma and sigma_prev of each image (B), and the schedule's second sigma."""
    wide = sigmas.to(torch.float32 if sigmas.device.type == "mps" else torch.float64)
    at = torch.as_tensor(index, device=wide.device).long().reshape(-1)
    return wide[at], wide[at + 1], wide[1]


def _check_level(noise_level: float) -> None:
    if not (noise_level >= 0 and math.isfinite(noise_level)):
        raise ValueError(f"noise level {noise_level} must be at least 0 and finite")
