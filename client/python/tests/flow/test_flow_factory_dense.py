"""The dense loss by Flow-Factory's own trainer, of which these classes do what it was
published to do where the maps pass through it."""

import importlib
import math
import sys
import types
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from vectors import close, pack, read, tensor  # noqa: E402

from densereward import torch as flow  # noqa: E402

CASE = read("cases.json.gz")["losses"][1]
SIGMAS = flow.shifted_sigmas(10, 3.0).double()


class Scheduler:
    """A step by the SDE or CPS that returns what is named."""

    def __init__(self, dynamics_type):
        self.dynamics_type = dynamics_type

    def step(self, noise_pred, timestep, latents, next_latents=None, timestep_next=None, noise_level=None, compute_log_prob=True,
             return_dict=True, return_kwargs=(), dynamics_type=None):  # fmt: skip
        assert not compute_log_prob
        ones = [1] * (latents.dim() - 1)
        sigma, sigma_prev = (timestep / 1000).reshape(-1, *ones), (timestep_next / 1000).reshape(-1, *ones)
        dt = sigma_prev - sigma
        if (dynamics_type or self.dynamics_type) == "CPS":
            std_dev_t = sigma_prev * math.sin(noise_level * math.pi / 2)
            next_latents_mean = (latents - sigma * noise_pred) * (1 - sigma_prev) + (latents + noise_pred * (1 - sigma)) * torch.sqrt(
                sigma_prev**2 - std_dev_t**2
            )
        else:
            std_dev_t = torch.sqrt(sigma / (1 - torch.where(sigma == 1, SIGMAS[1], sigma))) * noise_level
            next_latents_mean = latents * (1 + std_dev_t**2 / (2 * sigma) * dt) + noise_pred * (1 + std_dev_t**2 * (1 - sigma) / (2 * sigma)) * dt
        names = locals()
        return SimpleNamespace(**{k: names[k] for k in return_kwargs})


class GRPOTrainer:
    def __init__(self, adapter):
        self.adapter = adapter

    def compute_advantages(self, samples, rewards, store_to_samples=True, aggregation_func=None):
        advantages = torch.as_tensor(rewards["r"])
        for sample, advantage in zip(samples, advantages):
            sample.extra_kwargs["advantage"] = advantage
        return advantages

    def loss(self, output, old_log_prob, adv, clip):
        """The lines of its optimize that make the loss of a batch."""
        ratio = torch.exp(output.log_prob - old_log_prob)
        return torch.mean(torch.maximum(-adv * ratio, -adv * torch.clamp(ratio, 1.0 - clip, 1.0 + clip)))


@pytest.fixture
def dense(monkeypatch):
    package, trainers, grpo = (types.ModuleType(f"flow_factory{s}") for s in ("", ".trainers", ".trainers.grpo"))
    grpo.GRPOTrainer = GRPOTrainer
    for module in (package, trainers, grpo):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("DENSEREWARD_URL", "http://127.0.0.1:1")
    monkeypatch.delitem(sys.modules, "densereward.integrations.flow_factory_dense", raising=False)
    yield importlib.import_module("densereward.integrations.flow_factory_dense")
    sys.modules.pop("densereward.integrations.flow_factory_dense", None)


@pytest.mark.parametrize("packed", [False, True], ids=["latents", "packed"])
@pytest.mark.parametrize("dynamics", ["Flow-SDE", "CPS"])
def test_its_loss_becomes_the_dense_one(dense, dynamics, packed):
    index = torch.tensor(CASE["step_index"]).clamp(max=8)
    sample, output, prev = (tensor(CASE[k]) for k in ("sample", "model_output", "prev_sample"))
    weight, advantages = 1 - tensor(CASE["heatmap"]), tensor(CASE["advantages"])
    if packed:
        sample, output, prev = pack(sample), pack(output), pack(prev)
    trainer = dense.DenseGRPOTrainer(adapter=SimpleNamespace(scheduler=Scheduler(dynamics)))
    trainer.client.close()
    trainer.client = SimpleNamespace(score=lambda images, prompts, **_: SimpleNamespace(raise_for_errors=lambda: None, dense=SimpleNamespace(weight=weight)))
    arguments = {"timestep": 1000 * SIGMAS[index], "timestep_next": 1000 * SIGMAS[index + 1], "noise_level": 0.7}

    step = trainer.adapter.scheduler.step(output, latents=sample, next_latents=prev, return_kwargs=["log_prob", "dt"], **arguments)
    made = {"Flow-SDE": flow.sde_step, "CPS": flow.cps_step}[dynamics](SIGMAS, index, 0.7)
    wanted = flow.log_prob_map(made, output, sample, prev)
    close(step.log_prob, wanted)

    samples = [SimpleNamespace(image=None, prompt="", extra_kwargs={}, log_probs=torch.stack([m, m])) for m in wanted]
    close(trainer.compute_advantages(samples, {"r": advantages}), advantages)
    adv = torch.stack([s.extra_kwargs["advantage"] for s in samples])
    old = wanted - 0.02 * torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    got = trainer.loss(step, old, adv, 0.01)
    want = flow.box_flow_grpo_loss(made, output, sample, prev, old, advantages, weight, clip_range=0.01)
    close(got, want.loss)


def test_steps_that_are_not_scored_pass_through(dense):
    step = dense.with_log_prob_maps(lambda *a, **k: k, "Flow-SDE")
    assert step(compute_log_prob=False, return_kwargs=["dt"])["return_kwargs"] == ["dt"]
    with pytest.raises(ValueError, match="ODE steps"):
        dense.with_log_prob_maps(lambda *a, **k: SimpleNamespace(), "ODE")()


def test_a_trainer_without_a_server_says_so(dense, monkeypatch):
    monkeypatch.delenv("DENSEREWARD_URL")
    with pytest.raises(ValueError, match="DENSEREWARD_URL"):
        dense.DenseGRPOTrainer(adapter=SimpleNamespace(scheduler=Scheduler("CPS")))
