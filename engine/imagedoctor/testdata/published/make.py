"""Writes resized.json: sizes and SHA-256 of the pixels of images as the published ImageDoctor scripts hand them to the
model, by Pillow alone. doctor_hp.py squashes to 512x512, inference.py keeps the
aspect at that area; qwen_vl_utils then resizes to whole units with Pillow's bicubic.

    python3 make.py
"""

import hashlib
import json
import math
import pathlib

from PIL import Image

HERE = pathlib.Path(__file__).parent
IMAGES = HERE.parents[2] / "image" / "testdata" / "images"
FACTOR, MIN_PIXELS, MAX_PIXELS = 28, 4 * 28 * 28, 16384 * 28 * 28


def smart_resize(height, width):
    """qwen_vl_utils.vision_process.smart_resize."""
    h, w = max(FACTOR, round(height / FACTOR) * FACTOR), max(FACTOR, round(width / FACTOR) * FACTOR)
    if h * w > MAX_PIXELS:
        beta = math.sqrt(height * width / MAX_PIXELS)
        h, w = math.floor(height / beta / FACTOR) * FACTOR, math.floor(width / beta / FACTOR) * FACTOR
    elif h * w < MIN_PIXELS:
        beta = math.sqrt(MIN_PIXELS / (height * width))
        h, w = math.ceil(height * beta / FACTOR) * FACTOR, math.ceil(width * beta / FACTOR) * FACTOR
    return h, w


def fetch_image(image):
    """qwen_vl_utils.vision_process.fetch_image of an image."""
    height, width = smart_resize(image.height, image.width)
    return image.resize((width, height))


def main():
    found = {}
    for name in ["astronaut", "coffee"]:
        image = Image.open(IMAGES / f"{name}.png").convert("RGB")
        square = image.resize((512, 512), resample=Image.BICUBIC)
        r = math.sqrt(512 * 512 / (image.width * image.height))
        size = max(1, int(image.width * r)), max(1, int(image.height * r))
        area = image.resize(size, resample=Image.BICUBIC)
        for way, given in [("square", square), ("area", area)]:
            out = fetch_image(given)
            digest = hashlib.sha256(out.tobytes()).hexdigest()
            found[f"{name} {way}"] = {"width": out.width, "height": out.height, "sha256": digest}
    (HERE / "resized.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
