"""Every kind of image reaches the evaluator as the same pixels."""

import io

import numpy as np
import pytest
from fake_evaluator import Evaluation, random_images, rewards
from PIL import Image

import densereward

PROMPTS = ["a cat", "a dog", "größe"]


def as_file(image, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


KINDS = {
    "one array (N,h,w,3)": lambda images: images,
    "one array (N,3,h,w)": lambda images: np.ascontiguousarray(images.transpose(0, 3, 1, 2)),
    "one array (N,3,h,w) over channels-last memory": lambda images: images.transpose(0, 3, 1, 2),
    "one array with gaps": lambda images: np.repeat(images, 2, axis=2)[:, :, ::2],
    "a read-only array": lambda images: np.frombuffer(images.tobytes(), np.uint8).reshape(images.shape),
    "floats": lambda images: images.astype(np.float32) / 255,
    "double floats": lambda images: images / 255,
    "half floats": lambda images: (images.astype(np.float32) / 255).astype(np.float16),
    "big-endian floats": lambda images: (images.astype(np.float32) / 255).astype(">f4"),
    "a list of arrays": lambda images: list(images),
    "a list of both layouts": lambda images: [images[0], images[1].transpose(2, 0, 1), np.asfortranarray(images[2])],
    "PIL images": lambda images: [Image.fromarray(i) for i in images],
    "PIL images with an opaque alpha channel": lambda images: [Image.fromarray(i).convert("RGBA") for i in images],
    "PNG files": lambda images: [as_file(i, "PNG") for i in images],
    "bytearrays and memoryviews": lambda images: [f(as_file(i, "PNG")) for f, i in zip((bytearray, memoryview, bytes), images)],
    "a mixture": lambda images: [images[0], as_file(images[1], "PNG"), Image.fromarray(images[2])],
    "a generator": lambda images: (i for i in images),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_arrive(kind, client, images):
    result = client.score(KINDS[kind](images), PROMPTS)
    np.testing.assert_allclose(result.rewards, rewards(images, PROMPTS), rtol=1e-12)
    assert result.errors == [None] * 3


def test_scores_and_maps_are_those_of_the_evaluator(client, images):
    result = client.score(images, PROMPTS, grid=(64, 64), returns=["dense", "heatmaps", "text"])
    for i, (image, prompt) in enumerate(zip(images, PROMPTS)):
        want = Evaluation(image, prompt)
        assert {name: values[i] for name, values in result.scores.items()} == want.scores
        np.testing.assert_allclose(result.heatmaps.misalignment[i], want.misalignment, atol=1e-6)
        np.testing.assert_allclose(result.heatmaps.artifact[i], want.artifact, atol=1e-6)
        np.testing.assert_allclose(result.dense.weight[i], 1 - want.heatmap, atol=1e-6)
        np.testing.assert_allclose(result.dense.reward[i], want.reward * (1 - want.heatmap), atol=1e-6)
    assert result.texts == ["fake: " + p for p in PROMPTS]
    assert (result.dense.grid, result.evaluator, result.model, len(result)) == ((64, 64), "fake", "fake", 3)
    assert result.ok.all() and result.raise_for_errors() is result


def test_the_grid_follows_the_preset(client, images):
    assert client.score(images, PROMPTS).dense.weight.shape == (3, 6, 8)
    assert client.score(images, PROMPTS, grid="flux").dense.grid == (3, 4)
    assert client.score(images, PROMPTS, returns=[]).dense is None


def test_think_mode_returns_boxes(client, images):
    result = client.score(images, PROMPTS, mode="think", returns=["boxes"])
    assert [len(b) for b in result.boxes] == [2, 2, 2]
    assert result.boxes[0][1] == densereward.Box((400.0, 400.0, 900.0, 900.0), "misalignment", 100.0)


def test_weights_replace_the_defaults(client, images):
    result = client.score(images, PROMPTS, weights={"scores": {"overall": 1.0}, "heatmaps": {"artifact": 1.0}})
    np.testing.assert_array_equal(result.rewards, result.scores["overall"])


def test_answers_are_writable_and_the_callers_own(client, images):
    result = client.score(images, PROMPTS)
    result.rewards += 1
    result.dense.weight *= 0


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((3, 8, 8, 4), np.uint8), "want shape"),
        (np.zeros((3, 8, 8), np.uint8), "want shape"),
        (np.zeros((3, 0, 8, 3), np.uint8), "want shape"),
        (np.zeros((3, 8, 8, 3), np.int64), "uint8 levels or floats"),
        ([np.zeros((8, 8), np.uint8)] * 3, "image 0: want shape"),
        (np.zeros((2, 8, 8, 3), np.uint8), "2 for 3 prompts"),
        (None, "images or latents"),
    ],
)
def test_images_that_cannot_be_sent_are_named(client, images, message):
    with pytest.raises(ValueError, match=message):
        client.score(images, PROMPTS)


