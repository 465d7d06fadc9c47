"""A scene as the numbers that the renderer reads, so that a batch of scenes is three arrays.

Slots are shapes painted one over the other; regions are places whose pixels are
changed afterwards; a frame is what holds for the whole image. FIELDS name the
columns; the renderer knows no other meaning of them.
"""

import numpy as np

from . import shapes
from .corruption import RENDERED, WITHOUT_OBJECTS
from .flaws import KINDS as FLAW_KINDS
from .flaws import MAX_REGIONS, REGIONAL
from .truth import MISSING_RADIUS, MISSING_THERE
from .vocabulary import BACKGROUNDS, COLOUR_NAMES, SHAPES

MAX_SLOTS = 9
SLOT = ["shape", "rotation", "x", "y", "radius", "stretch_x", "stretch_y", "red", "green", "blue", "opacity", "softness",
        "hole", "bite_x", "bite_y", "bite_radius", "bite_heat", "fade", "fade_angle", "wave2", "phase2", "wave3",
        "phase3", "wave5", "phase5", "wave7", "phase7", "misalignment", "artifact", "shown_shape", "shown_colour",
        "outline", "shade", "shade_angle"]
REGION = ["kind", "x", "y", "radius", "severity", "phase2", "phase3", "choice", "heat", "ripple", "ripple_phase"]
FRAME = ["background", "red", "green", "blue", "red2", "green2", "blue2", "frequency", "angle", "grain", "everywhere",
         "resolution", "sensor_noise", "gain", "corruption", "strength", "tint_red", "tint_green", "tint_blue", "cells",
         "spoiled_heat", "destroyed"]
REGION_KINDS = ["noise", "blur", "blocks", "warp"]
RESOLUTIONS = [0, 48, 64, 96, 128, 192]


def _slot(**values):
    row = dict.fromkeys(SLOT, 0.0)
    row.update(stretch_x=1.0, stretch_y=1.0, opacity=1.0, softness=1.0, shown_shape=-1.0, shown_colour=-1.0)
    row.update(values)
    return row


def _rgb(rgb, suffix=""):
    return {name + suffix: value for name, value in zip(("red", "green", "blue"), rgb)}


def encode(scene, truth):
    """The scene and its misalignment heat as arrays: slots (MAX_SLOTS, len(SLOT)), regions, frame; and how many slots."""
    style, corruption = scene.style, scene.corruption
    stretch = {"stretch_x": style.aspect ** 0.5, "stretch_y": style.aspect ** -0.5}
    objects = [] if corruption and corruption.kind in WITHOUT_OBJECTS else scene.objects
    rows = []
    for o, heat in zip(objects, truth.heat):
        rows.append(_slot(shape=SHAPES.index(o.shape), rotation=o.rotation, x=o.x, y=o.y, radius=o.radius, **stretch,
                          **_rgb(o.rgb), softness=style.softness, hole=shapes.RING_HOLE if o.shape == "ring" else 0,
                          misalignment=heat, shown_shape=SHAPES.index(o.shape),
                          shown_colour=COLOUR_NAMES.index(o.colour), outline=float(style.outline), shade=style.shade))
    behind, before, regions = [], [], []
    for f in scene.flaws:
        if f.kind in REGIONAL:
            regions.append(_region(f))
        elif f.kind in ("ghost", "bleeding", "blob"):
            copy = _copy(f, rows[f.target], style)
            (before if f.kind == "blob" or f.kind == "ghost" and f.choice else behind).append(copy)
        else:
            _damage(f, rows[f.target], style)
    if corruption and corruption.kind == "smears":
        before += _smears(scene)
    for x, y in truth.missing:  # seen by nobody, but hot
        before.append(_slot(shape=shapes.BLOB, x=x, y=y, radius=MISSING_RADIUS, opacity=0, softness=8,
                            misalignment=MISSING_THERE))
    rows = (behind + rows + before)[:MAX_SLOTS]
    return _array(rows, SLOT, MAX_SLOTS), _array(regions, REGION, MAX_REGIONS), _frame(scene, truth), len(rows)


