"""Linear probes on hidden states, trained with the model and thrown away afterwards.

Each asks a state for something simple that the answer depends on, so that the
model learns to see before it learns to tell. Without the one on image tokens a
model that starts from nothing does not learn shapes in the time there is.

A later token reads what the layer before its own gave, never what the last one
gave. So each probe reads the layer by which the rest must have its fact: places of
image tokens first, then of things named, then how two of them stand, then claims.
"""

import torch
import torch.nn.functional as F
from torch import nn

from model import GRID, IMAGE_TOKENS
from samples import APPRAISED, COARSE
from scenes.arrays import FRAME
from scenes.flaws import KINDS
from scenes.vocabulary import BACKGROUNDS, COLOURS, SHAPES

SHAPE_CLASSES, COLOUR_CLASSES = len(SHAPES) + 1, len(COLOURS) + 1
FLAW_CLASSES = len(KINDS) + 1
PATCH_OUTPUTS = SHAPE_CLASSES + COLOUR_CLASSES + 1 + FLAW_CLASSES
HOT, COLD = 0.1, 0.02  # heat above and below which a patch is flawed or is not
APART = 3  # image tokens by which two places must differ for the direction between them to count in full


def layers_read(count):
    """The numbers of the layers, of so many, that early, mention, direction and claims read."""
    return max(1, count // 4), max(1, count // 2), max(1, count * 5 // 8), max(1, count * 3 // 4)


class Probes(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.patches = nn.Linear(width, 4 * PATCH_OUTPUTS)  # of the four patches of an image token
        self.background = nn.Linear(width, len(BACKGROUNDS))  # of an image token: the pattern behind the objects
        self.early = nn.Linear(width, 2 * GRID)  # row and column of an image token in the language model
        self.named = nn.Linear(width, 1 + 2 * GRID)  # does it hold, row and column of its object
        self.direction = nn.Linear(width, 2)  # is the thing named later below, to the right of, the one named before it
        self.held = nn.Linear(width, 2)  # do relation and background hold
        self.appraisal = nn.Linear(width, APPRAISED + len(KINDS))  # of the image as a whole
        self.coarse = nn.ModuleList([nn.Linear(width, COARSE * COARSE) for _ in range(2)])  # heat of each kind


def patch_loss(probes, image, label, artifact, kinds):
    """What each patch shows. image (B,324,C), label (B,2,36,36), artifact (B,36,36) heat, kinds (B,10) the flaws of the image.

    Patches with an object weigh as much as all others together, or else the
    background drowns them, and so do flawed ones. Gives the loss and the accuracy of shapes.
    """
    b = image.shape[0]
    z = probes.patches(image).float().view(b, GRID, GRID, 2, 2, PATCH_OUTPUTS)
    z = z.permute(0, 1, 3, 2, 4, 5).reshape(b, 2 * GRID, 2 * GRID, PATCH_OUTPUTS)
    shape, colour, hot, kind = z.split((SHAPE_CLASSES, COLOUR_CLASSES, 1, FLAW_CLASSES), -1)
    shown = (label[:, 0] > 0).float()
    weight = shown / (shown.sum() + 1) + 0.5 * (1 - shown) / ((1 - shown).sum() + 1)
    loss = _weighted(shape, label[:, 0], weight) + _weighted(colour, label[:, 1], weight)
    flawed = (artifact > HOT).float()
    weight = 0.5 * flawed / (flawed.sum() + 1) + (1 - flawed) / ((1 - flawed).sum() + 1)
    loss = loss + F.binary_cross_entropy_with_logits(hot[..., 0], artifact, weight=weight, reduction="sum")
    # Where an image has one flaw its heat is that flaw's; that of two, or of a spoiled image, says nothing of a kind.
    flawed = flawed * (kinds.sum(1) == 1).float()[:, None, None]
    cold = (artifact < COLD).float()
    target = (flawed * (1 + kinds.argmax(1))[:, None, None]).long()
    loss = loss + _weighted(kind, target, 0.5 * flawed / (flawed.sum() + 1) + 0.5 * cold / (cold.sum() + 1))
    right = (shape.argmax(-1) == label[:, 0]).float() * shown
    return loss, (right.sum() / (shown.sum() + 1)).detach()


def _weighted(logits, target, weight):
    ce = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), target.reshape(-1), reduction="none")
    return (ce.view_as(weight) * weight).sum()


