"""What an image shows: objects and where they stand, the background, flaws and style."""

import math
from dataclasses import dataclass, field

from .corruption import Corruption, draw_corruption
from .flaws import Flaw, draw_flaws
from .vocabulary import BACKGROUNDS, COLOUR_NAMES, COLOURS, pick_pair

MAX_OBJECTS = 5
# Radii of objects by their size word; the gaps keep the words unambiguous.
RADII = {"small": (0.07, 0.095), "": (0.11, 0.155), "large": (0.175, 0.23)}
# A relation is clear when two centres differ by at least this along its direction.
CLEAR_DISTANCE = 0.16
# How far two centres may differ across the direction, as a share of along it.
CLEAR_SLOPE = 0.75


@dataclass
class Object:
    colour: str
    shape: str
    size: str  # a key of RADII
    x: float = 0.0
    y: float = 0.0
    radius: float = 0.0
    rgb: tuple = (0.0, 0.0, 0.0)
    rotation: float = 0.0

    @property
    def pair(self):
        return self.colour, self.shape


@dataclass
class Background:
    kind: str  # one of BACKGROUNDS
    colour: str  # the name of its first colour, "" where it has none
    rgb: tuple = (1.0, 1.0, 1.0)
    second: tuple = (1.0, 1.0, 1.0)
    frequency: float = 8.0
    angle: float = 0.0
    grain: float = 0.1


@dataclass
class Style:
    aspect: float = 1.0  # width to height of every object
    outline: bool = False
    shade: float = 0.0  # strength of a shade across each object
    softness: float = 1.0  # width of edges in pixels of 512
    resolution: int = 0  # side at which the image was made before it was enlarged, 0 for full
    sensor_noise: float = 0.0
    gain: float = 1.0


@dataclass
class Scene:
    objects: list
    background: Background
    style: Style
    flaws: list = field(default_factory=list)
    corruption: Corruption = None  # what spoils the whole image, if anything does
    pairs: str = "seen"


def relation_between(a, b):
    """The relation in which a clearly stands to b and how clear it is (0 straight, CLEAR_SLOPE at most), or None."""
    dx, dy = a.x - b.x, a.y - b.y
    along, across = (abs(dx), abs(dy)) if abs(dx) > abs(dy) else (abs(dy), abs(dx))
    if along < CLEAR_DISTANCE or across > CLEAR_SLOPE * along:
        return None
    if abs(dx) > abs(dy):
        name = "left" if dx < 0 else "right"
    else:
        name = "above" if dy < 0 else "below"
    return name, across / along


def draw_scene(rng, pairs="seen", spoiled=None, flaw=None):
    """A scene drawn with rng, a random.Random.

    spoiled decides whether the whole image is spoiled; None lets rng decide. flaw is a
    kind that the first flaw of an image that is not spoiled must be.
    """
    if spoiled is None:
        spoiled = rng.random() < 0.15
    while True:
        scene = _attempt(rng, pairs, spoiled, flaw)
        if scene is not None:
            return scene


def _attempt(rng, pairs, spoiled, flaw):
    objects = _draw_objects(rng, pairs)
    if not _place(rng, objects):
        return None
    background = _draw_background(rng, objects)
    if background is None:
        return None
    scene = Scene(objects, background, _draw_style(rng), pairs=pairs)
    if spoiled:
        scene.corruption = draw_corruption(rng)
    elif rng.random() < 0.58 or flaw:
        scene.flaws = draw_flaws(rng, scene, flaw)
    return scene


