"""What crosses processes: errors, clients and results through pickle and copy."""

import asyncio
import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from fake_evaluator import random_images, rewards

import densereward

WAYS = {"pickle": lambda x: pickle.loads(pickle.dumps(x)), "copy": copy.copy, "deepcopy": copy.deepcopy}

ERRORS = [
    densereward.SamplesFailedError({1: densereward.ImageCorruptError("cut")}, 3),
    densereward.ServerError("short and stout", code="teapot", status=418, request_id="abc"),
    densereward.DeadlineExceededError("late"),
    densereward.ConnectionFailedError("http://a: refused"),
    *(error("told", request_id="r") for error in densereward.error_codes().values()),
    *(getattr(densereward, name)("told") for name in densereward.__all__ if name.endswith("Error") and name != "SamplesFailedError"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_an_error_stays_what_it_is(error, way):
    again = WAYS[way](error)
    assert type(again) is type(error) and (str(again), repr(again)) == (str(error), repr(error))
    for field in ("code", "status", "message", "request_id", "total"):
        assert getattr(again, field, None) == getattr(error, field, None)
    assert {i: str(e) for i, e in getattr(again, "errors", {}).items()} == {i: str(e) for i, e in getattr(error, "errors", {}).items()}


def fail(client, given):
    client.score(given, ["a"], evaluator="nobody")


def score(client, given):
    return client.score(given, ["a"])


def test_a_client_an_error_and_a_result_cross_to_a_process_and_back(shared_server):
    given = random_images(1)
    spawned = multiprocessing.get_context("spawn")
    with densereward.Client(shared_server.url, timeout=20) as client, ProcessPoolExecutor(1, mp_context=spawned) as pool:
        result = pool.submit(score, client, given).result()
        np.testing.assert_allclose(result.rewards, rewards(given, ["a"]), rtol=1e-12)
        with pytest.raises(densereward.UnknownEvaluatorError, match="^unknown_evaluator: (?!unknown_evaluator: )"):
            pool.submit(fail, client, given).result()


@pytest.mark.parametrize("way", WAYS)
def test_a_copied_client_has_its_settings_and_its_own_connections(way, shared_server, images):
    with densereward.Client(shared_server.url, timeout=17, batch_size=1, token="secret-token") as client:
        client.timeout = 18.0
        again = WAYS[way](client)
    with again:
        assert (again.timeout, again._batch_size, again._settings()) == (18.0, 1, client._settings())
        assert again.score(images, ["a", "b", "c"]).ok.all()
    assert "secret" not in repr(again)


@pytest.mark.parametrize("way", WAYS)
def test_a_copied_asynchronous_client_works_too(way, shared_server, images):
    async def main():
        async with densereward.AsyncClient(shared_server.url, in_flight=3, token="secret-token") as client:
            async with WAYS[way](client) as again:
                assert "secret" not in repr(again) and again._in_flight == 3
                return await again.score(images, ["a", "b", "c"])

    assert asyncio.run(main()).ok.all()


def test_heatmaps_are_copied_with_their_names(client, images):
    result = client.score(images, ["a", "b", "c"], returns=["heatmaps"])
    for way in WAYS.values():
        again = way(result)
        np.testing.assert_array_equal(again.heatmaps.artifact, result.heatmaps["artifact"])
    with pytest.raises(AttributeError, match="no heatmap 'beauty', there are: misalignment, artifact"):
        result.heatmaps.beauty
