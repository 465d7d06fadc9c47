"""The mathematics of flow-model reinforcement learning as functions on torch tensors.

Schedules, SDE and CPS steps with log-probability maps, advantages, and the losses of
the methods that package flowgrpo has in Go; the numbers agree. Nothing here knows a
trainer, and the rest of the client needs no torch.

Latents are (B,C,H,W) or packed (B,L,D), on any device, in any floating type: float64
is computed in float64, all else in float32. Steps, advantages and maps may come from
another device. Maps are (B,H,W) or (B,L), in the order of
the latents; a flat (B,H*W) is taken too. Everything is differentiable by the model
output and traced by torch.compile without a graph break. Wrong shapes raise ValueError.
A float64 loss and its gradient agree with package flowgrpo's to 1e-12, a float32 one to
2e-5; of the same bfloat16 latents a loss is right to 2e-4, a gradient to one rounding,
2^-8. Nothing waits for a device to see whether numbers are finite: a mean square above
2^80 (float64: 2^640) counts as that and has no gradient, a ratio above 2^40 (2^320)
likewise, so that latents as large as 1e36 in float32 give finite losses and gradients.
Latents that are NaN or infinite give a loss of NaN; package flowgrpo has errors for both.

    from densereward import torch as flow

    sigmas = flow.shifted_sigmas(10, 3.0).to(latents.device)    # or scheduler.sigmas
    step = flow.sde_step(sigmas, index, noise_level=0.7)
    old = flow.log_prob_map(step, velocity, latents, next_latents)
    advantages = flow.group_advantages(rewards, prompts)
    out = flow.dense_flow_grpo_loss(step, velocity, latents, next_latents, old, advantages, weight)
    out.loss.backward()
"""

from .advantages import (
    Groups,
    Moments,
    box_advantages,
    dense_reward,
    dense_weight,
    gdpo_advantages,
    group_advantages,
    group_index,
    group_moments,
    mask_advantages,
    noise_weights,
    pool,
    smooth,
    step_gains,
)
from .forward import (
    MatchingLoss,
    NFTLoss,
    PreferenceLoss,
    awm_loss,
    diffusion_dpo_loss,
    diffusion_nft_loss,
    noised,
    velocity_target,
)
from .losses import Loss, box_flow_grpo_loss, dense_flow_grpo_loss, flow_grpo_loss
from .preferences import dpo_advantages, gardo_advantages, sft_advantages
from .schedules import dynamic_shift, dynamic_sigmas, shifted_sigmas, stretch
from .steps import Step, cps_step, log_prob, log_prob_map, log_prob_map_about, ode_step, sample_step, sde_step, step_mean
from .trustregion import flow_dppo_loss, grpo_guard_loss
from .window import Window

__all__ = [
    "Groups",
    "Loss",
    "MatchingLoss",
    "Moments",
    "NFTLoss",
    "PreferenceLoss",
    "Step",
    "Window",
    "awm_loss",
    "box_advantages",
    "box_flow_grpo_loss",
    "cps_step",
    "dense_flow_grpo_loss",
    "dense_reward",
    "dense_weight",
    "diffusion_dpo_loss",
    "diffusion_nft_loss",
    "dpo_advantages",
    "dynamic_shift",
    "dynamic_sigmas",
    "flow_dppo_loss",
    "flow_grpo_loss",
    "gardo_advantages",
    "gdpo_advantages",
    "group_advantages",
    "group_index",
    "group_moments",
    "grpo_guard_loss",
    "log_prob",
    "log_prob_map",
    "log_prob_map_about",
    "mask_advantages",
    "noise_weights",
    "noised",
    "ode_step",
    "pool",
    "sample_step",
    "sde_step",
    "sft_advantages",
    "shifted_sigmas",
    "smooth",
    "step_gains",
    "step_mean",
    "stretch",
    "velocity_target",
]
