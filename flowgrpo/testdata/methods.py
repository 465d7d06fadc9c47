"""Makes methods.json.gz: results of the public code of each method, run in float64.

    python3 flowgrpo/testdata/methods.py --sources DIR

DIR holds clones (bare or not) of the repositories below, each in a folder owner+name.
The functions are taken out of the files at the commits named here and run as they
are; where the code stands inside a training loop, its lines are. Two changes are made:
.float() becomes .double(), and the scheduler's float32 sigmas are widened. Needs
torch, diffusers and numpy.

DenseGRPO (arXiv 2601.20218) published no code. Its gains of step (equation 7) and
their normalisation over each step's group (equation 10) are those of TurningPoint-GRPO
(2602.06422), which defines the same increments of the reward of the ODE-completed
image by itself and publishes its code; that code is run here, its bonus switched off.

Nothing public was found for the normalised weights of TempFlow-GRPO (2508.04324,
equation 8), whose published code multiplies by a constant: the equation is written
down a second time here, by the same hands, and a test holds that it gives the published
constant on SD3's schedule. STAR (2606.17979) published no code either: star.py.
"""

import argparse
import ast
import functools
import gzip
import json
import math
import pathlib
import subprocess
import textwrap
import types
from collections import defaultdict

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import FlowMatchEulerDiscreteScheduler

SOURCES = {
    "guard": ("zhtmike/flow_grpo", "9745241cf1101407e9b518dd4f10498092150522", "scripts/train_sd3_GRPO_Guard.py"),
    "sde": ("zhtmike/flow_grpo", "9745241cf1101407e9b518dd4f10498092150522", "flow_grpo/diffusers_patch/sd3_sde_with_logprob.py"),
    "verl": ("verl-project/verl-omni", "a1139bafffb5b9711f0a6b6edff8ecaa60bfff30", "verl_omni/trainer/diffusion/diffusion_algos.py"),
    "guard_factory": ("X-GenGroup/Flow-Factory", "a0b2bc5a2b4fbf9125429b3fb70c0c5d7631047c", "src/flow_factory/trainers/grpo.py"),
    "dppo": ("Tencent-Hunyuan/UniRL", "1a7b501e8fe8517b432a130220d2ff462f9b5afa", "unirl/algorithms/flowdppo.py"),
    "tempflow": ("Shredded-Pork/TempFlow-GRPO", "e66824eca96d2b41cfd70fd1879650ae1ea5892e", "scripts/train_sd3_pr.py"),
    "turning": ("YunzeTong/TurningPoint-GRPO", "994d26a63b65dbeba3260286317c137453cf3070", "scripts/my_train_sd3_fast_with_op3.py"),
    "turning_tracker": ("YunzeTong/TurningPoint-GRPO", "994d26a63b65dbeba3260286317c137453cf3070", "flow_grpo/stat_tracking.py"),
    "nft": ("NVlabs/DiffusionNFT", "24af5554898d85e93efa492f42b5e9cdf4156e9b", "scripts/train_nft_sd3.py"),
    "awm": (
        "scxue/advantage_weighted_matching",
        "be5137232e33a21b449ed65a533211d0deb97ed8",
        "advantage_weighted_matching/scripts/train_sd3_awm.py",
    ),
    "dpo": ("SalesforceAIResearch/DiffusionDPO", "5233e75919f912f3f631958ee4ebb5b5204382d9", "train.py"),
    "gdpo": ("NVlabs/GDPO", "b080e63d0126870ad08acc8ebc3f04b728175a9e", "trl-GDPO/trl-0.18.0-gdpo/trl/trainer/grpo_trainer.py"),
    "gdpo_factory": (
        "X-GenGroup/Flow-Factory",
        "a0b2bc5a2b4fbf9125429b3fb70c0c5d7631047c",
        "src/flow_factory/advantage/advantage_processor.py",
    ),
    "mixgrpo": ("Tencent-Hunyuan/MixGRPO", "e5cdd6a427778d8c8b2e7a48ce16972141adbe7c", "fastvideo/utils/grpo_states.py"),
}
SHAPE = (4, 3, 4, 5)
BATCH = SHAPE[0]
STEPS, SHIFT, NOISE = 10, 3.0, 0.7


