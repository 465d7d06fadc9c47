"""What is true of a caption and an image: facts, scores, heat, boxes and the texts that say so.

Scores, all from 0 to 1:
- alignment: the share of the caption's facts that hold. Each mention has two, its
  colour and its shape, one more for a size and one for a number; the relation
  counts two, the background one, and each object that nobody asked for is one
  fact that does not hold.
- plausibility: the product of 1 less each flaw's penalty (flaws.Flaw.penalty), or that
  of a spoiled image (corruption.Corruption.plausibility).
- aesthetics: 0.3 contrast + 0.25 colour harmony + 0.25 balance + 0.2 (1 - clutter)
  - 0.2 (1 - plausibility); 0.1 where nothing can be recognised.
- overall: 0.4 alignment + 0.3 plausibility + 0.3 aesthetics.
"""

import math
from dataclasses import dataclass, field

from . import shapes
from .caption import MISSING_DISTANCE
from .corruption import WITHOUT_OBJECTS
from .flaws import SENTENCES
from .matching import match
from .scene import relation_between
from .vocabulary import DIRECTIONS, NUMBERS, RELATION_WORDS, article, plural

# Misalignment heat of an object by what is wrong with it, and of the background.
WRONG_OBJECT, WRONG_RELATION, WRONG_SIZE, WRONG_COUNT = 1.0, 0.8, 0.6, 0.6
WRONG_BACKGROUND, MISSING_ANYWHERE, MISSING_THERE = 0.35, 0.35, 0.8
MISSING_RADIUS = 0.13
MAX_BOXES = 5


@dataclass
class Region:
    """Something wrong: a sentence and, where it has a place, its box."""
    sentence: str
    label: str  # "misalignment" or "artifact"
    importance: float = 0.0  # from 0 to 1
    box: tuple = None


@dataclass
class Truth:
    scores: tuple = (0.0, 0.0, 0.0, 0.0)  # alignment, aesthetics, plausibility, overall
    heat: list = field(default_factory=list)  # misalignment heat of each object
    missing: list = field(default_factory=list)  # x, y of discs where something should be
    everywhere: float = 0.0  # misalignment heat of what no object covers
    mentions: list = field(default_factory=list)  # for each: does it hold, and x, y of its object or None
    relation: bool = None  # does the claimed relation hold; None without a claim
    background: bool = None
    regions: list = field(default_factory=list)


def judge(scene, caption):
    """The Truth about a caption and a scene."""
    truth = Truth(heat=[0.0] * len(scene.objects))
    objects = scene.objects
    if scene.corruption and scene.corruption.kind in WITHOUT_OBJECTS:
        objects, truth.heat = [], []
    held, total = _objects(truth, objects, caption)
    for h, t in (_relation(truth, objects, caption), _background(truth, scene, caption)):
        held, total = held + h, total + t
    if scene.corruption and scene.corruption.destroyed:
        held = 0
        truth.heat, truth.missing, truth.everywhere = [0.0] * len(objects), [], MISSING_ANYWHERE
        truth.mentions = [(False, None)] * len(caption.mentions)
        truth.relation = None if truth.relation is None else False
        truth.background = None if truth.background is None else False
        truth.regions = [Region("Nothing can be recognised.", "misalignment", MISSING_ANYWHERE, (0, 0, 1, 1))]
    _artifacts(truth, scene)
    alignment = held / total
    plausible = plausibility(scene)
    beauty = aesthetics(scene, plausible)
    overall = 0.4 * alignment + 0.3 * plausible + 0.3 * beauty
    truth.scores = tuple(round(s, 2) for s in (alignment, beauty, plausible, overall))
    return truth


def _name(o):
    return f"{o.colour} {o.shape}"


