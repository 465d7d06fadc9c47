"""The adapters for Flow-Factory, run by Flow-Factory's own code, which is on no package
index: by hand, from a checkout.

    python real_flow_factory.py FLOW_FACTORY DENSEREWARD   # its folder src, and the program

Needs torch, diffusers, accelerate, peft, einops, requests and this client. Its loader
makes `DenseRewardModel` from a reward's entry; its scheduler, advantage processor and
GRPO trainer's __init__, compute_advantages and optimize train a convolution for a few steps, with
`DenseGRPOTrainer` in place of GRPOTrainer, and every loss is held against
`box_flow_grpo_loss`. Stand-ins are the model and what loads data, prepares modules and logs. Last
run at github.com/X-GenGroup/Flow-Factory a0b2bc5a2b4fbf9125429b3fb70c0c5d7631047c.
"""

import os
import sys
from contextlib import nullcontext
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, sys.argv[1])

import torch
from accelerate import Accelerator
from flow_factory.advantage import AdvantageProcessor
from flow_factory.hparams import GRPOTrainingArguments, RewardArguments
from flow_factory.rewards.loader import load_reward_model
from flow_factory.samples import T2ISample
from flow_factory.scheduler.flow_match_euler_discrete import FlowMatchEulerDiscreteSDEScheduler
from flow_factory.trainers.abc import BaseTrainer

import densereward
from densereward import torch as flow

GROUP, STEPS, SIDE = 4, 4, 8


class Adapter:
    """A convolution for the transformer, its forward as Flow-Factory's models have it."""

    def __init__(self, dynamics):
        torch.manual_seed(1)
        self.transformer = torch.nn.Conv2d(16, 16, 1).double()
        self.trainable_components = [self.transformer]
        self.scheduler = FlowMatchEulerDiscreteSDEScheduler(noise_level=0.7, sde_steps=list(range(STEPS)), dynamics_type=dynamics, shift=3.0)
        self.scheduler.set_timesteps(10)

    def post_init(self):
        pass

    def train(self, mode=True):
        self.scheduler.train(mode)

    def get_trainable_parameters(self):
        return list(self.transformer.parameters())

    def log_trainable_parameters(self):
        pass

    def forward(self, t, t_next, latents, next_latents=None, compute_log_prob=True, noise_level=None, return_kwargs=()):
        return self.scheduler.step(
            self.transformer(latents), t, latents, next_latents=next_latents, timestep_next=t_next, noise_level=noise_level,
            compute_log_prob=compute_log_prob, return_dict=True, return_kwargs=list(return_kwargs),
        )  # fmt: skip


def make_trainer(dense, adapter, accelerator):
    arguments = GRPOTrainingArguments(
        per_device_batch_size=2, group_size=GROUP, num_inner_epochs=1, clip_range=(-3e-4, 3e-4), kl_beta=0.0, learning_rate=1e-3, advantage_aggregation="sum"
    )
    config = SimpleNamespace(
        log_args=SimpleNamespace(verbose=False), model_args=None, training_args=arguments, eval_args=None, reward_args=None, eval_reward_args=None
    )

    def initialize(self):
        self.optimizer = torch.optim.SGD(self.adapter.get_trainable_parameters(), lr=1e-3)
        self.advantage_processor = AdvantageProcessor(self.accelerator, {"r": 1.0}, GROUP, global_std=False, sampler_type="group_contiguous", verbose=False)

    def no_logger(self):
        self.logger = None

    with mock.patch.object(BaseTrainer, "_initialization", initialize), mock.patch.object(BaseTrainer, "_init_logging_backend", no_logger):
        trainer = dense.DenseGRPOTrainer(accelerator=accelerator, config=config, adapter=adapter)
    trainer.autocast = nullcontext  # bfloat16 otherwise
    return trainer


def roll_out(adapter, images, prompt):
    """Samples as its inference makes them: latents and log-probabilities of every step."""
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(GROUP, 16, SIDE, SIDE, generator=generator, dtype=torch.float64)
    timesteps = adapter.scheduler.timesteps.double()
    trajectory, log_probs = [latents], []
    adapter.scheduler.rollout()
    with torch.no_grad():
        for i in range(STEPS):
            torch.manual_seed(10 + i)
            out = adapter.forward(timesteps[i].expand(GROUP), timesteps[i + 1].expand(GROUP), trajectory[-1], noise_level=0.7, return_kwargs=["next_latents", "log_prob"])
            trajectory.append(out.next_latents.double())
            log_probs.append(out.log_prob)
    everything, scored = torch.stack(trajectory, 1), torch.stack(log_probs, 1)
    assert scored.shape == (GROUP, STEPS, SIDE, SIDE), scored.shape
    return [
        T2ISample(timesteps=timesteps, all_latents=everything[i], latent_index_map=torch.arange(STEPS + 1), log_probs=scored[i],
                  log_prob_index_map=torch.arange(STEPS), image=images[i], prompt=prompt)
        for i in range(GROUP)
    ]  # fmt: skip


