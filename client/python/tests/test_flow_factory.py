"""Flow-Factory: its own remote reward model, and the dense one of this package."""

import importlib
import logging
import sys

import flowfactory
import numpy as np
import pytest
import requests
from fake_evaluator import Evaluation, rewards
from PIL import Image
from test_retry import closed_port

import densereward

PROMPTS = ["a cat", "a dog", "größe"]


@pytest.fixture
def remote(shared_server):
    model = flowfactory.RemoteReward(shared_server.url, retries=1)
    yield model
    model.session.close()


@pytest.fixture
def pil(images):
    return [Image.fromarray(i) for i in images]


class TestItsOwnRemoteRewardModel:
    def test_the_server_is_healthy(self, remote):
        assert remote.health_check()

    def test_rewards_are_those_of_the_protocol(self, remote, images, pil):
        got = remote.compute(PROMPTS, pil)
        assert all(isinstance(r, float) for r in got)
        np.testing.assert_allclose(got, rewards(images, PROMPTS), rtol=1e-12)

    def test_conditions_and_keyword_arguments_are_passed_over(self, remote, images, pil):
        got = remote.compute(PROMPTS, pil, condition_images=[pil, [], pil], condition_videos=[[pil], [], []], metadata=["{}"] * 3)
        np.testing.assert_allclose(got, rewards(images, PROMPTS), rtol=1e-12)

    def test_jpeg_files_are_taken_too(self, remote, shared_server):
        """Some forks send JPEG to save bytes."""
        from test_images import as_file

        flat = np.full((48, 64, 3), 77, np.uint8)
        got = remote.compute(["a"], [as_file(flat, "JPEG", quality=95)])
        np.testing.assert_allclose(got, rewards([flat], ["a"]), rtol=1e-12)

    FAULTS = {
        "a cut file": (400, lambda pil: {"prompt": ["a"], "image": [flowfactory.encoded(pil[0])[:200]]}),
        "no base64": (400, lambda pil: {"prompt": ["a"], "image": ["*** no base64 ***"]}),
        "too few images": (400, lambda pil: {"prompt": PROMPTS, "image": [flowfactory.encoded(pil[0])]}),
        "no images": (400, lambda pil: {"prompt": PROMPTS, "image": None}),
        "a video": (400, lambda pil: {"prompt": ["a"], "image": None, "video": [[flowfactory.encoded(pil[0])]]}),
        "an evaluator that fails": (500, lambda pil: {"prompt": ["fail: a"], "image": [flowfactory.encoded(pil[0])]}),
    }

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_fault_is_an_http_error_with_its_reason(self, fault, shared_server, pil):
        status, make = self.FAULTS[fault]
        with requests.Session() as session:
            answer = session.post(shared_server.url + "/compute", json=make(pil))
        assert answer.status_code == status, answer.text
        said = answer.json()
        assert said["code"] in densereward.error_codes() and said["message"]

    def test_what_is_no_json_is_refused(self, shared_server):
        with requests.Session() as session:
            answer = session.post(shared_server.url + "/compute", data=b"{", headers={"Content-Type": "application/json"})
        assert answer.status_code == 400 and answer.json()["code"] == "malformed_body"

    def test_the_trainer_sees_a_fault_as_its_own_server_would_show_it(self, remote, pil):
        with pytest.raises(RuntimeError, match="Failed to connect"):
            remote.compute(["fail: a"], pil[:1])


class TestDenseRewardModel:
    @pytest.fixture
    def make(self, torch, monkeypatch, shared_server):
        """Makes the model as the trainer does: by its path, from its entry."""
        flowfactory.install(monkeypatch)
        monkeypatch.delitem(sys.modules, "densereward.integrations.flow_factory", raising=False)
        module = importlib.import_module("densereward.integrations.flow_factory")
        made = []

        def make(**entries):
            config = flowfactory.Config(**{"server_url": shared_server.url, **entries})
            made.append(module.DenseRewardModel(config, flowfactory.Accelerator()))
            return made[-1]

        yield make
        for model in made:
            model.client.close()
        sys.modules.pop("densereward.integrations.flow_factory", None)

    @staticmethod
    def tensors(torch, images):
        """Images as the trainer's processor gives them: a list of (3,h,w) floats."""
        return [torch.from_numpy(np.ascontiguousarray(i.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)) for i in images]

    def test_rewards_and_maps_are_on_the_trainers_device(self, make, torch, images):
        output = make(grid=[64, 64])(prompt=PROMPTS, image=self.tensors(torch, images))
        want = [Evaluation(i, p) for i, p in zip(images, PROMPTS)]
        assert isinstance(output, flowfactory.RewardModelOutput)
        assert output.rewards.dtype is torch.float32
        np.testing.assert_allclose(output.rewards.numpy(), [w.reward for w in want], rtol=1e-6)
        extra = output.extra_info
        np.testing.assert_allclose(extra["heatmap"].numpy(), [w.heatmap for w in want], atol=1e-6)
        np.testing.assert_allclose(extra["dense_weight"].numpy(), [1 - w.heatmap for w in want], atol=1e-6)
        np.testing.assert_allclose(extra["dense_reward"].numpy(), [w.reward * (1 - w.heatmap) for w in want], atol=1e-6)
        np.testing.assert_allclose(extra["scores"]["overall"].numpy(), [w.scores["overall"] for w in want])
        assert extra["model"] == "fake"

    def test_settings_come_from_the_reward_s_entry(self, make, torch, images):
        model = make(grid="flux", mode="think", weights={"scores": {"overall": 1.0}}, timeout=7)
        assert model.client.timeout == 7.0 and model.use_tensor_inputs and model.required_fields == ("prompt", "image")
        output = model(prompt=PROMPTS, image=self.tensors(torch, images))
        assert tuple(output.extra_info["dense_weight"].shape) == (3, 3, 4)
        np.testing.assert_allclose(output.rewards.numpy(), output.extra_info["scores"]["overall"].numpy(), rtol=1e-6)

    def test_pil_images_are_taken_as_well(self, make, images, pil):
        output = make()(prompt=PROMPTS, image=pil)
        np.testing.assert_allclose(output.rewards.numpy(), rewards(images, PROMPTS), rtol=1e-6)

    def test_conditions_are_passed_over_with_a_warning(self, make, torch, images, pil, caplog):
        output = make()(prompt=PROMPTS, image=self.tensors(torch, images), condition_images=[pil] * 3, metadata=["{}"] * 3)
        np.testing.assert_allclose(output.rewards.numpy(), rewards(images, PROMPTS), rtol=1e-6)
        assert [r.levelno for r in caplog.records if "condition" in r.message] == [logging.WARNING]

    def test_a_failed_image_is_an_error(self, make, torch, images):
        with pytest.raises(densereward.SamplesFailedError, match="sample 1"):
            make()(prompt=["a", "fail: b", "c"], image=self.tensors(torch, images))

    def test_a_missing_address_image_or_server_is_an_error(self, make):
        with pytest.raises(ValueError, match="server_url"):
            make(server_url=None)
        with pytest.raises(ValueError, match="images"):
            make()(prompt=PROMPTS)
        with pytest.raises(RuntimeError, match="no reward server is ready"):
            make(server_url=f"http://127.0.0.1:{closed_port()}")
