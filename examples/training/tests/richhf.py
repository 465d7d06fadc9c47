"""Writes held-out scenes under the names of columns of configs/qwen2.5-vl-3b.json, a map as PNG: python richhf.py SCENES OUT"""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

columns = json.loads((Path(__file__).parent.parent / "configs" / "qwen2.5-vl-3b.json").read_text())["data"]["columns"]
scenes = pq.read_table(sys.argv[1])
taken = {columns["image"]: "image", columns["caption"]: "prompt",
         **dict(zip(columns["scores"], ("true_semantic_alignment", "true_aesthetics", "true_plausibility", "true_overall"))),
         **dict(zip(columns["maps"], ("true_misalignment", "true_artifact")))}
table = {name: scenes[source].to_pylist() for name, source in taken.items()}
png = columns["maps"][1]
for k, data in enumerate(table[png]):
    out = io.BytesIO()
    Image.fromarray(np.load(io.BytesIO(data))).save(out, "PNG")
    table[png][k] = out.getvalue()
pq.write_table(pa.table(table), sys.argv[2])
