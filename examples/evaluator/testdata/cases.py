#!/usr/bin/env python3
"""Writes cases.json: colourfulness by numpy, as the paper states it.

Made with numpy 1.24.2: python3 cases.py > cases.json
"""

import json

import numpy as np


def colourfulness(image):
    r, g, b = np.moveaxis(image.astype(np.float64), -1, 0)
    rg, yb = r - g, 0.5 * (r + g) - b
    return np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())


random = np.random.default_rng(7)
gray = np.repeat(random.integers(0, 256, (5, 4, 1), dtype=np.uint8), 3, axis=2)
images = {
    "one red pixel": np.array([[[255, 0, 0]]], dtype=np.uint8),
    "shades of gray": gray,
    "red beside green": np.array([[[255, 0, 0], [0, 255, 0]]], dtype=np.uint8),
    "noise": random.integers(0, 256, (6, 7, 3), dtype=np.uint8),
    "pale noise": random.integers(180, 200, (3, 3, 3), dtype=np.uint8),
}
print(json.dumps([
    {"name": name, "height": image.shape[0], "width": image.shape[1], "pix": image.flatten().tolist(), "want": colourfulness(image)}
    for name, image in images.items()
]))
