"""The programmatic judge: reads colour, shape, count, place and the area of flaws off an image by classical vision.

The background is the border's median colour, objects are the connected regions that
differ from it. Each region's colour is the palette's nearest, its shape that whose drawn
template overlaps best. What the image would be if it consisted of the shapes that were
found, in their colours, is painted; where the image differs from that it is flawed. No
network and no reward is in here, and it never learns.
"""

import math

import torch
import torch.nn.functional as F

import world
from scenes.shapes import ANGLES, OUTLINES

MAX_REGIONS = 4
TEMPLATE = 32
FOREGROUND = 0.12  # from the background, in the channel that differs most
SMALL = 24  # pixels of the least region that counts as an object
FLAW = 0.16  # from the image of perfect shapes
CLEAN = 0.004  # share of an image's pixels
FITS = 0.8  # overlap with a template above which a region is of that shape
PALETTE = torch.tensor([world.COLOURS[c] for c in world.COLOUR_NAMES])


def _templates():
    """Soft masks (shapes,T,T) of each shape in its bounding square."""
    out = []
    for name in world.SHAPE_NAMES:
        radius = torch.tensor(OUTLINES[name], dtype=torch.float32)
        theta = (torch.arange(ANGLES) + 0.5) / ANGLES * 2 * math.pi
        xs, ys = radius * theta.cos(), radius * theta.sin()
        side = max(float(xs.max() - xs.min()), float(ys.max() - ys.min()))
        cx, cy = float(xs.max() + xs.min()) / 2, float(ys.max() + ys.min()) / 2
        grid = ((torch.arange(4 * TEMPLATE) + 0.5) / (4 * TEMPLATE) - 0.5) * side
        y, x = torch.meshgrid(cy + grid, cx + grid, indexing="ij")
        edge = radius[((torch.atan2(y, x) / (2 * math.pi)) % 1 * ANGLES).long() % ANGLES]
        out.append(F.avg_pool2d((torch.hypot(x, y) <= edge).float()[None, None], 4)[0, 0])
    return torch.stack(out)


TEMPLATES = _templates()


def _background(images):
    edges = [images[:, :, :2], images[:, :, -2:], images[:, :, :, :2], images[:, :, :, -2:]]
    return torch.cat([e.flatten(2) for e in edges], 2).median(2)[0]


def _regions(mask):
    """The largest connected regions of masks (N,64,64), largest first: (MAX_REGIONS,N,64,64), and the sizes of all."""
    n, side = mask.shape[0], mask.shape[1]
    weight = mask.float()[:, None]
    label = torch.arange(1, side * side + 1, device=mask.device).float().view(1, 1, side, side) * weight
    for _ in range(4 * side):
        grown = F.max_pool2d(label, 3, 1, 1) * weight
        if bool((grown == label).all()):
            break
        label = grown
    label = label[:, 0].long()
    sizes = torch.zeros(n, side * side + 1, device=mask.device).scatter_add_(1, label.flatten(1), weight.flatten(1))
    sizes[:, 0] = 0
    top = sizes.topk(MAX_REGIONS, 1)
    return [(label == top.indices[:, k].view(-1, 1, 1)) & mask for k in range(MAX_REGIONS)], top.values, sizes


def _box(region):
    """Centre and side of the bounding squares of regions (N,64,64), in pixels; those of empty ones are harmless."""
    at = torch.arange(region.shape[1], device=region.device).float()
    def ends(occupied):
        low = torch.where(occupied, at, torch.full_like(at, 1e4)).amin(1).clamp(max=63)
        high = torch.where(occupied, at, torch.full_like(at, -1.0)).amax(1).clamp(min=0) + 1
        return low, high
    (y0, y1), (x0, x1) = ends(region.any(2)), ends(region.any(1))
    return (x0 + x1) / 2, (y0 + y1) / 2, torch.maximum(x1 - x0, y1 - y0).clamp(min=1)


def _sample(source, x, y, side, size, back):
    """Cuts squares out of images (N,1,h,w) at (x, y) with sides, or with back pastes templates there."""
    at = (torch.arange(size, device=source.device) + 0.5)
    if back:  # pixels of the image to coordinates of the template
        gx, gy = (at[None] - x[:, None]) / side[:, None] * 2, (at[None] - y[:, None]) / side[:, None] * 2
    else:
        unit = at / size - 0.5
        gx, gy = ((unit[None] * side[:, None] + x[:, None]) / 32 - 1), ((unit[None] * side[:, None] + y[:, None]) / 32 - 1)
    grid = torch.stack((gx[:, None, :].expand(-1, size, -1), gy[:, :, None].expand(-1, -1, size)), 3)
    return F.grid_sample(source, grid, align_corners=False)


def _look(images, ground, region):
    """Colour, shape, overlap, centre of one region of every image, and the mask of its perfect shape."""
    weight = region.float()[:, None]
    core = -F.max_pool2d(-weight, 3, 1, 1)
    core = torch.where(core.flatten(1).sum(1).view(-1, 1, 1, 1) >= 6, core, weight)
    colour = (images * core).flatten(2).sum(2) / core.flatten(2).sum(2).clamp(min=1)
    apart = (colour[:, None] - PALETTE.to(images.device)[None]).square().sum(2)
    near, which = apart.min(1)
    contrast = (colour - ground).abs().amax(1).clamp(min=0.13).view(-1, 1, 1)
    soft = ((images - ground[:, :, None, None]).abs().amax(1) / contrast).clamp(0, 1) * F.max_pool2d(weight, 3, 1, 1)[:, 0]
    x, y, side = _box((soft > 0.5) & region)
    cut = _sample(soft[:, None], x, y, side, TEMPLATE, False)[:, 0]
    templates = TEMPLATES.to(images.device)
    both = torch.minimum(cut[:, None], templates[None]).flatten(2).sum(2)
    overlap = both / torch.maximum(cut[:, None], templates[None]).flatten(2).sum(2).clamp(min=1)
    fit, shape = overlap.max(1)
    perfect = _sample(templates[shape][:, None], x, y, side, images.shape[2], True)[:, 0]
    return torch.where(near < 0.08, which, torch.full_like(which, -1)), shape, fit, x, y, colour, perfect


