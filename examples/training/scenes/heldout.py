"""Sets of scenes that no training draws: each scene has a seed of its own, by the name of its set.

    python -m scenes.heldout OUT.parquet|OUT.jsonl [SET [COUNT]]

writes a set with the images, as Parquet or as lines beside a folder of files. Needs
Pillow, Parquet pyarrow as well.
"""

import io
import json
import multiprocessing
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .arrays import encode
from .caption import Caption, write_caption
from .render import Noise, Renderer
from .scene import Scene, draw_scene
from .truth import Truth, boxes, judge

SIDE = 512
SCORES = ("semantic_alignment", "aesthetics", "plausibility", "overall")
# name: how many, the pairs of colour and shape that are drawn, whether the images are spoiled
SETS = {
    "heldout": (1000, "seen", False),
    "validation": (1000, "seen", False),  # for choosing among checkpoints, so that none is chosen by the set it is measured on
    "unseen": (250, "unseen", False),  # with pairs that training never drew or named
    "spoiled": (200, "seen", True),  # what a policy falls into
}


@dataclass
class Sample:
    seed: int
    scene: Scene
    caption: Caption
    truth: Truth


def samples(name, count=None):
    """The first count samples of a set."""
    return [sample(name, i) for i in range(_size(name, count))]


def sample(name, i):
    """Sample i of a set."""
    _, pairs, spoiled = SETS[name]
    rng = random.Random(f"{name} {i}")
    scene = draw_scene(rng, pairs, spoiled)
    caption = write_caption(rng, scene)
    return Sample(rng.getrandbits(62), scene, caption, judge(scene, caption))


def _size(name, count):
    total = SETS[name][0]
    return total if count is None else min(count, total)


def render_samples(renderer, batch):
    """Images (B,3,side,side) and heat (B,2,288,288), the same in any batch and on any device but for rounding."""
    encoded = [encode(s.scene, s.truth) for s in batch]
    slots, regions, frame = (torch.from_numpy(np.stack([e[k] for e in encoded])) for k in range(3))
    noise = Noise(renderer.device, [s.seed for s in batch])
    images, heat, _ = renderer(slots, regions, frame, [e[3] for e in encoded], noise)
    return images, heat


def kind_of_mistake(sample):
    """The one mistake of the caption as the truth has it, "none", or None for several."""
    t = sample.truth
    if t.scores[0] == 1:
        return "none"
    kinds = {_kind(r.sentence) for r in t.regions if r.label == "misalignment" and r.sentence}
    return kinds.pop() if len(kinds) == 1 and "other" not in sample.caption.mistakes else None


def _kind(sentence):
    if "missing" in sentence:
        return "missing"
    if "extra" in sentence:
        return "extra"
    if sentence.startswith("There should"):
        return "count"
    if "background" in sentence:
        return "background"
    if sentence.endswith(("be small.", "be large.")):
        return "size"
    if any(w in sentence for w in ("be to the", "be above", "be below")):
        return "relation"
    return "attribute"


def _png(array):
    from PIL import Image
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def _npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _row(name, i):
    torch.set_num_threads(1)
    s = sample(name, i)
    images, heat = render_samples(Renderer(SIDE), [s])
    image = (images[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    maps = (heat[0].numpy() * 255).round().astype(np.uint8)
    return {
        "id": f"{name}-{i:04d}", "image": _png(image), "prompt": s.caption.text,
        **{f"true_{k}": v for k, v in zip(SCORES, s.truth.scores)},
        "true_misalignment": _npy(maps[0]), "true_artifact": _npy(maps[1]),
        "true_boxes": [{"box_2d": b, "label": label, "importance": importance}
                       for b, label, importance, _ in boxes(s.scene, s.truth)],
        "mistake": kind_of_mistake(s) or "several",
        "flaws": ", ".join(f.kind for f in s.scene.flaws) or (s.scene.corruption.kind if s.scene.corruption else "none"),
    }


def rows(name, count=None):
    """A set as dictionaries: an image as PNG, its prompt, and what is true under true_ and the evaluator's names."""
    # spawn: a fork of a process in which torch has computed may hang.
    with multiprocessing.get_context("spawn").Pool(min(16, os.cpu_count())) as pool:
        yield from pool.starmap(_row, [(name, i) for i in range(_size(name, count))], chunksize=4)


def write_parquet(path, name, count=None):
    import pyarrow as pa
    import pyarrow.parquet as pq
    pq.write_table(pa.Table.from_pylist(list(rows(name, count))), path, row_group_size=100, compression="zstd")


def write_lines(path, name, count=None):
    """A JSON object a row in path; images and maps are files in the folder OUT.files, named by the row."""
    path = Path(path)
    files = path.with_suffix(".files")
    files.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        for row in rows(name, count):
            for column, ending in (("image", ".png"), ("true_misalignment", ".misalignment.npy"), ("true_artifact", ".artifact.npy")):
                file = files / (row["id"] + ending)
                file.write_bytes(row[column])
                row[column] = f"{files.name}/{file.name}"
            out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    out, name = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "heldout"
    (write_lines if out.endswith(".jsonl") else write_parquet)(out, name, int(sys.argv[3]) if len(sys.argv) > 3 else None)
