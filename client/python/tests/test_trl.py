"""The reward function for TRL, called as its trainers call it."""

import asyncio
import inspect

import numpy as np
import pytest
from fake_evaluator import random_images, rewards
from PIL import Image

import densereward
from densereward.integrations.trl import reward_function

PROMPTS = ["a cat", "a dog", "a fish"]


def called(function, prompts, completions, **columns):
    """What the trainer makes of it: an awaited function, with columns that are lists,
    its own state, and places for metrics."""
    assert inspect.iscoroutinefunction(function)
    logged = {}
    extra = {"trainer_state": object(), "log_extra": lambda *a: None, "log_metric": logged.__setitem__}
    got = asyncio.run(function(prompts=prompts, completions=completions, completion_ids=[[1]] * len(prompts), **columns, **extra))
    assert all(type(r) is float for r in got)
    return got, logged


def conversation(*content, role="user"):
    return [{"role": "system", "content": "Draw."}, {"role": role, "content": list(content)}]


def text(prompt):
    return {"type": "text", "text": prompt}


def test_images_of_a_column(shared_server, images):
    score = reward_function(shared_server.url, images="image", name="doctor")
    assert score.__name__ == "doctor"
    for _ in range(2):  # of two event loops
        got, logged = called(score, PROMPTS, ["said"] * 3, image=[Image.fromarray(i) for i in images])
        np.testing.assert_allclose(got, rewards(images, PROMPTS), rtol=1e-12)
    assert set(logged) == {f"doctor/{s}" for s in ("semantic_alignment", "aesthetics", "plausibility", "overall")}


def test_images_as_completions(shared_server, images):
    got, _ = called(reward_function(shared_server.url), PROMPTS, list(images))
    np.testing.assert_allclose(got, rewards(images, PROMPTS), rtol=1e-12)


def test_conversations(shared_server, images):
    prompts = [conversation(text("ignored"), text(p)) for p in PROMPTS[:2]] + [[{"role": "user", "content": PROMPTS[2]}]]
    completions = [conversation(text("here"), {"type": "image", "image": Image.fromarray(i)}, role="assistant") for i in images]
    got, _ = called(reward_function(shared_server.url), prompts, completions)
    np.testing.assert_allclose(got, rewards(images, PROMPTS), rtol=1e-12)


def test_an_image_by_its_address_in_a_conversation(shared_server):
    import base64

    from test_images import as_file

    given = random_images(1)
    url = "data:image/png;base64," + base64.b64encode(as_file(given[0], "PNG")).decode()
    completion = conversation({"type": "image_url", "image_url": {"url": url}}, role="assistant")
    got, _ = called(reward_function(shared_server.url), ["a"], [completion])
    np.testing.assert_allclose(got, rewards(given, ["a"]), rtol=1e-12)


def test_prompts_and_metadata_of_columns(stub, images):
    from stub import ok

    server = stub(ok)
    score = reward_function(server.url, prompts="caption", metadata=["target"])
    called(score, ["p"] * 3, list(images), caption=PROMPTS, target=["x", "y", "z"])
    fields = server.requests[0][1]
    assert fields["prompts"] == PROMPTS and fields["metadata"] == [{"target": t} for t in "xyz"]


def test_no_failure_becomes_a_number(shared_server, images):
    score = reward_function(shared_server.url)
    with pytest.raises(densereward.SamplesFailedError, match="sample 1"):
        called(score, ["a", "fail: b", "c"], list(images))
    with pytest.raises(ValueError, match="no column 'picture'; it has: image"):
        called(reward_function(shared_server.url, images="picture"), ["a"], ["said"], image=[images[0]])
    with pytest.raises(ValueError, match="a conversation without image"):
        called(score, ["a"], [conversation(text("no image"))])