def check(dense, client, dynamics):
    adapter, accelerator = Adapter(dynamics), Accelerator(cpu=True)
    trainer = make_trainer(dense, adapter, accelerator)
    # Colours rather than noise: the embedded evaluator sees flaws in some places only.
    images = [torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(i)).repeat_interleave(16, 1).repeat_interleave(16, 2) for i in range(GROUP)]
    prompt, rewards = "a red cube", torch.tensor([0.1, 0.9, 0.4, 0.2], dtype=torch.float64)
    samples = roll_out(adapter, images, prompt)
    advantages = trainer.compute_advantages(samples, {"r": rewards})
    weight = torch.as_tensor(client.score([s.image for s in samples], [prompt] * GROUP, output="torch").dense.weight).double()
    assert weight.shape == (GROUP, SIDE, SIDE)
    assert all(torch.allclose(s.extra_kwargs["advantage"].double(), a * w) for s, a, w in zip(samples, advantages, weight))
    with torch.no_grad():  # else every ratio would be 1
        adapter.transformer.weight += 1e-3 * torch.randn(adapter.transformer.weight.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    sigmas, losses = adapter.scheduler.sigmas.double(), []
    make = {"Flow-SDE": flow.sde_step, "CPS": flow.cps_step}[dynamics]
    from flow_factory.utils.base import create_generator

    order = iter(torch.randperm(GROUP, generator=create_generator(trainer.training_args.seed, trainer.epoch, 0)).view(-1, 2).repeat_interleave(STEPS, 0))
    steps = iter(list(range(STEPS)) * (GROUP // 2))

    def backward(loss):
        batch, step = next(order), next(steps)
        latents = torch.stack([samples[i].all_latents[step] for i in batch])
        after = torch.stack([samples[i].all_latents[step + 1] for i in batch])
        old = torch.stack([samples[i].log_probs[step] for i in batch])
        made = make(sigmas, torch.full((2,), step), 0.7)
        ours = flow.box_flow_grpo_loss(made, adapter.transformer(latents), latents, after, old, advantages[batch].double(), weight[batch], clip_range=3e-4)
        losses.append((loss.item(), ours.loss.item()))
        loss.backward(retain_graph=True)
        theirs = adapter.transformer.weight.grad.clone()
        adapter.transformer.weight.grad = None
        ours.loss.backward()
        torch.testing.assert_close(theirs, adapter.transformer.weight.grad, rtol=1e-5, atol=1e-9)

    with mock.patch.object(accelerator, "backward", backward):
        trainer.optimize(samples)
    assert len(losses) == STEPS * GROUP // 2, losses
    worst = max(abs(a - b) / abs(b) for a, b in losses)
    assert worst < 1e-5, losses
    print(f"{dynamics}: {len(losses)} losses and gradients of its optimize are the dense ones, to {worst:.1e} (its schedule is float32)")


def main():
    with densereward.LocalServer("--threads", "1", program=sys.argv[2]) as server, densereward.Client(server.url) as client:
        os.environ["DENSEREWARD_URL"] = server.url
        entry = RewardArguments.from_dict({
            "name": "image_doctor", "reward_model": "densereward.integrations.flow_factory.DenseRewardModel", "device": "cpu",
            "server_url": server.url, "grid": [SIDE, SIDE],
        })  # fmt: skip
        model = load_reward_model(entry, Accelerator(cpu=True))
        images = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(i)) for i in range(2)]
        output = model(prompt=["a", "b"], image=images)
        want = client.score(images, ["a", "b"], grid=(SIDE, SIDE), output="torch")
        torch.testing.assert_close(output.rewards, want.rewards.float())
        torch.testing.assert_close(output.extra_info["dense_weight"], want.dense.weight)
        print("its loader makes DenseRewardModel, which gives", output.rewards.tolist())
        model.client.close()
        from densereward.integrations import flow_factory_dense

        for dynamics in ("Flow-SDE", "CPS"):
            check(flow_factory_dense, client, dynamics)


if __name__ == "__main__":
    main()
