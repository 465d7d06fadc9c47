#!/usr/bin/env python3
"""Makes the .pt files of this folder with torch.save, and expected.json: what torch.load(weights_only=True) finds in each.

Made with torch 2.15. The files that are to be refused are made here as well; expected.json names a part of the reason.

    python3 make.py
"""
import collections
import io
import json
import os
import pickle
import zipfile

import torch

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(1)
DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64", torch.int64: "I64", torch.int32: "I32",
          torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}
expected = {}


def bytes_of(t):
    return t.detach().reshape(-1).contiguous().clone().view(torch.uint8).numpy().tobytes().hex()


def tensors(v, prefix=""):
    if isinstance(v, torch.Tensor):
        return {prefix: {"dtype": DTYPES[v.dtype], "shape": list(v.shape), "data": bytes_of(v)}}
    out = {}
    if isinstance(v, dict):
        for k, item in v.items():
            if isinstance(k, str):
                out.update(tensors(item, prefix + "." + k if prefix else k))
    return out


def good(name, value, where=lambda v: v, **options):
    torch.save(value, os.path.join(here, name), **options)
    loaded = torch.load(os.path.join(here, name), weights_only=True)
    expected[name] = {"tensors": tensors(where(loaded))}


def bad(name, reason, data=None):
    if data is not None:
        with open(os.path.join(here, name), "wb") as f:
            f.write(data)
    expected[name] = {"reason": reason}


good("dtypes.pt", {"t.%s" % n.lower(): (torch.randn(2, 3) * 3).to(d) for d, n in DTYPES.items()})
linear = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.2), torch.nn.Linear(2, 1))
good("module.pt", linear.state_dict())  # an OrderedDict with _metadata
good("parameters.pt", dict(linear.named_parameters()))
good("training.pt", {"epoch": 3, "name": "run", "loss": 0.25, "done": True, "best": None, "betas": (0.9, 0.95), "log": [1, 2, {"a": 70000, "b": 1 << 40, "c": -5}],
                     "state_dict": collections.OrderedDict(linear.state_dict()), "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}},
     where=lambda v: v["state_dict"])
good("nested.pt", {"head": {"0": {"weight": torch.randn(2, 2).half()}}, "tail": torch.ones(1)})
whole = torch.arange(12, dtype=torch.float32)
good("views.pt", {"all": whole, "rows": whole.view(3, 4)[1:], "tied": whole.view(3, 4)})
good("shapes.pt", {"scalar": torch.tensor(7.0), "empty": torch.zeros(0, 3), "ones": torch.randn(1, 3, 1).transpose(0, 2)})
torch.save(linear.state_dict(), os.path.join(here, "protocol4.pt"), pickle_protocol=4)
bad("protocol4.pt", "protocol 4")

torch.save({"weight": torch.randn(2, 3).t()}, os.path.join(here, "transposed.pt"))
bad("transposed.pt", "not contiguous")
torch.save({"weight": torch.randn(2)}, os.path.join(here, "legacy.pt"), _use_new_zipfile_serialization=False)
bad("legacy.pt", "before 1.6")
torch.save(linear, os.path.join(here, "whole-module.pt"))
bad("whole-module.pt", "torch.nn.modules.container.Sequential")
torch.save([torch.ones(2)], os.path.join(here, "list.pt"))
bad("list.pt", "no dictionary of tensors")


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/densereward-was-here",)


buffer = io.BytesIO()
torch.save({"weight": torch.ones(1), "evil": Evil()}, buffer)
bad("code.pt", "posix.system", buffer.getvalue())
bad("pickle.pt", "not a zip", pickle.dumps({"a": 1}))
buffer = io.BytesIO()
with zipfile.ZipFile(buffer, "w") as z:
    z.writestr("x/readme.txt", "nothing")
bad("other.zip", "data.pkl", buffer.getvalue())

with zipfile.ZipFile(os.path.join(here, "dtypes.pt")) as source:
    entries = {i.filename: source.read(i) for i in source.infolist()}
for name, change, reason in [
    ("compressed.pt", {}, "compressed"),
    ("big-endian.pt", {"dtypes/byteorder": b"big"}, "big"),
    ("short-storage.pt", {"dtypes/data/0": b"\0" * 20}, "20 bytes"),
    ("no-storage.pt", {"dtypes/data/0": None}, "data/0"),
]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if name == "compressed.pt" else zipfile.ZIP_STORED) as z:
        for n, data in entries.items():
            data = change.get(n, data)
            if data is not None:
                z.writestr(n, data)
    bad(name, reason, buffer.getvalue())

with open(os.path.join(here, "expected.json"), "w") as f:
    json.dump(expected, f, indent=1, sort_keys=True)
    f.write("\n")