def background_loss(probes, image, frame):
    """Which pattern each image token's background has. image (B,324,C), frame (B,len(FRAME)); a spoiled image has none that counts."""
    pattern = frame[:, FRAME.index("background")].long()
    whole = (frame[:, FRAME.index("corruption")] == 0).float()
    z = probes.background(image).float()
    ce = F.cross_entropy(z.flatten(0, 1), pattern.repeat_interleave(z.shape[1]), reduction="none").view(z.shape[:2]).mean(1)
    right = (z.mean(1).argmax(-1) == pattern).float()
    total = whole.sum().clamp(min=1)
    return (ce * whole).sum() / total, ((right * whole).sum() / total).detach()


def _normalised(states):
    return F.layer_norm(states.float(), states.shape[-1:])


def early_loss(probes, states):
    """Where each image token lies. states (B,324,C) of an early layer; M-RoPE alone is relative."""
    z = probes.early(states.float()).float().view(-1, 2, GRID)
    unit = torch.arange(IMAGE_TOKENS, device=states.device)
    place = torch.stack((unit // GRID, unit % GRID), 1).repeat(states.shape[0], 1)
    return F.cross_entropy(z.reshape(-1, GRID), place.reshape(-1))


def mention_loss(probes, states, mentions):
    """Whether each thing named is there, and where. states (N,M,C), mentions (N,M,4): token, holds, row, column."""
    z = probes.named(_normalised(states)).float()
    there = mentions[..., 0] >= 0
    holds = mentions[..., 1].clamp(min=0).float()
    bce = F.binary_cross_entropy_with_logits(z[..., 0], holds, reduction="none")
    loss = (bce * there).sum() / there.sum().clamp(min=1)
    placed = mentions[..., 2] >= 0
    for k in (0, 1):
        logits = z[..., 1 + k * GRID:1 + (k + 1) * GRID]
        target = mentions[..., 2 + k].clamp(min=0)
        ce = F.cross_entropy(logits.reshape(-1, GRID), target.reshape(-1), reduction="none").view_as(target)
        loss = loss + 0.3 * (ce * placed).sum() / placed.sum().clamp(min=1)
    right = (((z[..., 0] > 0) == (holds > 0.5)) & there).sum() / there.sum().clamp(min=1)
    return loss, right.detach()


def direction_loss(probes, states, mentions):
    """Where the later of the first two things named stands from the earlier.

    states (N,C) at the later one, mentions (N,M,4).
    """
    z = probes.direction(_normalised(states)).float()
    pair = mentions[:, :2]
    there = (pair[..., 2] >= 0).all(1, keepdim=True)
    apart = (pair[:, 1, 2:] - pair[:, 0, 2:]).float()
    apart = torch.where(pair[:, :1, 0] > pair[:, 1:, 0], -apart, apart)
    weight = there * (apart.abs() / APART).clamp(max=1)
    bce = F.binary_cross_entropy_with_logits(z, (apart > 0).float(), reduction="none")
    right = ((z > 0) == (apart > 0)).float()
    total = weight.sum().clamp(min=1)
    return (bce * weight).sum() / total, ((right * weight).sum() / total).detach()


def claim_loss(probes, states, claims):
    """Whether relation and background hold. states (N,C) at the caption's end, claims (N,2), -1 where there is none."""
    z = probes.held(_normalised(states)).float()
    there = claims >= 0
    bce = F.binary_cross_entropy_with_logits(z, claims.clamp(min=0).float(), reduction="none") * there
    right = ((z > 0) == (claims > 0)) & there
    return bce.sum() / there.sum().clamp(min=1), (right.sum(0) / there.sum(0).clamp(min=1)).detach()


def appraisal_loss(probes, states, appraisal):
    """What the image's scores are made of. states (N,C) behind the image, appraisal (N,15) of samples.appraise.

    Gives the loss and the squared error of plausibility.
    """
    z = probes.appraisal(_normalised(states)).float()
    numbers, kinds = appraisal.split((APPRAISED, len(KINDS)), 1)
    there = (numbers >= 0).float()
    squared = (z[:, :APPRAISED].sigmoid() - numbers) ** 2 * there
    flaws = F.binary_cross_entropy_with_logits(z[:, APPRAISED:], kinds, reduction="none").sum(1).mean()
    return 4 * squared.sum() / there.sum() + flaws, squared[:, 0].mean().detach()


def coarse_loss(probes, states, heat):
    """The heat by tenths of the image. states (N,2,C) that ask for the maps, heat (N,2,288,288)."""
    target = F.adaptive_avg_pool2d(heat, COARSE)
    loss = 0.0
    for k, probe in enumerate(probes.coarse):
        z = probe(states[:, k].float()).float()
        loss = loss + F.binary_cross_entropy_with_logits(z, target[:, k].flatten(1))
    return loss
