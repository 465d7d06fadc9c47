"""The reward function for flow_grpo against what the public ImageDoctor code
computes, on the miniature checkpoint.

The cases (engine/imagedoctor/testdata/cases) were made without an answer
prefix. The engine is exact in tokens and so in scores; its heatmaps are held
to 1e-3 on average and 2e-2 at most, which is the reference's own noise between
batch sizes and machines.
"""

import json
import re

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import densereward
from densereward.integrations.flow_grpo import image_doctor_hp

FOLDER = ROOT / "engine/imagedoctor/testdata/cases"
CASES = json.loads((FOLDER / "cases.json").read_text())
PROMPTS = [c["prompt"] for c in CASES]
LABELS = {
    "semantic_alignment": "Semantic Alignment",
    "aesthetics": "Aesthetic",
    "plausibility": "Plausibility",
    "overall": "Overall Impression",
}


@pytest.fixture(scope="module")
def image_files():
    images = [Image.open(FOLDER / f"{c['name']}.png").convert("RGB") for c in CASES]
    yield images
    for image in images:
        image.close()


def reference_scores(name):
    found = [re.search(LABELS[name] + r" score: ([\d.]+)", c["text"]) for c in CASES]
    return np.array([float(f.group(1)) for f in found])


def reference_maps(kind):
    maps = []
    for case in CASES:
        with np.load(FOLDER / f"{case['name']}.npz") as arrays:
            maps.append(arrays[kind])
    return np.stack(maps)


def check_maps(got, want):
    difference = np.abs(np.asarray(got, np.float64) - want)
    assert difference.mean() <= 1e-3 and difference.max() <= 2e-2, (difference.mean(), difference.max())
    assert want.std() > 0.01  # a flat map would pass too easily


def test_scores_are_the_references(nano_server, image_files):
    with densereward.Client(nano_server.url) as client:
        result = client.score(image_files, PROMPTS, returns=["heatmaps", "text"]).raise_for_errors()
    for name in LABELS:
        np.testing.assert_array_equal(result.scores[name], reference_scores(name))
    check_maps(result.heatmaps.misalignment, reference_maps("misalignment"))
    check_maps(result.heatmaps.artifact, reference_maps("artifact"))
    assert result.model and result.evaluator == "imagedoctor" and result.resize == "square"


def test_the_reward_function_gives_what_the_public_scorer_gives(nano_server, image_files):
    """0.8/0.1/0.1 of its scores, and the average of its two maps on 64x64."""
    scores, metadata = image_doctor_hp(nano_server.url)(image_files, PROMPTS, [{}] * len(PROMPTS))
    want = sum(w * reference_scores(n) for n, w in (("semantic_alignment", 0.8), ("aesthetics", 0.1), ("plausibility", 0.1)))
    np.testing.assert_allclose(scores, want.astype(np.float32), rtol=1e-6)
    assert scores.std() > 0.01
    check_maps(np.stack(metadata["heatmap"]), (reference_maps("misalignment_64") + reference_maps("artifact_64")) / 2)


def test_tensors_and_files_are_scored_alike(torch, nano_server, image_files):
    """The same images as a trainer's pipeline and as a data set have them."""
    first = [np.asarray(p) for p in image_files[:4]]
    assert len({p.shape for p in first}) == 1
    floats = torch.from_numpy(np.stack(first).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
    scores, metadata = image_doctor_hp(nano_server.url)(floats, PROMPTS[:4], [{}] * 4)
    files = [(FOLDER / f"{c['name']}.png").read_bytes() for c in CASES[:4]]
    with densereward.Client(nano_server.url) as client:
        result = client.score(files, PROMPTS[:4], grid=(64, 64))
    np.testing.assert_allclose(scores, result.rewards, rtol=1e-6)
    for heatmap, weight in zip(metadata["heatmap"], result.dense.weight):
        np.testing.assert_allclose(np.asarray(heatmap.tolist()), 1 - weight, atol=1e-6)


def test_a_server_that_cannot_start_is_an_error(tmp_path):
    with pytest.raises(densereward.ConnectionFailedError, match="exit code"):
        densereward.LocalServer(program=["sh", "-c", "exit 3"])
    with pytest.raises(densereward.DeadlineExceededError):
        densereward.LocalServer(program=["sh", "-c", "exec sleep 60"], timeout=0.05)
