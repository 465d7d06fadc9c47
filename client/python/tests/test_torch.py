"""Torch tensors in and out, with torch's stand-in and, where it is installed,
torch itself."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from fake_evaluator import rewards

import densereward
from densereward._samples import from_images, from_latents

PROMPTS = ["a cat", "a dog", "a fish"]


def nchw(torch, images):
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def test_uint8_tensors_reach_the_evaluator(torch, client, images):
    result = client.score(nchw(torch, images), PROMPTS)
    np.testing.assert_allclose(result.rewards, rewards(images, PROMPTS), rtol=1e-12)


def test_floats_count_as_levels_of_255(torch, client, images):
    result = client.score(nchw(torch, images.astype(np.float32) / 255), PROMPTS)
    np.testing.assert_allclose(result.rewards, rewards(images, PROMPTS), rtol=1e-12)


def test_double_floats_travel_as_floats(torch, client, images):
    result = client.score(nchw(torch, images / 255), PROMPTS)
    np.testing.assert_allclose(result.rewards, rewards(images, PROMPTS), rtol=1e-12)


def test_channels_last_tensors_travel_without_a_copy(torch, images):
    taken = from_images(torch.from_numpy(images).permute(0, 3, 1, 2)).take([0, 1, 2])
    assert taken.shape == images.shape
    assert np.shares_memory(np.frombuffer(taken.data, np.uint8), images)


def test_a_list_of_tensors_of_any_sizes_is_taken_one_by_one(torch, client, images):
    result = client.score(list(nchw(torch, images)), PROMPTS)
    np.testing.assert_allclose(result.rewards, rewards(images, PROMPTS), rtol=1e-12)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_short_floats_travel_as_they_are(torch, client, images, kind):
    """What the server makes of their bits is what `to_uint8` makes of them here."""
    floats = nchw(torch, images.astype(np.float32) / 255).to(getattr(torch, kind))
    wire = from_images(floats).take([0, 1, 2])
    assert wire.type == {"float16": "<f2", "bfloat16": "bfloat16"}[kind]
    assert len(wire.data) == images.size * 2
    there = client.score(floats, PROMPTS)
    here = client.score(densereward.to_uint8(floats), PROMPTS)
    np.testing.assert_array_equal(here.rewards, there.rewards)


def test_bfloat16_latents_keep_their_bits(torch):
    latents = torch.from_numpy(np.array([1.0, -2.5, 3.140625, 0.1], np.float32).reshape(1, 4, 1, 1)).to(torch.bfloat16)
    wire = from_latents(latents).take([0])
    assert (wire.type, wire.shape) == ("bfloat16", (1, 4, 1, 1))
    assert bytes(wire.data).hex() == "803f20c04940cd3d"


def test_a_list_of_latents_is_stacked(torch):
    one = torch.from_numpy(np.arange(8, dtype=np.float32).reshape(2, 2, 2))
    wire = from_latents([one, one]).take([0, 1])
    assert (wire.type, wire.shape) == ("<f4", (2, 2, 2, 2))


def test_latents_of_one_frame_keep_their_dimension(torch):
    values = np.arange(2 * 4 * 3 * 5, dtype=np.float32).reshape(2, 4, 1, 3, 5)
    wire = from_latents(torch.from_numpy(values)).take([1])
    assert (wire.type, wire.shape) == ("<f4", (1, 4, 1, 3, 5))
    assert bytes(wire.data) == values[1].tobytes()


def test_torch_comes_back_on_request(torch, client, images):
    result = client.score(
        nchw(torch, images), PROMPTS, advantage="denseflow_paper", returns=["dense", "heatmaps"], output="torch"
    )
    tensors = [result.rewards, result.advantages, result.dense.weight, result.dense.reward]
    tensors += [result.heatmaps.misalignment, result.heatmaps.artifact, *result.scores.values()]
    for tensor in tensors:
        assert isinstance(tensor, torch.Tensor) and len(tensor) == 3
    np.testing.assert_allclose(result.rewards.numpy(), rewards(images, PROMPTS), rtol=1e-12)


def test_levels_are_made_on_the_device_of_the_tensor(torch):
    floats = torch.from_numpy(np.array([0.5, 1.5, 400.0, -3.0], np.float32) / np.float32(255))
    levels = densereward.to_uint8(floats, clamp=True)
    assert levels.dtype is torch.uint8 and levels.tolist() == [0, 2, 255, 0]
    assert densereward.to_uint8(levels) is levels
    with pytest.raises(densereward.NotFiniteError):
        densereward.to_uint8(torch.from_numpy(np.array([np.inf], np.float32)))


class TestOnADevice:
    """Tensors on an accelerator, which the stand-in pretends to have."""

    @pytest.fixture
    def cuda(self, monkeypatch):
        import standin

        monkeypatch.setitem(sys.modules, "torch", standin.torch)
        return standin.torch

    def test_tensors_come_to_the_host(self, cuda, client, images):
        result = client.score(nchw(cuda, images).to("cuda"), PROMPTS)
        np.testing.assert_allclose(result.rewards, rewards(images, PROMPTS), rtol=1e-12)

    def test_a_list_comes_in_one_copy(self, cuda, images):
        one_by_one = list(nchw(cuda, images).to("cuda"))
        assert len(from_images(one_by_one)) == 3
        assert from_images(one_by_one).take([0, 1, 2]).shape == (3, 3, 48, 64)

    def test_bfloat16_comes_as_its_bits(self, cuda, images):
        floats = nchw(cuda, images.astype(np.float32) / 255).to(cuda.bfloat16).to("cuda")
        assert from_images(floats).take([0]).type == "bfloat16"


def test_torch_is_not_imported_unless_tensors_are_given(shared_server):
    """In a fresh Python, where importing torch is an error."""
    program = """
import sys
sys.modules["torch"] = None
import numpy as np, densereward, densereward.integrations.flow_grpo
client = densereward.Client(sys.argv[1])
assert len(client.score(np.zeros((1, 8, 8, 3), np.uint8), ["a"])) == 1
score = densereward.integrations.flow_grpo.image_doctor_hp(sys.argv[1])
scores, meta = score(np.zeros((1, 8, 8, 3), np.uint8), ["a"], {})
assert isinstance(meta["heatmap"][0], np.ndarray)
"""
    path = str(ROOT / "client/python/src")
    subprocess.run([sys.executable, "-c", program, shared_server.url], check=True, env={"PYTHONPATH": path})