class Sources:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def text(self, name):
        repository, commit, path = SOURCES[name]
        clone = self.folder / repository.replace("/", "+")
        saved = clone.with_name(clone.name + ".files") / commit / path  # single files, where a clone lacks the commit
        if saved.exists():
            return saved.read_text()
        return subprocess.run(["git", "-C", str(clone), "show", f"{commit}:{path}"], check=True, stdout=subprocess.PIPE, text=True).stdout

    def definition(self, name, *path, **names):
        """A function of the file, or of one of its classes, without what the module imports."""
        text = self.text(name)
        node = ast.parse(text)
        for part in path:
            node = next(n for n in node.body if getattr(n, "name", None) == part)
        if isinstance(node, ast.ClassDef):
            return self.run(ast.unparse(node), **names)[path[-1]]
        node.decorator_list = []
        node.returns = None
        for argument in node.args.args + node.args.kwonlyargs:
            argument.annotation = None
        return self.run(ast.unparse(node), **names)[path[-1]]

    def lines(self, name, first, last, /, **names):
        """Runs the lines from the one that holds first to the next that holds last, and
        returns all names they leave."""
        lines = self.text(name).splitlines()
        start = next(i for i, line in enumerate(lines) if first in line)
        end = next(i for i, line in enumerate(lines) if i >= start and last in line)
        return self.run(textwrap.dedent("\n".join(lines[start : end + 1])), **names)

    def run(self, code, /, **names):
        scope = {"torch": torch, "np": np, "F": F, "math": math, "defaultdict": defaultdict, "print": lambda *a: None, **names}
        exec(code.replace(".float()", ".double()").replace("dtype=torch.float32", "dtype=torch.float64"), scope)
        return scope


def config(**values):
    return types.SimpleNamespace(**values)


def listed(value):
    if torch.is_tensor(value):
        return value.detach().double().flatten().tolist()
    if isinstance(value, dict):
        return {k: listed(v) for k, v in value.items()}
    return value


class Randoms:
    def __init__(self, seed):
        self.rng = torch.Generator().manual_seed(seed)

    def __call__(self, *shape):
        return torch.randn(shape or SHAPE, generator=self.rng, dtype=torch.float64)

    def uniform(self, *shape):
        return torch.rand(shape, generator=self.rng, dtype=torch.float64)


def scheduler():
    s = FlowMatchEulerDiscreteScheduler(shift=SHIFT)
    s.set_timesteps(STEPS)
    s.sigmas = s.sigmas.double()
    return s


def sde(sources, schedule, indexes, output, sample, prev=None, rng=None):
    import diffusers.utils.torch_utils

    step = sources.definition("sde", "sde_step_with_logprob", randn_tensor=diffusers.utils.torch_utils.randn_tensor)
    return step(
        schedule,
        model_output=output,
        timestep=schedule.timesteps[indexes],
        sample=sample,
        noise_level=NOISE,
        prev_sample=prev,
        generator=rng,
        return_sqrt_dt=True,
    )


class Kept:
    """A case with what became of it: a loss and its gradient by name."""

    def keep(self, name, loss, **others):
        loss.backward()
        self.case[name] = {"loss": float(loss.detach()), "grad": self.output.grad, **{k: float(v.detach()) for k, v in others.items()}}


