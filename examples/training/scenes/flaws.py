"""Flaws of single objects or places, as image generators make them."""

import math
from dataclasses import dataclass, field

from . import shapes

KINDS = {
    "noise": "noise in a patch", "blur": "a blurred patch", "blocks": "a patch in coarse blocks",
    "warp": "an object with rippled edges", "bite": "a piece of an object missing",
    "ghost": "a faint second copy", "blob": "a stray shape of no kind",
    "bleeding": "colour that runs out of an object", "melting": "an object out of shape",
    "fading": "an object that vanishes to one side",
}
# Warps and bites are hard to see and drawn more often.
WEIGHTS = [8, 8, 8, 16, 16, 9, 10, 8, 9, 8]
REGIONAL = {"noise", "blur", "blocks", "warp"}  # applied to a region after the objects are drawn (warp: before)
SENTENCES = {
    "noise": "Noise", "blur": "Blur", "blocks": "Blocks", "warp": "Warping", "bite": "A bite", "ghost": "A ghost",
    "blob": "A stray blob", "bleeding": "Bleeding colour", "melting": "Melting", "fading": "Fading",
}
MAX_REGIONS = 2


@dataclass
class Flaw:
    kind: str
    severity: float  # from 0.4 to 1; always visible as size, amplitude or opacity
    target: int  # index of the object
    x: float = 0.0  # centre and radius of what is flawed
    y: float = 0.0
    radius: float = 0.0
    stretch: tuple = (1.0, 1.0)
    angle: float = 0.0
    rgb: tuple = (0.0, 0.0, 0.0)
    choice: int = 0  # grain of noise, coarseness of blur and blocks
    waves: list = field(default_factory=list)  # amplitude and phase of each harmonic

    @property
    def penalty(self):
        """What the flaw costs in plausibility: a fixed part, its severity and its area."""
        area = math.pi * self.radius ** 2
        return 0.2 + 0.25 * self.severity + 0.15 * min(1.0, area / 0.07)

    @property
    def box(self):
        """x0, y0, x1, y1."""
        rx, ry = self.radius * self.stretch[0], self.radius * self.stretch[1]
        return self.x - rx, self.y - ry, self.x + rx, self.y + ry


def draw_flaws(rng, scene, first=None):
    """One or two flaws of different kinds on different objects; first is the kind of the first, None for any."""
    flaws = []
    for _ in range(1 if rng.random() < 0.67 else 2):
        kind = rng.choices(list(KINDS), WEIGHTS)[0]
        kind = kind if flaws or first is None else first
        target = rng.randrange(len(scene.objects))
        if all(kind != f.kind and target != f.target for f in flaws):
            flaws.append(draw_flaw(rng, kind, target, scene))
    return flaws


def draw_flaw(rng, kind, target, scene):
    o = scene.objects[target]
    severity = rng.uniform(0.4, 1.0)
    f = Flaw(kind, severity, target, o.x, o.y, o.radius, angle=rng.uniform(0, 2 * math.pi))
    f.waves = [(rng.uniform(0.5, 1.0) * a, rng.uniform(0, 2 * math.pi)) for a in (0.2, 0.18, 0.16, 0.12)]
    f.choice = rng.randrange(3)
    if kind in ("noise", "blur", "blocks"):
        shift = 0.5 if kind == "noise" else 0.3
        f.x, f.y = o.x + rng.gauss(0, shift) * o.radius, o.y + rng.gauss(0, shift) * o.radius
        f.radius = max(rng.uniform(0.08, 0.18), o.radius * (0.5 if kind == "noise" else 0.7))
        if scene.style.resolution:  # fine noise and fine cells cannot be seen there
            f.choice = max(f.choice, 1) if kind == "noise" else 0
    elif kind == "warp":
        f.radius = o.radius * 1.15
    elif kind == "bite":
        f.radius = o.radius * (0.3 + 0.3 * severity)
        edge = shapes.boundary(o.shape, o.rotation, scene.style.aspect)[int(f.angle / (2 * math.pi) * shapes.ANGLES)]
        f.x, f.y = o.x + 0.9 * edge * o.radius * math.cos(f.angle), o.y + 0.9 * edge * o.radius * math.sin(f.angle)
    elif kind == "ghost":
        shift = rng.uniform(0.25, 0.5) * o.radius
        f.x, f.y = o.x + shift * math.cos(f.angle), o.y + shift * math.sin(f.angle)
    elif kind == "bleeding":
        shift = rng.uniform(0.1, 0.4) * o.radius
        f.x, f.y = o.x + shift * math.cos(f.angle), o.y + shift * math.sin(f.angle)
        f.radius = o.radius * rng.uniform(1.1, 1.35)
    elif kind == "blob":
        f.x, f.y, f.radius = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(0.035, 0.08)
        f.stretch = rng.uniform(0.6, 1.6), rng.uniform(0.6, 1.6)
        f.rgb = tuple(rng.random() for _ in range(3))
        near = (scene.background.rgb, scene.background.second)
        if min(max(abs(a - b) for a, b in zip(f.rgb, c)) for c in near) < 0.25:
            f.rgb = tuple(1 - round(c) for c in scene.background.rgb)
    return f
