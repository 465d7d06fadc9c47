"""The decoder of responses against mutations; `fuzz_response.py` goes on for longer."""

import math

import numpy as np
import pytest
from fuzz_response import SEEDS, check, fuzz
from stub import response

import densereward
from densereward._response import decode

MUTATIONS = 20_000


def test_responses_of_the_protocol_pass():
    assert all(check(body) for body in SEEDS)


def test_no_mutation_of_a_response_does_harm():
    assert fuzz(seed=1, count=MUTATIONS, until=math.inf) == MUTATIONS


#: What was found by fuzzing, as the place of a value in a good response and what it
#: turned into.
FOUND = {
    "a heatmap that is nil": ("heatmaps", {"misalignment": None}),
    "a grid of one side": ("dense", {"grid": [2], "weight": None, "reward": None}),
    "times that are texts": ("timing_ms", {"total": "long"}),
    "a warning that is no text": ("warnings", [1]),
    "texts of too few samples": ("texts", []),
    "boxes that are a text": ("boxes", "a"),
}


@pytest.mark.parametrize("kind", FOUND)
def test_what_was_found_stays_refused(kind):
    field, value = FOUND[kind]
    with pytest.raises(densereward.InvalidResponseError):
        decode(response(1, **{field: value}))


def tensor(values, name="<f4"):
    array = np.asarray(values, np.float32)
    return {b"nd": True, b"type": name, b"kind": b"", b"shape": list(array.shape), b"data": array.tobytes()}


MAP, NAN = tensor([[1.0, 0.5]]), float("nan")
BOX = {"box": [0, 0, 1, 1], "label": "artifact", "importance": 50}
FLOATS = {b"nd": True, b"type": "<f8", b"kind": b"", b"shape": [3]}

#: What is wrong with the second of three samples: its field, the good items of the others
#: and the wrong one.
OF_A_SAMPLE = {
    "errors that are a tensor": ("errors", None, MAP),
    "an error that is a number": ("errors", None, 7),
    "an error without a code": ("errors", None, {"message": "no"}),
    "boxes of a number": ("boxes", [BOX], [3]),
    "a box of three sides": ("boxes", [BOX], [{**BOX, "box": [1, 2, 3]}]),
    "a box of NaN": ("boxes", [BOX], [BOX, {**BOX, "box": [0, 0, NAN, 1]}]),
    "an infinite importance": ("boxes", [BOX], [{**BOX, "importance": float("inf")}]),
    "a label that is bytes": ("boxes", [BOX], [{**BOX, "label": b"a"}]),
    "boxes that are a text": ("boxes", [], "ab"),
    "missing parts without names": ("missing", [], [1]),
    "missing parts that are a text": ("missing", [], "ab"),
    "a text that is none": ("texts", "a", None),
    "an image that is a text": ("images", b"a", "a"),
    "knowledge that is a number": ("cached", True, 1),
    "a map of integers": ("heatmaps", MAP, {**MAP, b"type": "<i4"}),
    "a map of one row": ("heatmaps", MAP, tensor([1.0, 0.5])),
    "a map that is cut": ("heatmaps", MAP, {**MAP, b"data": b"\0"}),
    "a map that would run code": ("heatmaps", MAP, {**MAP, b"kind": b"O", b"type": "|O"}),
    "a weight of another size": ("dense", MAP, tensor([[1.0]])),
    "a reward of NaN": ("rewards", None, None),
    "a score that is infinite": ("scores", None, None),
}


@pytest.mark.parametrize("kind", OF_A_SAMPLE)
def test_what_is_wrong_with_one_sample_fails_it_alone(kind):
    field, good, wrong = OF_A_SAMPLE[kind]
    items = [good, wrong, good]
    numbers = {**FLOATS, b"data": np.array([1, NAN if field == "rewards" else np.inf, 1], "<f8").tobytes()}
    whole = {"heatmaps": {"artifact": items}, "dense": {"weight": items, "reward": [MAP] * 3}, "rewards": numbers, "scores": {"overall": numbers}}
    value = whole.get(field, items)
    result = decode(response(3, **{field: value}))
    assert isinstance(result.errors[1], densereward.EvaluatorFailedError) and field in str(result.errors[1])
    assert result.ok.tolist() == [True, False, True]
    assert np.isnan(result.rewards[1]) and np.isfinite(result.rewards[[0, 2]]).all()
    assert all(np.isnan(values[1]) and np.isfinite(values[[0, 2]]).all() for values in result.scores.values())
    for maps in (result.heatmaps or {}).values():
        assert np.isnan(maps[1]).all() and np.isfinite(maps[0]).all()
