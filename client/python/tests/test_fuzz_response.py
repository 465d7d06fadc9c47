"""The decoder of responses against mutations; `fuzz_response.py` goes on for longer."""

import math

import pytest
from fuzz_response import SEEDS, check, fuzz

import densereward

MUTATIONS = 20_000


def test_responses_of_the_protocol_pass():
    assert all(check(body) for body in SEEDS)


def test_no_mutation_of_a_response_does_harm():
    assert fuzz(seed=1, count=MUTATIONS, until=math.inf) == MUTATIONS


#: What was found by fuzzing, as the place of a value in a good response and what it
#: turned into.
FOUND = {
    "errors that are a tensor": ("errors", [{b"nd": True, b"type": "<f8", b"kind": b"", b"shape": [1], b"data": b"\0" * 8}]),
    "a heatmap that is nil": ("heatmaps", {"misalignment": None}),
    "an error that is a number": ("errors", [7]),
    "boxes of a number": ("boxes", [[3]]),
    "a grid of one side": ("dense", {"grid": [2], "weight": None, "reward": None}),
    "times that are texts": ("timing_ms", {"total": "long"}),
    "a warning that is no text": ("warnings", [1]),
    "missing parts without names": ("missing", [[1]]),
}


@pytest.mark.parametrize("kind", FOUND)
def test_what_was_found_stays_refused(kind):
    from stub import response

    from densereward._response import decode

    field, value = FOUND[kind]
    with pytest.raises(densereward.InvalidResponseError):
        decode(response(1, **{field: value}))
