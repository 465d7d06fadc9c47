"""Clients that know nothing of this package: msgpack, msgpack-numpy and HTTP.

The package msgpack-numpy packs an array as a map with the bin keys nd, type, kind,
shape and data. What it packs is understood, and it decodes the answers by itself.
"""

import msgpack
import msgpack_numpy
import numpy as np
import pytest
import urllib3
from fake_evaluator import Evaluation, rewards

PROMPTS = ["a", "b", "c"]


def post(server, request):
    """Packs with msgpack-numpy, posts, and decodes with msgpack-numpy alone."""
    with urllib3.PoolManager() as pool:
        body = msgpack.packb(request, default=msgpack_numpy.encode)
        answer = pool.request("POST", server.url + "/v1/score", body=body, headers={"Content-Type": "application/msgpack"})
    return answer.status, msgpack.unpackb(answer.data, object_hook=msgpack_numpy.decode)


PACKED = {
    "one array of levels": lambda images: images,
    "a list of arrays": list,
    "channels first": lambda images: images.transpose(0, 3, 1, 2),
    "floats": lambda images: images.astype(np.float32) / 255,
    "half floats": lambda images: (images.astype(np.float32) / 255).astype(np.float16),
}


@pytest.mark.parametrize("kind", PACKED)
def test_arrays_that_msgpack_numpy_packs_are_understood(kind, shared_server, images):
    status, answer = post(shared_server, {"prompts": PROMPTS, "images": PACKED[kind](images)})
    assert status == 200
    np.testing.assert_allclose(answer["rewards"], rewards(images, PROMPTS), rtol=1e-12)


def test_answers_decode_with_msgpack_numpy_alone(shared_server, images):
    request = {"prompts": PROMPTS, "images": images, "advantage": {"method": "denseflow"}, "return": ["dense", "heatmaps"]}
    status, answer = post(shared_server, {**request, "grid": {"height": 64, "width": 64}})
    assert status == 200
    want = [Evaluation(i, p) for i, p in zip(images, PROMPTS)]
    assert answer["rewards"].dtype == np.float64
    np.testing.assert_allclose(answer["scores"]["aesthetics"], [w.scores["aesthetics"] for w in want])
    for field in (answer["dense"]["weight"], answer["dense"]["reward"], answer["advantages"]):
        assert field.dtype == np.float32 and field.shape == (3, 64, 64)
    np.testing.assert_allclose(answer["dense"]["weight"], [1 - w.heatmap for w in want], atol=1e-6)
    np.testing.assert_allclose(answer["heatmaps"]["artifact"], [w.artifact for w in want], atol=1e-6)


NUMBERS = {
    "weights": {"weights": {"scores": {"overall": np.float32(0.5), "aesthetics": np.array(2.0)}}},
    "integers as weights": {"weights": {"scores": {"overall": np.int8(2), "aesthetics": np.uint64(1)}}},
    "half floats as weights": {"weights": {"scores": {"overall": np.float16(0.5)}}},
    "a grid": {"grid": {"height": np.int64(4), "width": np.uint8(4)}},
    "a boolean": {"advantage": {"method": "flowgrpo", "global_std": np.bool_(True)}},
    "groups": {"groups": {"step": "numbers", "size": np.int32(1), "members": list(np.zeros(3, np.int64))}, "advantage": {"method": "flowgrpo"}},
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_scalars_that_msgpack_numpy_packs_are_numbers(kind, shared_server, images):
    status, answer = post(shared_server, {"prompts": PROMPTS, "images": images, **NUMBERS[kind]})
    assert status == 200, answer
    weights = NUMBERS[kind].get("weights", {}).get("scores")
    if weights is not None:
        want = sum(float(weight) * answer["scores"][name] for name, weight in weights.items())
        np.testing.assert_allclose(answer["rewards"], want, rtol=1e-12)


@pytest.mark.parametrize("array", [np.array([{"a": 1}], dtype=object), np.zeros(1, dtype=[("a", "<f4")])], ids=["objects", "records"])
def test_arrays_that_are_not_plain_numbers_are_refused(array, shared_server):
    """msgpack-numpy packs an array of objects as a pickle, which must stay closed."""
    status, answer = post(shared_server, {"prompts": ["a"], "images": [array]})
    assert (status, answer["code"]) == (400, "invalid_value")
