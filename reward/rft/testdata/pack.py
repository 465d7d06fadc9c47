"""Packs the reference cases: cases.json.gz, and maps.png, which holds the
heatmaps of maps.npz (N,288,288) one below the other as (N*288,288).

    python pack.py FOLDER   # with cases.json and maps.npz
"""

import gzip
import sys
from pathlib import Path

import numpy
from PIL import Image

Image.MAX_IMAGE_PIXELS = None

source, here = Path(sys.argv[1]), Path(__file__).parent
maps = numpy.load(source / "maps.npz")["maps"]
Image.fromarray(maps.reshape(-1, maps.shape[-1])).save(here / "maps.png", optimize=True)
with open(here / "cases.json.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
    packed.write((source / "cases.json").read_bytes())
