"""Writes resize.json.gz: maps of odd sizes and what cv2.resize makes of them at
288x288, INTER_LINEAR, of which every 97th value is kept.

    python resize.py   # opencv-python 5.0.0, numpy 2
"""

import gzip
import json
from pathlib import Path

import cv2
import numpy

random = numpy.random.default_rng(3)
cases = []
for height, width in [(1, 1), (36, 36), (72, 72), (18, 30), (300, 17), (17, 400)]:
    levels = random.integers(0, 256, (height, width))
    small = levels.astype(numpy.float32) / numpy.float32(255)
    large = cv2.resize(small, (288, 288), interpolation=cv2.INTER_LINEAR)
    cases.append({"height": height, "width": width, "levels": levels.reshape(-1).tolist(), "out": large.reshape(-1)[::97].tolist()})
with open(Path(__file__).with_name("resize.json.gz"), "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
    packed.write(json.dumps(cases).encode())