def _objects(truth, objects, caption):
    """Facts about mentions and about objects that are not mentioned."""
    held = total = 0
    claimed = set()
    meant = match(caption.mentions, objects)
    for k, (m, (found, right)) in enumerate(zip(caption.mentions, meant)):
        claimed.update(found)
        total += 2
        holds = right
        place = (objects[found[0]].x, objects[found[0]].y) if len(found) == 1 else None
        if not found:
            _miss(truth, objects, caption, k, meant)
        elif not right:
            o = objects[found[0]]
            held += (o.colour == m.colour) + (o.shape == m.shape)
            _wrong(truth, objects, found, f"The {_name(o)} should be {article(m.colour)} {_name(m)}.", WRONG_OBJECT)
        else:
            held += 2
        if right and (m.count > 1 or len(found) > 1):
            total += 1
            if len(found) == m.count:
                held += 1
            else:
                holds = False
                noun = f"{NUMBERS[m.count]} {m.colour} {plural(m.shape)}" if m.count > 1 else f"one {_name(m)}"
                _wrong(truth, objects, found, f"There should be {noun}.", WRONG_COUNT)
        if right and m.size:
            total += 1
            wrong = [i for i in found if objects[i].size != m.size]
            held += not wrong
            if wrong:
                holds = False
                _wrong(truth, objects, wrong, f"The {_name(m)} should be {m.size}.", WRONG_SIZE)
        truth.mentions.append((holds, place))
    for i, o in enumerate(objects):
        if i not in claimed:
            total += 1
            _wrong(truth, objects, [i], f"The {_name(o)} is extra.", WRONG_OBJECT)
    return held, total


def _wrong(truth, objects, which, sentence, heat):
    for n, i in enumerate(which):
        truth.heat[i] = max(truth.heat[i], heat)
        truth.regions.append(Region(sentence if n == 0 else "", "misalignment", heat, objects[i]))


def _miss(truth, objects, caption, k, meant):
    """Mention k is missing: heat where its relation puts it, or else on the background."""
    sentence = f"The {_name(caption.mentions[k])} is missing."
    if caption.relation and k < 2 and len(meant[1 - k][0]) == 1:
        o = objects[meant[1 - k][0][0]]
        sign = 1 if k == 0 else -1
        dx, dy = DIRECTIONS[caption.relation]
        x, y = o.x + sign * MISSING_DISTANCE * dx, o.y + sign * MISSING_DISTANCE * dy
        truth.missing.append((x, y))
        r = MISSING_RADIUS
        truth.regions.append(Region(sentence, "misalignment", MISSING_THERE, (x - r, y - r, x + r, y + r)))
    else:
        truth.everywhere = max(truth.everywhere, MISSING_ANYWHERE)
        truth.regions.append(Region(sentence, "misalignment", MISSING_ANYWHERE, (0, 0, 1, 1)))


def _relation(truth, objects, caption):
    if not caption.relation:
        return 0, 0
    meant = [found for found, _ in match(caption.mentions, objects)[:2]]
    truth.relation = False
    if [len(found) for found in meant] != [1, 1]:
        return 0, 2
    a, b = objects[meant[0][0]], objects[meant[1][0]]
    clear = relation_between(a, b)
    truth.relation = clear is not None and clear[0] == caption.relation
    if truth.relation:
        return 2, 2
    word = RELATION_WORDS[caption.relation][0]
    _wrong(truth, objects, [meant[0][0], meant[1][0]], f"The {_name(a)} should be {word} the {_name(b)}.",
           WRONG_RELATION)
    return 0, 2


def _background(truth, scene, caption):
    if not caption.background:
        return 0, 0
    g = scene.background
    truth.background = caption.background in (g.kind, g.colour)
    if truth.background:
        return 1, 1
    truth.everywhere = max(truth.everywhere, WRONG_BACKGROUND)
    truth.regions.append(Region(f"The background should be {caption.background}.", "misalignment", WRONG_BACKGROUND,
                                (0, 0, 1, 1)))
    return 0, 1


def _artifacts(truth, scene):
    if scene.corruption:
        kind = "Nothing is shown" if scene.corruption.kind == "empty" else "The whole image is spoiled"
        truth.regions.append(Region(kind + ".", "artifact", scene.corruption.heat, (0, 0, 1, 1)))
    for f in scene.flaws:
        where = "" if f.kind == "blob" else f" at the {_name(scene.objects[f.target])}"
        truth.regions.append(Region(SENTENCES[f.kind] + where + ".", "artifact", f.severity, f.box))


def plausibility(scene):
    if scene.corruption:
        return scene.corruption.plausibility
    return math.prod(1 - f.penalty for f in scene.flaws)


def aesthetics(scene, plausible):
    parts = beauty(scene)
    if parts is None:
        return 0.1
    contrast, harmony, balance, clutter = parts
    whole = 0.3 * contrast + 0.25 * harmony + 0.25 * balance + 0.2 * (1 - clutter)
    return min(1.0, max(0.0, whole - 0.2 * (1 - plausible)))


