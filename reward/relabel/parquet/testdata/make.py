"""Writes shards as Hugging Face datasets and pyarrow write them.

    python make.py   # datasets 5.2.0, pyarrow 26.0.1
"""

import io
from pathlib import Path

import datasets
import numpy
import pyarrow
import pyarrow.parquet
from PIL import Image

here = Path(__file__).parent


def png(seed):
    out = io.BytesIO()
    Image.fromarray(numpy.random.default_rng(seed).integers(0, 256, (8, 8, 3), numpy.uint8)).save(out, "PNG")
    return out.getvalue()


rows = [{
    "id": i,
    "image": {"bytes": png(i), "path": f"{i}.png"} if i != 5 else None,
    "caption": f"caption {i} – ü" if i != 7 else None,
    "tags": [f"tag {k}" for k in range(i % 4)],
    "meta": {"seed": i * 10, "source": {"name": "x" * i}},
    "votes": [[float(i), 0.5], []],
    "label": i % 3,
} for i in range(23)]
features = datasets.Features({
    "id": datasets.Value("int64"),
    "image": datasets.Image(),
    "caption": datasets.Value("string"),
    "tags": datasets.List(datasets.Value("string")),
    "meta": {"seed": datasets.Value("int32"), "source": {"name": datasets.Value("large_string")}},
    "votes": datasets.List(datasets.List(datasets.Value("float32"))),
    "label": datasets.ClassLabel(names=["a", "b", "c"]),
})
datasets.Dataset.from_list(rows, features=features).to_parquet(here / "datasets.parquet", batch_size=10)

table = pyarrow.table({
    "img": pyarrow.array([r["image"]["bytes"] if r["image"] else None for r in rows], pyarrow.large_binary()),
    "text": pyarrow.array([r["caption"] for r in rows]).dictionary_encode(),
    "when": pyarrow.array([i * 1_000_001 for i in range(23)], pyarrow.timestamp("us", "UTC")),
    "price": pyarrow.array([None if i % 2 else i for i in range(23)], pyarrow.decimal128(20, 3)),
    "half": pyarrow.array([numpy.float16(i / 7) for i in range(23)], pyarrow.float16()),
    "map": pyarrow.array([[("k", i), ("l", None)] for i in range(23)], pyarrow.map_(pyarrow.string(), pyarrow.int8())),
    "fixed": pyarrow.array([[i, i + 1] for i in range(23)], pyarrow.list_(pyarrow.int16(), 2)),
    "nothing": pyarrow.array([None] * 23, pyarrow.string()),
    "day": pyarrow.array(range(23), pyarrow.date32()),
})
pyarrow.parquet.write_table(table, here / "pyarrow.parquet", row_group_size=7, compression="gzip", data_page_version="2.0")

# A folder of images as its loader hands it on: paths, and bytes of none.
(here / "beside.png").write_bytes(png(0))
paths = [{"image": {"bytes": None, "path": "beside.png"} if i != 2 else None, "text": f"caption {i}"} for i in range(4)]
features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
datasets.Dataset.from_list(paths, features=features).to_parquet(here / "paths.parquet")
strings = pyarrow.table({"image_path": ["beside.png", None, "beside.png"], "caption": ["a", "b", None], "none": pyarrow.nulls(3)})
pyarrow.parquet.write_table(strings, here / "strings.parquet", compression="brotli")

pyarrow.parquet.write_table(table.slice(0, 0), here / "empty.parquet")
pyarrow.parquet.write_table(table.slice(0, 1), here / "lz4.parquet", compression="lz4")
plain = pyarrow.table({"image": [png(i) for i in range(3)], "prompt": ["a", "b", "c"]})
pyarrow.parquet.write_table(plain, here / "checksums.parquet", write_page_checksum=True, write_statistics=False, use_dictionary=False)
