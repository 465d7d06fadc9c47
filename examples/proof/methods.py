"""The methods: what each makes of a group's rewards and heat, and which of `densereward.torch`'s losses it minimises.

All see the same R, and H of the same kind; they differ in where credit goes.
"""

from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F

import world
from densereward import torch as flow

# What the local term of `local` weighs against the image's own advantage, which has a deviation of 1.
LOCAL = 1.0
# `mask`: what a place without heat keeps of the advantage.
FLOOR = 0.1

# Each method's heat: of both maps, of the artifact map, or of the boxes of mode think.
HEAT = {
    "scalar": "both", "guard": "both", "denseflow": "both", "denseflow_paper": "both", "boxflow": "boxes",
    "local": "artifact", "factored": "artifact", "mask": "artifact", "shuffled": "artifact",
}
METHODS = list(HEAT)
TERM = ("local", "factored", "shuffled")  # methods with a local term


class Variant(NamedTuple):
    """A method with its heat changed, for ablations: written `local:weight=2:coarse=8:noise=0.5`."""

    name: str
    method: str
    weight: float = LOCAL  # of the local term
    coarse: int = 1  # heat is the mean of squares of so many locations a side
    noise: float = 0.0  # added to heat, in units of its deviation
    fade: int = 0  # the local term falls to nothing within so many updates; 0: it stays

    def after(self, updates):
        """The variant when it has made so many updates."""
        return self._replace(weight=self.weight * max(0.0, 1 - updates / self.fade)) if self.fade else self

    def changed(self, heat, generator):
        """heat (N,64,64) as the variant sees it."""
        if self.coarse > 1:
            heat = F.interpolate(F.avg_pool2d(heat[:, None], self.coarse), scale_factor=self.coarse)[:, 0]
        if self.noise:
            heat = heat + self.noise * heat.std() * torch.randn(heat.shape, generator=generator, device=heat.device)
        return heat.clamp(0, 1)


def parse(text):
    """The Variant that text names; ValueError says what it may be."""
    method, *options = text.split(":")
    given = dict(option.partition("=")[::2] for option in options)
    kinds = {"weight": float, "coarse": int, "noise": float, "fade": int}
    if method not in METHODS or not set(given) <= set(kinds):
        raise ValueError(f"{text}: want one of {', '.join(METHODS)}, and after colons {', '.join(kinds)}, each with = and a number")
    found = {k: kinds[k](v) for k, v in given.items()}
    if {"weight", "fade"} & set(given) and method not in TERM:
        raise ValueError(f"{text}: weight and fade belong to {', '.join(TERM)}")
    if found.get("coarse", 1) < 1 or world.SIDE % found.get("coarse", 1):
        raise ValueError(f"{text}: coarse has to divide {world.SIDE}")
    return Variant(text, method, **found)


class Credit(NamedTuple):
    """Advantages (N) or (N,64,64), and a weight (N,64,64) on them."""

    advantages: torch.Tensor
    weight: Optional[torch.Tensor] = None

    def rows(self, at):
        return Credit(self.advantages[at], None if self.weight is None else self.weight[at])


def credit(variant, rewards, heat, groups, generator, alignment=None):
    """rewards and alignment (N), heat (N,64,64), groups (N) numbers; variant may be a method's name. Only `factored` wants alignment."""
    if isinstance(variant, str):
        variant = parse(variant)
    method, heat = variant.method, variant.changed(heat, generator)
    scalar = flow.group_advantages(rewards, groups)
    if method in ("scalar", "guard"):
        return Credit(scalar)
    if method == "denseflow":
        return Credit(scalar, flow.dense_weight(heat))
    if method == "denseflow_paper":
        return Credit(flow.group_advantages(flow.dense_reward(rewards, heat), groups))
    if method == "boxflow":
        return Credit(flow.box_advantages(rewards[:, None, None] - heat, groups))
    if method == "mask":
        return Credit(flow.mask_advantages(scalar, heat + FLOOR, normalized=True))
    if method == "shuffled":
        heat = heat[deal(groups, generator)]
    elif method == "factored":  # R is a product: what heat tells of the other factor is not told twice
        scalar = flow.group_advantages(alignment, groups)
    elif method != "local":
        raise ValueError(f"no method {method!r}")
    centred = heat - flow.group_moments(heat, groups).mean[groups]
    centred = centred / centred.square().mean().sqrt().clamp(min=1e-4)
    return Credit(scalar[:, None, None] - variant.weight * centred)


def deal(groups, generator):
    """A permutation of samples that keeps every one in its group: whose map each gets."""
    order = torch.rand(len(groups), generator=generator, device=groups.device)
    to = torch.argsort(groups + order)
    here = torch.argsort(groups, stable=True)
    out = torch.empty_like(to)
    out[here] = to
    return out


def loss(method, step, output, sample, following, old_output, given, **options):
    """The method's Loss of one stochastic step; old_output is the velocity that drew it."""
    if method == "guard":
        options.pop("clip_range")  # its own is on another ratio
        return flow.grpo_guard_loss(step, output, sample, following, given.advantages, old_model_output=old_output, **options)
    old = flow.log_prob_map(step, old_output, sample, following)
    if method == "scalar":
        return flow.flow_grpo_loss(step, output, sample, following, old, given.advantages, **options)
    form = flow.box_flow_grpo_loss if method == "boxflow" else flow.dense_flow_grpo_loss
    return form(step, output, sample, following, old, given.advantages, given.weight, **options)