def _array(rows, fields, count):
    out = np.zeros((count, len(fields)), np.float32)
    for k, row in enumerate(rows):
        out[k] = [row[name] for name in fields]
    return out


def _region(f):
    return {"kind": 1 + REGION_KINDS.index(f.kind), "x": f.x, "y": f.y, "radius": f.radius, "severity": f.severity,
            "phase2": f.waves[0][1], "phase3": f.waves[1][1], "choice": f.choice, "heat": 0.5 + 0.5 * f.severity,
            "ripple": f.waves[2][0] / 0.16, "ripple_phase": f.angle}


def _copy(f, of, style):
    """The slot that a ghost, a bleeding or a blob adds."""
    if f.kind == "blob":
        return _slot(shape=shapes.BLOB, x=f.x, y=f.y, radius=f.radius, stretch_x=f.stretch[0], stretch_y=f.stretch[1],
                     **_rgb(f.rgb), opacity=0.6 + 0.4 * f.severity, softness=style.softness + 2 * f.choice,
                     artifact=0.5 + 0.5 * f.severity, **_waves(f, 1.3))
    row = dict(of, x=f.x, y=f.y, artifact=0.5 + 0.5 * f.severity, misalignment=0.0, shown_shape=-1.0, shown_colour=-1.0)
    if f.kind == "ghost":
        row.update(opacity=0.3 + 0.3 * f.severity)
    else:
        row.update(radius=f.radius, softness=40 + 10 * f.choice, hole=0.0, opacity=0.4 + 0.4 * f.severity, outline=0.0)
    return row


def _waves(f, scale):
    return {name + str(h): v for h, (a, phase) in zip((2, 3, 5, 7), f.waves)
            for name, v in (("wave", a * scale), ("phase", phase))}


def _damage(f, row, style):
    """Changes the slot of an object that is bitten, melting or fading."""
    if f.kind == "bite":
        row.update(bite_x=f.x, bite_y=f.y, bite_radius=f.radius, bite_heat=0.5 + 0.5 * f.severity)
    elif f.kind == "melting":
        row.update(_waves(f, 0.5 + 0.7 * f.severity), softness=style.softness + 4 * f.choice * f.severity,
                   artifact=0.5 + 0.5 * f.severity)
    else:
        row.update(fade=0.5 + 0.5 * f.severity, fade_angle=f.angle, artifact=0.5 + 0.5 * f.severity)


def _smears(scene):
    """Soft blobs where the objects would have been, and between them."""
    rows = []
    for k, o in enumerate(scene.objects):
        for side in (0, 1):
            shift = o.radius * (0.5 + 0.3 * k) * side
            waves = {"wave2": 0.25, "phase2": o.x * 40, "wave3": 0.2, "phase3": o.y * 40 + side, "wave5": 0.1, "phase5": k}
            rows.append(_slot(shape=shapes.BLOB, x=o.x + shift, y=o.y - shift, radius=o.radius * (1.2 - 0.4 * side),
                              stretch_x=1.3, stretch_y=0.7 + 0.6 * side, **_rgb(o.rgb), **waves,
                              opacity=0.8 - 0.3 * side, softness=4 + 16 * scene.corruption.strength + 20 * side))
    return rows[:MAX_SLOTS - 2]


def _frame(scene, truth):
    g, style, c = scene.background, scene.style, scene.corruption
    row = dict.fromkeys(FRAME, 0.0)
    row.update(background=BACKGROUNDS.index(g.kind), frequency=g.frequency, angle=g.angle, grain=g.grain,
               **_rgb(g.rgb), **_rgb(g.second, "2"), everywhere=truth.everywhere,
               resolution=RESOLUTIONS.index(style.resolution), sensor_noise=style.sensor_noise, gain=style.gain)
    if c:
        row.update(corruption=1 + RENDERED.index(c.kind) if c.kind in RENDERED else 0, strength=c.strength,
                   tint_red=c.rgb[0], tint_green=c.rgb[1], tint_blue=c.rgb[2], cells=c.size, spoiled_heat=c.heat,
                   destroyed=float(c.destroyed))
    return np.array([row[name] for name in FRAME], np.float32)
