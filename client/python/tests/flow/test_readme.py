"""The README's lines in place of the inner loop of flow_grpo's train_sd3.py."""

import pathlib
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vectors import close, read, tensor  # noqa: E402

from densereward import torch as flow  # noqa: E402

CASE = read("cases.json.gz")["losses"][0]  # of the clip range and the weight of the KL that the lines have
README = pathlib.Path(__file__).resolve().parents[2] / "README.md"


def run_lines(weight):
    """What the lines leave, for a rollout whose maps are weight, and the gradient."""
    text = README.read_text()
    lines = next(block for block in text.split("```python\n") if "dense_flow_grpo_loss(" in block).split("```")[0]
    assert len([line for line in lines.splitlines() if line]) == 8
    velocity = tensor(CASE["model_output"]).requires_grad_()
    backward = []
    names = {
        "torch": torch, "result": SimpleNamespace(dense=SimpleNamespace(weight=weight)), "perm": torch.tensor([2, 0, 3, 1]), "device": "cpu",
        "pipeline": SimpleNamespace(scheduler=SimpleNamespace(sigmas=flow.shifted_sigmas(10, 3.0))), "index": CASE["step_index"],
        "latents": tensor(CASE["sample"]), "next_latents": tensor(CASE["prev_sample"]), "velocity": velocity,
        "old_velocity": velocity.detach() + 1e-5 * tensor(CASE["ref_model_output"]), "ref_velocity": tensor(CASE["ref_model_output"]),
        "advantages": tensor(CASE["advantages"]), "accelerator": SimpleNamespace(backward=lambda loss: (backward.append(loss), loss.backward())),
    }  # fmt: skip
    exec(lines, names)
    assert len(backward) == 1
    return names, velocity.grad


def test_the_lines_are_the_trainers_loss_where_nothing_is_flawed():
    names, gradient = run_lines(np.ones((4, 5, 6)))
    velocity = tensor(CASE["model_output"]).requires_grad_()
    theirs = flow.flow_grpo_loss(
        names["step"], velocity, names["latents"], names["next_latents"], names["old"], names["advantages"],
        clip_range=CASE["clip_range"], kl_beta=CASE["kl_beta"], ref_model_output=names["ref_velocity"],
    )  # fmt: skip
    theirs.loss.backward()
    close(names["out"].loss, theirs.loss)
    close(gradient, velocity.grad)


def test_a_flawed_half_of_an_image_is_trained_by_its_kl_alone():
    weight = np.ones((4, 5, 6))
    weight[2, :, :3] = 0  # the first of the batch, as perm has it
    flawed, gradient = run_lines(weight)
    whole, before = run_lines(np.ones((4, 5, 6)))
    close(gradient[1:], before[1:])
    close(gradient[0, :, :, 3:], before[0, :, :, 3:])
    assert not torch.allclose(gradient[0, :, :, :3], before[0, :, :, :3])
    assert flawed["out"].loss != whole["out"].loss