class Transition(Kept):
    """One step of each image of a batch, from an old policy to the one that is trained."""

    def __init__(self, sources, schedule, draw, index, moved, clip, threshold, beta):
        self.sources, self.schedule, self.clip, self.threshold, self.beta = sources, schedule, clip, threshold, beta
        self.sample, old_output, reference = draw(), draw(), draw()
        self.output = (old_output + moved * draw()).requires_grad_()
        reference = old_output + moved * reference
        self.advantages = 3 * draw(BATCH)
        weight = draw.uniform(BATCH, *SHAPE[2:])
        self.indexes = [index] * BATCH
        self.prev, self.old_log, self.old_mean, self.std_dev, self.sqrt_dt = sde(
            sources, schedule, self.indexes, old_output, self.sample, rng=draw.rng
        )
        _, _, self.reference_mean, _, _ = sde(sources, schedule, self.indexes, reference, self.sample, self.prev)
        self.case = {
            "shape": SHAPE, "index": index, "noise_level": NOISE, "clip_range": clip, "threshold": threshold, "kl_beta": beta,
            "adv_clip_max": 2.5, "sample": self.sample, "prev_sample": self.prev, "model_output": self.output, "old_model_output": old_output,
            "ref_model_output": reference, "advantages": self.advantages, "weight": weight,
        }  # fmt: skip
        self.settings = config(rationorm=True, train=config(clip_range=clip, adv_clip_max=2.5, beta=beta))
        self.stored = {
            "advantages": self.advantages[:, None], "log_probs": self.old_log[:, None], "prev_sample_mean": self.old_mean[:, None],
        }  # fmt: skip

    def forward(self):
        """Log-probabilities and means of the step, of a graph of their own."""
        self.output.grad = None
        _, log, mean, _, _ = sde(self.sources, self.schedule, self.indexes, self.output, self.sample, self.prev)
        return log, mean

    def guard(self):
        log, mean = self.forward()
        loss = 0
        for i in range(BATCH):
            # One image at a time: mean(dim=tuple(range(1, log_prob.ndim))) is the mean over
            # the batch too in this script, which verl-omni and Flow-Factory do not repeat.
            at = slice(i, i + 1)
            got = self.sources.lines(
                "guard", "advantages = torch.clamp(", "loss = policy_loss + config.train.beta", log_prob=log[at], prev_sample_mean=mean[at],
                prev_sample_mean_ref=self.reference_mean[at], std_dev_t=self.std_dev[at], sqrt_dt=self.sqrt_dt[at],
                sample={k: v[at] for k, v in self.stored.items()}, j=0, config=self.settings,
            )  # fmt: skip
            loss = loss + (got["policy_loss"] + (self.beta * got["kl_loss"] if self.beta > 0 else 0)) / BATCH
        self.keep("guard", loss)

    def guard_verl(self):
        actor = config(diffusion_loss=config(clip_ratio=self.clip, adv_clip_max=2.5, kl_mask_threshold=self.threshold, add_kl_coefficient=True))
        log, mean = self.forward()
        compute = self.sources.definition("verl", "GRPOGuardLoss", "compute_loss")
        loss, _ = compute(
            None, old_log_prob=self.old_log, log_prob=log, advantages=self.advantages, config=actor, old_prev_sample_mean=self.old_mean,
            prev_sample_mean=mean, std_dev_t=self.std_dev, sqrt_dt=self.sqrt_dt[:, 0, 0, 0],
        )  # fmt: skip
        self.keep("guard_verl", loss)

    def guard_factory(self):
        log, mean = self.forward()
        got = self.sources.lines(
            "guard_factory", "scale_factor = torch.sqrt(-output.dt)", "policy_loss = torch.mean(torch.maximum(",
            output=config(dt=-(self.sqrt_dt**2), std_dev_t=self.std_dev, next_latents_mean=mean, log_prob=log), old_log_prob=self.old_log,
            batch={"next_latents_mean": self.old_mean[:, None]}, callback_index_map=[0], timestep_index=0, adv=self.advantages.clamp(-2.5, 2.5),
            self=config(training_args=config(clip_range=(-self.clip, self.clip))),
        )  # fmt: skip
        self.keep("guard_factory", got["policy_loss"])

    def dppo(self, sigma):
        """Losses of the images and their metrics, for a deviation of the step."""
        log, mean = self.forward()
        kl = self.sources.definition("dppo", "_gaussian_kl_div")
        compute = self.sources.definition("dppo", "_flowdppo_kl_adv_loss", _gaussian_kl_div=kl)
        return compute(
            new_logp=log[:, None], old_logp=self.old_log[:, None], new_means=mean[:, None], old_means=self.old_mean[:, None],
            advantages=self.advantages[:, None], sigma_t=sigma, kl_mask_threshold=self.threshold,
        )  # fmt: skip

    def dppos(self):
        loss, metrics = self.dppo((self.std_dev * self.sqrt_dt)[:, None])
        self.keep(
            "dppo", loss.mean(), masked=metrics["masked_fraction"], divergence_mean=metrics["kl_new_old_mean"],
            divergence_max=metrics["kl_new_old_max"], ratio_mean=metrics["ratio_mean"],
        )  # fmt: skip
        loss, _ = self.dppo(torch.ones(1, 1, 1, 1, 1, dtype=torch.float64))
        self.keep("dppo_unscaled", loss.mean())

    def tempflow(self):
        log, _ = self.forward()
        got = self.sources.lines(
            "tempflow", "advantages = torch.clamp(", "policy_loss = torch.mean(", log_prob=log, std_dev_t=(self.std_dev * self.sqrt_dt)[:, 0, 0, 0],
            sample=self.stored, j=0, config=self.settings,
        )  # fmt: skip
        self.keep("tempflow", got["policy_loss"])


