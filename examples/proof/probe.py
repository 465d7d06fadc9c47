"""Before any training, on the base model's own samples: how the reward agrees with the judge, and how much of each method's gradient is signal.

The second is the cosine between the gradients of two independent halves of a rollout. A
gradient that is all noise has a cosine about 0, whatever its length.

    python probe.py --base RUN/base.pt --server URL --out probe.json
"""

import argparse
import json
import pathlib

import numpy as np
import torch

import flow
import judge
import methods
import world
from reward import Reward

STEPS = (1, 4, 7)  # of the nine stochastic ones
SHOWN = ("scalar", "denseflow", "denseflow_paper", "local", "factored", "mask", "shuffled", "boxflow")


def gradients(net, sampler, path, captions, kept, credits, micro):
    """The gradient of every method by the samples kept (indices), {name: (parameters)}, in float32."""
    params = [p for p in net.parameters() if p.requires_grad]
    sums = {name: [torch.zeros_like(p) for p in params] for name in credits}
    for index in STEPS:
        step = sampler.step(index, captions.device)
        for places in torch.arange(len(kept), device=captions.device).split(micro):
            rows = kept[places]
            x, nxt, old = path.samples[index][rows], path.following[index][rows], path.outputs[index][rows]
            output = flow.velocity(net, x, step.sigma, captions[rows])
            leaf = output.detach().requires_grad_(True)
            for k, (name, given) in enumerate(credits.items()):
                loss = methods.loss(name, step, leaf, x, nxt, old, given.rows(places), clip_range=1.0).loss
                (by_output,) = torch.autograd.grad(loss, leaf)
                grads = torch.autograd.grad(output, params, by_output, retain_graph=k + 1 < len(credits), allow_unused=True)
                for total, g in zip(sums[name], grads):
                    if g is not None:
                        total.add_(g)
    return {name: torch.cat([g.flatten() for g in total]) for name, total in sums.items()}


def rounded(x):
    """None for what is not finite, as where a reward or a gradient is constant."""
    return round(float(x), 4) if np.isfinite(float(x)) else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", required=True)
    parser.add_argument("--server", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--prompts", type=int, default=126, help="half of them in each half")
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--micro", type=int, default=126)
    parser.add_argument("--think", action="store_true", help="boxflow as well")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, sampler = flow.load(args.base, device), flow.Sampler()
    captions = torch.tensor(world.prompts("choose", args.prompts), device=device)
    groups = torch.arange(args.prompts, device=device).repeat_interleave(args.group)
    captions = captions[groups]
    generator = torch.Generator(device).manual_seed(31)
    half = len(captions) // 2
    paths = [sampler.draw(net, part, generator) for part in (captions[:half], captions[half:])]
    images = torch.cat([p.images for p in paths])
    seen = judge.inspect(images, captions)
    scored = {}
    for kind in ("both", "artifact") + (("boxes",) if args.think else ()):
        reward = Reward(args.server, device, maps=kind, think=kind == "boxes")
        scored[kind] = reward.submit(images, captions).result()
        reward.close()
    both = scored["both"]
    plcc = lambda a, b: rounded(np.corrcoef(a[both.ok].cpu(), b[both.ok].cpu())[0, 1])
    log_area = (seen["flaw_area"] + 1e-3).log()
    out = {
        "images": len(captions), "failed": int((~both.ok).sum()), "score_s": round(both.seconds, 2),
        "judge": {k: round(float(v[~v.isnan()].mean()), 4) for k, v in seen.items()},
        "reward": round(float(both.rewards.mean()), 4), "alignment": round(float(both.alignment.mean()), 4),
        "plausibility": round(float(both.plausibility.mean()), 4),
        "plcc": {
            "reward, right": plcc(both.rewards, seen["right"]), "alignment, exact": plcc(both.alignment, seen["exact"]),
            "alignment, objects": plcc(both.alignment, seen["objects"]), "plausibility, clean": plcc(both.plausibility, seen["clean"]),
            "plausibility, log flaw area": plcc(both.plausibility, log_area),
            "artifact heat, log flaw area": plcc(scored["artifact"].heat.flatten(1).mean(1), log_area),
        },
    }
    ok = torch.stack([s.ok for s in scored.values()]).all(0)
    found = []
    for i, path in enumerate(paths):
        first = i * half
        kept = ok[first:first + half].nonzero()[:, 0]
        at = kept + first
        credits = {}
        for name in SHOWN:
            if methods.HEAT[name] in scored:
                s = scored[methods.HEAT[name]]
                credits[name] = methods.credit(name, s.rewards[at], s.heat[at], groups[at] - groups[first], generator, s.alignment[at])
        found.append(gradients(net, sampler, path, captions[first:first + half], kept, credits, args.micro))
    a, b = found
    cosine = lambda u, v: rounded(torch.dot(u, v) / u.norm() / v.norm())
    out["cosine_of_halves"] = {name: cosine(a[name], b[name]) for name in a}
    out["cosine_with_scalar"] = {name: cosine(a[name], a["scalar"]) for name in a}
    out["norm"] = {name: float(f"{a[name].norm():.3g}") for name in a}
    args.out.write_text(json.dumps(out, indent=1) + "\n")
    print(json.dumps(out))


if __name__ == "__main__":
    main()
