#!/usr/bin/env python3
"""Writes vectors.json: bytes of protocol version 1 with their meaning.

The bytes are made by the msgpack package of Python, not by the code that they
test. Needs python3-msgpack and python3-numpy (made with msgpack 1.0.3 and
numpy 1.24.2):

    python3 vectors.py > vectors.json

Keys of "value": "$bin" holds bytes in hex, "$tensor" an array by type, shape
and hex of its data, "$nan" a NaN.
"""

import json
import struct
import zlib

import msgpack
import numpy as np


class Tensor:
    """An array as msgpack-numpy packs it; type may be numpy's name or bfloat16."""

    def __init__(self, type, shape, data, text_keys=False):
        self.type, self.shape, self.data, self.text_keys = type, list(shape), data, text_keys

    def packed(self):
        pairs = [("nd", True), ("type", self.type), ("kind", b""), ("shape", self.shape), ("data", self.data)]
        if self.text_keys:
            return {key: "" if key == "kind" else value for key, value in pairs}
        return {key.encode(): value for key, value in pairs}


def tensor(array, **kw):
    return Tensor(array.dtype.str, array.shape, array.tobytes(), **kw)


def pack(value):
    return msgpack.packb(value, default=lambda t: t.packed(), use_bin_type=True)


def shown(value):
    if isinstance(value, Tensor):
        return {"$tensor": {"type": value.type, "shape": value.shape, "data": value.data.hex()}}
    if isinstance(value, bytes):
        return {"$bin": value.hex()}
    if isinstance(value, float) and value != value:
        return {"$nan": True}
    if isinstance(value, dict):
        return {key: shown(v) for key, v in value.items()}
    if isinstance(value, list):
        return [shown(v) for v in value]
    return value