def transitions(sources):
    """GRPO-Guard, Flow-DPPO and TempFlow on transitions of one step an image."""
    cases = []
    schedule = scheduler()
    for seed, values in enumerate([(1, 0.3, 2e-2, 3.1e-4, 0.0), (4, 0.05, 1e-5, 1e-4, 0.04), (8, 0.01, 1e-4, 1e-4, 0.01)]):
        one = Transition(sources, schedule, Randoms(100 + seed), *values)
        one.guard()
        one.guard_verl()
        one.guard_factory()
        one.dppos()
        one.tempflow()
        cases.append(listed(one.case))
    return cases


class Noised(Kept):
    """Images that are noised anew, with what a model says of them."""

    def __init__(self, sources, draw, moved, nft_beta, kl_beta, clip):
        self.sources, self.nft_beta, self.kl_beta, self.clip = sources, nft_beta, kl_beta, clip
        self.clean, self.noise, self.old_output = draw(), draw(), draw()
        self.output = (self.old_output + moved * draw()).requires_grad_()
        self.reference = self.old_output + moved * draw()
        self.advantages, self.sigma = 3 * draw(BATCH), 0.05 + 0.9 * draw.uniform(BATCH)
        self.t = self.sigma.reshape(-1, 1, 1, 1)
        self.noised = (1 - self.t) * self.clean + self.t * self.noise
        self.case = {
            "shape": SHAPE, "sigma": self.sigma, "clean": self.clean, "noise": self.noise, "noised": self.noised, "model_output": self.output,
            "old_model_output": self.old_output, "ref_model_output": self.reference, "advantages": self.advantages, "adv_clip_max": 2.5,
            "clip_range": clip, "nft_beta": nft_beta, "kl_beta": kl_beta, "huber_power": 0.25, "dpo_beta": 20.0,
            "weight": draw.uniform(BATCH, *SHAPE[2:]),
        }  # fmt: skip

    def keep(self, name, loss, **others):
        self.output.grad = None
        super().keep(name, loss, **others)

    def nft(self):
        got = self.sources.lines(
            "nft", "advantages_clip = torch.clamp(", "loss += config.train.beta * torch.mean(kl_div_loss)", loss_terms={}, j_idx=0,
            train_sample_batch={"advantages": self.advantages[:, None]}, x0=self.clean, xt=self.noised, t_expanded=self.t,
            forward_prediction=self.output, old_prediction=self.old_output, ref_forward_prediction=self.reference,
            config=config(beta=self.nft_beta, train=config(adv_clip_max=2.5, beta=self.kl_beta)),
        )  # fmt: skip
        self.keep("nft", got["loss"], positive=got["positive_loss"].mean(), negative=got["negative_loss"].mean(), kl=got["kl_div_loss"].mean())

    def awm(self, weighting):
        settings = config(
            train=config(
                cfg=False, ghuber_power=0.25, clip_range=self.clip, adv_clip_max=2.5, advantage_max=None, loss_type="exp_first",
                train_timesteps=1, beta=self.kl_beta, kl_weight="Uniform", ema_beta=0,
            )
        )  # fmt: skip
        compute = self.sources.definition("awm", "compute_log_prob_awm")

        def log_prob(v):
            predict = lambda **_: (v,)  # noqa: E731
            return compute(predict, None, None, self.sigma, None, None, settings, self.noised, self.clean, self.noise, weighting)[0]

        stored = {
            "log_probs": log_prob(self.output)[None], "old_log_probs": log_prob(self.old_output)[None], "advantages": self.advantages[:, None],
            "model_output": self.output[None], "model_output_ref": self.reference[None], "std_dev_t": torch.ones(1, dtype=torch.float64),
        }  # fmt: skip
        got = self.sources.lines(
            "awm", "advantages = torch.clamp(", "kl_loss = kl_loss.mean(dim=0).mean()", sample=stored, config=settings,
            accelerator=config(is_main_process=False),
        )  # fmt: skip
        self.keep("awm_" + weighting, got["policy_loss"] + self.kl_beta * got["kl_loss"], ratio_mean=got["ratio"].mean())

    def dpo(self):
        """The first half is chosen over the second."""
        target = self.noise - self.clean
        policy = self.sources.lines("dpo", "model_losses = (model_pred", "model_diff = model_losses_w", model_pred=self.output, target=target)
        frozen = self.sources.lines("dpo", "ref_losses = (ref_pred", "ref_diff = ref_losses_w", ref_pred=self.reference, target=target)
        got = self.sources.lines(
            "dpo", "scale_term = -0.5", "loss = -1 * F.logsigmoid", model_diff=policy["model_diff"], ref_diff=frozen["ref_diff"],
            args=config(beta_dpo=20.0),
        )  # fmt: skip
        self.keep("dpo", got["loss"], accuracy=got["implicit_acc"], margin=got["inside_term"].mean())

    def dpo_verl(self):
        half = BATCH // 2
        order = [i for pair in zip(range(half), range(half, BATCH)) for i in pair]  # adjacent pairs there
        compute = self.sources.definition("verl", "DPOLoss", "compute_loss", DiffusionActorConfig=types.SimpleNamespace)
        loss, _ = compute(
            None, self.noise[order], self.clean[order], self.output[order], self.reference[order], torch.tensor([1.0, 0.0] * half),
            config(diffusion_loss=config(dpo_beta=20.0)),
        )  # fmt: skip
        self.keep("dpo_verl", loss)


