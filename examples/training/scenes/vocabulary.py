"""The words of the scenes: shapes, colours, backgrounds, relations, and the pairs kept out of training."""

SHAPES = ["circle", "square", "triangle", "star", "heart", "diamond", "cross", "ring", "hexagon", "semicircle"]

# Mean RGB of each colour's objects.
COLOURS = {
    "red": (0.86, 0.13, 0.13), "orange": (0.97, 0.55, 0.10), "yellow": (0.96, 0.86, 0.16),
    "green": (0.15, 0.62, 0.22), "cyan": (0.15, 0.80, 0.85), "blue": (0.13, 0.28, 0.84),
    "purple": (0.52, 0.18, 0.66), "pink": (0.97, 0.56, 0.74), "brown": (0.47, 0.28, 0.13),
    "black": (0.07, 0.07, 0.08), "white": (0.96, 0.96, 0.95), "gray": (0.52, 0.52, 0.53),
}
COLOUR_NAMES = list(COLOURS)

BACKGROUNDS = ["plain", "striped", "checkered", "dotted", "gradient", "grainy"]
NUMBERS = {2: "two", 3: "three", 4: "four"}
SIZES = {"small": ["small", "small", "tiny"], "large": ["large", "large", "big"], "": [""]}

# A relation holds from the first object to the second along its direction (dx, dy).
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
RELATION_WORDS = {
    "left": ["to the left of", "left of", "on the left of"],
    "right": ["to the right of", "right of", "on the right of"],
    "above": ["above", "over", "on top of"],
    "below": ["below", "under", "beneath"],
}

# Colour and shape pairs that training neither draws nor names.
UNSEEN_PAIRS = {
    ("red", "hexagon"), ("green", "heart"), ("blue", "star"), ("yellow", "cross"), ("purple", "ring"),
    ("orange", "semicircle"), ("pink", "square"), ("cyan", "triangle"), ("black", "diamond"),
    ("white", "circle"), ("brown", "star"), ("gray", "hexagon"),
}


def pick_pair(rng, pairs):
    """A colour and a shape. pairs is "seen" (without UNSEEN_PAIRS), "unseen" (only those) or "any"."""
    if pairs == "unseen":
        return rng.choice(sorted(UNSEEN_PAIRS))
    while True:
        pair = rng.choice(COLOUR_NAMES), rng.choice(SHAPES)
        if pairs == "any" or pair not in UNSEEN_PAIRS:
            return pair


def plural(shape):
    return "crosses" if shape == "cross" else shape + "s"


def article(word):
    return "an" if word[0] in "aeiou" else "a"
