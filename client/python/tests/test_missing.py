"""Scores and maps that an answer lacks, and what a server finds odd."""

import logging
import warnings

import numpy as np
import pytest
from stub import ok, response, scripted, tensor
from test_retry import MSGPACK, fast

import densereward

IMAGES = np.zeros((2, 8, 8, 3), np.uint8)
PROMPTS = ["a", "b"]


def lacking(*names, **fields):
    return scripted((200, MSGPACK, response(2, missing=[[], list(names)], **fields)))


def test_missing_parts_warn_once_where_no_policy_was_chosen(stub):
    server = stub(lacking("aesthetics", "artifact"))
    with fast(server.url) as client:
        with pytest.warns(densereward.MissingPartsWarning, match='sample 1 lacks aesthetics, artifact.*missing="error"') as caught:
            client.score(IMAGES, PROMPTS)
            client.score(IMAGES, PROMPTS)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert "missing" not in server.requests[0][1]


@pytest.mark.parametrize("policy", ["zero", "error"])
def test_a_chosen_policy_travels_and_is_not_warned_about(policy, stub):
    server = stub(lacking("aesthetics"))
    with fast(server.url) as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        client.score(IMAGES, PROMPTS, missing=policy)
    assert server.requests[0][1]["missing"] == policy


def test_missing_parts_of_a_failed_sample_are_no_news(stub):
    failed = {"errors": [None, {"code": "evaluator_failed", "message": "as told"}]}
    with fast(stub(lacking("aesthetics", **failed)).url) as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        client.score(IMAGES, PROMPTS)


def test_missing_parts_can_raise(stub):
    with fast(stub(lacking("aesthetics", "artifact")).url) as client:
        result = client.score(IMAGES, PROMPTS, missing="zero")
    assert result.raise_for_errors() is result
    with pytest.raises(densereward.SamplesFailedError, match="sample 1: .*lacks aesthetics, artifact") as caught:
        result.raise_for_errors(missing=True)
    assert isinstance(caught.value.errors[1], densereward.PartMissingError)


def test_warnings_of_an_answer_are_logged_once_and_returned(stub, caplog):
    odd = ["groups: every group has one member", "another"]
    server = stub(scripted((200, MSGPACK, response(2, warnings=odd))))
    with fast(server.url) as client:
        assert client.score(IMAGES, PROMPTS).warnings == odd
        client.score(IMAGES, PROMPTS)
    assert [r.message for r in caplog.records if r.name == "densereward"] == odd
    assert {r.levelno for r in caplog.records if r.name == "densereward"} == {logging.WARNING}


def test_warnings_of_pieces_come_together(stub):
    server = stub(lambda request: (200, MSGPACK, response(1, warnings=["both", request[1]["prompts"][0]])))
    with fast(server.url, batch_size=1) as client:
        assert client.score(IMAGES, PROMPTS).warnings == ["both", "a", "b"]


NAMES = {"colourfulness": tensor(np.array([3.0, 109.5]))}
MAPS = {"blur": tensor(np.zeros((2, 4, 4), np.float32)), "noise": tensor(np.ones((2, 6, 4), np.float32))}


def test_scores_and_maps_have_whatever_names_the_evaluator_gives_them(stub):
    with fast(stub(scripted((200, MSGPACK, response(2, scores=NAMES, heatmaps=MAPS)))).url) as client:
        result = client.score(IMAGES, PROMPTS)
    assert {name: values.tolist() for name, values in result.scores.items()} == {"colourfulness": [3.0, 109.5]}
    assert list(result.heatmaps) == ["blur", "noise"] and result.heatmaps.noise.shape == (2, 6, 4)


def test_an_evaluator_may_give_neither(stub):
    with fast(stub(scripted((200, MSGPACK, response(2, scores={}, heatmaps={})))).url) as client:
        result = client.score(IMAGES, PROMPTS)
    assert result.scores == {} and result.heatmaps == {}


def maps_of(*sizes):
    return [tensor(np.full(size, i, np.float32)) for i, size in enumerate(sizes)]


def test_maps_of_different_sizes_come_one_by_one(torch, stub):
    sizes = ((2, 3), (4, 5))
    fields = {
        "dense": {"grid": [list(s) for s in sizes], "weight": maps_of(*sizes), "reward": maps_of(*sizes)},
        "heatmaps": {"blur": maps_of(*sizes)},
        "advantages": maps_of(*sizes),
    }
    with fast(stub(scripted((200, MSGPACK, response(2, **fields)))).url) as client:
        result = client.score(IMAGES, PROMPTS)
        tensors = client.score(IMAGES, PROMPTS, output="torch")
    assert result.dense.grid == [(2, 3), (4, 5)]
    for maps in (result.dense.weight, result.dense.reward, result.heatmaps.blur, result.advantages):
        assert [m.shape for m in maps] == list(sizes) and maps[1].min() == 1
    assert all(isinstance(m, torch.Tensor) for m in [*tensors.dense.weight, *tensors.heatmaps.blur, *tensors.advantages])


def test_pieces_with_maps_one_by_one_come_together(stub):
    def script(request):
        size = {"a": (2, 3), "b": (4, 5)}[request[1]["prompts"][0]]
        maps = [tensor(np.zeros(size, np.float32))]
        return 200, MSGPACK, response(1, dense={"grid": [list(size)], "weight": maps, "reward": maps})

    with fast(stub(script).url, batch_size=1) as client:
        result = client.score(IMAGES, PROMPTS)
    assert result.dense.grid == [(2, 3), (4, 5)] and [m.shape for m in result.dense.reward] == [(2, 3), (4, 5)]


def test_pieces_with_different_scores_are_no_answer(stub):
    def script(request):
        return 200, MSGPACK, response(1, scores={request[1]["prompts"][0]: tensor(np.zeros(1))})

    with fast(stub(script).url, batch_size=1) as client, pytest.raises(densereward.InvalidResponseError, match="scores"):
        client.score(IMAGES, PROMPTS)


def test_a_scalar_of_msgpack_numpy_is_a_number(stub):
    total = {b"nd": False, b"type": "<f8", b"data": np.float64(2.5).tobytes()}
    with fast(stub(scripted((200, MSGPACK, response(2, timing_ms={"total": total})))).url) as client:
        assert client.score(IMAGES, PROMPTS).timing_ms == {"total": 2.5}


def test_metadata_is_split_with_its_samples(stub):
    server = stub(ok)
    with fast(server.url, batch_size=1, concurrency=1) as client:
        client.score(IMAGES, PROMPTS, metadata=[{"target": "a"}, None])
    assert [r[1]["metadata"] for r in server.requests] == [[{"target": "a"}], [None]]
