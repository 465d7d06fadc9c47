"""What training minimises."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

import probes as P
from model import IMAGE_TOKENS


@dataclass
class Weights:
    """The weights of the terms."""
    think: float = 1.5  # cross-entropy of think mode, that of answer mode is 1
    expected: float = 4.0  # squared error of the expected tenth
    mention: float = 1.0
    claim: float = 1.0
    early: float = 0.2
    appraisal: float = 1.0
    coarse: float = 2.0
    heat: float = 8.0  # binary cross-entropy of heatmaps
    direction: float = 1.0
    overlap: float = 0.5  # 1 - Dice of heatmaps with heat: small flaws count as much as large ones
    patches: float = 0.5
    background: float = 0.3


def text_loss(net, digits, hidden, batch):
    """Cross-entropy and expected tenths of one mode. hidden (N,K,L,C); batch holds ids, weight, tenths, scores (N,K,...)."""
    logits = net.logits(hidden[:, :, :-1]).float()
    ce = F.cross_entropy(logits.flatten(0, 2), batch["ids"][:, :, 1:].flatten(), reduction="none")
    weight = batch["weight"][:, :, :-1]
    ce = (ce.view_as(weight) * weight).sum() / weight.sum()
    at = batch["tenths"]
    states = hidden.gather(2, at[..., None].expand(-1, -1, -1, hidden.shape[-1]))
    tenth = (states @ net.model.embed_tokens.weight[digits].T).float().softmax(-1)
    expected = (tenth * (torch.arange(10, device=at.device) / 10 + 0.05)).sum(-1)
    below = (batch["scores"] < 0.995).float()  # the tenth of 1.00 says nothing
    squared = ((expected - batch["scores"]) ** 2 * below).sum() / below.sum().clamp(min=1)
    return ce, squared


def gather(hidden, at):
    """The states (N,K,M,C) of hidden (N,K,L,C) at the tokens at (N,K,M); negative ones give the first."""
    return hidden.gather(2, at.clamp(min=0)[..., None].expand(-1, -1, -1, hidden.shape[-1]))


def branch_losses(net, probes, weights, digits, mode, layout, hidden, taps, batch):
    """All losses of one mode's texts, and figures for the log.

    hidden (N,T,C) is packed as layout says, and so are taps, what the layers of probes.layers_read gave.
    """
    n, d = hidden.shape[0], hidden.shape[-1]
    end = layout.prefix + layout.branches * layout.branch
    unpack = lambda x: x[:, layout.prefix:end].reshape(n, layout.branches, layout.branch, d)
    branches = unpack(hidden)
    early, *taps = taps
    ce, expected = text_loss(net, digits, branches, batch)
    states = gather(unpack(taps[0]), batch["mentions"][..., 0])
    mention, holds = P.mention_loss(probes, states.flatten(0, 1), batch["mentions"].flatten(0, 1))
    states = gather(unpack(taps[1]), batch["mentions"][..., :2, 0].amax(2, keepdim=True))
    direction, sides = P.direction_loss(probes, states.flatten(0, 2), batch["mentions"].flatten(0, 1))
    states = gather(unpack(taps[2]), batch["claims"][..., :1])
    claim, right = P.claim_loss(probes, states.flatten(0, 2), batch["claims"][..., 1:].flatten(0, 1))
    place = P.early_loss(probes, early[:, layout.start:layout.start + IMAGE_TOKENS])
    loss = (weights.think if mode == "think" else 1.0) * ce + weights.expected * expected
    loss = loss + weights.mention * mention + weights.claim * claim + weights.early * place
    loss = loss + weights.direction * direction
    appraised = {}
    if "appraisal" in batch:
        # The last token of the prefix has seen the image and no caption.
        behind, error = P.appraisal_loss(probes, taps[2][:, layout.prefix - 1], batch["appraisal"])
        loss, appraised = loss + weights.appraisal * behind, {"appraised": error.sqrt()}
    asks = gather(branches[:, :1], batch["heat"][:, :1])[:, 0]  # the first caption's maps
    figures = {"ce": ce.detach(), "tenth": expected.detach().sqrt(), "mention": holds, "direction": sides,
               "relation": right[0], "background": right[1], "place": place.detach(), **appraised}
    return loss, asks, figures


def heat_loss(weights, logits, heat):
    """logits and heat (N,2,288,288). Gives the loss and, for each kind, its squared error relative to an empty map's."""
    logits = logits.float()
    bce = F.binary_cross_entropy_with_logits(logits, heat)
    p = logits.sigmoid()
    both = (p * heat).sum((2, 3))
    size = (p * p).sum((2, 3)) + (heat * heat).sum((2, 3))
    hot = (heat.amax((2, 3)) > 0.1).float()
    overlap = ((1 - 2 * both / (size + 1e-3)) * hot).sum() / hot.sum().clamp(min=1)
    with torch.no_grad():
        relative = ((p - heat) ** 2).mean((0, 2, 3)) / (heat ** 2).mean((0, 2, 3)).clamp(min=1e-9)
    return weights.heat * bce + weights.overlap * overlap, relative
