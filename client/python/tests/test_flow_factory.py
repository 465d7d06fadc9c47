"""Flow-Factory: its own remote reward model, and the dense one of this package."""

import base64
import importlib
import inspect
import json
import logging
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import flowfactory
import numpy as np
import pytest
import requests
from fake_evaluator import Evaluation, random_images, rewards
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
    KIND = "DenseRewardModel"

    @pytest.fixture
    def make(self, torch, monkeypatch, shared_server):
        """Makes the model as the trainer does: by its path, from its entry."""
        flowfactory.install(monkeypatch)
        monkeypatch.delitem(sys.modules, "densereward.integrations.flow_factory", raising=False)
        module = importlib.import_module("densereward.integrations.flow_factory")
        made = []

        def make(**entries):
            config = flowfactory.Config(**{"server_url": shared_server.url, **entries})
            made.append(getattr(module, self.KIND)(config, flowfactory.Accelerator()))
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

    def test_what_its_processor_calls_the_model_with_is_scored(self, make, torch):
        """As recorded with Flow-Factory's own processor (peers/record_flow_factory.py)."""
        recorded = json.loads((pathlib.Path(__file__).parent / "testdata/flow_factory.json").read_text())[self.KIND]
        model = make()
        for call in recorded:
            arguments = call["arguments"]
            given = [torch.from_numpy(np.frombuffer(base64.b64decode(i["data"]), i["dtype"]).reshape(i["shape"]).copy()) for i in arguments["image"]]
            output = model(**{**arguments, "image": given})
            np.testing.assert_allclose(output.rewards.numpy(), call["rewards"], rtol=1e-6)

    def test_the_trainer_need_not_gather_fields_that_are_not_scored(self, make):
        kinds = {p.kind for p in inspect.signature(make().__call__).parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds

    def test_settings_come_from_the_reward_s_entry(self, make, torch, images):
        model = make(grid="flux", mode="think", weights={"scores": {"overall": 1.0}}, timeout=7)
        assert model.client.timeout == 7.0 and model.use_tensor_inputs and model.required_fields == ("prompt", "image")
        output = model(prompt=PROMPTS, image=self.tensors(torch, images))
        assert tuple(output.extra_info["dense_weight"].shape) == (3, 3, 4)
        np.testing.assert_allclose(output.rewards.numpy(), output.extra_info["scores"]["overall"].numpy(), rtol=1e-6)

    def test_images_of_different_sizes_have_maps_of_their_own(self, make, torch, images):
        given = [images[0], images[1], images[2, :16, :16]]
        extra = make()(prompt=PROMPTS, image=self.tensors(torch, given)).extra_info
        for maps in (extra["dense_weight"], extra["dense_reward"], extra["heatmap"]):
            assert [tuple(m.shape) for m in maps] == [(6, 8), (6, 8), (2, 2)]

    def test_pil_images_are_taken_as_well(self, make, images, pil):
        output = make()(prompt=PROMPTS, image=pil)
        np.testing.assert_allclose(output.rewards.numpy(), rewards(images, PROMPTS), rtol=1e-6)

    def test_conditions_are_passed_over_with_a_warning(self, make, torch, images, pil, caplog):
        output = make()(prompt=PROMPTS, image=self.tensors(torch, images), condition_images=[pil] * 3)
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

    def test_workers_of_an_async_reward_share_the_model(self, make, torch):
        """Flow-Factory calls it from num_workers threads while the next images are drawn."""
        given = random_images(32)
        model = make(async_reward=True, num_workers=4)

        def reward(i):
            return model(prompt=[f"prompt {i}"], image=self.tensors(torch, given[i : i + 1])).rewards.tolist()

        with ThreadPoolExecutor(4) as workers:
            got = [r for batch in workers.map(reward, range(32)) for r in batch]
        np.testing.assert_allclose(got, rewards(given, [f"prompt {i}" for i in range(32)]), rtol=1e-6)

    def test_a_failure_in_a_worker_reaches_the_trainer(self, make, torch, images):
        model = make(async_reward=True, num_workers=4)
        with ThreadPoolExecutor(4) as workers:
            future = workers.submit(model, prompt=["fail: a", "b", "c"], image=self.tensors(torch, images))
            with pytest.raises(densereward.SamplesFailedError, match="sample 0"):
                future.result()


class TestDenseGroupwiseRewardModel(TestDenseRewardModel):
    """All of the pointwise model, and advantages over the group."""

    KIND = "DenseGroupwiseRewardModel"

    def test_advantages_are_of_the_group_whatever_the_prompts(self, make, torch, images):
        want = rewards(images, PROMPTS)
        output = make(advantage="flowgrpo")(prompt=PROMPTS, image=self.tensors(torch, images))
        np.testing.assert_allclose(output.rewards.numpy(), want, rtol=1e-6)
        advantages = (want - want.mean()) / (want.std() + 1e-4)
        np.testing.assert_allclose(output.extra_info["advantages"].numpy(), advantages, rtol=1e-6)
        maps = make(advantage={"method": "denseflow_paper"}, grid=8)(prompt=PROMPTS, image=self.tensors(torch, images))
        assert tuple(maps.extra_info["advantages"].shape) == (3, 8, 8)

    def test_without_a_method_there_are_none(self, make, torch, images):
        assert "advantages" not in make()(prompt=PROMPTS, image=self.tensors(torch, images)).extra_info
