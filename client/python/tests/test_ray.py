"""The class for Ray Data's map_batches, called as Ray calls it: batches are maps of
numpy arrays. examples/relabel/ray_data.py runs it on a cluster."""

import io

import numpy as np
import pytest
from fake_evaluator import random_images, rewards
from PIL import Image

from densereward.ray import Scorer


def column(values):
    out = np.empty(len(values), object)
    for i, value in enumerate(values):
        out[i] = value
    return out


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_labels_are_added_to_a_batch(shared_server):
    images = random_images(3)
    prompts = ["a cat", "a dog", "a fish"]
    forms = [images[0], png(images[1]), {"bytes": png(images[2]), "path": "3.png"}]
    batch = {"id": np.arange(3), "image": column(forms), "prompt": np.array(prompts, object)}
    labelled = Scorer(shared_server.url, returns=["dense", "text", "heatmaps", "boxes"], mode="think")(batch)
    assert set(batch) < set(labelled) and labelled["id"] is batch["id"]
    np.testing.assert_allclose(labelled["reward"], rewards(images, prompts), rtol=1e-12)
    assert labelled["dense"].shape == (3, 6, 8) and labelled["artifact"].shape[0] == 3
    assert {"semantic_alignment", "aesthetics", "plausibility", "overall", "missing", "text", "boxes"} <= set(labelled)
    assert list(labelled["error_code"]) == [""] * 3


def test_maps_of_several_sizes_are_one_a_row(shared_server):
    small, large = random_images(1)[0], np.zeros((96, 128, 3), np.uint8)
    batch = {"image": column([small, None, large]), "prompt": column(["a", "b", "c"])}
    dense = Scorer(shared_server.url, returns=["dense"])(batch)["dense"]
    assert dense.dtype == object and dense[1] is None
    assert (dense[0].shape, dense[2].shape) == ((6, 8), (12, 16))


def test_images_that_fail_cost_the_others_nothing(shared_server):
    images = random_images(2)
    batch = {"picture": column([None, images[0], b"no image", images[1]]), "caption": column(["a", "b", "c", "d"])}
    labelled = Scorer(shared_server.url, image="picture", prompt="caption", prefix="x_")(batch)
    assert list(labelled["x_error_code"]) == ["missing_field", "", "image_unsupported", ""]
    np.testing.assert_allclose(labelled["x_reward"][[1, 3]], rewards(images, ["b", "d"]), rtol=1e-12)
    assert np.isnan(labelled["x_reward"][[0, 2]]).all() and labelled["x_missing"][0] == []
    nothing = Scorer(shared_server.url)({"image": column([None]), "prompt": column([None])})
    assert np.isnan(nothing["reward"]).all() and nothing["error_code"][0] == "missing_field"


def test_wrong_settings_are_said(shared_server):
    with pytest.raises(ValueError, match="give servers, or serve"):
        Scorer()
    with pytest.raises(ValueError, match="no column 'prompt'"):
        Scorer(shared_server.url)({"image": column([])})
    with pytest.raises(ValueError, match="already has a column 'reward'"):
        Scorer(shared_server.url)({"image": column(list(random_images(1))), "prompt": column(["a"]), "reward": np.zeros(1)})
