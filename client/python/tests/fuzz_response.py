"""Fuzzes the decoder of responses:

    python3 client/python/tests/fuzz_response.py --seconds 60 --seed 7

Mutates responses of the protocol's vectors, as bytes and as values, and checks that
each is either refused with `InvalidResponseError` or decoded into a result that holds
what its type promises, in memory of the order of the body. Prints the body of a
failure in hex; `test_fuzz_response.py` keeps those that were found.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import sys
import time

import msgpack
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))

import densereward  # noqa: E402
from densereward._merge import merge  # noqa: E402
from densereward._response import decode, unpack  # noqa: E402

VECTORS = json.loads((HERE.parents[2] / "reward/wire/testdata/vectors.json").read_text())["vectors"]
SEEDS = [bytes.fromhex(v["hex"]) for v in VECTORS if v["kind"] == "response"]

#: What values of a tree turn into.
VALUES = [
    None, True, False, 0, 1, -1, 2**63, -(2**63), 2**64 - 1, 1.5, float("nan"), float("inf"), "", "a", "\0", b"", b"\xff" * 9, [], [[]], {},
    [None], {"code": 1, "message": None}, {"code": "x", "message": "y"}, msgpack.Timestamp(0), msgpack.ExtType(5, b"x"),
    {b"nd": True, b"type": "<f8", b"kind": b"", b"shape": [1], b"data": b"\0" * 8},
    {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [2, 2], b"data": b"\0" * 16},
    {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [1, 0, 2**40], b"data": b""},
    {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": b"cos\nsystem\n"},
    {b"nd": True, b"type": "<f8", b"kind": b"", b"shape": [], b"data": b"\0" * 8},
    {b"nd": False, b"type": "<f8", b"data": b"\0" * 8},
    {b"nd": [], b"type": {}, b"shape": "s", b"data": 1},
]  # fmt: skip


def mutated(body: bytes, rand: random.Random) -> bytes:
    """A body that differs a little, or much, from a good one."""
    if rand.random() < 0.5:
        return damaged(body, rand)
    tree = msgpack.unpackb(body, strict_map_key=False)
    for _ in range(rand.randint(1, 3)):
        tree = changed(tree, rand)
    try:
        return msgpack.packb(tree)
    except (OverflowError, ValueError, TypeError):
        return body


def damaged(body: bytes, rand: random.Random) -> bytes:
    """Bytes flipped, cut, doubled or swapped with another seed's."""
    data = bytearray(body)
    for _ in range(rand.choice((1, 1, 2, 8))):
        place = rand.randrange(len(data) + 1)
        kind = rand.randrange(5)
        if kind == 0 and place < len(data):
            data[place] = rand.randrange(256)
        elif kind == 1:
            del data[place : place + rand.choice((1, 4, 64, len(data)))]
        elif kind == 2:
            data[place:place] = rand.randbytes(rand.choice((1, 2, 9)))
        elif kind == 3:
            data[place:place] = data[place : place + rand.randrange(64)]
        else:
            other = rand.choice(SEEDS)
            start = rand.randrange(len(other))
            data[place : place + 32] = other[start : start + 32]
    return bytes(data)


def changed(tree: object, rand: random.Random) -> object:
    """The tree with one of its values replaced, removed or repeated."""
    if isinstance(tree, dict) and tree and rand.random() < 0.9:
        key = rand.choice(list(tree))
        kind = rand.random()
        if kind < 0.15:
            return {k: v for k, v in tree.items() if k != key}
        if kind < 0.2:
            return {**tree, rand.choice(["warnings", "dense", "boxes", "advantages", b"nd", "scores"]): rand.choice(VALUES)}
        return {**tree, key: changed(tree[key], rand)}
    if isinstance(tree, list) and tree and rand.random() < 0.8:
        place = rand.randrange(len(tree))
        kind = rand.random()
        if kind < 0.15:
            return tree[:place] + tree[place + 1 :]
        if kind < 0.3:
            return tree + [tree[place]]
        return tree[:place] + [changed(tree[place], rand)] + tree[place + 1 :]
    return rand.choice(VALUES)


def check(body: bytes) -> bool:
    """Decodes a body; whether it was a response. Raises for anything that neither a
    response nor its refusal may do."""
    try:
        unpack(body)
        result = decode(body)
    except densereward.InvalidResponseError as e:
        assert len(str(e)) < 2000 + 4 * len(body), "the text of the refusal"
        return False
    n = len(result)
    arrays = [result.rewards, *result.scores.values()]
    assert all(isinstance(a, np.ndarray) and a.shape == (n,) and a.dtype.kind == "f" for a in arrays)
    maps = list((result.heatmaps or {}).values()) + ([result.dense.weight, result.dense.reward] if result.dense else [])
    for m in maps:
        assert len(m) == n and all(one.ndim == 2 and one.dtype == np.float32 for one in m)
    lists = [result.missing, result.errors, result.texts, result.boxes, result.images, result.cached]
    assert all(listed is None or len(listed) == n for listed in lists)
    assert isinstance(result.evaluator, str) and isinstance(result.model, str)
    assert all(isinstance(w, str) for w in result.warnings) and all(isinstance(t, float) for t in result.timing_ms.values())
    held = sum(a.nbytes for a in arrays) + sum(one.nbytes for m in maps for one in m)
    assert held <= 8 * len(body), f"{held} bytes of arrays from a body of {len(body)}"
    repr(result)
    merge([(range(n), result), (range(n, 2 * n), result)])
    try:
        result.raise_for_errors(missing=True)
    except densereward.SamplesFailedError as e:
        str(e)
    return True


def fuzz(seed: int, count: int, until: float) -> int:
    """Checks count mutations of a seed, or as many as fit until a time; gives how
    many."""
    rand = random.Random(seed)
    for done in range(count):
        body = mutated(rand.choice(SEEDS), rand)
        try:
            check(body)
        except Exception:
            print(f"seed {seed}, mutation {done}: {body.hex()}", file=sys.stderr)
            raise
        if done % 100 == 0 and time.monotonic() > until:
            return done + 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzzes the decoder of responses.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="of the first run; default the clock")
    args = parser.parse_args()
    seed = time.time_ns() if args.seed is None else args.seed
    print(f"{fuzz(seed, 1 << 60, time.monotonic() + args.seconds)} mutations of seed {seed}, no fault")


if __name__ == "__main__":
    main()
