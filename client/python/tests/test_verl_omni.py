"""The reward function for verl-omni, called as its reward managers call it."""

import asyncio
import base64
import inspect
import json
import pathlib

import numpy as np
import pytest
from fake_evaluator import Evaluation, rewards
from stub import ok
from test_retry import closed_port

import densereward
from densereward.integrations.verl_omni import compute_score


def sample(torch, image):
    """A generated image as the trainer holds it: uint8 (3,h,w)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def managed(image, prompt, **reward_kwargs):
    """What a reward manager does with one sample."""
    assert inspect.iscoroutinefunction(compute_score)
    info = {"num_turns": None, "rollout_reward_scores": {}, "text": "stop", "prompt": "the prompt"}
    return compute_score(data_source="flow", solution_image=image, ground_truth=prompt, extra_info=info, **reward_kwargs)


def test_samples_are_scored_one_by_one_side_by_side(torch, shared_server, images):
    async def step():
        return await asyncio.gather(
            *(managed(sample(torch, image), prompt, server_url=shared_server.url) for image, prompt in zip(images, "abc"))
        )

    for _ in range(2):  # of two event loops
        results = asyncio.run(step())
        np.testing.assert_allclose([r["score"] for r in results], rewards(images, "abc"), rtol=1e-12)
    for result, image, prompt in zip(results, images, "abc"):
        assert {name: result[name] for name in Evaluation(image, prompt).scores} == Evaluation(image, prompt).scores
        assert set(map(type, result.values())) == {float}


def test_a_batch_of_one_and_maps(torch, shared_server, images, monkeypatch):
    monkeypatch.setenv("DENSEREWARD_URL", shared_server.url)
    batch = torch.from_numpy(np.ascontiguousarray(images[:1].transpose(0, 3, 1, 2)))
    result = asyncio.run(managed(batch, "a", maps=True, grid=64))
    want = Evaluation(images[0], "a")
    np.testing.assert_allclose(result["dense_weight"], 1 - want.heatmap, atol=1e-6)
    np.testing.assert_allclose(result["dense_reward"], want.reward * (1 - want.heatmap), atol=1e-6)


def test_prompt_and_metadata_come_from_where_the_settings_say(torch, stub, images):
    server = stub(ok)
    settings = {"prompt_key": "prompt", "metadata_keys": ["text", "absent"], "ground_truth_key": "target"}
    asyncio.run(managed(sample(torch, images[0]), "a sign", server_url=server.url, **settings))
    fields = server.requests[0][1]
    assert fields["prompts"] == ["the prompt"] and fields["metadata"] == [{"text": "stop", "target": "a sign"}]


def test_latents_name_their_decoder(torch, stub):
    server = stub(ok)
    latents = torch.from_numpy(np.zeros((16, 8, 8), np.float32))
    asyncio.run(managed(latents, "a", server_url=server.url, vae="sd3"))
    assert server.requests[0][1]["vae"] == "sd3" and server.requests[0][1]["latents"][b"shape"] == [1, 16, 8, 8]


def test_no_failure_becomes_a_number(torch, shared_server, images):
    image = sample(torch, images[0])
    with pytest.raises(densereward.EvaluatorFailedError):
        asyncio.run(managed(image, "fail: a", server_url=shared_server.url))
    with pytest.raises(densereward.UnknownEvaluatorError):
        asyncio.run(managed(image, "a", server_url=shared_server.url, evaluator="nobody"))
    with pytest.raises(densereward.DeadlineExceededError):
        asyncio.run(managed(image, "a", server_url=f"http://127.0.0.1:{closed_port()}", timeout=0.05))
    with pytest.raises(densereward.InvalidValueError, match="does not score videos"):
        asyncio.run(managed(torch.from_numpy(np.zeros((4, 3, 8, 8), np.uint8)), "a", server_url=shared_server.url))
    with pytest.raises(KeyError):
        asyncio.run(managed(image, "a", server_url=shared_server.url, prompt_key="no such key"))
    with pytest.raises(ValueError, match="DENSEREWARD_URL"):
        asyncio.run(managed(image, "a"))


class TestWhatItsRewardManagersCallItWith:
    """As recorded with verl-omni's own managers (peers/record_verl_omni.py)."""

    RECORDED = json.loads((pathlib.Path(__file__).parent / "testdata/verl_omni.json").read_text())

    @staticmethod
    def given(torch, value):
        if isinstance(value, dict) and "dtype" in value:
            data = np.frombuffer(base64.b64decode(value["data"]), value["dtype"]).reshape(value["shape"])
            return torch.from_numpy(data.copy())
        return value

    @pytest.mark.parametrize("recorded", RECORDED, ids=lambda r: r["name"])
    def test_it_gives_or_raises_the_same(self, recorded, torch, shared_server):
        assert recorded["calls"]
        for call, prefix in zip(recorded["calls"], ["reward/doctor", "reward/half"]):
            kwargs = {name: self.given(torch, value) for name, value in call.items()}
            if kwargs["ground_truth"].startswith("fail"):
                with pytest.raises(densereward.EvaluatorFailedError, match="told to fail"):
                    asyncio.run(compute_score(**kwargs, server_url=shared_server.url))
                continue
            got, made = asyncio.run(compute_score(**kwargs, server_url=shared_server.url)), recorded["made"]
            extra = made["reward_extra_info"]
            if len(recorded["calls"]) == 1:
                assert got == {"score": made["reward_score"], **extra}
            else:
                assert got["score"] == extra[prefix]
                assert all(extra[f"{prefix}/{name}"] == value for name, value in got.items() if name != "score")

    def test_a_reward_that_must_not_be_lost_has_to_be_required(self):
        outcome = {r["name"]: r.get("raised", r.get("made", {}).get("reward_score")) for r in self.RECORDED}
        assert outcome["a required reward that fails"].startswith("RuntimeError: Required sub-reward")
        assert outcome["a reward that fails and is not required"] == 0  # verl-omni's rule, which the module's comment warns of
