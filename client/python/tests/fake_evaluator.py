"""What the fake evaluator says of an image and a prompt, computed here again.

The fake's answers follow from the pixels and the prompt alone (reward/rewardtest),
so that a test can tell whose result it was given.
"""

import struct

import numpy as np

MASK = (1 << 64) - 1
SCORES = ("semantic_alignment", "aesthetics", "plausibility", "overall")


def fnv1a(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return h


def identity(image):
    """The number that an image (h,w,3) uint8 gives."""
    height, width, _ = image.shape
    pix = np.ascontiguousarray(image).tobytes()
    return fnv1a(struct.pack("<QQ", width, height) + pix[:256] + pix[256::1021])


class Evaluation:
    def __init__(self, image, prompt, side=64):
        self.seed = identity(image) ^ fnv1a(prompt.encode())
        self.scores = {name: self._unit(i) for i, name in enumerate(SCORES)}
        self.reward = 0.8 * self._unit(0) + 0.1 * self._unit(1) + 0.1 * self._unit(2)
        self.misalignment = self._ramp(side, 10, 11)
        self.artifact = self._ramp(side, 12, 13)
        self.heatmap = (self.misalignment + self.artifact) / 2

    def _unit(self, i):
        x = ((self.seed + i) * 0xBF58476D1CE4E5B9) & MASK
        x ^= x >> 31
        return ((x * 0x94D049BB133111EB & MASK) >> 40) / (1 << 24)

    def _ramp(self, side, start, stop):
        low, high = np.float32(self._unit(start)), np.float32(self._unit(stop))
        row = low + (high - low) * np.arange(side, dtype=np.float32) / np.float32(side - 1)
        return np.tile(row, (side, 1))


def random_images(n, height=48, width=64, seed=0):
    """n different images, (n,height,width,3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def rewards(images, prompts):
    return np.array([Evaluation(i, p).reward for i, p in zip(images, prompts)])
