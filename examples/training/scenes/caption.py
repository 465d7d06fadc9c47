"""Captions of a scene as claims: what is there, how it stands, on what background; true or with mistakes."""

from dataclasses import dataclass, field, replace

from .matching import match
from .scene import CLEAR_SLOPE, draw_scene, relation_between
from .vocabulary import (BACKGROUNDS, COLOUR_NAMES, DIRECTIONS, NUMBERS, OPPOSITE, RELATION_WORDS, SHAPES, SIZES,
                         UNSEEN_PAIRS, article, plural)

PREFIXES = ["", "", "a picture of ", "an image of ", "a drawing of ", "an illustration of ", "a painting of ",
            "a photo of ", "a simple scene with ", "a poster with ", "there is ", "we see ", "a canvas showing ",
            "minimal art: ", "a graphic of ", "clip art of "]
BACKGROUND_PHRASES = [" on {a} {} background", " against {a} {} background", ", {} background",
                      " in front of {a} {} background", " over {a} {} background", " on {a} {} backdrop"]
JOINS = [" and ", " with ", " next to ", " together with "]

MISSING_DISTANCE = 0.3  # from an object to where a missing one should be
# Odds that a caption with such a claim gets it wrong.
WRONG_RELATION = 0.38
WRONG_BACKGROUND = 0.32
WRONG_SIZE = 0.25
# Of other mistakes: how many a caption has, and of which kind.
MISTAKES = [0, 1, 2]
MISTAKE_ODDS = [48, 38, 14]
KINDS = {"colour": 24, "shape": 24, "missing": 20, "extra": 24, "count": 20}


@dataclass
class Mention:
    colour: str
    shape: str
    size: str = ""
    count: int = 1
    end: int = 0  # where its phrase ends in the text

    @property
    def pair(self):
        return self.colour, self.shape


@dataclass
class Caption:
    mentions: list
    relation: str = ""  # of the first mention to the second, a key of DIRECTIONS
    background: str = ""  # a kind or a colour
    text: str = ""
    mistakes: list = field(default_factory=list)  # what was done to the truth, for reports by kind


def write_captions(rng, scene, count):
    """count captions of the scene, drawn independently."""
    return [write_caption(rng, scene) for _ in range(count)]


def write_caption(rng, scene, mistakes=None):
    """A caption; mistakes forces kinds ("colour", "relation", ...; [] for a true one), None draws them."""
    if mistakes is None and rng.random() < 0.04:
        other = draw_scene(rng, scene.pairs, spoiled=False)
        caption = write_caption(rng, other, [])
        caption.mistakes = ["other"]
        return caption
    mentions = true_mentions(rng, scene)
    caption = Caption(mentions)
    wrong = mistakes
    if wrong is None:
        number = rng.choices(MISTAKES, MISTAKE_ODDS)[0]
        wrong = rng.choices(list(KINDS), list(KINDS.values()), k=number)
    for kind in wrong:
        if kind in KINDS and _mistake(rng, kind, caption, scene):
            caption.mistakes.append(kind)
    _claim_sizes(rng, caption, scene, "size" in (mistakes or []), mistakes is None)
    _claim_relation(rng, caption, scene, "relation" in (mistakes or []), mistakes is None)
    _claim_background(rng, caption, scene, "background" in (mistakes or []), mistakes is None)
    caption.text = _phrase(rng, caption)
    return caption


def contradict(rng, caption, scene):
    """The caption with its relation, or else its background, turned: false where it was true, and mostly the reverse.

    None if it claims neither of things that are there.
    """
    other = Caption([replace(m) for m in caption.mentions], caption.relation, caption.background)
    meant = [found for found, _ in match(caption.mentions, scene.objects)[:2]]
    if caption.relation and all(len(found) == 1 for found in meant):
        other.relation = OPPOSITE[caption.relation]
    elif caption.background:
        g = scene.background
        kind = caption.background in BACKGROUNDS
        true = g.kind if kind else g.colour
        choices = [c for c in (BACKGROUNDS if kind else COLOUR_NAMES) if c != true]
        other.background = rng.choice(choices) if caption.background == true else true
        if not other.background:
            return None
    else:
        return None
    other.text = _phrase(rng, other)
    return other


def true_mentions(rng, scene):
    """Every group of equal objects, in random order."""
    counts = {}
    for o in scene.objects:
        counts[o.pair] = counts.get(o.pair, 0) + 1
    mentions = [Mention(c, s, "", n) for (c, s), n in counts.items()]
    rng.shuffle(mentions)
    return mentions


def _free_pair(rng, caption, scene, colour=None, shape=None):
    """A pair neither shown nor mentioned, with the colour or the shape given."""
    taken = {o.pair for o in scene.objects} | {m.pair for m in caption.mentions}
    for _ in range(40):
        pair = colour or rng.choice(COLOUR_NAMES), shape or rng.choice(SHAPES)
        if pair not in taken and (scene.pairs != "seen" or pair not in UNSEEN_PAIRS):
            return pair
    return None


