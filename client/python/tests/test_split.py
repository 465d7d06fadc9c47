"""Large batches in several requests, with the answer of one."""

import threading

import numpy as np
import pytest
from fake_evaluator import random_images, rewards
from stub import ok, refusal, response, scripted, tensor
from test_retry import MSGPACK, fast

import densereward
from densereward._request import Groups, options, plan

PROMPTS = [f"prompt {i % 3}" for i in range(10)]


def planned(asked, prompts=PROMPTS, size=100, most=4, most_bytes=10**9):
    return plan([size] * len(prompts), prompts, asked, most, most_bytes)


def test_requests_are_of_about_one_size():
    assert [len(p) for p in planned(options())] == [4, 4, 2]
    assert [len(p) for p in plan([1] * 100, ["a"] * 100, options(), 32, 10**9)] == [25, 25, 25, 25]
    assert [len(p) for p in plan([1] * 33, ["a"] * 33, options(), 32, 10**9)] == [17, 16]


def test_every_sample_goes_once_and_in_order():
    for asked in (options(), options(advantage="flowgrpo"), options(advantage="none")):
        assert sorted(i for p in planned(asked) for i in p) == list(range(10))
    assert [i for p in planned(options()) for i in p] == list(range(10))


def test_bytes_bound_a_request_too():
    assert [len(p) for p in planned(options(), most_bytes=250)] == [2, 2, 2, 2, 2]
    assert [len(p) for p in planned(options(), most_bytes=1)] == [1] * 10


def test_groups_stay_whole_where_advantages_are_asked_for():
    assert planned(options(advantage="flowgrpo")) == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    named = options(advantage={"method": "denseflow"}, groups=["x"] * 5 + ["y"] * 5)
    assert planned(named) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_statistics_over_all_groups_leave_a_batch_in_one_piece():
    whole = [list(range(10))]
    assert planned(options(advantage={"method": "flowgrpo", "global_std": True})) == whole
    assert planned(options(advantage="gdpo")) == whole
    assert planned(options(groups=Groups("1", 10), advantage="flowgrpo")) == whole


ASKED = {
    "scores alone": {"returns": []},
    "everything": {"returns": ["dense", "heatmaps", "text", "boxes"], "mode": "think"},
    "advantages of each group": {"advantage": "flowgrpo"},
    "advantage maps": {"advantage": "denseflow_paper"},
    "statistics over all": {"advantage": {"method": "flowgrpo", "global_std": True}},
    "several scores": {"advantage": "gdpo"},
    "steps of two samples": {"advantage": {"method": "densegrpo", "steps": 4}, "groups": ["x"] * 10},
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("kind", ["one array", "a list"])
def test_a_batch_in_pieces_has_the_answer_of_a_batch_in_one(asked, kind, shared_server):
    given = random_images(10)
    given = given if kind == "one array" else list(given)
    with fast(shared_server.url, batch_size=3) as small, fast(shared_server.url, batch_size=100) as large:
        pieces = small.score(given, PROMPTS, **ASKED[asked])
        whole = large.score(given, PROMPTS, **ASKED[asked])
    np.testing.assert_allclose(pieces.rewards, rewards(given, PROMPTS), rtol=1e-12)
    for name in whole.scores:
        np.testing.assert_array_equal(pieces.scores[name], whole.scores[name])
    assert (pieces.missing, pieces.errors, pieces.texts, pieces.boxes) == (whole.missing, whole.errors, whole.texts, whole.boxes)
    assert set(pieces.timing_ms) == set(whole.timing_ms)
    for maps in ("advantages", "dense.weight", "dense.reward", "heatmaps.misalignment", "heatmaps.artifact"):
        a, b = find(pieces, maps), find(whole, maps)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b)


def find(result, path):
    for name in path.split("."):
        result = None if result is None else getattr(result, name)
    return result


