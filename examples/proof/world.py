"""The world of the experiment: captions of one or two objects, and 64x64 scenes of which some are flawed or contradict their caption.

A caption is five numbers, (colour, shape, relation, colour, shape): 0 is no relation, and
the last pair is (NO_COLOUR, NO_SHAPE) where there is one object. Colours, shapes and
relations are of examples/training/scenes, so that the embedded evaluator knows them.
"""

import pathlib
import random
import sys

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "training"))

from scenes.arrays import encode  # noqa: E402
from scenes.caption import Caption, Mention  # noqa: E402
from scenes.flaws import draw_flaws  # noqa: E402
from scenes.render import Noise, Renderer  # noqa: E402
from scenes.scene import Background, Object, Scene, Style, distance, jitter, relation_between  # noqa: E402
from scenes.truth import judge  # noqa: E402
from scenes.vocabulary import COLOURS, UNSEEN_PAIRS, article  # noqa: E402

SIDE = 64
COLOUR_NAMES = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "black"]
SHAPE_NAMES = ["circle", "square", "triangle", "star", "heart", "cross"]
RELATIONS = ["", "left", "right", "above", "below"]
RELATION_TEXT = ["and", "to the left of", "to the right of", "above", "below"]
NO_COLOUR, NO_SHAPE = len(COLOUR_NAMES), len(SHAPE_NAMES)
PAIRS = [
    (c, s) for c in range(NO_COLOUR) for s in range(NO_SHAPE) if (COLOUR_NAMES[c], SHAPE_NAMES[s]) not in UNSEEN_PAIRS
]
# How many scenes contradict their caption, and how many have local flaws.
WRONG, FLAWED = 0.2, 0.38


def draw_caption(rng):
    first = rng.choice(PAIRS)
    if rng.random() < 0.4:
        return (*first, 0, NO_COLOUR, NO_SHAPE)
    while True:
        second = rng.choice(PAIRS)
        if second[0] != first[0]:
            return (*first, rng.choice([0, 1, 2, 3, 4]), *second)


def wanted(caption):
    """The pairs that a caption names."""
    return [tuple(caption[:2])] + ([] if caption[3] == NO_COLOUR else [tuple(caption[3:])])


def text(caption):
    """The caption as the evaluator reads it."""
    names = [f"{article(COLOUR_NAMES[c])} {COLOUR_NAMES[c]} {SHAPE_NAMES[s]}" for c, s in wanted(caption)]
    return f" {RELATION_TEXT[caption[2]]} ".join(names)


def prompts(name, count):
    """The first captions of a set: "train", "choose" (hyperparameters) or "report"; no caption is in two sets."""
    sets = {"train": 0, "choose": 1, "report": 2}
    rng, found = random.Random(f"prompts {name}"), []
    while len(found) < count:
        caption = draw_caption(rng)
        at = random.Random(str(caption)).random()
        if (0 if at < 0.5 else 1 if at < 0.7 else 2) == sets[name] and caption not in found:
            found.append(caption)
    return found


def _damage(rng, pairs):
    """Contradicts the caption: another colour, another shape, an object too few or too many."""
    pairs = list(pairs)
    i, how = rng.randrange(len(pairs)), rng.random()
    if how < 0.15 and len(pairs) == 2:
        pairs.pop(i)
    elif how < 0.25 and len(pairs) < 3:
        pairs.append(rng.choice(PAIRS))
    else:
        c, s = pairs[i]
        same = [p for p in PAIRS if (p[1] == s if how < 0.6 else p[0] == c) and p not in pairs]
        pairs[i] = rng.choice(same)
    return pairs


def _place(rng, objects, relation):
    for _ in range(100):
        for o in objects:
            o.x, o.y = (rng.uniform(o.radius * 1.1, 1 - o.radius * 1.1) for _ in "xy")
        if relation:
            found = relation_between(objects[0], objects[1])
            if found is None or found[0] != RELATIONS[relation]:
                continue
        if all(np.hypot(a.x - b.x, a.y - b.y) > (a.radius + b.radius) * 1.05 for k, a in enumerate(objects) for b in objects[:k]):
            return True
    return False


def draw_scene(rng, wrong=WRONG, flawed=FLAWED):
    """A caption, its scene and what is true of the two."""
    while True:
        caption = draw_caption(rng)
        pairs = wanted(caption)
        bad = rng.random() < wrong
        shown = _damage(rng, pairs) if bad else pairs
        objects = []
        for c, s in shown:
            low, high = [(0.18, 0.25), (0.15, 0.21), (0.12, 0.15)][len(shown) - 1]
            name = COLOUR_NAMES[c]
            objects.append(Object(name, SHAPE_NAMES[s], "", radius=rng.uniform(low, high), rgb=jitter(rng, COLOURS[name], 0.015)))
        if not _place(rng, objects, caption[2] if len(shown) > 1 else 0):
            continue
        ground = tuple(rng.uniform(0.72, 1.0) for _ in range(3))
        if min(distance(o.rgb, ground) for o in objects) < 0.3:
            continue
        scene = Scene(objects, Background("plain", "", ground, ground), Style(softness=4.0, resolution=SIDE))
        if rng.random() < flawed:
            scene.flaws = draw_flaws(rng, scene)
        scene.style.resolution = 0
        return caption, scene, judge(scene, _claim(caption))


def _claim(caption):
    mentions = [Mention(COLOUR_NAMES[c], SHAPE_NAMES[s]) for c, s in wanted(caption)]
    return Caption(mentions, RELATIONS[caption[2]], "", text(caption))


def draw_many(job):
    """Scenes of (seed, count, wrong, flawed) as arrays, for a worker process."""
    seed, count, wrong, flawed = job
    rng = random.Random(seed)
    drawn = [draw_scene(rng, wrong, flawed) for _ in range(count)]
    encoded = [encode(scene, truth) for _, scene, truth in drawn]
    return {
        "slots": np.stack([e[0] for e in encoded]), "regions": np.stack([e[1] for e in encoded]),
        "frame": np.stack([e[2] for e in encoded]), "used": np.array([e[3] for e in encoded]),
        "captions": np.array([d[0] for d in drawn], np.int64),
        "alignment": np.array([d[2].scores[0] for d in drawn], np.float32),
        "plausibility": np.array([d[2].scores[2] for d in drawn], np.float32),
        "flawed": np.array([bool(d[1].flaws) for d in drawn]),
    }


def draw_pixels(renderer, scenes, rows):
    """Images (B,3,64,64) in [0,1] and heat (B,2,288,288) of some rows of `draw_many`'s arrays."""
    arrays = (torch.from_numpy(scenes[k][rows]) for k in ("slots", "regions", "frame"))
    images, heat, _ = renderer(*arrays, int(scenes["used"][rows].max()), Noise(renderer.device))
    return F.avg_pool2d(images, 2), heat


def make_renderer(device):
    return Renderer(2 * SIDE, device)
