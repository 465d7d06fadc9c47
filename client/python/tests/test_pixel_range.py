"""Floats that are no pixels in [0,1] do not become scores."""

import numpy as np
import pytest
from fake_evaluator import random_images, rewards

import densereward

PROMPTS = ["a", "b", "c"]


def unit(images):
    return images.astype(np.float32) / np.float32(255)


MISTAKEN = {
    "values in [-1,1]": (lambda x: x * 2 - 1, r"range from -1 to 1: values in \[-1,1\] become pixels by \(x \+ 1\) / 2"),
    "levels of 0 to 255": (lambda x: x * 255, r"range from 0 to 255: levels of 0 to 255 go as uint8, or divided by 255"),
    "standardised values": (lambda x: (x - 0.5) / 0.25, r"range from -2 to 2: pixels are floats in \[0,1\]"),
}

KINDS = {
    "one array": lambda x: x,
    "one array of float64": lambda x: x.astype(np.float64),
    "one array of float16": lambda x: x.astype(np.float16),
    "arrays": list,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mistake", MISTAKEN)
def test_an_image_of_another_range_fails_alone(mistake, kind, client, images):
    shift, text = MISTAKEN[mistake]
    given = unit(images)
    given[1] = shift(given[1])
    result = client.score(KINDS[kind](given), PROMPTS)
    assert result.ok.tolist() == [True, False, True] and isinstance(result.errors[1], densereward.PixelRangeError)
    with pytest.raises(densereward.SamplesFailedError, match="image 1: .*of the values lie outside.*" + text + ".*clamp=True"):
        result.raise_for_errors()
    np.testing.assert_allclose(result.rewards[[0, 2]], rewards(images[[0, 2]], ["a", "c"]), rtol=1e-12)


@pytest.mark.parametrize("mistake", MISTAKEN)
def test_to_uint8_refuses_them_too(mistake, torch, images):
    shift, text = MISTAKEN[mistake]
    given = unit(images)
    given[1] = shift(given[1])
    for batch in (given, torch.from_numpy(given), torch.from_numpy(given).to(torch.bfloat16)):
        with pytest.raises(densereward.PixelRangeError, match="image 1: .*lie outside"):
            densereward.to_uint8(batch)
    with pytest.raises(densereward.PixelRangeError, match=text):
        densereward.to_uint8(given[1])


def test_bfloat16_is_looked_at_as_well(torch, client, images):
    given = unit(images)
    given[2] *= 255
    result = client.score(torch.from_numpy(given).to(torch.bfloat16), PROMPTS)
    assert result.ok.tolist() == [True, True, False] and "0 to 255" in result.errors[2].message


OVERSHOOT = {
    "a little, everywhere": lambda x: x * 1.09 - 0.045,
    "much, in less than 1% of the values": lambda x: np.where(np.arange(x.size).reshape(x.shape) % 101 == 0, 7.0, x),
}


@pytest.mark.parametrize("kind", OVERSHOOT)
def test_overshoot_of_a_decoder_is_clamped(kind, client, images):
    given = OVERSHOOT[kind](unit(images)).astype(np.float32)
    want = rewards(densereward.to_uint8(given), PROMPTS)
    np.testing.assert_allclose(client.score(given, PROMPTS).rewards, want, rtol=1e-12)


def test_any_range_is_clamped_where_the_caller_says_so(shared_server, stub, images):
    from stub import ok

    given = unit(images) * 2 - 1
    server = stub(ok)
    with densereward.Client(server.url) as client:
        assert client.score(given, PROMPTS, clamp=True).ok.all()
    assert server.requests[0][1]["clamp"] is True
    assert densereward.to_uint8(given, clamp=True).min() == 0


def test_infinity_stays_infinity(client):
    """The server names what is not finite; the range of such an image is not the matter."""
    given = unit(random_images(1))
    given[0, 0, 0, 0] = np.inf
    assert isinstance(client.score(given, ["a"]).errors[0], densereward.NotFiniteError)
