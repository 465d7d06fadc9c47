"""Draws the images of the demo: two shapes, each clean and with a patch of
noise as a flaw. Needs numpy and Pillow."""

import pathlib

import numpy as np
from PIL import Image, ImageDraw

SIDE = 512
HERE = pathlib.Path(__file__).parent


def background(top, bottom):
    t = np.linspace(0, 1, SIDE)[:, None, None]
    rows = np.array(top) * (1 - t) + np.array(bottom) * t
    return Image.fromarray(np.repeat(rows.round().astype(np.uint8), SIDE, axis=1))


def shape(name, colour):
    """The shape, four times oversampled, with its mask."""
    side = SIDE // 2
    mask = Image.new("L", (4 * side, 4 * side))
    draw = ImageDraw.Draw(mask)
    box = (0, 0, 4 * side - 1, 4 * side - 1)
    if name == "circle":
        draw.ellipse(box, fill=255)
    else:
        draw.rectangle(box, fill=255)
    return Image.new("RGB", (side, side), colour), mask.resize((side, side), Image.BOX)


def image(name, colour, at, top, bottom, flaw=None):
    image = background(top, bottom)
    body, mask = shape(name, colour)
    image.paste(body, at, mask)
    if flaw:
        noise = np.random.default_rng(7).integers(0, 256, (88, 88, 3), dtype=np.uint8)
        image.paste(Image.fromarray(noise), flaw)
    return image


IMAGES = {
    "circle.png": image("circle", (214, 48, 49), (140, 120), (236, 240, 245), (200, 210, 224)),
    "circle-flawed.png": image("circle", (214, 48, 49), (120, 160), (64, 72, 96), (36, 42, 60), flaw=(330, 60)),
    "square.png": image("square", (39, 160, 84), (120, 140), (247, 241, 227), (228, 212, 180)),
    "square-flawed.png": image("square", (39, 160, 84), (150, 100), (52, 58, 64), (26, 30, 36), flaw=(60, 330)),
}

for name, image in IMAGES.items():
    image.save(HERE / name, optimize=True)
