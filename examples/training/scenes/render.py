"""Pixels and heatmaps of scenes, a batch at a time, on whatever device the arrays lie."""

import math

import torch
import torch.nn.functional as F

from . import shapes
from .arrays import FRAME, REGION, RESOLUTIONS, SLOT
from .corruption import RENDERED
from .flaws import MAX_REGIONS

HEAT_SIDE = 288
HEAT_SIGMA = 0.018  # by which the heat of a region is blurred, a human's imprecision
LABEL_SIDE = 36  # the grid of patches
DRAWN_SIDE = 512.0  # softness counts pixels of this side
BLURS = [18, 26, 36]  # cells of a blurred or blocky patch
SLOT_COLUMN = {name: i for i, name in enumerate(SLOT)}
REGION_COLUMN = {name: i for i, name in enumerate(REGION)}
FRAME_COLUMN = {name: i for i, name in enumerate(FRAME)}


class Noise:
    """Where random numbers of a batch come from.

    Without seeds they are drawn on the device. With one seed for each image they are
    drawn on the CPU, so that an image is the same on any device and in any batch.
    """

    def __init__(self, device, seeds=None):
        self.device = device
        self.generators = seeds and [torch.Generator().manual_seed(s) for s in seeds]

    def normal(self, rows, *shape):
        """Standard normal numbers (len(rows), *shape) for the images rows."""
        if self.generators is None:
            return torch.randn(len(rows), *shape, device=self.device)
        return torch.stack([torch.randn(shape, generator=self.generators[r]) for r in rows]).to(self.device)

    def permutation(self, row, n):
        if self.generators is None:
            return torch.randperm(n, device=self.device)
        return torch.randperm(n, generator=self.generators[row]).to(self.device)


def _column(columns, rows):
    """A function from a field's name to its values, (B,1,1)."""
    return lambda name: rows[:, columns[name]].view(-1, 1, 1)


def outlines(slots):
    """Radius by angle of every slot. slots (B,K,SLOT), result (B,K,ANGLES)."""
    f = lambda name: slots[:, :, SLOT_COLUMN[name], None]
    theta = (torch.arange(shapes.ANGLES, device=slots.device) + 0.5) / shapes.ANGLES * 2 * math.pi
    dx, dy = theta.cos() / f("stretch_x"), theta.sin() / f("stretch_y")
    turn = (torch.atan2(dy, dx) - f("rotation")) / (2 * math.pi) % 1
    table = torch.from_numpy(shapes.TABLES).to(slots.device, non_blocking=True)[slots[:, :, SLOT_COLUMN["shape"]].long()]
    radius = table.gather(2, (turn * shapes.ANGLES).long() % shapes.ANGLES) / (dx * dx + dy * dy).sqrt()
    for h in (2, 3, 5, 7):
        radius = radius * (1 + f(f"wave{h}") * (h * theta + f(f"phase{h}")).sin())
    return radius * f("radius")


