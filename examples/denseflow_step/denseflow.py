"""The policy's side of DenseFlow-GRPO with numpy alone: one SDE step, its
log-probabilities per location, and the clipped loss with its gradient.

Arrays are float64: latents (B,C,h,w), maps (B,h,w), numbers per image (B). The
notation and the sources are those of package flowgrpo, whose test data check.py
holds this file to.
"""

from typing import NamedTuple, Optional

import numpy as np

# log(sqrt(2 pi)) as the public code has it: a float32 constant even for float64
# latents. It cancels in every ratio.
LOG_SQRT_2PI = float(np.log(np.sqrt(np.float32(2) * np.float32(np.pi))))

# Keeps the denominator of the detached ratio from zero, as in the public code.
EPSILON = 1e-10


def per_image(values):
    """(B) as (B,1,1,1), to meet latents."""
    return np.asarray(values, np.float64)[:, None, None, None]


class Step:
    """The transitions x_t -> x_{t-1} of a batch, one step of the schedule an image:

    mean = x (1 + s^2 dt / (2 sigma)) + v (1 + s^2 (1-sigma) / (2 sigma)) dt,
    s = sqrt(sigma / (1-sigma)) noise_level, noise s sqrt(-dt).
    """

    def __init__(self, sigmas, index, noise_level):
        sigmas = np.asarray(sigmas, np.float64)
        sigma, following = sigmas[np.asarray(index)], sigmas[np.asarray(index) + 1]
        dt = following - sigma
        # At sigma 1 the deviation would be infinite: the next sigma stands in.
        self.std_dev = np.sqrt(sigma / (1 - np.where(sigma == 1, sigmas[1], sigma))) * noise_level
        self.noise_std = self.std_dev * np.sqrt(-dt)
        self.sample_coef = 1 + self.std_dev**2 * dt / (2 * sigma)
        self.output_coef = (1 + self.std_dev**2 * (1 - sigma) / (2 * sigma)) * dt

    def mean(self, sample, output):
        return per_image(self.sample_coef) * sample + per_image(self.output_coef) * output

    def draw(self, sample, output, rng):
        """x_{t-1}, drawn."""
        return self.mean(sample, output) + per_image(self.noise_std) * rng.standard_normal(sample.shape)

    def log_prob(self, sample, output, previous):
        """log p(l) of a given x_{t-1}, (B,h,w): the mean over channels."""
        std = per_image(self.noise_std)
        density = -((previous - self.mean(sample, output)) ** 2) / (2 * std**2) - np.log(std) - LOG_SQRT_2PI
        return density.mean(axis=1)


class Outcome(NamedTuple):
    loss: float
    policy_loss: float
    kl_loss: float
    ratio: np.ndarray  # rho (B,h,w)
    gradient: np.ndarray  # of the loss by the model output, (B,C,h,w)


def loss(step, sample, previous, output, old_log_prob, advantages, weight=1.0, reference=None, clip=1e-4, beta=0.0, most=5.0):
    """The loss of a batch and its gradient with respect to the model output v:

        mean of max(-A w rho, -A w clamp(rho, 1-clip, 1+clip)) + beta KL

    ``advantages`` are (B), with weight 1-H, for the form published as code; or
    (B,h,w), from R(1-H), for the paper's. rho(l) is sg(r) p(l) / sg(p(l)), r the
    ratio of the whole image: the value is the image's, the gradient is local.
    """
    log_prob = step.log_prob(sample, output, previous)
    image_ratio = np.exp(log_prob.mean(axis=(1, 2)) - np.asarray(old_log_prob).mean(axis=(1, 2)))
    p = np.exp(log_prob)
    ratio = image_ratio[:, None, None] * p / (p + EPSILON)
    advantages = np.clip(np.asarray(advantages, np.float64), -most, most)
    if advantages.ndim == 1:
        advantages = advantages[:, None, None]
    scaled = advantages * weight
    unclipped, clipped = -scaled * ratio, -scaled * np.clip(ratio, 1 - clip, 1 + clip)
    policy_loss = np.maximum(unclipped, clipped).mean()

    # Outside the clip range only the unclipped arm has a gradient; inside both do.
    inside = (ratio >= 1 - clip) & (ratio <= 1 + clip)
    slope = np.where(inside | (unclipped > clipped), -scaled, 0.0) * ratio / ratio.size  # by log p(l): d rho / d log p = rho
    distance = previous - step.mean(sample, output)
    by_mean = slope[:, None] * distance / (per_image(step.noise_std) ** 2 * sample.shape[1])
    gradient = by_mean * per_image(step.output_coef)
    kl_loss = 0.0
    if reference is not None:
        apart = per_image(step.output_coef) * (output - reference)
        variance = 2 * per_image(step.std_dev) ** 2
        kl_loss = float((apart**2 / variance).mean())
        gradient = gradient + beta * 2 * apart / variance / apart.size * per_image(step.output_coef)
    return Outcome(float(policy_loss + beta * kl_loss), float(policy_loss), kl_loss, ratio, gradient)


def map_advantages(rewards, groups, global_std=False):
    """The paper's advantages: dense rewards (N,h,w) normalised at each location over
    the samples of a group, population deviation + 1e-4."""
    rewards = np.asarray(rewards, np.float64)
    advantages = np.zeros_like(rewards)
    for name in set(groups):
        members = [i for i, g in enumerate(groups) if g == name]
        group = rewards[members]
        std = rewards.std() if global_std else group.std(axis=0)
        advantages[members] = (group - group.mean(axis=0)) / (std + 1e-4)
    return advantages


def schedule(steps, shift: Optional[float] = 3.0):
    """Sigmas (steps+1) of SD3's scheduler, from 1 to 0. diffusers shifts twice: its
    constructor's smallest sigma bounds the timesteps, which are shifted again."""

    def shifted(sigma):
        return shift * sigma / (1 + (shift - 1) * sigma)

    return np.append(shifted(np.linspace(1.0, shifted(1 / 1000), steps)), 0.0)