@pytest.mark.parametrize(
    "images, prompts, message",
    [
        (Image.new("RGB", (8, 8)), ["a"], r"give \[image\]"),
        (b"file", ["a"], r"give \[image\]"),
        ([object()], ["a"], "image 0: want an array"),
        ([b"file"], "a", "got one text"),
        ([b"file"], np.array("a"), "got one text"),
        ([b"file"], [None], r"prompts\[0\]: want a text"),
    ],
)
def test_a_mistaken_type_is_an_error_here(client, images, prompts, message):
    with pytest.raises(TypeError, match=message):
        client.score(images, prompts)


def test_arguments_that_contradict_each_other_are_errors_here(client, images):
    for arguments in (
        {"vae": "sd3"},
        {"latents": images},
        {"groups": ["g"]},
        {"groups": densereward.Groups("1", 3, members=[0])},
        {"groups": densereward.Groups("1", 3, names=["g"])},
        {"output": "tensorflow"},
    ):
        with pytest.raises(ValueError):
            client.score(images, PROMPTS, **arguments)
    with pytest.raises(ValueError):
        client.score([], [])


LEVELS = {
    "halves go to the even level": (np.array([0.5, 1.5, 2.5, 254.5]) / 255, [0, 2, 2, 254]),
    "values outside are clamped": (np.array([-1.0, 2.0]), [0, 255]),
}


@pytest.mark.parametrize("name", LEVELS)
def test_to_uint8_rounds_as_the_server_does(name):
    floats, want = LEVELS[name]
    assert densereward.to_uint8(floats.astype(np.float32), clamp=True).tolist() == want


def test_levels_made_here_score_as_those_made_by_the_server(client):
    floats = np.random.default_rng(1).random((3, 32, 32, 3), dtype=np.float32)
    for kind in (np.float32, np.float16, np.float64):
        given = floats.astype(kind)
        here = client.score(densereward.to_uint8(given), PROMPTS)
        there = client.score(given, PROMPTS)
        np.testing.assert_array_equal(here.rewards, there.rewards)


def test_no_images_have_no_levels(torch):
    assert densereward.to_uint8(np.zeros((0, 3, 8, 8), np.float32)).shape == (0, 3, 8, 8)
    assert densereward.to_uint8(torch.from_numpy(np.zeros((0, 3, 8, 8), np.float32))).dtype is torch.uint8


def test_to_uint8_leaves_levels_alone_and_refuses_nan():
    levels = random_images(1)
    assert densereward.to_uint8(levels) is levels
    with pytest.raises(densereward.NotFiniteError):
        densereward.to_uint8(np.full((1, 2, 2, 3), np.nan, np.float32))


def test_masked_arrays_are_refused_unless_nothing_is_masked(client):
    images = np.ma.masked_array(np.full((2, 8, 8, 3), 7, np.uint8))
    assert client.score(images, ["a", "b"]).errors == [None, None]
    images[0, 0, 0, 0] = np.ma.masked
    for masked in (images, list(images), list(images[:1])):
        with pytest.raises(ValueError, match="masked"):
            client.score(masked, ["a"] * len(masked))
    with pytest.raises(ValueError, match="masked"):
        densereward.to_uint8(images)
    with pytest.raises(ValueError, match="masked"):
        client.score(latents=[np.ma.masked_greater(np.ones((4, 8, 8), np.float32), 0)], vae="vae", prompts=["a"])
