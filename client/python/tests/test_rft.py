"""The rewards of reinforcement fine-tuning, as VLM-R1 calls reward functions, against
what ImageDoctor's training code gives."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import densereward
from densereward.integrations.rft import CompletionReward, completion_rewards

TESTDATA = Path(__file__).parents[3] / "reward" / "rft" / "testdata"


@pytest.fixture(scope="module")
def cases():
    with gzip.open(TESTDATA / "cases.json.gz") as file:
        listed = json.load(file)
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    levels = np.asarray(Image.open(TESTDATA / "maps.png")).reshape(-1, 288, 288)
    Image.MAX_IMAGE_PIXELS = limit
    return listed[:16], levels.astype(np.float32) / np.float32(255)


def columns(listed, maps):
    names = {f"{kind}_{end}": f"{kind}_{of}" for kind in ("misalignment", "artifact") for end, of in (("np", "truth"), ("pred", "predicted"))}
    return {"solution": [c["solution"] for c in listed], **{column: [maps[c[name]][None, None] for c in listed] for column, name in names.items()}}


def test_the_sum_is_that_of_the_public_code(shared_server, cases):
    listed, maps = cases
    reward = CompletionReward(shared_server.url)
    completions = [[{"role": "assistant", "content": c["completion"]}] for c in listed]
    got = reward(prompts=["p"] * 16, completions=completions, **columns(listed, maps))
    assert all(type(r) is float for r in got)
    np.testing.assert_allclose(got, [sum(c["rewards"].values()) for c in listed], atol=12e-6)


def test_one_reward_by_its_name(shared_server, cases):
    listed, maps = cases
    reward = CompletionReward(shared_server.url, only="artifact_boundingbox_union", columns={"solution": "answer"})
    assert reward.__name__ == "artifact_boundingbox_union"
    given = columns(listed, maps)
    given["answer"] = given.pop("solution")
    got = reward(completions=[c["completion"] for c in listed], **given)
    np.testing.assert_allclose(got, [c["rewards"]["artifact_boundingbox_union"] for c in listed], atol=1e-6)


def test_groups_share_a_truth_and_draw_nothing(shared_server, cases):
    listed, maps = cases
    with densereward.Client(shared_server.url) as client:
        texts = [c["completion"] for c in listed]
        found = completion_rewards(client, texts, [listed[0]["solution"]] * 16, maps[:1], maps[1:2], groups=["a"] * 8 + ["b"] * 8)
    assert set(found.rewards) == set(listed[0]["rewards"])
    assert not found.rewards["artifact_location_heatmap"].any()
    for group in (slice(0, 8), slice(8, 16)):
        sums = found.sums[group]
        np.testing.assert_allclose(found.advantages[group], (sums - sums.mean()) / (sums.std(ddof=1) + 1e-4), rtol=1e-9, atol=1e-12)
    assert set(found.format) <= {0.0, 1.0}


def test_what_does_not_fit_is_said(shared_server, cases):
    listed, maps = cases
    reward = CompletionReward(shared_server.url)
    given = columns(listed, maps)
    with pytest.raises(ValueError, match="no column 'solution'"):
        reward(completions=["a"] * 16, **{k: v for k, v in given.items() if k != "solution"})
    with pytest.raises(ValueError, match="16 heatmaps for 3 completions"):
        reward(completions=["a"] * 3, **given)
    with pytest.raises(densereward.DenseRewardError, match="solutions"):
        reward(completions=["a"], **{**{k: v[:1] for k, v in given.items()}, "solution": []})
    assert reward(completions=["a"], **{**{k: v[:1] for k, v in given.items()}, "misalignment_pred": [[]], "artifact_pred": [[]]}) is not None