@torch.no_grad()
def inspect(images, captions):
    """What is true of images (N,3,64,64) in [0,1] and captions (N,5), each (N) in float32:

    colour, shape: share of the named objects with that colour, that shape (matched one to one);
    objects: with both; count: as many objects as named; place: the relation holds (NaN without one);
    exact: objects, count and place all right; flaw_area: share of pixels; clean: hardly any; right: exact and clean.
    """
    images, captions = images.float().clamp(0, 1), captions.to(images.device)
    ground = _background(images)
    mask = (images - ground[:, :, None, None]).abs().amax(1) > FOREGROUND
    regions, sizes, _ = _regions(mask)
    painted = ground[:, :, None, None].expand_as(images).clone()
    seen = []
    for region, size in zip(regions, sizes.unbind(1)):
        colour, shape, fit, x, y, mean, perfect = _look(images, ground, region)
        there = size >= SMALL
        perfect = (perfect * there.view(-1, 1, 1))[:, None]
        painted = painted * (1 - perfect) + mean[:, :, None, None] * perfect
        seen.append((torch.where(there, colour, -2), torch.where(there & (fit > 0.5), shape, -2), x, y, there, fit))
    off = ((images - painted).abs().amax(1) > FLAW).float()[:, None]
    # Edges of shapes are off by a pixel; what is wider than that is a flaw.
    wide = F.max_pool2d(F.pad(-F.max_pool2d(-off, 2, 1), (1, 1, 1, 1)), 2, 1)
    area = wide.flatten(1).mean(1)
    count = torch.stack([s[4] for s in seen]).sum(0)
    return _verdict(captions, seen, count, area)


def _verdict(captions, seen, count, area):
    two = captions[:, 3] != world.NO_COLOUR
    best, found = torch.full_like(area, -1), None
    for i in range(MAX_REGIONS):
        for j in range(MAX_REGIONS):
            if i == j:
                continue
            ci, si = seen[i][0] == captions[:, 0], seen[i][1] == captions[:, 1]
            cj, sj = (seen[j][0] == captions[:, 3]) & two, (seen[j][1] == captions[:, 4]) & two
            dx, dy = seen[i][2] - seen[j][2], seen[i][3] - seen[j][3]
            now = torch.stack([ci.float(), si.float(), (ci & si).float(), cj.float(), sj.float(), (cj & sj).float(), dx, dy])
            score = now[:6].sum(0)
            found = now if found is None else torch.where(score > best, now, found)
            best = torch.maximum(best, score)
    ci, si, oi, cj, sj, oj, dx, dy = found
    share = lambda a, b: torch.where(two, (a + b) / 2, a)
    relation = captions[:, 2]
    along = torch.stack([torch.zeros_like(dx), -dx, dx, -dy, dy])[relation, torch.arange(len(dx), device=dx.device)]
    placed = (relation == 0) | (along > 4) & (oi > 0) & (oj > 0)
    objects, counted = share(oi, oj), (count == 1 + two.long()).float()
    exact = (objects == 1) & (counted == 1) & placed
    clean = area < CLEAN
    return {
        "colour": share(ci, cj), "shape": share(si, sj), "objects": objects, "count": counted,
        "place": torch.where(relation == 0, torch.full_like(area, math.nan), placed.float()),
        "exact": exact.float(), "flaw_area": area, "clean": clean.float(), "right": (exact & clean).float(),
    }


def _statistics(images):
    """What an image (N,3,64,64) in [0,1] looks like from afar, (N,1536): colours and edges of 16x16 squares."""
    edges = F.pad((images[..., 1:] - images[..., :-1]).abs(), (0, 1)) + F.pad((images[..., 1:, :] - images[..., :-1, :]).abs(), (0, 0, 0, 1))
    return torch.cat([F.avg_pool2d(images, 4).flatten(1), 2 * F.avg_pool2d(edges, 4).flatten(1)], 1)


@torch.no_grad()
def distance(images, scenes):
    """How far images are from scenes, both (N,3,64,64) in [0,1]: the squared maximum mean discrepancy, without bias and so below 0 at times, with the cubic kernel of KID (arXiv 1801.01401), on colours and edges instead of Inception's features; times 1,000."""
    x, y = _statistics(images.float().clamp(0, 1)).double(), _statistics(scenes.float().clamp(0, 1).to(images.device)).double()
    centre = y.mean(0)
    x, y = x - centre, y - centre
    unit = y.square().sum(1).mean()
    kernel = lambda a, b: (a @ b.T / unit + 1) ** 3
    n, m = len(x), len(y)
    within = (kernel(x, x).sum() - kernel(x, x).diagonal().sum()) / (n * (n - 1)) + (kernel(y, y).sum() - kernel(y, y).diagonal().sum()) / (m * (m - 1))
    return float(1000 * (within - 2 * kernel(x, y).mean()))