def forwards(sources):
    """DiffusionNFT, AWM and Diffusion-DPO on images that are noised anew."""
    cases = []
    for seed, values in enumerate([(0.3, 1.0, 0.0001, 0.02), (0.05, 0.1, 0.04, 1e-3)]):
        one = Noised(sources, Randoms(200 + seed), *values)
        one.nft()
        for weighting in ("Uniform", "t", "t**2", "huber", "ghuber"):
            one.awm(weighting)
        one.dpo()
        one.dpo_verl()
        cases.append(listed(one.case))
    return cases


def advantages(sources):
    """GDPO of both published forms, and the gains of DenseGRPO and TurningPoint-GRPO."""
    draw = Randoms(300)
    groups, size, kinds = 3, 4, 3
    rewards = draw(groups * size, kinds) * torch.tensor([1.0, 30.0, 0.01], dtype=torch.float64)
    rewards[:size, 1] = 0.5  # a group whose rewards are equal
    weights = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    trl = sources.lines(
        "gdpo", "if self.apply_gdpo and len(self.reward_weights) > 1:", "advantages = (pre_bn_advantages", rewards_per_func=rewards,
        self=config(apply_gdpo=True, reward_weights=weights, num_generations=size), device="cpu",
    )["advantages"]  # fmt: skip

    names = [f"r{k}" for k in range(kinds)]
    index = np.repeat(np.arange(groups), size)
    whole = sources.definition("gdpo_factory", "AdvantageProcessor", "_global_mean_std")
    processor = config(
        collect_group_rewards=lambda samples, r: ({k: v.numpy() for k, v in r.items()}, index),
        reward_weights=dict(zip(names, weights.tolist())),
        group_on_same_rank=False,
        _build_gdpo_log_data=lambda *a: None,
        _to_local=torch.from_numpy,
    )
    processor._global_mean_std = functools.partial(whole, processor)
    factory = sources.definition("gdpo_factory", "AdvantageProcessor", "compute_gdpo")(
        processor, None, {name: rewards[:, k] for k, name in enumerate(names)}, False
    )

    latent = draw(groups * size, 6)  # rewards of the completed latents, T = 5
    completed = [{"sde_steps_count": t, "rewards": {"avg": latent[:, t]}} for t in (3, 1, 2, 5, 4)]
    gains = torch.stack(
        sources.lines(
            "turning", "intermediate_results_sorted = sorted(", "d_list.append(d_t)", intermediate_results=completed, ode_reward=latent[:, 0]
        )["d_list"],
        dim=1,
    )
    Tracker = sources.definition("turning_tracker", "PerPromptStatTracker")
    step = torch.from_numpy(np.stack([Tracker().update(index, gains[:, t].numpy()) for t in range(5)], axis=1))
    sigmas = scheduler().sigmas
    below = torch.where(sigmas[:-1] == 1, sigmas[1], sigmas[:-1])
    noise = NOISE * torch.sqrt(sigmas[:-1] / (1 - below)) * torch.sqrt(sigmas[:-1] - sigmas[1:])
    return listed(
        {
            "groups": torch.from_numpy(index), "rewards": rewards, "weights": weights, "gdpo_trl": trl, "gdpo_factory": factory,
            "latent_rewards": latent, "gains": gains, "step_advantages": step, "noise_weights": noise / noise.mean(),
        }
    )  # fmt: skip