def png(rows):
    """A PNG file of rows of RGB triples."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", len(rows[0]) // 3, len(rows), 8, 2, 0, 0, 0)
    pixels = b"".join(b"\0" + bytes(row) for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


vectors = []


def add(kind, name, meaning, value, code=None, raw=None):
    entry = {"kind": kind, "name": name, "meaning": meaning}
    if code:
        entry["code"] = code
    if raw is None:
        entry["value"] = shown(value)
        raw = pack(value)
    entry["hex"] = raw.hex()
    vectors.append(entry)


file = png([[255, 0, 0, 0, 255, 0], [0, 0, 255, 255, 255, 255]])
raw = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
floats = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 2, 2)
NAN = float("nan")

add("request", "a file", "one PNG file of 2x2 pixels, everything else by default",
    {"prompts": ["a cat"], "images": [file]})
add("request", "a tensor", "one image as a uint8 tensor (h,w,3), as msgpack-numpy packs it",
    {"prompts": ["a cat"], "images": [tensor(raw)]})
add("request", "a batch", "two images as one float32 tensor (N,3,h,w); the keys of a tensor may be str as well",
    {"prompts": ["a cat", "a dog"], "images": tensor(floats, text_keys=True)})
add("request", "every option", "an explicit grid, own weights, think mode, BoxFlow advantages over named groups",
    {"prompts": ["a cat", "größe"], "images": [file, tensor(raw)], "mode": "think",
     "grid": {"height": 64, "width": 32}, "groups": ["g", "h"],
     "advantage": {"method": "boxflow", "global_std": True, "floor": 0.25,
                   "penalty": {"artifact": 1.0, "misalignment": 0.5, "min": 0.0}},
     "weights": {"scores": {"aesthetics": 0.0, "overall": 0.5, "plausibility": 0.0, "semantic_alignment": 0.5},
                 "heatmaps": {"artifact": 0.75, "misalignment": 0.25}},
     "return": ["dense", "heatmaps", "text", "boxes"], "evaluator": "imagedoctor"})
add("request", "latents", "two latents of 4 channels on a 1x2 grid in bfloat16, decoded by the server's decoder sd3",
    {"prompts": ["a cat", "a dog"], "latents": Tensor("bfloat16", (2, 4, 1, 2), bytes(range(32))), "vae": "sd3",
     "return": ["dense", "images"]})
add("request", "a group across requests", "sample 0 is member 3 of the 24 that all ranks send for this prompt in this step",
    {"prompts": ["a cat"], "images": [file], "groups": {"step": "12", "size": 24, "members": [3]},
     "advantage": {"method": "flowgrpo"}})
add("request", "the steps of a sample", "what two steps make of one sample's latents: before the first, between them and after the last",
    {"prompts": ["a cat"] * 3, "images": [file] * 3, "advantage": {"method": "densegrpo", "steps": 2}})
add("request", "several scores", "every score normalised by itself",
    {"prompts": ["a cat", "a cat"], "images": [file, file], "advantage": {"method": "gdpo"}})

add("refused", "a missing image", "two prompts and one image", {"prompts": ["a cat", "a dog"], "images": [file]},
    code="image_count_mismatch")
add("refused", "an unknown key", "keys that the protocol does not define are refused",
    {"prompts": ["a cat"], "images": [file], "seed": 1}, code="unknown_field")
add("refused", "a big-endian tensor", "tensors are little-endian",
    {"prompts": ["a cat"], "images": [tensor(raw.astype(">f4"))]}, code="unsupported_dtype")
add("refused", "a NaN weight", "numbers are finite",
    {"prompts": ["a cat"], "images": [file], "weights": {"scores": {"overall": NAN}}}, code="not_finite")
add("refused", "a body cut short", "the last byte is missing", None, code="malformed_body",
    raw=pack({"prompts": ["a cat"], "images": [file]})[:-1])
add("refused", "a huge claim", "thirteen bytes that claim an array of 2^32-1 prompts", None, code="malformed_body",
    raw=b"\x81\xa7prompts\xdd\xff\xff\xff\xff"[:13])


def response(n, resize=None, **parts):
    scores = {name: tensor(np.array([0.5 + i / 8] * n)) for i, name in
              enumerate(["semantic_alignment", "aesthetics", "plausibility", "overall"])}
    value = {"rewards": tensor(np.array([0.53125] * n)), "scores": scores, "missing": [[]] * n, "errors": [None] * n,
             "cached": [False] * n}
    value.update(parts)
    value.update({"evaluator": "imagedoctor", "model": "0123abcd", **({"resize": resize} if resize else {}), "timing_ms": {"evaluate": 10.0, "total": 12.5}})
    return value


maps = lambda *values: tensor(np.array(values, dtype=np.float32).reshape(len(values) // 2, 1, 2))

add("response", "scores", "scores of one image, of which the answer did not give the overall score",
    response(1, missing=[["overall"]]))
add("response", "dense maps", "two images with weight 1-H, reward R(1-H) and scalar advantages on a 1x2 grid",
    response(2, dense={"grid": [1, 2], "weight": maps(1, 0.5, 0.25, 0), "reward": maps(0.5, 0.25, 0.125, 0)},
             advantages=tensor(np.array([1.0, -1.0]))))
add("response", "a failed image", "the second image could not be decoded: its numbers are NaN",
    {**response(2), "rewards": tensor(np.array([0.53125, NAN])),
     "scores": {name: tensor(np.array([0.5, NAN])) for name in
                ["semantic_alignment", "aesthetics", "plausibility", "overall"]},
     "errors": [None, {"code": "image_corrupt", "message": "corrupt image"}]})
add("response", "everything", "heatmaps, text and boxes of one image that was known already and kept its aspect",
    response(1, resize="area", cached=[True], heatmaps={"misalignment": maps(0, 1), "artifact": maps(1, 0)}, texts=["fine"],
             boxes=[[{"box": [0.0, 10.0, 500.0, 1000.0], "label": "artifact", "importance": 80.0}]], images=[file]))
add("error", "overloaded", "the body of a response of status 429",
    {"code": "overloaded", "message": "the server is overloaded"})

print(json.dumps({"protocol": 1, "vectors": vectors}, indent=1, ensure_ascii=False))
