"""The best of several samples."""

import numpy as np
import pytest
from fake_evaluator import random_images, rewards

from densereward._best import best


def test_the_best_of_each_prompt(client):
    images = random_images(9)
    prompts = ["b", "a"] * 4 + ["c"]
    found, result = client.best_of(list(images), prompts, k=2, returns=[])
    np.testing.assert_allclose(result.rewards, rewards(images, prompts), rtol=1e-12)
    assert [len(group) for group in found] == [2, 2, 1]
    for group, prompt in zip(found, "bac"):
        mine = [i for i, p in enumerate(prompts) if p == prompt]
        assert group == sorted(mine, key=lambda i: -result.rewards[i])[:2]


def test_failed_samples_never_win(client):
    images = list(random_images(3))
    found, result = client.best_of([images[0], b"no image", images[2], b"none"], ["x"] * 4, k=4, groups=[1, 1, 1, 2])
    assert result.errors[1] is not None
    assert sorted(found[0]) == [0, 2] and found[1] == []
    with pytest.raises(ValueError, match="k is 0"):
        client.best_of(images, ["x"] * 3, k=0)


def test_of_equal_rewards_the_earlier_is_the_better():
    assert best([1, 3, 3, float("nan"), 2], "aaaab", 2) == [[1, 2], [4]]


def test_names_that_it_does_not_take_are_refused(client):
    with pytest.raises(TypeError, match="unexpected keyword argument 'grids'; there are: advantage, clamp"):
        client.best_of(list(random_images(1)), ["a"], grids="sd3")
