"""Labels a data set with Ray Data, on a local cluster of two workers, one of which is
killed in the middle:

    python ray_data.py DENSEREWARD     # the program

Needs ray[data], pyarrow, pillow and numpy, and this repository's Python client.
"""

import io
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet
import ray
from PIL import Image

import densereward
from densereward.ray import Scorer

PROGRAM = sys.argv[1]
ROWS = 64


def image(seed):
    out = io.BytesIO()
    Image.fromarray(numpy.random.default_rng(seed).integers(0, 256, (64, 64, 3), numpy.uint8)).save(out, "PNG")
    return out.getvalue()


def write_input(folder):
    folder.mkdir()
    for shard in range(8):
        ids = range(shard * 8, shard * 8 + 8)
        images = [None if i == 13 else {"bytes": image(i), "path": f"{i}.png"} for i in ids]
        table = pyarrow.table({"id": list(ids), "image": images, "prompt": [f"a cube, number {i}" for i in ids]})
        pyarrow.parquet.write_table(table, folder / f"{shard}.parquet")


class Marked(Scorer):
    """A Scorer that says which process it is, and that it has begun."""

    def __init__(self, folder, **options):
        super().__init__(**options)
        self._folder = Path(folder)

    def __call__(self, batch):
        (self._folder / str(os.getpid())).touch()
        return super().__call__(batch)


def kill_one(folder, killed):
    """Kills the first worker that has a batch."""
    while not killed and folder.exists():
        for pid in (int(p.name) for p in folder.iterdir()):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            return
        time.sleep(0.01)


def main():
    client = str(Path(densereward.__file__).parents[1])
    # Two processors for the workers, two for reading and writing.
    ray.init(num_cpus=4, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": client}}, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "begun").mkdir()
        write_input(folder / "in")
        killed = []
        killer = threading.Thread(target=kill_one, args=(folder / "begun", killed))
        killer.start()
        labelled = ray.data.read_parquet(str(folder / "in")).map_batches(
            Marked,
            fn_constructor_kwargs={"folder": str(folder / "begun"), "serve": ["--threads", "1"], "program": PROGRAM, "returns": ["dense", "text"]},
            batch_size=4,
            compute=ray.data.ActorPoolStrategy(size=2),
        )
        labelled.write_parquet(str(folder / "out"))
        killer.join()
        rows = sorted(pyarrow.parquet.read_table(folder / "out").to_pylist(), key=lambda row: row["id"])
        workers = len(list((folder / "begun").iterdir()))
    assert [row["id"] for row in rows] == list(range(ROWS)), "a row is missing, or there twice"
    assert killed and workers >= 2, "no worker was killed, or no other worked"
    failed = [row["id"] for row in rows if row["error_code"]]
    assert failed == [13] and rows[13]["error_code"] == "missing_field", failed
    with densereward.LocalServer("--threads", "1", program=PROGRAM) as server, densereward.Client(server.url) as c:
        scored = [row for row in rows if not row["error_code"]]
        want = c.score([row["image"]["bytes"] for row in scored], [row["prompt"] for row in scored])
    numpy.testing.assert_allclose([row["reward"] for row in scored], want.rewards, atol=1e-6)
    assert numpy.shape(scored[0]["dense"]) == (8, 8)
    print(f"{len(rows)} rows, each once, by {workers} workers, one of which was killed")


if __name__ == "__main__":
    main()
