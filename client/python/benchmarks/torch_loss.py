"""Time and memory of densereward.torch's losses, forward and backward, beside Flow-GRPO's:

    python3 client/python/benchmarks/torch_loss.py            # on the GPU, or the CPU where there is none

It needs this repository and torch 2, nothing else, and prints one line of JSON: for each
shape the milliseconds and the peak memory of every loss, eager and compiled, with their
ratios to the scalar Flow-GRPO loss in the same mode. "plain" is Flow-GRPO's loss as its
script computes it, a float32 tensor for every step of the formula, for comparison.

Latents are bfloat16, as a trainer has them; the gradient is that of the model output.
``within`` says whether the dense loss takes at most 1.5 times the scalar one's time and
at most one map more memory, compiled.
"""

import argparse
import json
import math
import pathlib
import statistics
import sys
import time
import types

import torch

SOURCE = pathlib.Path(__file__).resolve().parents[1] / "src/densereward"


def library():
    """densereward.torch without the rest of the client and what that needs."""
    package = types.ModuleType("densereward")
    package.__path__ = [str(SOURCE)]
    sys.modules.setdefault("densereward", package)
    from densereward import torch as flow

    return flow


flow = library()
SHAPES = {
    "sd3, 16 images of 512x512": (16, 16, 64, 64),
    "sd3, 16 images of 1024x1024": (16, 16, 128, 128),
    "flux, 8 images of 1024x1024, packed": (8, 4096, 64),
}
SMALL = {"a small batch, for machines without a GPU": (4, 16, 64, 64)}


class Batch:
    def __init__(self, shape, device):
        torch.manual_seed(0)
        self.step = flow.Step(*(v.to(device) for v in flow.sde_step(flow.shifted_sigmas(10, 3.0), [4] * shape[0], 0.7)))
        make = lambda: torch.randn(shape, device=device).bfloat16()  # noqa: E731
        self.sample, self.output, self.reference = make(), make().requires_grad_(), make()
        self.prev = flow.sample_step(self.step, self.output.detach(), self.sample).bfloat16()
        self.old = flow.log_prob_map(self.step, self.output.detach() + 0.01 * self.reference, self.sample, self.prev)
        self.old_image = self.old.flatten(1).mean(1)
        self.advantages = torch.randn(shape[0], device=device)
        self.weight = torch.rand(self.old.shape, device=device)
        self.advantage_map = torch.randn(self.old.shape, device=device)


def plain(b, output):
    """One tensor after the other, as in the script that Flow-GRPO published."""
    at = lambda v: v.float().reshape(-1, *([1] * (output.dim() - 1)))  # noqa: E731
    sample, prev, v = b.sample.float(), b.prev.float(), output.float()
    mean = at(b.step.sample_coef) * sample + at(b.step.output_coef) * v
    std = at(b.step.noise_std)
    log_prob = -((prev.detach() - mean) ** 2) / (2 * std**2) - torch.log(std) - math.log(math.sqrt(2 * math.pi))
    log_prob = log_prob.mean(dim=tuple(range(1, log_prob.dim())))
    ratio = torch.exp(log_prob - b.old_image)
    advantages = torch.clamp(b.advantages, -5, 5)
    return torch.mean(torch.maximum(-advantages * ratio, -advantages * torch.clamp(ratio, 1 - 1e-4, 1 + 1e-4)))


LOSSES = {
    "plain": plain,
    "flow_grpo": lambda b, v: flow.flow_grpo_loss(b.step, v, b.sample, b.prev, b.old_image, b.advantages).loss,
    "dense_flow_grpo": lambda b, v: flow.dense_flow_grpo_loss(b.step, v, b.sample, b.prev, b.old_image, b.advantages, b.weight).loss,
    "dense_flow_grpo, advantage map": lambda b, v: flow.dense_flow_grpo_loss(b.step, v, b.sample, b.prev, b.old_image, b.advantage_map).loss,
    "box_flow_grpo": lambda b, v: flow.box_flow_grpo_loss(b.step, v, b.sample, b.prev, b.old, b.advantage_map).loss,
    "grpo_guard, detached": lambda b, v: flow.grpo_guard_loss(
        b.step, v, b.sample, b.prev, b.advantages, b.weight, old_model_output=b.reference, ratio="detached"
    ).loss,
    "flow_dppo, detached": lambda b, v: flow.flow_dppo_loss(
        b.step, v, b.sample, b.prev, b.advantages, b.weight, old_model_output=b.reference, ratio="detached"
    ).loss,
}


def measure(loss, batch, rounds, device):
    """Median milliseconds of a forward and a backward pass, and the bytes that they hold
    at most beyond the inputs."""
    cuda = device.type == "cuda"

    def once():
        batch.output.grad = None
        loss(batch, batch.output).backward()

    for _ in range(3):
        once()
    batch.output.grad = None
    peak = 0
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        once()
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() - before
    times = []
    for _ in range(rounds):
        if cuda:
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            once()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
        else:
            begun = time.process_time()
            once()
            times.append(1000 * (time.process_time() - begun))
    return {"ms": statistics.median(times), "bytes": peak}


def compare(shape, device, rounds, modes):
    batch = Batch(shape, device)
    map_bytes = 4 * batch.old.numel()
    out = {"shape": shape, "map_bytes": map_bytes}
    for mode in modes:
        results = {}
        for name, loss in LOSSES.items():
            torch._dynamo.reset()
            results[name] = measure(torch.compile(loss, fullgraph=True) if mode == "compiled" else loss, batch, rounds, device)
        scalar = results["flow_grpo"]
        for result in results.values():
            result["times_scalar"] = round(result["ms"] / scalar["ms"], 3)
            result["maps_more"] = round((result["bytes"] - scalar["bytes"]) / map_bytes, 3)
            result["ms"] = round(result["ms"], 4)
        out[mode] = results
    if "compiled" in out:
        dense = [out["compiled"][name] for name in ("dense_flow_grpo", "dense_flow_grpo, advantage map", "box_flow_grpo")]
        out["within"] = all(r["times_scalar"] <= 1.5 and r["maps_more"] <= 1 for r in dense)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--modes", nargs="+", choices=("eager", "compiled"), default=("eager", "compiled"))
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shapes = SHAPES if device.type == "cuda" else SMALL
    report = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU, process time",
        "losses": {name: compare(shape, device, args.rounds, args.modes) for name, shape in shapes.items()},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
