"""The vectors of package flowgrpo: results of the public code, in float64."""

import functools
import gzip
import json
import pathlib

import torch

TESTDATA = pathlib.Path(__file__).resolve().parents[4] / "flowgrpo/testdata"

#: By type: relative and absolute. float32 differs from float64 by a rounding of each
#: input and of each sum.
TOLERANCES = {torch.float64: (1e-9, 1e-12), torch.float32: (2e-5, 1e-6)}


@functools.lru_cache(maxsize=None)
def read(name):
    with gzip.open(TESTDATA / name) as file:
        return json.load(file)


def tensor(values, dtype=torch.float64):
    return torch.tensor(values, dtype=torch.float64).to(dtype)


def close(got, want, dtype=torch.float64, rtol=None, atol=None):
    relative, absolute = TOLERANCES[dtype]
    want = want if torch.is_tensor(want) else tensor(want)
    torch.testing.assert_close(
        got.detach().double(), want.reshape(got.shape), rtol=relative if rtol is None else rtol, atol=absolute if atol is None else atol
    )


def pack(latents):
    """(B,C,H,W) as (B,L,C)."""
    return latents.flatten(2).transpose(1, 2).contiguous()