def windows(sources):
    """Where MixGRPO's window is, iteration by iteration."""
    states = sources.run(sources.text("mixgrpo"))["GRPOTrainingStates"]
    cases = []
    for values in [
        {"sample_strategy": "progressive", "iters_per_group": 3, "group_size": 4, "max_timesteps": 14},
        {"sample_strategy": "progressive", "iters_per_group": 2, "group_size": 4, "max_timesteps": 14, "prog_overlap": True, "prog_overlap_step": 1, "roll_back": True},
        {"sample_strategy": "progressive", "iters_per_group": 1, "group_size": 3, "max_timesteps": 10, "roll_back": True, "cur_timestep": 2},
        {"sample_strategy": "decay", "iters_per_group": 8, "group_size": 2, "max_timesteps": 10, "prog_overlap": True},
        {"sample_strategy": "exp_decay", "iters_per_group": 5, "group_size": 4, "max_timesteps": 25, "prog_overlap": True, "roll_back": True},
    ]:  # fmt: skip
        state, places = states(**values), []
        for _ in range(120):
            places.append(state.get_current_timesteps())
            state.update_iteration()
        cases.append({"settings": values, "steps": places})
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sources", required=True)
    sources = Sources(parser.parse_args().sources)
    data = {
        "sources": {name: list(source) for name, source in SOURCES.items()},
        "transitions": transitions(sources),
        "forward": forwards(sources),
        "advantages": advantages(sources),
        "windows": windows(sources),
    }
    out = pathlib.Path(__file__).with_name("methods.json.gz")
    with open(out, "wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as zipped:
        zipped.write(json.dumps(data, default=listed).encode())


if __name__ == "__main__":
    main()
