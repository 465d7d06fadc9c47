"""Relabels what other libraries wrote, and reads the outputs with them.

    python peers.py DENSEREWARD     # the program

Needs datasets, pyarrow, webdataset, pillow, numpy, pandas, duckdb and moto[server].
"""

import io
import itertools
import json
import logging
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import datasets
import duckdb
import numpy
import pandas
import pyarrow
import pyarrow.parquet
import webdataset
from PIL import Image

PROGRAM = sys.argv[1]
POCKET = Path(__file__).resolve().parents[2] / "engine/imagedoctor/pocket"
CLIP = Path(__file__).resolve().parents[2] / "engine/clip/testdata/quick"
PER_SHARD = 12
COLORS = ["red", "green", "blue"]


def image(seed, form):
    pixels = numpy.random.default_rng(seed).integers(0, 256, (8, 8, 3), numpy.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((64 + 32 * (seed % 2), 64)).save(out, form)
    return out.getvalue()


def prompt(seed):
    return f"a {COLORS[seed % 3]} cube, number {seed}"


def write_inputs(folder):
    folder.mkdir()
    seeds = iter(range(10_000))
    rows = [{"id": s, "image": {"bytes": image(s, "PNG"), "path": f"{s}.png"}, "caption": prompt(s)} for s, _ in zip(seeds, range(PER_SHARD))]
    rows[5]["image"] = None
    features = datasets.Features({"id": datasets.Value("int64"), "image": datasets.Image(), "caption": datasets.Value("string")})
    datasets.Dataset.from_list(rows, features=features).to_parquet(folder / "hugging.parquet", batch_size=5)
    rows = [(s, image(s, "JPEG"), prompt(s)) for s, _ in zip(seeds, range(PER_SHARD))]
    table = pyarrow.table({"img": [r[1] for r in rows], "prompt": [r[2] for r in rows], "list": [[r[0]] * (r[0] % 3) for r in rows]})
    pyarrow.parquet.write_table(table, folder / "arrow.parquet", row_group_size=7)
    for name in ("plain.tar", "packed.tar.gz"):
        with webdataset.TarWriter(str(folder / name)) as sink:
            for s, k in zip(seeds, range(PER_SHARD)):
                data = b"no image" if k == 3 else image(s, "WEBP" if k % 2 else "PNG")
                sink.write({"__key__": f"{s:06d}", "webp" if k % 2 else "png": data, "json": {"caption": prompt(s), "seed": s}})


def small_model(folder):
    """The embedded checkpoint, which sees images at 140x140: in a tenth of the time."""
    folder.mkdir()
    for file in POCKET.iterdir():
        if file.suffix in (".json", ".safetensors"):
            (folder / file.name).symlink_to(file)
    (folder / "preprocessor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text('{"max_pixels": 20000}')
    return folder


def command(inputs, out, *flags):
    return [PROGRAM, "relabel", str(inputs), "--out", str(out), "--model", MODEL, "--batch", "4", "--maps", "dense,artifact", *flags]


def relabel(inputs, out, *flags, env=None, code=3):
    done = subprocess.run(command(inputs, out, *flags), capture_output=True, text=True, env=env)
    assert done.returncode == code, (done.returncode, done.stderr)  # 3: some samples are bad
    summary = json.loads(done.stdout)
    assert summary["unreadable"] == 0, summary
    return summary


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def check_label(row, bad):
    if bad:
        assert row["reward"] is None and row["error_code"], row
        return
    assert row["error_code"] is None, row
    weights = {"semantic_alignment": 0.8, "aesthetics": 0.1, "plausibility": 0.1}
    assert abs(row["reward"] - sum(w * row[name] for name, w in weights.items())) < 1e-9, row


def read_parquet(source, out):
    before, after = pyarrow.parquet.read_table(source), pyarrow.parquet.read_table(out)
    for column in before.column_names:
        assert before[column].to_pylist() == after[column].to_pylist(), column
    loaded = datasets.load_dataset("parquet", data_files=str(out), split="train", cache_dir=tempfile.mkdtemp())
    assert len(loaded) == before.num_rows
    for i, row in enumerate(loaded):
        bad = out.name == "hugging.parquet" and i == 5
        check_label(row, bad)
        if not bad:
            dense = row["dense"]
            weight = numpy.frombuffer(dense["data"], "<f2").reshape(dense["height"], dense["width"])
            assert dense["height"] == 8 and dense["width"] in (8, 12) and 0 <= weight.min() <= weight.max() <= 1
    count, mean = duckdb.sql(f"select count(reward), avg(reward) from '{out}' where error_code is null").fetchall()[0]
    rewards = [r for r in loaded["reward"] if r is not None]
    assert count == len(rewards) and abs(mean - sum(rewards) / count) < 1e-9


def read_tar(source, out):
    decoded = list(webdataset.WebDataset(str(out), shardshuffle=False).decode())
    plain = list(webdataset.WebDataset(str(source), shardshuffle=False))
    assert [s["__key__"] for s in decoded] == [s["__key__"] for s in plain]
    for i, (sample, old) in enumerate(zip(decoded, plain)):
        old = json.loads(old["json"])
        assert {k: sample["json"][k] for k in old} == old
        check_label(sample["json"], i == 3)
        if i != 3:
            assert sample["dense.npy"].dtype == numpy.float16 and sample["dense.npy"].shape[0] == 8
            assert sample["artifact.npy"].ndim == 2
    again = list(webdataset.WebDataset(str(out), shardshuffle=False))
    for new, old in zip(again, plain):
        assert all(new[k] == v for k, v in old.items() if k not in ("json", "__url__", "__local_path__")), new["__key__"]


def kill_now_and_then(inputs, folder, want, moments):
    """Kills the program at random moments until it ends by itself, and again with another
    output until it was killed often enough."""
    kills = 0
    for run in itertools.count():
        process, out = None, folder / f"killed-{run}"
        while process is None or process.returncode == -signal.SIGKILL:
            process = subprocess.Popen(command(inputs, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(random.uniform(0.05, 2) if kills < moments else None)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
        assert process.returncode == 3, process.returncode
        assert files(out) == want, "an interrupted run gave other bytes"
        if kills == moments:
            return kills


class Gate:
    """moto's application behind a gate: deny is asked for each request whether it may pass."""

    def __init__(self):
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        self.app, self.deny = DomainDispatcherApplication(create_backend_app), None

    def __call__(self, environ, start_response):
        operation = self.operation(environ["REQUEST_METHOD"], environ["QUERY_STRING"])
        if self.deny and self.deny(operation, environ["PATH_INFO"]):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            body = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body] if environ["REQUEST_METHOD"] != "HEAD" else []
        return self.app(environ, start_response)

    @staticmethod
    def operation(method, query):
        if "uploads" in query:
            return {"POST": "begin", "GET": "list uploads"}[method]
        if "uploadId" in query:
            return {"PUT": "part", "POST": "complete", "DELETE": "abort", "GET": "list parts"}[method]
        return "list" if method == "GET" and ("list-type" in query or "prefix" in query) else method.lower()


class S3:
    """A bucket named data of a server that nobody here wrote."""

    def __init__(self):
        import boto3
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.gate = Gate()
        self.server = make_server("127.0.0.1", 0, self.gate, threaded=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{self.server.server_port}"
        self.client = boto3.client("s3", endpoint_url=url, aws_access_key_id="x", aws_secret_access_key="y", region_name="us-east-1")
        self.client.create_bucket(Bucket="data")
        self.env = {**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": url}

    def objects(self, prefix):
        listed = self.client.list_objects_v2(Bucket="data", Prefix=prefix).get("Contents", [])
        return {o["Key"].removeprefix(prefix): self.client.get_object(Bucket="data", Key=o["Key"])["Body"].read() for o in listed}

    def uploads(self):
        return [u["Key"] for u in self.client.list_multipart_uploads(Bucket="data").get("Uploads", [])]


def check_s3(inputs, want):
    s3 = S3()
    want = without_journals(want)
    try:
        for path in inputs.iterdir():
            s3.client.upload_file(str(path), "data", f"in/{path.name}")
        with tempfile.TemporaryDirectory() as state:
            summary = relabel("s3://data/in", "s3://data/out", "--state", state, env=s3.env)
            assert summary["finished"] == 4, summary
            rerun = subprocess.run(command("s3://data/in", "s3://data/out", "--state", state), capture_output=True, text=True, env=s3.env)
            assert rerun.returncode == 0 and json.loads(rerun.stdout)["skipped"] == 4, rerun
        assert without_sources(s3.objects("out/")) == want, "S3 holds other bytes than the folder"
        with tempfile.TemporaryDirectory() as out:
            assert subprocess.run(labelling(inputs, out), capture_output=True).returncode == 3  # some samples are bad
            want = without_journals(files(Path(out)))
        denied, kills = check_denied(s3, want), kill_uploads(s3, want)
        return denied, kills
    finally:
        s3.server.shutdown()


def labelling(inputs, out, *flags):
    """With a small CLIP checkpoint, which scores a thousand images a second."""
    return [PROGRAM, "relabel", str(inputs), "--out", str(out), "--evaluator", f"clip=clipscore:{CLIP}", "--batch", "4", *flags]


def check_denied(s3, want):
    """What may not be done: each has its exit code and names what it was; once it may, a rerun gives the same bytes."""
    shard = "packed.tar.gz"
    cases = {
        "listing": (lambda op, path: op == "list", 1, "listing s3://data/in/: Access Denied"),
        "reading a shard": (lambda op, path: op in ("get", "head") and path.endswith("/in/" + shard), 3, shard),
        "writing": (lambda op, path: op == "put", 1, "writing s3://data/denied-2/.densereward/"),
        "beginning an upload": (lambda op, path: op == "begin", 1, "writing s3://data/denied-3/"),
        "a part": (lambda op, path: op == "part" and path.endswith(shard), 1, f"writing s3://data/denied-4/{shard}: Access Denied"),
        "completing an upload": (lambda op, path: op == "complete" and path.endswith(shard), 1, f"writing s3://data/denied-5/{shard}: Access Denied"),
        "listing uploads": (lambda op, path: op == "list uploads", 3, ""),
    }
    for i, (name, (deny, code, says)) in enumerate(cases.items()):
        with tempfile.TemporaryDirectory() as state:
            run = lambda: subprocess.run(labelling("s3://data/in", f"s3://data/denied-{i}", "--state", state), capture_output=True, text=True, env=s3.env)
            s3.gate.deny = deny
            done = run()
            s3.gate.deny = None
            assert done.returncode == code and says in done.stderr, (name, done)
            assert not s3.uploads(), (name, s3.uploads())
            whole = {k: v for k, v in s3.objects(f"denied-{i}/").items() if not k.startswith(".")}
            assert all(want[k] == v for k, v in whole.items()), f"{name}: what was finished is not whole"
            done = run()
            assert done.returncode in (0, 3), (name, done)
            assert without_sources(s3.objects(f"denied-{i}/")) == want, f"{name}: the rerun gave other bytes"
    return len(cases)


def kill_uploads(s3, want):
    """Kills a run within the upload of its first shard, then one within that of its second, and so on; the last run aborts what was left."""
    kills = 3
    with tempfile.TemporaryDirectory() as state:
        ask = labelling("s3://data/in", "s3://data/killed", "--state", state)
        for kill in range(kills):
            parts, arrived, killed = itertools.count(), threading.Event(), threading.Event()
            held = lambda op, path: op == "part" and next(parts) == min(kill, 1) and (arrived.set(), killed.wait())[0]
            s3.gate.deny = held
            process = subprocess.Popen(ask, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=s3.env)
            assert arrived.wait(60), process.poll()
            process.kill()
            process.wait()
            killed.set()
            assert s3.uploads(), "no upload was left"
        s3.gate.deny = None
        done = subprocess.run(ask, capture_output=True, text=True, env=s3.env)
        assert done.returncode == 3, done
    assert not s3.uploads(), s3.uploads()
    assert without_sources(s3.objects("killed/")) == want, "killed uploads changed the bytes"
    return kills


def serve(port):
    """A server of a small CLIP checkpoint, which scores a thousand images a second, once it answers."""
    process = subprocess.Popen([PROGRAM, "serve", "--listen", f"127.0.0.1:{port}", "--batch", "10", "--evaluator", f"clip=clipscore:{CLIP}"], stderr=subprocess.DEVNULL)
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return process
        except OSError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.02)


def lose_server(inputs, out, port, patience, comes_back):
    """Kills the server when the third of eight shards has appeared; gives the exit code and what was said."""
    server = serve(port)
    ask = [PROGRAM, "relabel", str(inputs), "--out", str(out), "--server", f"http://127.0.0.1:{port}", "--batch", "10", "--concurrency", "1", "--server-timeout", patience]
    process = subprocess.Popen(ask, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while len(list(out.glob("*.parquet"))) < 3:
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.05))
        server.send_signal(signal.SIGKILL)
        server.wait()
        if comes_back:
            time.sleep(0.3)  # long enough for tries that fail
            server = serve(port)
        stdout, stderr = process.communicate(timeout=120)
        return process.returncode, stdout, stderr
    finally:
        process.kill()
        server.kill()
        server.wait()


def check_lost_server(folder):
    """400 images in eight shards, and a server that is killed within the run."""
    inputs = folder / "lost-in"
    inputs.mkdir()
    for shard in range(8):
        seeds = range(1000 + 50 * shard, 1050 + 50 * shard)
        table = pyarrow.table({"image": [image(s, "JPEG") for s in seeds], "prompt": [prompt(s) for s in seeds]})
        pyarrow.parquet.write_table(table, inputs / f"{shard}.parquet")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    calm, back, gone = folder / "lost-calm", folder / "lost-back", folder / "lost-gone"
    ask = lambda out: [PROGRAM, "relabel", str(inputs), "--out", str(out), "--server", f"http://127.0.0.1:{port}", "--batch", "10", "--concurrency", "1"]
    server = serve(port)
    try:
        summary = json.loads(subprocess.run(ask(calm), capture_output=True, check=True).stdout)
    finally:
        server.kill()
        server.wait()
    assert summary["samples"] == 400 and summary["failed"] == 0, summary
    want = files(calm)
    code, stdout, stderr = lose_server(inputs, back, port, "5m", comes_back=True)
    assert code == 0 and json.loads(stdout)["samples"] == 400, (code, stderr)
    assert files(back) == want, "a server that came back changed the bytes"
    code, _, stderr = lose_server(inputs, gone, port, "1s", comes_back=False)
    assert code == 1 and f"127.0.0.1:{port}" in stderr, (code, stderr)
    done = {name: data for name, data in files(gone).items() if name.endswith(".parquet")}
    assert 3 <= len(done) < 8 and all(want[name] == data for name, data in done.items()), "what was finished is not whole"
    server = serve(port)
    try:
        summary = json.loads(subprocess.run(ask(gone), capture_output=True, check=True).stdout)
    finally:
        server.kill()
        server.wait()
    assert summary["skipped"] == len(done) and summary["failed"] == 0, summary
    assert files(gone) == want, "the rerun gave other bytes"
    return len(done), summary["resumed"]


def without_journals(files):
    return without_sources({name: data for name, data in files.items() if "/journals/" not in name})


def without_sources(files):
    """The state says where shards were read, which differs between a folder and a bucket."""
    return {name: re.sub(rb'\n *"source": "[^"]*",', b"", data) if name.startswith(".densereward/") else data for name, data in files.items()}


def check_writers(folder):
    """Shards of many writers, their captions in a column text, which the labels have too."""
    source = folder / "writers"
    images = source / "images"
    images.mkdir(parents=True)
    data, text = [image(s, "PNG") for s in range(3)], [prompt(s) for s in range(3)]
    for seed in range(3):
        (images / f"{seed}.png").write_bytes(data[seed])
    (images / "metadata.jsonl").write_text("".join(json.dumps({"file_name": f"{s}.png", "text": text[s]}) + "\n" for s in range(3)))
    read = datasets.load_dataset("imagefolder", data_dir=str(images), split="train", cache_dir=str(folder / "cache"))
    assert read[1]["text"] == prompt(1), read[1]
    read.to_parquet(source / "imagefolder.parquet")  # paths without bytes
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("large_string")})
    datasets.Dataset.from_list([{"image": {"bytes": d, "path": None}, "text": t} for d, t in zip(data, text)], features=features).to_parquet(source / "hugging.parquet")
    plain = pyarrow.table({"image": data, "text": text})
    write = pyarrow.parquet.write_table
    write(plain.append_column("none", pyarrow.nulls(3)), source / "arrow.parquet", row_group_size=2)
    write(pyarrow.table({"image": pyarrow.array(data, pyarrow.large_binary()), "text": pyarrow.array(text).dictionary_encode()}), source / "dictionary.parquet", compression="brotli", data_page_version="2.0")
    write(plain, source / "delta.parquet", use_dictionary=False, column_encoding={"image": "DELTA_LENGTH_BYTE_ARRAY", "text": "DELTA_BYTE_ARRAY"})
    write(plain.slice(0, 0), source / "empty.parquet")
    pandas.DataFrame({"image": data, "text": text}, index=["x", "y", "z"]).to_parquet(source / "pandas.parquet")
    duckdb.sql(f"copy (select {{'bytes': image, 'path': null::varchar}} as image, text, [1, 2] as list from plain) to '{source}/duck.parquet' (compression zstd)")
    out = folder / "writers-out"
    shards = sorted(p for p in source.iterdir() if p.suffix == ".parquet")
    summary = relabel(source, out, "--prompt-column", "text", code=0)
    assert summary["column_prefix"] == "densereward_" and summary["failed"] == 0 and summary["samples"] == 3 * len(shards), summary  # one shard is empty, and one is JSONL
    rewards = set()
    for shard in [*shards, images / "metadata.jsonl"]:
        labelled, kind = out / shard.relative_to(source), "json" if shard.suffix == ".jsonl" else "parquet"
        rows = []
        if shard.stem != "empty":  # datasets loads no split without rows
            rows = list(datasets.load_dataset(kind, data_files=str(labelled), split="train", cache_dir=str(folder / "cache")))
            assert [row["text"] for row in rows] == text, (shard, rows)
            rewards.add(tuple(row["densereward_reward"] for row in rows))
        if kind == "json":
            maps = [numpy.load(labelled.parent / row["densereward_dense"]) for row in rows]
            assert all(m.dtype == numpy.float16 and m.shape[0] == 8 and 0 <= m.min() <= m.max() <= 1 for m in maps), maps
        if kind == "parquet":
            assert len(duckdb.sql(f"select * from '{labelled}'").fetchall()) == len(pandas.read_parquet(labelled)) == len(rows), shard
            before, after = pyarrow.parquet.read_table(shard), pyarrow.parquet.read_table(labelled)
            assert all(before[c].to_pylist() == after[c].to_pylist() for c in before.column_names), shard
    assert len(rewards) == 1, rewards
    return len(shards) + 1


def main():
    global MODEL
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        MODEL = str(small_model(folder / "model"))
        inputs, out = folder / "in", folder / "out"
        write_inputs(inputs)
        start = time.monotonic()
        summary = relabel(inputs, out)
        assert summary["samples"] == 4 * PER_SHARD and summary["failed"] == 3, summary
        for name in ("hugging.parquet", "arrow.parquet"):
            read_parquet(inputs / name, out / name)
        for name in ("plain.tar", "packed.tar.gz"):
            read_tar(inputs / name, out / name)
        relabel(inputs / "hugging.parquet", folder / "one")
        whole = datasets.load_dataset(str(folder / "one"), split="train", cache_dir=str(folder / "cache"))
        assert len(whole) == PER_SHARD and "reward" in whole.features, "a folder cannot be loaded by its name"
        print(f"{check_writers(folder)} shards of other writers give the same rewards")
        want = files(out)
        print(f"{summary['samples']} samples of 4 shards, read by datasets, pyarrow, webdataset and DuckDB ({time.monotonic() - start:.0f} s)")
        kills = kill_now_and_then(inputs, folder, want, 10)
        print(f"the same bytes after {kills} kills")
        done, resumed = check_lost_server(folder)
        print(f"400 images and a lost server: the same bytes where it comes back, and where it stays away exit code 1, {done} of 8 shards, and the same bytes after a rerun, {resumed} samples resumed")
        denied, kills = check_s3(inputs, want)
        print(f"the same bytes in S3, and after {denied} kinds of denied access and {kills} kills within uploads; no parts are left")


if __name__ == "__main__":
    main()
