"""Noise schedules, as diffusers' FlowMatchEulerDiscreteScheduler sets them up.

A schedule is its sigmas, float32 (n+1) on the CPU, from 1 (pure noise) to 0 (the
image); its timesteps are ``1000 * sigmas[:-1]``. The values equal diffusers' and
package flowgrpo's to the bit, since a trainer finds a step by comparing timesteps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TRAIN_TIMESTEPS = 1000  # num_train_timesteps of every published flow model


def shifted_sigmas(steps: int, shift: float = 3.0) -> Tensor:
    """The schedule of n steps with a fixed shift: 3 for Stable Diffusion 3, 1 for none.

    diffusers shifts twice: the constructor's largest and smallest sigma, shifted once,
    bound the timesteps, whose sigmas are shifted again.
    """
    _check_steps(steps)
    if not (shift > 0 and math.isfinite(shift)):
        raise ValueError(f"shift {shift} must be positive and finite")
    ends = torch.tensor([1.0, 1 / TRAIN_TIMESTEPS], dtype=torch.float32)
    ends[1] = torch.tensor(1.0, dtype=torch.float32) / TRAIN_TIMESTEPS
    ends = shift * ends / (1 + (shift - 1) * ends)
    sigmas = _linspace(float(ends[0]) * TRAIN_TIMESTEPS, float(ends[1]) * TRAIN_TIMESTEPS, steps) / TRAIN_TIMESTEPS
    return _ended((shift * sigmas / (1 + (shift - 1) * sigmas)).float())


def dynamic_sigmas(steps: int, mu: float) -> Tensor:
    """The schedule of n steps from sigma 1 to 1/n with the exponential time shift mu,
    as the pipelines of FLUX and Qwen-Image ask for it. `dynamic_shift` gives mu."""
    _check_steps(steps)
    if not math.isfinite(mu):
        raise ValueError(f"mu {mu} must be finite")
    shift = torch.tensor(math.exp(mu), dtype=torch.float32)
    sigmas = _linspace(1.0, 1 / steps, steps).float()
    return _ended(shift / (shift + (1 / sigmas - 1)))


def dynamic_shift(
    image_seq_len: int, base_seq_len: int = 256, max_seq_len: int = 4096, base_shift: float = 0.5, max_shift: float = 1.15
) -> float:
    """mu for an image of the given number of packed tokens. The defaults are FLUX.1's;
    Qwen-Image has ``max_seq_len=8192, max_shift=0.9`` and stretches to 0.02."""
    slope = (max_shift - base_shift) / (max_seq_len - base_seq_len)
    return image_seq_len * slope + (base_shift - slope * base_seq_len)


def stretch(sigmas: Tensor, terminal: float) -> Tensor:
    """The schedule stretched so that its last sigma before 0 is terminal, the
    scheduler's shift_terminal."""
    if not 0 <= terminal < 1 or len(sigmas) < 3:
        raise ValueError(f"cannot stretch a schedule of {len(sigmas) - 1} steps to end in {terminal}")
    inner = sigmas[:-1].float()
    scale = (1 - inner[-1]) / torch.tensor(1 - terminal, dtype=torch.float32)
    return _ended(1 - (1 - inner) / scale)


def _linspace(start: float, stop: float, n: int) -> Tensor:
    """numpy's: float64 (n), the last of which is exactly stop."""
    if n == 1:
        return torch.tensor([start], dtype=torch.float64)
    values = torch.arange(n, dtype=torch.float64) * ((stop - start) / (n - 1)) + start
    values[-1] = stop
    return values


def _ended(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, torch.zeros(1)])


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"a schedule of {steps} steps")
