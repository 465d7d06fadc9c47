"""Failures of samples and of whole requests, as the real server reports them."""

import io

import numpy as np
import pytest
from fake_evaluator import random_images, rewards
from PIL import Image
from stub import refusal, response, scripted

import densereward


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


BAD = {
    "a cut file": (lambda image: png(image)[:200], densereward.ImageCorruptError),
    "no image at all": (lambda image: b"plain text", densereward.ImageUnsupportedError),
    "a NaN": (lambda image: np.full((8, 8, 3), np.nan, np.float32), densereward.NotFiniteError),
    "a PIL image of a cut file": (lambda image: Image.open(io.BytesIO(png(image)[:200])), densereward.ImageCorruptError),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_image_costs_its_neighbours_nothing(kind, client, images):
    make, error = BAD[kind]
    given = [images[0], make(images[1]), images[2]]
    result = client.score(given, ["a", "b", "c"], grid=(6, 8), returns=["dense", "heatmaps"], advantage="flowgrpo", groups=["g"] * 3)
    assert [type(e) for e in result.errors] == [type(None), error, type(None)]
    assert result.ok.tolist() == [True, False, True]
    want = rewards(images[[0, 2]], ["a", "c"])
    np.testing.assert_allclose(result.rewards[[0, 2]], want, rtol=1e-12)
    assert np.isnan(result.rewards[1]) and np.isnan(result.dense.weight[1]).all() and np.isnan(result.heatmaps.artifact[1]).all()
    np.testing.assert_allclose(result.advantages[[0, 2]], (want - want.mean()) / (want.std() + 1e-4), rtol=1e-9)
    with pytest.raises(densereward.SamplesFailedError, match="1 of 3 samples failed, first sample 1") as caught:
        result.raise_for_errors()
    assert isinstance(caught.value.errors[1], error)


def test_the_evaluators_own_failure_is_of_its_sample(client, images):
    result = client.score(images, ["a", "fail: b", "c"])
    assert result.errors[1].code == "evaluator_failed" and result.errors[1].status == 500
    assert result.ok.tolist() == [True, False, True]


REFUSED = {
    densereward.UnknownEvaluatorError: {"evaluator": "nobody"},
    densereward.InvalidValueError: {"mode": "guess"},
    densereward.UnknownFieldError: {"advantage": {"method": "flowgrpo", "sigma": 1}},
    densereward.MissingFieldError: {"advantage": {"global_std": True}},
    densereward.NotFiniteError: {"weights": {"scores": {"overall": float("nan")}}},
}


@pytest.mark.parametrize("error", REFUSED, ids=lambda e: e.code)
def test_a_refused_request_raises_the_class_of_its_code(error, client, images):
    with pytest.raises(error) as caught:
        client.score(images, ["a"] * 3, **REFUSED[error])
    assert isinstance(caught.value, densereward.ServerError)
    assert caught.value.code == error.code and caught.value.message and caught.value.request_id


LISTED = {
    "an evaluator": ({"evaluator": "nobody"}, r"\[fake\]"),
    "a preset": ({"grid": "sd9"}, "sd3.*flux.*qwen-image"),
    "a method": ({"advantage": "grpo"}, "none flowgrpo denseflow denseflow_paper boxflow"),
    "a score": ({"weights": {"scores": {"beauty": 1}}}, "semantic_alignment aesthetics plausibility overall"),
    "a heatmap": ({"weights": {"heatmaps": {"blur": 1}}}, "misalignment artifact"),
    "a part of the answer": ({"returns": "maps"}, "dense heatmaps text boxes images"),
    "a mode": ({"mode": "guess"}, '"answer" or "think"'),
}


@pytest.mark.parametrize("kind", LISTED)
def test_a_refusal_lists_what_would_have_been_right(kind, client, images):
    options, listed = LISTED[kind]
    with pytest.raises(densereward.ServerError, match=listed):
        client.score(images, ["a"] * 3, **options)


def test_an_unknown_file_is_told_which_are_known(client):
    assert client.score([b"GIF89a"], ["a"]).errors[0].message.endswith("want PNG, JPEG or WebP")


def test_latents_need_a_decoder_that_the_server_has(client):
    with pytest.raises(densereward.UnknownVAEError):
        client.score(latents=np.zeros((1, 4, 8, 8), np.float32), vae="sd3", prompts=["a"])


def test_images_of_different_sizes_have_maps_of_their_own_unless_a_grid_is_named(client):
    mixed = [random_images(1)[0], random_images(1, height=64)[0]]
    dense = client.score(mixed, ["a", "b"]).dense
    assert dense.grid == [(6, 8), (8, 8)] and [m.shape for m in dense.weight] == [m.shape for m in dense.reward] == dense.grid
    assert client.score(mixed, ["a", "b"], grid=(8, 8)).dense.weight.shape == (2, 8, 8)
    with pytest.raises(densereward.GridMismatchError):
        client.score(mixed, ["a", "b"], groups=["g", "g"], advantage="denseflow_paper")


def test_a_token_is_asked_for_and_given(fake_server, images, tmp_path):
    (tmp_path / "tokens").write_text("trainer 0123456789abcdef\n")
    server = fake_server("-tokens", tmp_path / "tokens")
    with densereward.Client(server.url) as stranger, pytest.raises(densereward.UnauthorizedError):
        stranger.score(images, ["a"] * 3)
    with densereward.Client(server.url, token="0123456789abcdef") as known:
        assert known.score(images, ["a"] * 3).ok.all()


def test_a_code_from_the_future_keeps_its_text(stub, images):
    server = stub(scripted((418, {"Content-Type": "application/msgpack"}, refusal("teapot", "short and stout"))))
    with densereward.Client(server.url) as client, pytest.raises(densereward.ServerError) as caught:
        client.score(images, ["a"] * 3)
    assert (caught.value.code, caught.value.status, str(caught.value)) == ("teapot", 418, "teapot: short and stout")


def test_an_answer_of_something_between_keeps_its_status(stub, images):
    server = stub(scripted((403, {"Content-Type": "text/html"}, b"<h1>Forbidden</h1>")))
    with densereward.Client(server.url) as client, pytest.raises(densereward.ServerError, match="Forbidden") as caught:
        client.score(images, ["a"] * 3)
    assert (caught.value.code, caught.value.status) == ("http_403", 403)


def tensor_of(kind, data=b"", shape=(3,)):
    return {b"nd": True, b"type": kind, b"kind": b"", b"shape": list(shape), b"data": data}



BROKEN = {
    "not msgpack": b"\xc1",
    "cut short": response(3)[:-1],
    "not a map": b"\x93\x01\x02\x03",
    "without rewards": b"\x80",
    "of too few samples": response(2, errors=[None] * 3),
    "with a tensor that lacks data": response(3, rewards=tensor_of("<f8", b"1234")),
    "with a tensor of objects": response(3, rewards={**tensor_of("|O"), b"kind": b"O"}),
    "with a structured tensor": response(3, rewards={**tensor_of([["a", "<f4"]]), b"kind": b"V"}),
    "with an impossible shape": response(3, rewards=tensor_of("<f8", b"", [-1, 3])),
    "with rewards that are text": response(3, rewards="many"),
    "with a map of two dimensions": response(3, advantages=tensor_of("<f4", b"\0" * 24, (3, 2))),
    "with nested arrays": b"\x91" * 5_000_000,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_answer_is_refused(kind, stub, images):
    server = stub(scripted((200, {"Content-Type": "application/msgpack"}, BROKEN[kind])))
    with densereward.Client(server.url) as client, pytest.raises(densereward.InvalidResponseError):
        client.score(images, ["a"] * 3)
    assert len(server.requests) == 1


def test_an_answer_longer_than_the_limit_is_refused(stub, images):
    server = stub(scripted((200, {"Content-Type": "application/msgpack"}, response(3))))
    with densereward.Client(server.url, max_response=100) as client, pytest.raises(densereward.InvalidResponseError, match="exceeds 100"):
        client.score(images, ["a"] * 3)


def test_a_newer_server_may_say_more(stub, images):
    server = stub(scripted((200, {"Content-Type": "application/msgpack"}, response(3, novelty={"a": [1, None]}))))
    with densereward.Client(server.url) as client:
        assert client.score(images, ["a"] * 3).ok.all()


def test_a_body_that_the_server_refuses_unread_gets_its_answer(shared_server):
    """300 MiB meet the server's limit of 256 MiB: it answers and hangs up while the
    client still writes."""
    big = np.zeros((100, 1024, 1024, 3), np.uint8)
    with densereward.Client(shared_server.url, batch_size=100, request_bytes=1 << 40) as client, pytest.raises(densereward.BodyTooLargeError):
        client.score(big, ["a"] * 100)