def _mistake(rng, kind, caption, scene):
    """Makes the caption wrong in one way; False if it cannot be done."""
    mentions = caption.mentions
    right = [m for m in mentions if any(o.pair == m.pair for o in scene.objects)]
    if not right:
        return False
    m = rng.choice(right)
    if kind in ("colour", "shape"):
        pair = _free_pair(rng, caption, scene, **({"shape": m.shape} if kind == "colour" else {"colour": m.colour}))
        if pair is None:
            return False
        m.colour, m.shape = pair
    elif kind == "missing":  # named but not shown
        if len(mentions) > 2:
            return False
        pair = _free_pair(rng, caption, scene)
        if pair is None or any(o.colour == pair[0] or o.shape == pair[1] for o in scene.objects):
            return False
        mentions.insert(rng.randrange(len(mentions) + 1), Mention(*pair))
    elif kind == "extra":  # shown but not named
        if len(mentions) < 2:
            return False
        mentions.remove(m)
    elif kind == "count":
        m.count = rng.choice([n for n in (1, 2, 3, 4) if abs(n - m.count) in (1, 2)])
    return True


def _shown(m, scene):
    return [o for o in scene.objects if o.pair == m.pair]


def _claim_sizes(rng, caption, scene, force, draw):
    for m in caption.mentions:
        shown = _shown(m, scene)
        sizes = {o.size for o in shown}
        if len(sizes) != 1 or "" in sizes or rng.random() < 0.4 and not force:
            continue
        m.size = sizes.pop()
        if force or draw and rng.random() < WRONG_SIZE:
            m.size = "small" if m.size == "large" else "large"
            caption.mistakes.append("size")
            force = False


def _claim_relation(rng, caption, scene, force, draw):
    if len(caption.mentions) < 2 or any(m.count > 1 for m in caption.mentions[:2]):
        return
    meant = [found for found, _ in match(caption.mentions, scene.objects)[:2]]
    if max(map(len, meant)) != 1 or rng.random() < 0.25 and not force:
        return
    first, second = ([scene.objects[i] for i in found] for found in meant)
    if not (first and second):  # the relation says where the missing one should be
        caption.relation = _possible_relation(rng, (first or second)[0], 1 if second else -1)
        return
    clear = relation_between(first[0], second[0])
    if clear is None:
        return
    relation, slope = clear
    if force or draw and rng.random() < WRONG_RELATION:
        caption.mistakes.append("relation")
        relation = OPPOSITE[relation]
        if slope < 0.4 * CLEAR_SLOPE and rng.random() < 0.3:
            relation = rng.choice([r for r in DIRECTIONS if r not in (relation, OPPOSITE[relation])])
    caption.relation = relation


def _possible_relation(rng, o, sign):
    """A relation in which something can stand to o (sign 1), or o to something (sign -1), within the image."""
    fits = [r for r, (dx, dy) in DIRECTIONS.items()
            if 0.12 < o.x + sign * MISSING_DISTANCE * dx < 0.88 and 0.12 < o.y + sign * MISSING_DISTANCE * dy < 0.88]
    return rng.choice(fits) if fits else ""


def _claim_background(rng, caption, scene, force, draw):
    if rng.random() < 0.5 and not force:
        return
    g = scene.background
    kind = g.kind != "plain" or not g.colour or rng.random() < 0.35
    caption.background = g.kind if kind else g.colour
    if force or draw and rng.random() < WRONG_BACKGROUND:
        caption.mistakes.append("background")
        choices = BACKGROUNDS if kind else COLOUR_NAMES
        caption.background = rng.choice([c for c in choices if c != caption.background])


def _phrase(rng, caption):
    """Writes the caption out and notes where each mention ends."""
    mentions = caption.mentions
    det = rng.random() < 0.88
    phrases = [_noun_phrase(rng, m, det) for m in mentions]
    pieces = _related(rng, caption.relation) if caption.relation else [0]
    last = max(p for p in pieces if isinstance(p, int))
    listed = len(mentions) > 2 and not caption.relation and rng.random() < 0.5
    join = ", with " if caption.relation else rng.choice(JOINS)
    for i in range(last + 1, len(mentions)):
        if listed:
            join = " and " if i == len(mentions) - 1 and rng.random() < 0.7 else ", "
        pieces += [join, i]
        join = " and "
    text = rng.choice(PREFIXES)
    if text in ("there is ", "we see ") and not det:
        text = ""
    if text == "there is " and mentions[pieces[0]].count > 1:
        text = "there are "
    for piece in pieces:
        text += piece if isinstance(piece, str) else phrases[piece]
        if isinstance(piece, int):
            mentions[piece].end = len(text)
    if caption.background:
        text += rng.choice(BACKGROUND_PHRASES).format(caption.background, a=article(caption.background))
    return text[0].upper() + text[1:] if rng.random() < 0.15 else text


def _noun_phrase(rng, m, det):
    size = rng.choice(SIZES[m.size])
    adjectives = (size + " " if size else "") + m.colour
    if m.count > 1:
        return f"{NUMBERS[m.count]} {adjectives} {plural(m.shape)}"
    return (article(adjectives) + " " if det else "") + f"{adjectives} {m.shape}"


def _related(rng, relation):
    """The first two mentions in their relation: text, and the mentions' numbers where their phrases go."""
    template = rng.randrange(5)
    if template == 0:
        side = {"left": " on its left", "right": " on its right", "above": " above it", "below": " below it"}[relation]
        return [1, " with ", 0, side]
    word = rng.choice(RELATION_WORDS[relation])
    return [0, f" placed {word} " if template == 1 else f" {word} ", 1]
