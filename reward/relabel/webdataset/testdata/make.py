"""Writes shards as webdataset writes them.

    python make.py   # webdataset 1.0.2
"""

import io
import subprocess
from pathlib import Path

import numpy
import webdataset
from PIL import Image

here = Path(__file__).parent


def png(seed):
    out = io.BytesIO()
    Image.fromarray(numpy.random.default_rng(seed).integers(0, 256, (8, 8, 3), numpy.uint8)).save(out, "PNG")
    return out.getvalue()


for suffix in ("tar", "tar.gz"):
    with webdataset.TarWriter(str(here / f"captions.{suffix}"), mtime=1.7e9) as sink:
        for i in range(12):
            sample = {"__key__": f"folder/{i:04d}", "png": png(i), "txt": f"caption {i} – ü"}
            if i == 3:
                del sample["txt"]
            if i == 8:
                del sample["png"]
            sink.write(sample)

with webdataset.TarWriter(str(here / "json.tar"), mtime=1.7e9) as sink:
    for i in range(12):
        sink.write({"__key__": f"{i:04d}", "json": {"caption": f"caption {i}", "seed": i, "nested": {"a": [1, None]}}, "JPG" if i % 2 else "jpg": png(i), "cls": i,
                    "long" + "x" * 120 + ".bin": b"\0\1"})
subprocess.run(["zstd", "-q", "-f", "--rm", here / "json.tar"], check=True)