def beauty(scene):
    """Contrast, colour harmony, balance and clutter; None where nothing can be recognised."""
    c = scene.corruption
    if c and (c.destroyed or c.kind in WITHOUT_OBJECTS):
        return None
    return _contrast(scene), _harmony(scene.objects), _balance(scene.objects), _clutter(scene)


def _contrast(scene):
    """The mean distance of objects from the background's mean colour."""
    g = scene.background
    mean = [(a + b) / 2 for a, b in zip(g.rgb, g.second)]
    far = [math.sqrt(sum((w * (a - b)) ** 2 for w, a, b in zip((0.9, 1.2, 0.7), o.rgb, mean))) for o in scene.objects]
    return min(1.0, sum(far) / len(far) / 0.75)


def _hue(rgb):
    """From 0 to 1, or None for what is nearly gray."""
    high, low = max(rgb), min(rgb)
    if high - low < 0.15:
        return None
    r, g, b = rgb
    if high == r:
        return (g - b) / (high - low) % 6 / 6
    return ((b - r) / (high - low) + 2 if high == g else (r - g) / (high - low) + 4) / 6


def _harmony(objects):
    """1 for like hues, 0.9 for opposite ones, 0.7 for triads, 0.4 for the rest; the mean over pairs."""
    hues = [h for h in (_hue(o.rgb) for o in objects) if h is not None]
    gaps = [min(abs(a - b), 1 - abs(a - b)) for k, a in enumerate(hues) for b in hues[:k]]
    if not gaps:
        return 0.85
    return sum(1.0 if d < 0.09 else 0.9 if d > 0.42 else 0.7 if 0.29 < d < 0.38 else 0.4 for d in gaps) / len(gaps)


def _balance(objects):
    """1 when the objects' centre of mass is the image's centre, 0 at a distance of 0.3."""
    mass = sum(o.radius ** 2 for o in objects)
    x = sum(o.x * o.radius ** 2 for o in objects) / mass
    y = sum(o.y * o.radius ** 2 for o in objects) / mass
    return 1 - min(1.0, math.hypot(x - 0.5, y - 0.5) / 0.3)


def _clutter(scene):
    pattern = {"plain": 0, "gradient": 0, "striped": 0.3, "checkered": 0.4, "dotted": 0.3, "grainy": 0.35}
    extra = sum(f.kind in ("ghost", "blob", "bleeding") for f in scene.flaws)
    return min(1.0, 0.12 * (len(scene.objects) + extra - 1) + pattern[scene.background.kind])


def write_answer(truth):
    """The answer, without the prefix that fast mode begins it with."""
    alignment, beauty, plausible, overall = (f"{s:.2f}" for s in truth.scores)
    return (f"Semantic Alignment score: {alignment}\nMisalignment Locations: <|misalignment|>\n"
            f"Aesthetic score: {beauty}\nPlausibility score: {plausible}\nArtifact Locations: <|artifact|>\n"
            f"Overall Impression score: {overall}</answer>")


def boxes(scene, truth):
    """The first MAX_BOXES regions with a box: x0, y0, x1, y1 in thousandths, label and importance in hundredths."""
    found = []
    for r in truth.regions[:MAX_BOXES]:
        box = r.box if isinstance(r.box, tuple) else shapes.box(r.box, scene.style.aspect)
        # Tens of thousandths: finer than a patch of 14 pixels shows, and one digit less to learn.
        corners = [min(1000, max(0, round(v * 100) * 10)) for v in box]
        if corners[0] < corners[2] and corners[1] < corners[3]:
            found.append((corners, r.label, round(r.importance * 10) * 10, r.sentence))
    return found


def write_thought(scene, truth):
    """What think mode writes before the answer: what is seen, then each fault with its box as JSON."""
    c = scene.corruption
    seen = "nothing"
    if not (c and (c.destroyed or c.kind in WITHOUT_OBJECTS)):
        seen = ", ".join((o.size + " " if o.size else "") + _name(o) for o in sorted(scene.objects, key=lambda o: o.x))
    if not (c and c.destroyed):
        seen += f"; {scene.background.kind} background"
    text = f"<think>\nSeen: {seen}.\nI need to focus on the bounding box area. Proposed regions (xyxy): "
    found = boxes(scene, truth)
    if not found:
        return text + "none.</think>\n<answer>"
    for (x0, y0, x1, y1), label, importance, sentence in found:
        text += f'\n{sentence} {{"box_2d":[{x0},{y0},{x1},{y1}],"label":"{label}","importance":{importance}}}'
    return text + "</think>\n<answer>"
