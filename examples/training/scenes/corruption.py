"""Images spoiled as a whole: what a policy that is trained against the evaluator falls into.

A collapsing policy paints nothing, one tint, a texture, noise, or something half
denoised, and an evaluator that has seen only tidy scenes takes that for perfect.
Here such images have a plausibility below 0.3 and heat all over.
"""

from dataclasses import dataclass

# "destroyed" kinds leave nothing that can be recognised: no claim of a caption holds.
KINDS = {
    "empty": "no object at all; any background, so tints, gradients and textures too",
    "smears": "soft blobs in place of objects",
    "noise": "white noise over everything",
    "coarse noise": "noise made at 64x64 and enlarged, as a small generator's sampler leaves it",
    "half denoised": "(1-t) image + t noise at 64x64, t from 0.25 to 0.5",
    "barely denoised": "the same with t from 0.75 to 0.97; destroyed",
    "average": "the mean of the image and its mirror images, as an early prediction looks; destroyed",
    "tint": "a colour laid over everything",
    "chequered": "a fine checkerboard over everything",
    "shuffled": "square patches in the wrong places; destroyed",
    "patches": "each square patch shifted in colour, as a transformer with a visible patch grid paints",
    "blurred": "shown with 4 to 8 cells a side; destroyed",
}
RENDERED = ["noise", "coarse noise", "half denoised", "barely denoised", "average", "tint", "chequered", "shuffled",
            "patches", "blurred"]  # the kinds that the renderer applies, in the order of its codes
DESTROYED = {"barely denoised", "average", "shuffled", "blurred"}
WITHOUT_OBJECTS = {"empty", "smears"}
WEIGHTS = [22, 12, 9, 9, 9, 7, 5, 8, 6, 5, 6, 4]


@dataclass
class Corruption:
    kind: str
    strength: float  # from 0 to 1
    rgb: tuple
    size: int  # patches or cells a side, where the kind has such

    @property
    def destroyed(self):
        return self.kind in DESTROYED

    @property
    def plausibility(self):
        """0.22 for the mildest that is still recognisable, down to 0.02."""
        if self.destroyed or self.kind == "empty":
            return 0.02
        return 0.22 - 0.18 * self.strength

    @property
    def heat(self):
        return 0.6 + 0.4 * self.strength


def draw_corruption(rng):
    kind = rng.choices(list(KINDS), WEIGHTS)[0]
    strength = 1.0 if kind in DESTROYED | {"empty"} else rng.random()
    size = rng.choice([8, 16, 32])
    if kind == "shuffled":
        size = rng.choice([6, 8, 12])
    if kind == "chequered":
        size = rng.choice([16, 24, 32, 48, 64])
    return Corruption(kind, strength, tuple(rng.random() for _ in range(3)), size)
