#!/usr/bin/env python3
"""Images a second through this client and through the Go client.

Both send the same raw images to the same server with the fake evaluator, in
turns, so that whatever else the machine does meets both alike:

    python3 client/python/benchmarks/throughput.py

Prints the median of each, the best turn, which is the least disturbed, and their
ratios.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "client/python/src"))

import densereward  # noqa: E402


def python_rate(url, images, requests, seconds):
    prompts = ["a cat"] * len(images)
    scored = []
    start = time.monotonic()

    def send(client):
        while time.monotonic() - start < seconds:
            scored.append(len(client.score(images, prompts)))

    with densereward.Client(url) as client:
        senders = [threading.Thread(target=send, args=(client,)) for _ in range(requests)]
        for s in senders:
            s.start()
        for s in senders:
            s.join()
    return sum(scored) / (time.monotonic() - start)


def go_rate(binary, url, args):
    flags = [f"-images={args.images}", f"-requests={args.requests}", f"-side={args.side}", f"-for={args.seconds}s"]
    return float(subprocess.run([binary, "-server", url, *flags], check=True, stdout=subprocess.PIPE).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=16, help="images in a request")
    parser.add_argument("--requests", type=int, default=4, help="requests at a time")
    parser.add_argument("--side", type=int, default=512, help="width and height of an image")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn")
    parser.add_argument("--turns", type=int, default=7)
    args = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (args.images, args.side, args.side, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        for program in ("fakeserver", "goclient"):
            package = f"./client/python/tests/testdata/{program}"
            subprocess.run(["go", "build", "-o", folder, package], cwd=ROOT, check=True)
        server = subprocess.Popen([f"{folder}/fakeserver"], stdout=subprocess.PIPE, text=True)
        try:
            url = server.stdout.readline().strip()
            python, go = [], []
            for _ in range(args.turns):
                python.append(python_rate(url, images, args.requests, args.seconds))
                go.append(go_rate(f"{folder}/goclient", url, args))
        finally:
            server.kill()
            server.wait()
    for name, pick in (("median", statistics.median), ("best", max)):
        ours, theirs = pick(python), pick(go)
        print(f"{name:6} Python {ours:.0f} images/s, Go {theirs:.0f} images/s, ratio {ours / theirs:.2f}")
    print("turns: Python", *(f"{r:.0f}" for r in python), "Go", *(f"{r:.0f}" for r in go))


if __name__ == "__main__":
    main()