def test_latents_are_split_along_their_first_dimension(stub):
    seen = []

    def script(request):
        sent = request[1]["latents"]
        values = np.frombuffer(sent[b"data"], sent[b"type"]).reshape(sent[b"shape"])
        seen.append(values.shape)
        return 200, MSGPACK, response(len(values), rewards=tensor(values[:, 0, 0, 0].astype(np.float64)))

    server = stub(script)
    latents = np.arange(10 * 4 * 2 * 2, dtype=np.float32).reshape(10, 4, 2, 2)
    with fast(server.url, batch_size=4) as client:
        result = client.score(latents=latents, vae="sd3", prompts=PROMPTS, groups=PROMPTS, advantage=None)
        grouped = client.score(latents=latents, vae="sd3", prompts=PROMPTS, advantage="flowgrpo")
    np.testing.assert_array_equal(result.rewards, latents[:, 0, 0, 0])
    np.testing.assert_array_equal(grouped.rewards, latents[:, 0, 0, 0])
    assert sorted(seen) == sorted([(4, 4, 2, 2), (4, 4, 2, 2), (2, 4, 2, 2), (4, 4, 2, 2), (3, 4, 2, 2), (3, 4, 2, 2)])


def test_a_piece_whose_samples_all_failed_leaves_the_maps_of_the_others(client, shared_server):
    given = [*random_images(2), b"bad", b"bad"]
    with fast(shared_server.url, batch_size=2) as pieces:
        for order in (given, given[::-1]):
            result = pieces.score(order, ["a"] * 4)
            assert result.dense.weight.shape == (4, 6, 8)
            assert np.isnan(result.dense.weight[~result.ok]).all() and np.isfinite(result.dense.weight[result.ok]).all()
        nothing = pieces.score([b"bad"] * 4, ["a"] * 4)
    assert not nothing.ok.any() and np.isnan(nothing.rewards).all()


def test_pieces_with_maps_of_different_sizes_come_together_as_in_one_request(shared_server):
    given = [*random_images(2), random_images(1, height=64)[0]]
    with fast(shared_server.url, batch_size=2) as pieces, fast(shared_server.url) as whole:
        apart, together = pieces.score(given, ["a", "b", "c"]).dense, whole.score(given, ["a", "b", "c"]).dense
    assert apart.grid == together.grid == [(6, 8), (6, 8), (8, 8)]
    for one, other in zip([*apart.weight, *apart.reward], [*together.weight, *together.reward]):
        np.testing.assert_array_equal(one, other)


def test_the_first_refusal_ends_the_other_requests(stub):
    """Both threads are free while the server still holds the other request."""
    held, done, both = threading.Event(), threading.Event(), threading.Barrier(2, timeout=10)

    def script(request):
        if request[1]["prompts"] == ["refused"]:
            assert held.wait(20)
            return 404, MSGPACK, refusal("unknown_evaluator")
        held.set()
        assert done.wait(20)
        return ok(request)

    def together(request):
        both.wait()
        return ok(request)

    server = stub(script)
    try:
        with fast(server.url, batch_size=1, concurrency=2) as client:
            with pytest.raises(densereward.UnknownEvaluatorError):
                client.score(random_images(2), ["held", "refused"])
            server.script = together
            assert client.score(random_images(2), ["a", "b"]).ok.all()
            assert not done.is_set()
    finally:
        done.set()


def test_pixels_are_not_copied_on_their_way_out():
    from densereward import _request as request
    from densereward._message import Message
    from densereward._samples import from_images

    given = random_images(4)
    message = Message(request.body(from_images(given), ["a"] * 4, options(), range(4)))
    large = [run for run in message.runs if len(run) > 2000]
    assert len(large) == 1 and np.shares_memory(np.frombuffer(large[0], np.uint8), given)


def test_a_broken_piece_is_named(stub):
    server = stub(scripted((200, MSGPACK, b"\xc1")))
    with fast(server.url, batch_size=4) as client, pytest.raises(densereward.InvalidResponseError):
        client.score(random_images(10), PROMPTS)


MAPS = tensor(np.zeros((1, 2, 2), np.float32))
PARTIAL = {
    "dense": {"grid": [2, 2], "weight": MAPS, "reward": MAPS},
    "heatmaps": {"misalignment": MAPS, "artifact": MAPS},
    "advantages": MAPS,
    "texts": ["said"],
    "cached": [True],
}


@pytest.mark.parametrize("without", ["first", "second"])
@pytest.mark.parametrize("field", PARTIAL)
def test_a_piece_that_lacks_what_the_others_have_is_no_answer(field, without, stub):
    def script(request):
        fields = {} if request[1]["prompts"] == [without] else {field: PARTIAL[field]}
        return 200, MSGPACK, response(1, **fields)

    with fast(stub(script).url, batch_size=1) as client, pytest.raises(densereward.InvalidResponseError, match=field):
        client.score(random_images(2), ["first", "second"])