def paint(canvas, heat, label, x, y, outline, slot):
    """Paints one slot of every image: canvas (B,3,H,W), heat and label (B,2,H,W), outline (B,ANGLES), slot (B,SLOT)."""
    f = _column(SLOT_COLUMN, slot)
    dx, dy = x - f("x"), y - f("y")
    distance = (dx * dx + dy * dy + 1e-12).sqrt()
    turn = (torch.atan2(dy, dx) / (2 * math.pi)) % 1 * shapes.ANGLES - 0.5
    below = turn.floor()
    part, low = turn - below, below.long() % shapes.ANGLES
    row = torch.arange(outline.shape[0], device=outline.device).view(-1, 1, 1) * shapes.ANGLES
    flat = outline.reshape(-1)
    edge = flat[row + low] * (1 - part) + flat[row + (low + 1) % shapes.ANGLES] * part
    inside = (edge - distance) * DRAWN_SIDE
    cover = (inside / f("softness") + 0.5).clamp(0, 1) * (f("radius") > 0)
    hole = ((distance - f("hole") * edge) * DRAWN_SIDE / f("softness") + 0.5).clamp(0, 1)
    cover = torch.where(f("hole") > 0, cover * hole, cover)
    whole = cover
    from_bite = ((x - f("bite_x")) ** 2 + (y - f("bite_y")) ** 2 + 1e-12).sqrt() - f("bite_radius")
    left = torch.where(f("bite_radius") > 0, (from_bite * DRAWN_SIDE / f("softness") + 0.5).clamp(0, 1), 1.0)
    along = (dx * f("fade_angle").cos() + dy * f("fade_angle").sin()) / f("radius").clamp(min=1e-3)
    cover = cover * left * (1 - f("fade") * (along * 5).sigmoid())
    shade = 1 - f("shade") * (0.5 + 0.5 * dx / f("radius").clamp(min=1e-3))
    shade = torch.where((f("outline") > 0) & (inside < 5), shade * 0.45, shade)
    colour = slot[:, SLOT_COLUMN["red"]:SLOT_COLUMN["blue"] + 1].view(-1, 3, 1, 1)
    opacity = (cover * f("opacity")).unsqueeze(1)
    canvas = canvas * (1 - opacity) + colour * shade.unsqueeze(1) * opacity
    artifact = torch.maximum(whole * f("artifact"), whole * (1 - left) * f("bite_heat"))
    heat = torch.maximum(heat, torch.stack((whole * f("misalignment"), artifact), 1))
    shown = slot[:, SLOT_COLUMN["shown_shape"]:SLOT_COLUMN["shown_colour"] + 1].view(-1, 2, 1, 1)
    visible = ((cover > 0.5) & (f("shown_shape") >= 0)).unsqueeze(1)
    return canvas, heat, torch.where(visible, shown + 1, label)


def background(x, y, frame, noise):
    """The background of every image, (B,3,H,W)."""
    f = _column(FRAME_COLUMN, frame)
    c, s = f("angle").cos(), f("angle").sin()
    u, v = (x - 0.5) * c + (y - 0.5) * s, (y - 0.5) * c - (x - 0.5) * s
    kind, rate = f("background"), f("frequency")
    du, dv = (u * rate) % 1 - 0.5, (v * rate) % 1 - 0.5
    mix = torch.zeros_like(u)
    mix = torch.where(kind == 1, ((u * rate * 2 * math.pi).sin() * 4 + 0.5).clamp(0, 1), mix)
    mix = torch.where(kind == 2, ((u * rate * math.pi).sin() * (v * rate * math.pi).sin() * 12 + 0.5).clamp(0, 1), mix)
    mix = torch.where(kind == 3, ((0.28 - (du * du + dv * dv).sqrt()) * 20 + 0.5).clamp(0, 1), mix)
    mix = torch.where(kind == 4, (u * 0.9 + 0.5).clamp(0, 1), mix).unsqueeze(1)
    first, second = frame[:, 1:4].view(-1, 3, 1, 1), frame[:, 4:7].view(-1, 3, 1, 1)
    return first * (1 - mix) + second * mix + torch.where(kind == 5, noise * f("grain"), 0.0).unsqueeze(1)


def blob(x, y, region):
    """The weight of a region's pixels, (B,H,W)."""
    f = _column(REGION_COLUMN, region)
    dx, dy = x - f("x"), y - f("y")
    theta = torch.atan2(dy, dx)
    radius = f("radius") * (1 + 0.18 * (2 * theta + f("phase2")).sin() + 0.12 * (3 * theta + f("phase3")).sin())
    edge = (radius - (dx * dx + dy * dy + 1e-12).sqrt()) / (0.15 * f("radius") + 1e-4)
    return (edge + 0.5).clamp(0, 1) * (f("kind") > 0)


def warp(x, y, regions):
    """Where each pixel is taken from when objects ripple."""
    x0, y0 = x, y
    for r in range(MAX_REGIONS):
        f = _column(REGION_COLUMN, regions[:, r])
        dx, dy = x0 - f("x"), y0 - f("y")
        near = ((1.3 - (dx * dx + dy * dy + 1e-12).sqrt() / f("radius").clamp(min=1e-3)) * 4).clamp(0, 1)
        amplitude = f("radius") * (0.05 + 0.09 * f("severity")) * near * (f("kind") == 4)
        # Two to three ripples across the object.
        rate = 2 * math.pi * (1.0 + 0.6 * f("ripple")) / f("radius").clamp(min=1e-3)
        x = x + amplitude * (dy * rate + f("ripple_phase")).sin()
        y = y + amplitude * (dx * rate + f("phase2")).cos()
    return x, y


