#!/usr/bin/env python3
"""Draws text and has RapidOCR read it: images/*.png and cases.json.

Needs rapidocr-onnxruntime 1.4.4 (its models are those of package ppocr), Pillow and the DejaVu fonts (Debian's fonts-dejavu).

    python3 make.py            # draws the images again
    python3 make.py --check    # compares cases.json with what RapidOCR reads now
"""
import json
import os
import random
import sys

from PIL import Image, ImageDraw, ImageFont
from rapidocr_onnxruntime import RapidOCR

here = os.path.dirname(os.path.abspath(__file__))
FONTS = "/usr/share/fonts/truetype/dejavu"
NAMES = ["DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf"]
TEXTS = ["Hello World", "NASA 2049", "OPEN 24 HOURS", "The quick brown fox", "Happy Birthday!", "No. 42", "Coffee & Tea", "EXIT", "flow matching", "Dense Reward",
         "Keep calm and carry on", "3.14159", "Welcome home", "SALE -50%", "reward: 0.87", "Rue de la Paix", "Level 7", "STOP", "Do not enter", "Good night, moon"]


def draw(i):
    rng = random.Random(1000 + i)
    width, height = rng.choice([(512, 512), (512, 384), (384, 512), (640, 360), (300, 300), (700, 60), (256, 256)])
    background = tuple(rng.randint(150, 255) for _ in range(3))
    ink = tuple(rng.randint(0, 90) for _ in range(3))
    if rng.random() < 0.3:
        background, ink = ink, background
    image = Image.new("RGB", (width, height), background)
    d = ImageDraw.Draw(image)
    for _ in range(rng.randint(0, 4)):
        x, y, r = rng.randint(0, width), rng.randint(0, height), rng.randint(10, 60)
        tint = tuple(min(255, max(0, c + rng.randint(-30, 30))) for c in background)
        d.ellipse([x - r, y - r, x + r, y + r], fill=tint)
    lines = 1 if height < 100 else rng.randint(1, 3)
    angle = 0 if height < 100 or rng.random() < 0.4 else rng.uniform(-15, 15)
    layer = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(layer)
    for line in range(lines):
        text = rng.choice(TEXTS)
        size = min(rng.randint(18, 64), int(1.4 * width * 0.8 / len(text)), int(height * 0.8))
        font = ImageFont.truetype(os.path.join(FONTS, rng.choice(NAMES)), max(14, size))
        box = pen.textbbox((0, 0), text, font=font)
        w, h = box[2] - box[0], box[3] - box[1]
        band = height / lines
        x = rng.uniform(0.05, 0.95) * max(1, width - w)
        y = band * line + (band - h) / 2
        pen.text((x - box[0], y - box[1]), text, font=font, fill=255)
    if angle:
        layer = layer.rotate(angle, resample=Image.BICUBIC)
    image.paste(Image.new("RGB", (width, height), ink), (0, 0), layer)
    return image, angle


def read(ocr, path):
    result, _ = ocr(path, use_cls=False)
    return [{"corners": [[float(v) for v in p] for p in box], "text": text, "score": float(score)} for box, text, score in result or []]


os.makedirs(os.path.join(here, "images"), exist_ok=True)
ocr = RapidOCR()
cases = []
for i in range(60):
    name = f"images/{i:02d}.png"
    path = os.path.join(here, name)
    image, angle = draw(i)
    if "--check" not in sys.argv:
        image.save(path, optimize=True)
    cases.append({"image": name, "angle": angle, "lines": read(ocr, path)})
path = os.path.join(here, "cases.json")
if "--check" in sys.argv:
    with open(path) as f:
        known = json.load(f)
    for a, b in zip(known, cases):
        if [x["text"] for x in a["lines"]] != [x["text"] for x in b["lines"]]:
            sys.exit(f"{a['image']}: RapidOCR reads {b['lines']}, {path} holds {a['lines']}")
    print(f"{len(cases)} images: as RapidOCR reads them")
else:
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
