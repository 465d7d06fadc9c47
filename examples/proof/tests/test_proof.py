"""The judge against drawn scenes whose truth is known; laws of the methods; the world's sets of captions."""

import math
import pathlib
import sys

import numpy as np
import pytest
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import judge  # noqa: E402
import methods  # noqa: E402
import world  # noqa: E402
from reward import box_heat  # noqa: E402


def looked_at(wrong, flawed, count=64):
    scenes = world.draw_many((5, count, wrong, flawed))
    torch.manual_seed(3)
    images, heat = world.draw_pixels(world.make_renderer("cpu"), scenes, np.arange(count))
    return scenes, judge.inspect(images, torch.from_numpy(scenes["captions"])), heat


def share(values):
    return float(values[~values.isnan()].mean())


def test_perfect_scenes_are_right():
    _, seen, _ = looked_at(0, 0)
    for name in ("colour", "shape", "count", "place", "exact"):
        assert share(seen[name]) > 0.96, name
    assert share(seen["right"]) > 0.9


def test_contradicting_scenes_are_never_exact():
    scenes, seen, _ = looked_at(1, 0)
    assert scenes["alignment"].max() < 1
    assert share(seen["exact"]) == 0


def test_flawed_scenes_are_seldom_clean_and_their_area_is_larger():
    _, seen, _ = looked_at(0, 1)
    _, perfect, _ = looked_at(0, 0)
    assert share(seen["clean"]) < 0.2
    assert share(seen["flaw_area"]) > 3 * share(perfect["flaw_area"])


def test_an_empty_image_is_not_right():
    captions = torch.tensor(world.prompts("choose", 16))
    seen = judge.inspect(torch.full((16, 3, 64, 64), 0.8), captions)
    assert share(seen["right"]) == 0 and share(seen["objects"]) == 0


def test_sets_of_captions_are_apart():
    sets = [set(world.prompts(name, 200)) for name in ("train", "choose", "report")]
    assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]


def test_maps_are_dealt_within_their_groups():
    groups = torch.arange(6).repeat_interleave(8)
    to = methods.deal(groups, torch.Generator().manual_seed(1))
    assert sorted(to.tolist()) == list(range(48))
    assert torch.equal(groups[to], groups)
    assert (to != torch.arange(48)).sum() > 24


@pytest.mark.parametrize("method", ["denseflow", "denseflow_paper", "local", "mask", "shuffled", "boxflow"])
def test_without_heat_every_place_of_an_image_gets_the_same(method):
    rewards, groups = torch.rand(32), torch.arange(2).repeat_interleave(16)
    given = methods.credit(method, rewards, torch.zeros(32, 64, 64), groups, torch.Generator().manual_seed(1))
    whole = given.advantages if given.weight is None else given.advantages[:, None, None] * given.weight
    flat = whole.flatten(1)
    assert torch.allclose(flat, flat[:, :1].expand_as(flat), atol=1e-5)
    assert torch.argsort(flat[:16, 0]).tolist() == torch.argsort(rewards[:16]).tolist()


@pytest.mark.parametrize("method", ["denseflow_paper", "local", "factored", "boxflow"])
def test_hot_places_get_less_than_cold_ones(method):
    rewards, groups = torch.full((16,), 0.5), torch.zeros(16, dtype=torch.long)
    heat = torch.zeros(16, 64, 64)
    heat[:8, :32] = 0.8
    given = methods.credit(method, rewards, heat, groups, torch.Generator().manual_seed(1), rewards)
    assert float(given.advantages[0, 0, 0]) < float(given.advantages[8, 0, 0])


def test_boxes_add_by_label_and_not_within_one():
    class Box:
        def __init__(self, label, importance, box):
            self.label, self.importance, self.box = label, importance, box

    boxes = [Box("artifact", 50, (0, 0, 500, 500)), Box("artifact", 100, (0, 0, 500, 500)), Box("misalignment", 100, (0, 0, 1000, 1000))]
    heat = box_heat(boxes)
    assert math.isclose(heat[0, 0], 1.0) and math.isclose(heat[-1, -1], 0.5)
    assert box_heat([]).sum() == 0


def test_variants_change_heat_as_they_say():
    heat, generator = torch.rand(4, 64, 64), torch.Generator().manual_seed(1)
    assert torch.equal(methods.parse("local").changed(heat, generator), heat)
    coarse = methods.parse("local:coarse=64").changed(heat, generator)
    assert torch.allclose(coarse, heat.mean((1, 2), keepdim=True).expand_as(heat), atol=1e-6)
    noisy = methods.parse("local:noise=1").changed(heat, generator)
    assert noisy.min() >= 0 and noisy.max() <= 1 and not torch.equal(noisy, heat)


def test_a_local_term_fades():
    variant = methods.parse("local:weight=2:fade=10")
    assert [variant.after(n).weight for n in (0, 5, 10, 20)] == [2, 1, 0, 0]
    assert methods.parse("local").after(100).weight == methods.LOCAL


@pytest.mark.parametrize("text", ["scalar:fade=3", "nothing", "scalar:weight=2", "local:coarse=7", "local:coarse=0", "local:width=1", "local:noise"])
def test_what_is_no_variant_is_refused(text):
    with pytest.raises(ValueError):
        methods.parse(text)


def test_distance_grows_with_what_is_wrong():
    def drawn(seed, flawed):
        scenes = world.draw_many((seed, 128, 0, flawed))
        return world.draw_pixels(world.make_renderer("cpu"), scenes, np.arange(128))[0]
    real = drawn(7, 0)
    torch.manual_seed(1)
    same, flawed, noise = (judge.distance(x, real) for x in (drawn(8, 0), drawn(8, 1), torch.rand(128, 3, 64, 64)))
    assert same < flawed < noise