def region_heat(weight, artifact, x, y, region, label, hot):
    """The weight of a region, whatever it was, and the artifact heat with it; a warp is seen on objects only."""
    f = _column(REGION_COLUMN, region)
    weight = blob(x, y, region)
    seen = torch.where(f("kind") == 4, weight * ((label > 0) | (hot > 0)), weight)
    return weight, torch.maximum(artifact, seen * f("heat"))


class Renderer:
    """Renders batches at one size on one device. compile is applied to what is done to most pixels."""

    def __init__(self, size, device="cpu", compile=lambda f: f):
        self.size, self.device = size, torch.device(device)
        self.dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        self.paint, self.background = map(compile, (paint, background))
        cells = RESOLUTIONS[1:] + BLURS
        self.smooth = {n: _resample(size, n, "linear").to(self.device, self.dtype) for n in {*cells, 4, 5, 6, 8, 64}}
        self.blocks = {n: _resample(size, n, "nearest").to(self.device, self.dtype) for n in BLURS}
        self.to_heat = _blur(size).to(self.device, self.dtype)

    def __call__(self, slots, regions, frame, count=None, noise=None):
        """slots (B,K,SLOT), regions (B,R,REGION), frame (B,FRAME), noise a Noise.

        count is the most slots in use, or how many each image uses, a list.

        The arrays are best given on the CPU: which images need what is then known
        without waiting for the device.

        Gives images (B,3,size,size) in [0,1] in steps of 1/255, heat (B,2,288,288) of
        misalignment and artifact, and labels (B,2,36,36) of the shape and the colour
        that each patch shows, 0 for none.
        """
        b, n = slots.shape[0], self.size
        plan = regions.cpu(), frame.cpu()
        slots, regions, frame = (t.to(self.device, non_blocking=True) for t in (slots, regions, frame))
        source = noise or Noise(self.device)
        f = _column(FRAME_COLUMN, frame)
        axis = (torch.arange(n, device=self.device, dtype=torch.float32) + 0.5) / n
        x0, y0 = axis.view(1, 1, -1).expand(b, n, n), axis.view(1, -1, 1).expand(b, n, n)
        x, y = self._some(_rows((plan[0][:, :, REGION_COLUMN["kind"]] == 4).any(1)), warp, (x0.clone(), y0.clone()), regions)
        noise = source.normal(range(b), n, n)
        canvas = self.background(x0, y0, frame, noise)
        heat = torch.zeros(b, 2, n, n, device=self.device)
        label = torch.zeros(b, 2, n, n, device=self.device)
        outline = outlines(slots)
        counts = count if isinstance(count, list) else [count or slots.shape[1]] * b
        for k in range(max(counts)):
            rows = [i for i in range(b) if counts[i] > k]
            canvas, heat, label = self._some(rows, self.paint, (canvas, heat, label), x, y, outline[:, k], slots[:, k])
        canvas = canvas.clamp(0, 1)
        misalignment, artifact = heat[:, 0], heat[:, 1]
        for r in range(MAX_REGIONS):
            rows = _rows(plan[0][:, r, REGION_COLUMN["kind"]] > 0)
            weight, artifact = self._some(rows, region_heat, (torch.zeros_like(artifact), artifact), x0, y0, regions[:, r], label[:, 0], heat[:, 1])
            self._spoil_region(canvas, plan[0][:, r], weight, source)
        self._enlarge(canvas, plan[1])
        canvas = canvas * f("gain").unsqueeze(1) + noise.unsqueeze(1) * f("sensor_noise").unsqueeze(1)
        canvas = self._corrupt(canvas.clamp(0, 1), plan[1], source)
        label = label * (1 - f("destroyed")).unsqueeze(1)
        misalignment = torch.maximum(misalignment, (label[:, 0] == 0) * f("everywhere"))
        artifact = torch.maximum(artifact, f("spoiled_heat").expand_as(artifact))
        heat = self._resample(self.to_heat, torch.stack((misalignment, artifact), 1)).clamp(0, 1)
        at = ((torch.arange(LABEL_SIDE, device=self.device) + 0.5) * n / LABEL_SIDE).long()
        return (canvas.clamp(0, 1) * 255).round() / 255, heat, label[:, :, at][:, :, :, at].long()

    def _some(self, rows, function, changed, *read):
        """What function makes of the tensors changed, for the images rows; the others stay. It may change what it is given."""
        b, size = len(changed[0]), len(rows)
        if function is self.paint and self.device.type == "cuda":
            # It is compiled for each size, so there are few: missing images are made up by the last one again.
            size = min(n for n in (b, b // 2, b // 8) if n >= size)
        if size == b:
            return function(*changed, *read)
        if rows:
            at = self._index((rows + rows[-1:] * size)[:size])
            for whole, part in zip(changed, function(*(t[at] for t in (*changed, *read)))):
                whole[at] = part
        return changed

    def _resample(self, matrix, x):
        return (matrix @ x.to(self.dtype) @ matrix.T).float()

    def _spoil_region(self, canvas, region, weight, noise):
        """Blurs, blocks or noises what a region covers. region (B,REGION) is on the CPU."""
        kind, choice = region[:, REGION_COLUMN["kind"]], region[:, REGION_COLUMN["choice"]]
        severity = region[:, REGION_COLUMN["severity"]].view(-1, 1, 1, 1)
        for code, matrices in ((2, self.smooth), (3, self.blocks)):
            for c, cells in enumerate(BLURS):
                rows = _rows((kind == code) & (choice == c))
                if rows:
                    at = self._index(rows)
                    mix = weight[at].unsqueeze(1) * self._on_device(0.55 + 0.45 * severity[rows])
                    low = self._resample(matrices[cells], canvas[at])
                    canvas[at] = canvas[at] * (1 - mix) + low * mix
        for grain, chosen in ((1, choice == 0), (6, choice > 0)):
            rows = _rows((kind == 1) & chosen)
            if rows:
                at = self._index(rows)
                mix = weight[at].unsqueeze(1) * self._on_device(0.38 * severity[rows])
                canvas[at] = canvas[at] + self.white_noise(noise, rows, grain) * mix

    def _index(self, rows):
        """Rows as a tensor on the device: a list as an index would wait for the device."""
        return self._on_device(torch.tensor(rows))

    def _on_device(self, x):
        return x.to(self.device, non_blocking=True)

    def white_noise(self, noise, rows, grain=1):
        """Normal noise (len(rows),3,size,size) in squares of grain pixels."""
        side = -(-self.size // grain)
        x = noise.normal(rows, 3, side, side)
        x = x.repeat_interleave(grain, 2).repeat_interleave(grain, 3) if grain > 1 else x
        return x[:, :, :self.size, :self.size]

    def _enlarge(self, canvas, frame):
        """Shows images as if they had been made at a lower resolution and enlarged."""
        for code, cells in enumerate(RESOLUTIONS):
            rows = _rows(frame[:, FRAME_COLUMN["resolution"]] == code)
            if cells and rows:
                at = self._index(rows)
                canvas[at] = self._resample(self.smooth[cells], canvas[at])

    def _corrupt(self, canvas, frame, noise):
        for code, kind in enumerate(RENDERED):
            rows = _rows(frame[:, FRAME_COLUMN["corruption"]] == code + 1)
            if rows:
                at = self._index(rows)
                canvas[at] = CORRUPTIONS[kind](self, canvas[at], frame[rows], noise, rows)
        return canvas


def _rows(chosen):
    return chosen.nonzero()[:, 0].tolist()


def _resample(size, cells, enlarge):
    """The matrix (size,size) that averages into cells and enlarges them again."""
    cell = ((torch.arange(size) + 0.5) * cells / size).long().clamp(max=cells - 1)
    down = F.one_hot(cell, cells).T.float()
    down = down / down.sum(1, keepdim=True)
    if enlarge == "nearest":
        return F.one_hot(cell, cells).float() @ down
    return F.interpolate(torch.eye(cells)[None], size, mode="linear", align_corners=False)[0].T @ down


def _blur(size):
    """The matrix (HEAT_SIDE,size) of a Gaussian blur."""
    to = (torch.arange(HEAT_SIDE) + 0.5) / HEAT_SIDE
    of = (torch.arange(size) + 0.5) / size
    weight = torch.exp(-((to[:, None] - of) ** 2) / (2 * HEAT_SIGMA ** 2))
    return weight / weight.sum(1, keepdim=True)


# Each corruption takes images x (N,3,size,size), their frames (N,FRAME) on the CPU and their rows in the batch.


def _between(renderer, frame, low, high, name="strength"):
    """From low to high as the frames' field says, (N,1,1,1) on the device."""
    return renderer._on_device(low + (high - low) * frame[:, FRAME_COLUMN[name]].view(-1, 1, 1, 1))


def _white_noise(renderer, x, frame, noise, rows):
    return x + renderer.white_noise(noise, rows) * _between(renderer, frame, 0.07, 0.5)


def _low_noise(renderer, noise, rows):
    """Normal noise made at 64x64 and enlarged, standard deviation 1."""
    x = F.interpolate(noise.normal(rows, 3, 64, 64), (renderer.size, renderer.size), mode="bilinear", align_corners=False)
    return x / x.std((2, 3), keepdim=True)


def _coarse_noise(renderer, x, frame, noise, rows):
    return x + _low_noise(renderer, noise, rows) * _between(renderer, frame, 0.05, 0.35)


def _denoised(low, high):
    def apply(renderer, x, frame, noise, rows):
        # What is barely denoised has full strength; there another field gives t.
        t = _between(renderer, frame, low, high, "tint_red" if low > 0.5 else "strength")
        x = renderer._resample(renderer.smooth[64], x)
        return (1 - t) * x + t * (0.5 + 0.5 * _low_noise(renderer, noise, rows))
    return apply


def _average(renderer, x, frame, noise, rows):
    x = (x + x.flip(3) + x.flip(2) + x.transpose(2, 3)) / 4
    return renderer._resample(renderer.smooth[48], x)


def _tint(renderer, x, frame, noise, rows):
    mix = _between(renderer, frame, 0.45, 0.85)
    at = FRAME_COLUMN["tint_red"]
    return x * (1 - mix) + renderer._on_device(frame[:, at:at + 3].view(-1, 3, 1, 1)) * mix


def _checkered(renderer, x, frame, noise, rows):
    cells = renderer._on_device(frame[:, FRAME_COLUMN["cells"]].view(-1, 1, 1))
    axis = (torch.arange(renderer.size, device=x.device) + 0.5) / renderer.size
    parity = ((axis.view(1, 1, -1) * cells).floor() + (axis.view(1, -1, 1) * cells).floor()) % 2
    return x + ((parity - 0.5) * 2).unsqueeze(1) * _between(renderer, frame, 0.07, 0.35)


def _cell_index(renderer, cells):
    side = renderer.size // cells
    return side, (torch.arange(renderer.size, device=renderer.device) // side).clamp(max=cells - 1)


def _shuffled(renderer, x, frame, noise, rows):
    out = torch.empty_like(x)
    for i, cells in enumerate(frame[:, FRAME_COLUMN["cells"]].long().tolist()):
        side, cell = _cell_index(renderer, cells)
        order = noise.permutation(rows[i], cells * cells)
        source = order[cell[:, None] * cells + cell[None]]
        within = torch.arange(renderer.size, device=x.device) - cell * side
        row, column = source // cells * side + within[:, None], source % cells * side + within[None]
        out[i] = x[i][:, row.clamp(max=renderer.size - 1), column.clamp(max=renderer.size - 1)]
    return out


def _patches(renderer, x, frame, noise, rows):
    out = torch.empty_like(x)
    for i, cells in enumerate(frame[:, FRAME_COLUMN["cells"]].long().tolist()):
        _, cell = _cell_index(renderer, cells)
        shift = noise.normal([rows[i]], 3, cells, cells)[0]
        out[i] = x[i] + shift[:, cell][:, :, cell] * _between(renderer, frame[i:i + 1], 0.05, 0.2)[0]
    return out


def _blurred(renderer, x, frame, noise, rows):
    out = torch.empty_like(x)
    for i, red in enumerate(frame[:, FRAME_COLUMN["tint_red"]].tolist()):
        out[i] = renderer._resample(renderer.smooth[(4, 5, 6, 8)[int(red * 3.99)]], x[i])
    return out


CORRUPTIONS = {
    "noise": _white_noise, "coarse noise": _coarse_noise, "half denoised": _denoised(0.25, 0.5),
    "barely denoised": _denoised(0.75, 0.97), "average": _average, "tint": _tint, "chequered": _checkered,
    "shuffled": _shuffled, "patches": _patches, "blurred": _blurred,
}
