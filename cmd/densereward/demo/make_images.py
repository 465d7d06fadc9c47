"""Draws the images of the demo with the scene generator of examples/training. Needs torch, numpy and Pillow."""

import pathlib
import random
import sys

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "examples" / "training"))

from scenes.caption import Caption, Mention
from scenes.flaws import draw_flaw
from scenes.heldout import SIDE, Sample, render_samples
from scenes.render import Renderer
from scenes.scene import Background, Object, Scene, Style
from scenes.truth import judge
from scenes.vocabulary import COLOURS

MIST, ICE, CREAM, SAND = (0.92, 0.93, 0.95), (0.87, 0.92, 0.96), (0.97, 0.94, 0.86), (0.93, 0.90, 0.84)


def scene(background, *objects, flaw=None, seed=0):
    """objects are (colour, shape, x, y, radius); the flaw is the first one's."""
    made = [Object(colour, shape, "", x, y, radius, COLOURS[colour]) for colour, shape, x, y, radius in objects]
    s = Scene(made, Background("plain", "", background, background), Style(softness=1.2))
    if flaw:
        s.flaws = [draw_flaw(random.Random(seed), flaw, 0, s)]
        s.flaws[0].severity = 0.95
    return s


SCENES = {
    "circle": scene(MIST, ("red", "circle", 0.5, 0.5, 0.2)),
    "circle-warped": scene(ICE, ("red", "circle", 0.47, 0.53, 0.19), flaw="warp", seed=3),
    "circle-bleeding": scene(CREAM, ("red", "circle", 0.53, 0.47, 0.18), flaw="bleeding", seed=5),
    "circle-noise": scene(SAND, ("red", "circle", 0.5, 0.5, 0.2), flaw="noise", seed=8),
    "triangle": scene(MIST, ("green", "triangle", 0.5, 0.52, 0.2)),
    "triangle-colour": scene(SAND, ("purple", "triangle", 0.48, 0.52, 0.19)),
    "triangle-shape": scene(CREAM, ("green", "circle", 0.52, 0.5, 0.18)),
    "triangle-extra": scene(ICE, ("green", "triangle", 0.27, 0.35, 0.15), ("pink", "heart", 0.74, 0.34, 0.13), ("orange", "circle", 0.5, 0.76, 0.12)),
    "star": scene(MIST, ("yellow", "star", 0.28, 0.47, 0.15), ("blue", "square", 0.72, 0.53, 0.14)),
    "star-swapped": scene(ICE, ("blue", "square", 0.28, 0.5, 0.14), ("yellow", "star", 0.71, 0.46, 0.15)),
    "star-below": scene(SAND, ("yellow", "star", 0.5, 0.74, 0.15), ("blue", "square", 0.5, 0.27, 0.14)),
    "star-colours": scene(CREAM, ("blue", "star", 0.28, 0.5, 0.15), ("yellow", "square", 0.72, 0.5, 0.14)),
}


def main():
    renderer, caption = Renderer(SIDE), Caption([Mention("red", "circle")])
    for name, s in SCENES.items():
        images, _ = render_samples(renderer, [Sample(7, s, caption, judge(s, caption))])
        pixels = (images[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