def _draw_objects(rng, pairs):
    counts = rng.choices([[1], [1, 1], [1, 1, 1], [2], [3], [4], [2, 1], [3, 1], [2, 2]],
                         [20, 42, 16, 4, 3, 3, 5, 4, 3])[0]
    groups = []
    while len(groups) < len(counts):
        pair = pick_pair(rng, pairs if not groups or pairs != "unseen" else "any")
        if pair not in groups:
            groups.append(pair)
    objects = []
    for (colour, shape), count in zip(groups, counts):
        size = rng.choices(["", "small", "large"], [6, 2, 2])[0]
        objects += [Object(colour, shape, size) for _ in range(count)]
    for o in objects:
        o.radius = rng.uniform(*RADII[o.size])
        o.rotation = rng.uniform(-0.25, 0.25) if rng.random() < 0.6 else 0.0
        o.rgb = jitter(rng, COLOURS[o.colour], 0.03)
    if len(objects) > 3:
        for o in objects:
            if o.size != "small":
                o.size, o.radius = "", min(o.radius, RADII[""][1])
    return objects


def _place(rng, objects):
    """Gives objects centres that keep apart; two objects stand in a clear relation most of the time."""
    clear = len(objects) == 2 and rng.random() < 0.8
    for _ in range(30):
        placed = []
        for o in objects:
            for _ in range(12):
                margin = min(o.radius * 1.02, 0.45)
                o.x, o.y = rng.uniform(margin, 1 - margin), rng.uniform(margin, 1 - margin)
                if clear and placed and relation_between(o, placed[0]) is None:
                    continue
                if all(math.hypot(o.x - p.x, o.y - p.y) > (o.radius + p.radius) * 0.95 for p in placed):
                    placed.append(o)
                    break
            else:
                break
        if len(placed) == len(objects):
            return True
    return False


def jitter(rng, rgb, amount):
    """rgb moved a little, as a whole and in each channel."""
    shift = rng.gauss(0, amount)
    return tuple(min(1.0, max(0.0, c + rng.gauss(0, amount) * 0.7 + shift)) for c in rgb)


def _draw_background(rng, objects):
    """A background whose colours differ from those of all objects, or None."""
    kind = rng.choices(BACKGROUNDS, [42, 12, 10, 10, 16, 10])[0]
    for attempt in range(40):
        colour, rgb = "", None
        if rng.random() < 0.5:
            colour = rng.choice(COLOUR_NAMES)
            rgb = jitter(rng, COLOURS[colour], 0.03)
        else:
            low, high = (0.55, 1.0) if rng.random() < 0.6 else (0.0, 0.35)
            rgb = tuple(rng.uniform(low, high) for _ in range(3))
        if kind in ("plain", "grainy"):
            second = rgb
        elif rng.random() < 0.6:
            second = tuple(min(1.0, max(0.0, c + rng.choice((-1, 1)) * rng.uniform(0.1, 0.28))) for c in rgb)
        else:
            second = jitter(rng, COLOURS[rng.choice(COLOUR_NAMES)], 0.05)
        if kind not in ("plain", "grainy") and distance(rgb, second) < 0.1:
            continue
        if kind != "plain":
            colour = ""  # the caption names either the pattern or the one colour
        nearest = min((min(distance(o.rgb, rgb), distance(o.rgb, second)) for o in objects), default=1)
        if nearest > (0.22 if attempt < 30 else 0.17):
            return Background(kind, colour, rgb, second, rng.uniform(5, 14), rng.uniform(0, 2 * math.pi),
                              rng.uniform(0.07, 0.2))
    return None


def distance(a, b):
    """The greatest difference of two colours in a channel."""
    return max(abs(x - y) for x, y in zip(a, b))


def _draw_style(rng):
    style = Style(softness=rng.uniform(0.8, 2.2))
    if rng.random() < 0.3:
        style.aspect = math.exp(rng.gauss(0, 0.18))
    style.outline = rng.random() < 0.35
    if rng.random() < 0.25:
        style.shade = rng.uniform(0.1, 0.3)
    if rng.random() < 0.4:  # as generators of low resolution paint, 64x64 above all
        style.resolution = rng.choice([48, 64, 64, 64, 96, 128, 192])
    if rng.random() < 0.3:
        style.sensor_noise = rng.uniform(0, 0.03)
    style.gain = rng.uniform(0.9, 1.1)
    return style
