"""The README's lines beside flow_grpo's own code, which is on no package index: by hand,
from a checkout.

    python real_flow_grpo.py FLOW_GRPO   # the folder with flow_grpo and scripts

Needs torch, diffusers and this client. Its step with log-probabilities, and of its
scripts/train_sd3.py compute_log_prob and the lines of the loss as they stand there, train a
convolution; the README's lines, with a weight of 1, have to give the same loss and gradient.
Last run at github.com/yifan123/flow_grpo ac4c86e8cae021841f1fde853d340e0db67690dd.
"""

import ast
import importlib.util
import pathlib
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

HERE = pathlib.Path(__file__).resolve()
THEIRS = pathlib.Path(sys.argv[1])
N, SIDE, STEP = 4, 8, 3


def their_code():
    """compute_log_prob and the lines that make the loss."""
    path = THEIRS / "flow_grpo/diffusers_patch/sd3_sde_with_logprob.py"
    spec = importlib.util.spec_from_file_location("sd3_sde_with_logprob", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (THEIRS / "scripts/train_sd3.py").read_text()
    function = next(n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == "compute_log_prob")
    names = {"torch": torch, "sde_step_with_logprob": module.sde_step_with_logprob}
    exec(ast.get_source_segment(text, function), names)
    lines = text.split("# grpo logic\n")[1].split('info["approx_kl"]')[0]
    return names["compute_log_prob"], textwrap.dedent(lines.rstrip(" "))


def our_lines():
    text = (HERE.parents[2] / "README.md").read_text()
    return next(b for b in text.split("```python\n") if "dense_flow_grpo_loss(" in b).split("```")[0]


def model(seed):
    torch.manual_seed(seed)
    return torch.nn.Conv2d(16, 16, 1)


def main():
    compute_log_prob, loss_lines = their_code()
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(10)
    config = SimpleNamespace(
        sample=SimpleNamespace(noise_level=0.7), train=SimpleNamespace(cfg=False, adv_clip_max=5, clip_range=1e-4, beta=0.01)
    )
    pipeline = SimpleNamespace(scheduler=scheduler)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(N, 1, 16, SIDE, SIDE, generator=generator)
    sample = {"latents": latents, "timesteps": scheduler.timesteps[STEP].expand(N, 1), "advantages": torch.randn(N, 1, generator=generator)}
    old, now, reference = model(1), model(1), model(2)
    with torch.no_grad():
        now.weight += 5e-3 * torch.randn(now.weight.shape, generator=generator)

    def called(net):
        return lambda hidden_states, **_: (net(hidden_states),)

    def evaluate(net):
        return compute_log_prob(called(net), pipeline, sample, 0, None, None, config)

    with torch.no_grad():
        mean, deviation = evaluate_mean(compute_log_prob, called(old), pipeline, dict(sample, next_latents=latents), config)
        dt = scheduler.sigmas[STEP + 1] - scheduler.sigmas[STEP]
        sample["next_latents"] = (mean + deviation * torch.sqrt(-dt) * torch.randn(mean.shape, generator=generator)).unsqueeze(1)
        sample["log_probs"] = evaluate(old)[1].unsqueeze(1)
    _, log_prob, prev_sample_mean, std_dev_t = evaluate(now)
    with torch.no_grad():
        prev_sample_mean_ref = evaluate(reference)[2]
    names = {"torch": torch, "sample": sample, "config": config, "j": 0, "log_prob": log_prob, "prev_sample_mean": prev_sample_mean,
             "prev_sample_mean_ref": prev_sample_mean_ref, "std_dev_t": std_dev_t}  # fmt: skip
    exec(loss_lines, names)
    names["loss"].backward()
    theirs, gradient = names["loss"].item(), now.weight.grad.clone()
    clipped = int((abs(names["ratio"] - 1) > config.train.clip_range).sum())

    def ours(weight):
        now.weight.grad = None
        velocity = now(latents[:, 0])
        exec(our_lines(), {
            "torch": torch, "result": SimpleNamespace(dense=SimpleNamespace(weight=weight)), "perm": torch.arange(N), "device": "cpu",
            "pipeline": pipeline, "index": torch.full((N,), STEP), "latents": latents[:, 0], "next_latents": sample["next_latents"][:, 0],
            "velocity": velocity, "old_velocity": old(latents[:, 0]).detach(), "ref_velocity": reference(latents[:, 0]).detach(),
            "advantages": sample["advantages"][:, 0],
            "accelerator": SimpleNamespace(backward=lambda loss: (losses.append(loss.item()), loss.backward())),
        })  # fmt: skip
        return now.weight.grad.clone()

    losses = []
    same, half = np.ones((N, SIDE, SIDE), np.float32), np.ones((N, SIDE, SIDE), np.float32)
    half[:, :, : SIDE // 2] = 0
    got, dense = ours(same), ours(half)
    assert abs(losses[0] - theirs) < 2e-5 * abs(theirs), (losses, theirs)
    worst = ((got - gradient).abs().max() / gradient.abs().max()).item()
    assert worst < 2e-5, worst
    assert (dense - gradient).abs().max() > 1e-3 * gradient.abs().max()
    print(f"flow_grpo's loss is {theirs:.8f}, the lines' {losses[0]:.8f}; gradients differ by {worst:.1e} of the largest; {clipped} of {N} ratios were clipped")
    print(f"with half of each image flawed the lines' loss is {losses[1]:.8f}")


def evaluate_mean(compute_log_prob, net, pipeline, sample, config):
    _, _, mean, deviation = compute_log_prob(net, pipeline, sample, 0, None, None, config)
    return mean, deviation


if __name__ == "__main__":
    main()
