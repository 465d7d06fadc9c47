"""Batches of images that people annotated, in place of drawn scenes: RichHF-18K and its like as Parquet.

A row has an image (a file's bytes), its caption, four scores in [0,1], and two heatmaps, each an
npy file of bytes or floats or a greyscale PNG. A configuration names the files and columns:

    "data": {"files": ["richhf-*.parquet"],
             "columns": {"image": "image", "caption": "caption",
                         "scores": ["misalignment_score", "aesthetics_score", "artifact_score", "overall_score"],
                         "maps": ["misalignment_map", "artifact_map"]}}

Scores stand in the order of the answer: alignment, aesthetics, plausibility, overall; RichHF-18K's
own misalignment and artifact scores are high for good images, as these are. There are no thoughts
in such data, so that it trains mode answer alone, and no probes but the coarse one of heat.
"""

import glob
import io
import random
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from model import IMAGE_SIDE
from samples import MAX_MENTIONS, build_branch

MAP_SIDE = 288


def read_map(data):
    """A heatmap (288,288) of bytes, 255 for 1."""
    if data[:6] == b"\x93NUMPY":
        values = np.load(io.BytesIO(data), allow_pickle=False)
        values = values / 255 if values.dtype == np.uint8 else values
    else:
        values = np.asarray(Image.open(io.BytesIO(data)).convert("L")) / 255
    values = values.astype(np.float32).reshape(values.shape[-2:])
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise ValueError(f"a heatmap's values lie in [{values.min()}, {values.max()}], not in [0, 1]")
    return np.rint(np.asarray(Image.fromarray(values).resize((MAP_SIDE,) * 2, Image.BILINEAR)) * 255).astype(np.uint8)


def read_image(data):
    """An image (3,504,504) of bytes: the square that the evaluator sees."""
    square = Image.open(io.BytesIO(data)).convert("RGB").resize((512, 512), Image.BICUBIC).resize((IMAGE_SIDE,) * 2, Image.BICUBIC)
    return np.asarray(square).transpose(2, 0, 1)


def build(text, row, columns):
    """A row as arrays, None where its caption is too long for the branch."""
    scores = [float(row[c]) for c in columns["scores"]]
    if len(scores) != 4 or not all(0 <= s <= 1 for s in scores):  # NaN is not
        raise ValueError(f"scores {scores} are not four numbers in [0, 1]")
    caption = SimpleNamespace(text=row[columns["caption"]], mentions=[])
    truth = SimpleNamespace(scores=tuple(scores), mentions=[], relation=None, background=None)
    made = build_branch(text, "answer", None, caption, truth)
    if made is None:
        return None
    assert (made["mentions"] == -1).all() and len(made["mentions"]) == MAX_MENTIONS
    arrays = {f"answer.{k}": v[None] for k, v in made.items()}
    arrays["answer.scores"] = np.array([scores], np.float32)
    arrays["images"] = read_image(row[columns["image"]])
    arrays["heat"] = np.stack([read_map(row[c]) for c in columns["maps"]])
    return arrays


def rows(data, rng):
    """The rows of all files without end, in an order of groups and within each that rng decides."""
    files = sorted(f for pattern in data["files"] for f in glob.glob(pattern))
    if not files:
        raise FileNotFoundError(f"no file is called {data['files']}")
    columns = data["columns"]
    names = [columns["image"], columns["caption"], *columns["scores"], *columns["maps"]]
    groups = [(f, g) for f in files for g in range(pq.ParquetFile(f).num_row_groups)]
    while True:
        for f, g in rng.sample(groups, len(groups)):
            part = pq.ParquetFile(f).read_row_group(g, columns=names).to_pylist()
            yield from rng.sample(part, len(part))


def stream(text, seed, worker, shape, data):
    """Batches without end of shape["answer"] = (images, 1); seed and worker decide the order."""
    count, captions = shape["answer"]
    if list(shape) != ["answer"] or captions != 1:
        raise ValueError(f"batch {shape}: annotated images have one caption each and mode answer alone")
    rng, skipped, made = random.Random(f"annotated {seed} {worker}"), 0, []
    for row in rows(data, rng):
        one = build(text, row, data["columns"])
        skipped = 0 if one else skipped + 1
        if skipped > 1000:
            raise ValueError("the captions of 1,000 images in a row are too long for the branch")
        made += [one] if one else []
        if len(made) == count:
            yield {k: np.stack([m[k] for m in made]) for k in made[0]}
            made = []
