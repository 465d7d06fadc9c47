"""Numbers are numbers, whoever's they are, and what is wrong is named."""

import enum

import numpy as np
import pytest
from fake_evaluator import Evaluation, random_images, rewards
from stub import ok
from test_retry import fast

import densereward
from densereward import Groups

PROMPTS = ["a", "b"]


class Method(str, enum.Enum):
    FLOWGRPO = "flowgrpo"


def sent(stub, **options):
    """The request that travels for two images, but for them."""
    server = stub(ok)
    with fast(server.url) as client:
        client.score(np.zeros((2, 8, 8, 3), np.uint8), PROMPTS, **options)
    fields = server.requests[0][1]
    return {key: value for key, value in fields.items() if key not in ("prompts", "images")}


ACCEPTED = {
    "a weight of float32": ({"weights": {"scores": {"overall": np.float32(0.5)}}}, {"weights": {"scores": {"overall": 0.5}}}),
    "a weight of a 0-d array": ({"weights": {"scores": {"overall": np.array(0.5)}}}, {"weights": {"scores": {"overall": 0.5}}}),
    "a floor of float16": ({"advantage": {"method": "boxflow", "floor": np.float16(0.5)}}, {"advantage": {"method": "boxflow", "floor": 0.5}}),
    "a boolean of numpy": (
        {"advantage": {"method": "flowgrpo", "global_std": np.bool_(True)}},
        {"advantage": {"method": "flowgrpo", "global_std": True}},
    ),
    "a method of an enumeration": ({"advantage": Method.FLOWGRPO}, {"advantage": {"method": "flowgrpo"}}),
    "a method of numpy's text": ({"advantage": np.str_("flowgrpo")}, {"advantage": {"method": "flowgrpo"}}),
    "a method of an array without dimensions": ({"advantage": np.array("flowgrpo")}, {"advantage": {"method": "flowgrpo"}}),
    "a preset of an array without dimensions": ({"grid": np.array("sd3")}, {"grid": {"preset": "sd3"}}),
    "one thing to return of an array without dimensions": ({"returns": np.array("text")}, {"return": ["text"]}),
    "a policy of an array without dimensions": ({"missing": np.array("zero")}, {"missing": "zero"}),
    "a name of an array without dimensions": ({"evaluator": np.array("doctor")}, {"evaluator": "doctor"}),
    "groups of integers": ({"groups": np.array([7, 8])}, {"groups": ["7", "8"]}),
    "groups across requests": (
        {"groups": Groups(np.int64(3), np.int64(2), names=np.array([0, 1]), members=np.array([0, 1]), count=np.int32(2))},
        {"groups": {"step": "3", "size": 2, "names": ["0", "1"], "members": [0, 1], "count": 2}},
    ),
    "a grid of one side": ({"grid": 64}, {"grid": {"height": 64, "width": 64}}),
    "a grid of one side of numpy": ({"grid": np.int64(64)}, {"grid": {"height": 64, "width": 64}}),
    "a grid of an array": ({"grid": np.array([32, 64])}, {"grid": {"height": 32, "width": 64}}),
    "a grid as the protocol has it": ({"grid": {"preset": "sd3"}}, {"grid": {"preset": "sd3"}}),
    "one thing to return": ({"returns": "heatmaps"}, {"return": ["heatmaps"]}),
    "nothing to return": ({"returns": ()}, {"return": []}),
    "the policy for missing parts": ({"missing": "error"}, {"missing": "error"}),
    "clamping": ({"clamp": np.bool_(True)}, {"clamp": True}),
    "no clamping": ({"clamp": False}, {}),
    "metadata": (
        {"metadata": [{"target": "cat", "box": np.array([1, 2]), "deep": {"p": np.float64(0.5), "file": b"\0"}}, None]},
        {"metadata": [{"target": "cat", "box": [1, 2], "deep": {"p": 0.5, "file": b"\0"}}, None]},
    ),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_what_is_meant_travels(kind, stub):
    options, want = ACCEPTED[kind]
    assert sent(stub, **options) == want


def test_numbers_of_torch_count_as_numbers(torch, stub):
    weights = {"scores": {"overall": torch.tensor(0.5)}}
    assert sent(stub, weights=weights, groups=torch.tensor([4, 5])) == {"weights": {"scores": {"overall": 0.5}}, "groups": ["4", "5"]}


def test_settings_of_the_client_may_be_numpys_too(client, shared_server, images):
    options = {"timeout": np.float32(30), "batch_size": np.int64(2), "concurrency": np.int64(2), "backoff": np.array([0.1, 1.0])}
    with densereward.Client(shared_server.url, tries=np.int64(3), **options) as other:
        result = other.score(images, ["a", "b", "c"], timeout=np.float64(20))
    np.testing.assert_allclose(result.rewards, rewards(images, ["a", "b", "c"]), rtol=1e-12)


REFUSED = {
    "an advantage of a number": ({"advantage": 1}, TypeError, "advantage: want a method or a map"),
    "a grid of three sides": ({"grid": (1, 2, 3)}, ValueError, "grid: want a preset"),
    "a grid of fractions": ({"grid": (1.5, 2)}, TypeError, "grid height: want a whole number"),
    "groups in one text": ({"groups": "ab"}, TypeError, "groups: want a list"),
    "a group of no name": ({"groups": ["a", 1.5]}, TypeError, r"groups\[1\]: want a text"),
    "a weight that is no number": ({"weights": {"scores": {"overall": object()}}}, TypeError, "weights.scores.overall: want numbers"),
    "a number beyond 64 bits": ({"metadata": [{"seed": 1 << 70}, None]}, ValueError, r"metadata\[0\].seed: .* 64 bits"),
    "half a surrogate pair": ({"evaluator": "\ud83d"}, ValueError, "evaluator: half a surrogate pair, U.D83D, at character 0"),
    "metadata in one map": ({"metadata": {"a": 1}}, TypeError, "metadata: want a list"),
    "metadata of no map": ({"metadata": [1, 2]}, TypeError, r"metadata\[0\]: want a map"),
    "metadata of too few": ({"metadata": [{}]}, ValueError, "metadata: 1 for 2 prompts"),
    "no policy": ({"missing": "ignore"}, ValueError, 'want "zero" or "error"'),
    "a time that is none": ({"timeout": float("nan")}, ValueError, "timeout"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_travel_is_named(kind, client):
    options, error, text = REFUSED[kind]
    with pytest.raises(error, match=text):
        client.score(np.zeros((2, 8, 8, 3), np.uint8), PROMPTS, **options)


HALVES = {
    "levels in one array": lambda images: images,
    "floats in one array": lambda images: images.astype(np.float32) / 255,
    "images one by one": list,
}


@pytest.mark.parametrize("kind", HALVES)
def test_a_prompt_with_half_a_surrogate_pair_fails_its_sample(kind, client, images):
    result = client.score(HALVES[kind](images), ["a", "cat \ud83d", "c"], groups=["g"] * 3, advantage="flowgrpo")
    assert result.ok.tolist() == [True, False, True]
    assert isinstance(result.errors[1], densereward.InvalidValueError)
    assert "prompts[1]: half a surrogate pair, U+D83D, at character 4" in result.errors[1].message
    want = rewards(images[[0, 2]], ["a", "c"])
    np.testing.assert_allclose(result.rewards[[0, 2]], want, rtol=1e-12)
    np.testing.assert_allclose(result.advantages[[0, 2]], (want - want.mean()) / (want.std() + 1e-4), rtol=1e-9)
    assert np.isnan(result.rewards[1]) and np.isnan(result.advantages[1])


def test_a_whole_pair_that_was_torn_can_be_mended_as_the_error_says(client):
    given = random_images(1)
    mended = "cat \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert client.score(given, [mended]).rewards[0] == pytest.approx(Evaluation(given[0], "cat 😀").reward, rel=1e-12)
