"""The reward function for flow_grpo, called as its training scripts call it."""

import logging
import sys
import types

import numpy as np
import pytest
from fake_evaluator import Evaluation, rewards

import densereward
from densereward.integrations.flow_grpo import ENV_SERVERS, image_doctor_hp, multi_score

PROMPTS = ("a cat", "a dog", "a fish")


def rollout(torch, images):
    """Images as a pipeline with output_type "pt" gives them."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255))


def check(scores, metadata, images):
    np.testing.assert_allclose(scores, rewards(images, PROMPTS).astype(np.float32), rtol=1e-6)
    assert isinstance(scores, np.ndarray) and scores.dtype == np.float32
    assert list(metadata) == ["heatmap"] and len(metadata["heatmap"]) == 3
    for heatmap, image, prompt in zip(metadata["heatmap"], images, PROMPTS):
        assert tuple(heatmap.shape) == (64, 64)
        np.testing.assert_allclose(np.asarray(heatmap.tolist()), Evaluation(image, prompt).heatmap, atol=1e-6)


def test_tensors_of_floats_as_the_script_gives_them(torch, shared_server, images):
    score = image_doctor_hp(shared_server.url)
    scores, metadata = score(rollout(torch, images), PROMPTS, [{}, {}, {}])
    check(scores, metadata, images)
    for heatmap in metadata["heatmap"]:
        assert isinstance(heatmap, torch.Tensor) and heatmap.dtype is torch.float32


def test_what_the_script_does_with_the_answer_works(torch, shared_server, images):
    """It makes a tensor of the scores, and stacks every list of the metadata."""
    scores, metadata = image_doctor_hp(shared_server.url)(rollout(torch, images), PROMPTS, {})
    assert [1.0 * s for s in scores] == scores.tolist()
    assert len(torch.as_tensor(scores).float()) == 3
    for maps in metadata.values():
        assert tuple(torch.stack(list(maps)).to(device="cpu", dtype=torch.float32).shape) == (3, 64, 64)


def test_arrays_and_pil_images_as_other_scripts_give_them(shared_server, images):
    from PIL import Image

    score = image_doctor_hp(shared_server.url)
    check(*score(images, PROMPTS, {}), images)
    check(*score([Image.fromarray(i) for i in images], PROMPTS, {}), images)


def test_the_map_is_64x64_whatever_the_size_of_the_image(torch, shared_server, images):
    narrow = images[:, :16, :16]
    check(*image_doctor_hp(shared_server.url)(rollout(torch, narrow), PROMPTS, {}), narrow)


def test_the_address_may_come_from_the_environment(monkeypatch, shared_server, images):
    monkeypatch.setenv(ENV_SERVERS, shared_server.url)
    check(*image_doctor_hp()(images, PROMPTS, {}), images)
    monkeypatch.delenv(ENV_SERVERS)
    with pytest.raises(ValueError, match=ENV_SERVERS):
        image_doctor_hp()


def test_a_failed_image_is_an_error_unless_its_score_is_given(torch, shared_server, images, caplog):
    broken = rollout(torch, images).numpy().copy()
    broken[1, 0, 0, 0] = np.nan
    with pytest.raises(densereward.SamplesFailedError, match="sample 1: not_finite"):
        image_doctor_hp(shared_server.url)(torch.from_numpy(broken), PROMPTS, {})
    scores, metadata = image_doctor_hp(shared_server.url, failed=-1.0)(torch.from_numpy(broken), PROMPTS, {})
    want = rewards(images, PROMPTS)
    np.testing.assert_allclose(scores, [want[0], -1.0, want[2]], rtol=1e-6)
    assert not np.asarray(metadata["heatmap"][1].tolist()).any()
    assert [r.levelno for r in caplog.records if "sample 1" in r.message] == [logging.WARNING]


def test_weights_change_the_scalar(shared_server, images):
    scores, _ = image_doctor_hp(shared_server.url, weights={"scores": {"semantic_alignment": 1.0}})(images, PROMPTS, {})
    want = [Evaluation(i, p).scores["semantic_alignment"] for i, p in zip(images, PROMPTS)]
    np.testing.assert_allclose(scores, want, rtol=1e-6)


def others(device, score_dict):
    """A trainer's own multi_score, with a reward of the image's brightness."""

    def score(images, prompts, metadata, ref_images=None, only_strict=True):
        assert (device, ref_images, only_strict) == ("cuda", None, True)
        brightness = [float(i.mean()) for i in images]
        return {"brightness": brightness, "avg": [score_dict["brightness"] * b for b in brightness]}, {}

    return score


def test_multi_score_is_the_trainers_with_this_reward_served(shared_server, images):
    score = multi_score("cuda", {"image_doctor_hp": 2.0, "brightness": 0.5}, shared_server.url, others)
    details, metadata = score(images, PROMPTS, {}, only_strict=True)
    want, brightness = rewards(images, PROMPTS), images.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(details["avg"], 2.0 * want + 0.5 * brightness, rtol=1e-6)
    np.testing.assert_allclose(details["image_doctor_hp"], want, rtol=1e-6)
    np.testing.assert_allclose(details["brightness"], brightness)
    assert len(metadata["heatmap"]) == 3


def test_multi_score_alone_and_without_this_reward(shared_server, images):
    details, metadata = multi_score("cuda", {"image_doctor_hp": 1.0}, shared_server.url)(images, PROMPTS, {})
    np.testing.assert_allclose(details["avg"], rewards(images, PROMPTS), rtol=1e-6)
    assert set(details) == {"avg", "image_doctor_hp"}
    details, metadata = multi_score("cuda", {"brightness": 1.0}, others=others)(images, PROMPTS, {})
    assert set(details) == {"avg", "brightness"} and metadata == {}


def test_multi_score_finds_the_trainers_own(monkeypatch, shared_server, images):
    trainer = types.ModuleType("flow_grpo.rewards")
    trainer.multi_score = others
    monkeypatch.setitem(sys.modules, "flow_grpo", types.ModuleType("flow_grpo"))
    monkeypatch.setitem(sys.modules, "flow_grpo.rewards", trainer)
    details, _ = multi_score("cuda", {"image_doctor_hp": 1.0, "brightness": 1.0}, shared_server.url)(images, PROMPTS, {})
    assert set(details) == {"avg", "image_doctor_hp", "brightness"}
    monkeypatch.setitem(sys.modules, "flow_grpo.rewards", None)
    with pytest.raises(ValueError, match="brightness: give others="):
        multi_score("cuda", {"brightness": 1.0}, shared_server.url)
