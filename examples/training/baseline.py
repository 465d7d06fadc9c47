"""The best that says the same of every image: the mean scores and mean heatmaps of a held-out set, as predictions of it.

    python baseline.py HELDOUT.parquet OUT.parquet

OUT has the columns that `densereward evaluate` measures, as `densereward relabel` names them.
"""

import argparse
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SCORES = ("semantic_alignment", "aesthetics", "plausibility", "overall")
MAPS = ("misalignment", "artifact")


def mean_map(column):
    """The mean of maps that are npy files of bytes, as such a file."""
    total, count = 0.0, 0
    for data in column:
        total = total + np.load(io.BytesIO(data.as_py())).astype(np.float64)
        count += 1
    out = io.BytesIO()
    np.save(out, np.rint(total / count).astype(np.uint8))
    return out.getvalue()


def write(heldout, out):
    truth = pq.read_table(heldout, columns=["id", *(f"true_{k}" for k in SCORES + MAPS)])
    columns = {name: truth[name] for name in truth.column_names}
    for k in SCORES:
        columns[k] = pa.array([float(np.mean(truth[f"true_{k}"].to_numpy()))] * len(truth))
    columns["reward"] = columns["overall"]
    for k in MAPS:
        columns[k] = pa.array([mean_map(truth[f"true_{k}"])] * len(truth), pa.binary())
    pq.write_table(pa.table(columns), out, row_group_size=100, compression="zstd")


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("heldout")
    a.add_argument("out")
    args = a.parse_args()
    write(args.heldout, args.out)


if __name__ == "__main__":
    main()
