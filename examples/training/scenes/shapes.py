"""Outlines of shapes as radius by angle: a point is inside when its distance from the centre is less than that."""

import math

import numpy as np

from .vocabulary import SHAPES

ANGLES = 256  # entries of a table
THETA = (np.arange(ANGLES) + 0.5) / ANGLES * 2 * np.pi
RING_HOLE = 0.58  # inner to outer radius of a ring


def _polygon(corners):
    """Radius by angle of a polygon around the origin."""
    corners = np.array(corners, float)
    direction = np.stack([np.cos(THETA), np.sin(THETA)], 1)
    radius = np.zeros(ANGLES)
    for a, b in zip(corners, np.roll(corners, -1, 0)):
        edge = b - a
        # t * direction = a + u * edge, solved by Cramer's rule.
        det = direction[:, 1] * edge[0] - direction[:, 0] * edge[1]
        with np.errstate(all="ignore"):
            t = (a[1] * edge[0] - a[0] * edge[1]) / det
            u = (direction[:, 0] * a[1] - direction[:, 1] * a[0]) / det
        hit = np.isfinite(t) & (t > 0) & (u >= -1e-6) & (u <= 1 + 1e-6)
        radius = np.where(hit, np.maximum(radius, t), radius)
    for i in np.flatnonzero(radius == 0):
        radius[i] = max(radius[i - 1], radius[(i + 1) % ANGLES])
    return radius


def _regular(n, start=0.0, inner=1.0):
    """Corners of a regular n-gon; every second one at the radius inner."""
    return [((inner if i % 2 else 1) * math.cos(start + 2 * math.pi * i / n),
             (inner if i % 2 else 1) * math.sin(start + 2 * math.pi * i / n)) for i in range(n)]


def _heart():
    t = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y], 1) / 16


def _cross(w=0.32):
    return [(w, -1), (w, -w), (1, -w), (1, w), (w, w), (w, 1), (-w, 1), (-w, w), (-1, w), (-1, -w), (-w, -w), (-w, -1)]


OUTLINES = {
    "circle": np.full(ANGLES, 0.9),
    "square": _polygon(_regular(4, math.pi / 4)) * 1.08,
    "triangle": _polygon(_regular(3, -math.pi / 2)) * 1.1,
    "star": _polygon(_regular(10, -math.pi / 2, inner=0.42)) * 1.12,
    "heart": _polygon(_heart()),
    "diamond": _polygon([(0, -1.1), (0.68, 0), (0, 1.1), (-0.68, 0)]),
    "cross": _polygon(_cross()),
    "ring": np.full(ANGLES, 0.9),
    "hexagon": _polygon(_regular(6)),
    "semicircle": _polygon([(math.cos(a), math.sin(a) + 0.45) for a in np.linspace(-math.pi, 0, 40)]) * 1.05,
}
BLOB = len(SHAPES)  # the code of a shape of no kind: a disc that waves give its form
TABLES = np.stack([OUTLINES[s] for s in SHAPES] + [np.full(ANGLES, 0.85)]).astype(np.float32)


def boundary(shape, rotation, aspect):
    """Radius by angle of a shape of radius 1, stretched to the aspect and rotated. (ANGLES,)"""
    dx, dy = np.cos(THETA) / aspect ** 0.5, np.sin(THETA) * aspect ** 0.5
    index = ((np.arctan2(dy, dx) - rotation) / (2 * np.pi) % 1 * ANGLES).astype(int) % ANGLES
    return OUTLINES[shape][index] / np.hypot(dx, dy)


def box(o, aspect):
    """x0, y0, x1, y1 of an object."""
    r = boundary(o.shape, o.rotation, aspect) * o.radius
    x, y = r * np.cos(THETA), r * np.sin(THETA)
    return o.x + x.min(), o.y + y.min(), o.x + x.max(), o.y + y.max()
