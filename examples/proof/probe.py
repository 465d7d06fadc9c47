"""Before any training, on the base model's own samples: how the reward agrees with the judge, where each method puts credit, and how much of its gradient is signal.

The last is the cosine between the gradients of two independent halves of a rollout. A
gradient that is all noise has a cosine about 0, whatever its length.

    python probe.py --base RUN/base.pt --server URL --out probe.json
    python probe.py --base RUN/base.pt --server URL --out probe.json --prompts 8 --no-gradients --micro 32    # on a CPU
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
from reward import Reward, Scored

STEPS = (1, 4, 7)  # of the nine stochastic ones
SHOWN = ("scalar", "denseflow", "denseflow_paper", "local", "factored", "mask", "shuffled", "boxflow")
HOT = 0.3


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


def joined(parts):
    """What was scored in several requests, as one; seconds are the longest's."""
    *tensors, seconds = zip(*parts)
    return Scored(*map(torch.cat, tensors), max(seconds))


def allocation(given, heat):
    """Of a method's credit: the share of its square that differs within images, and its mean where heat is above HOT."""
    whole = given.advantages.reshape(-1, *([1] * (3 - given.advantages.dim())), *given.advantages.shape[1:])
    whole = (whole if given.weight is None else whole * given.weight).expand_as(heat)
    within = (whole - whole.mean((1, 2), keepdim=True)).square().mean() / whole.square().mean()
    return {"within_images": rounded(within), "hot": rounded(whole[heat > HOT].mean())}


def merged(parts):
    """The Credit of both halves."""
    return methods.Credit(*(None if parts[0][k] is None else torch.cat([p[k] for p in parts]) for k in range(2)))


def rounded(x):
    """None for what is not finite, as where a reward or a gradient is constant."""
    return round(float(x), 4) if np.isfinite(float(x)) else None


def agreement(seen, scored):
    """How the reward agrees with the judge, over the samples that were scored."""
    both = scored["both"]
    plcc = lambda a, b: rounded(np.corrcoef(a[both.ok].cpu(), b[both.ok].cpu())[0, 1])
    log_area = (seen["flaw_area"] + 1e-3).log()
    return {
        "images": len(both.ok), "failed": int((~both.ok).sum()), "score_s": round(both.seconds, 2),
        "judge": {k: round(float(v[~v.isnan()].mean()), 4) for k, v in seen.items()},
        **{name: rounded(getattr(both, name)[both.ok].mean()) for name in ("rewards", "alignment", "plausibility")},
        "plcc": {
            "reward, right": plcc(both.rewards, seen["right"]), "alignment, exact": plcc(both.alignment, seen["exact"]),
            "alignment, objects": plcc(both.alignment, seen["objects"]), "plausibility, clean": plcc(both.plausibility, seen["clean"]),
            "plausibility, log flaw area": plcc(both.plausibility, log_area),
            "artifact heat, log flaw area": plcc(scored["artifact"].heat.flatten(1).mean(1), log_area),
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", required=True)
    parser.add_argument("--server", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--prompts", type=int, default=126, help="half of them in each half")
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--micro", type=int, default=126, help="samples of a request and of a backward pass")
    parser.add_argument("--no-gradients", action="store_true")
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
        parts = [reward.submit(*part) for part in zip(images.split(args.micro), captions.split(args.micro))]
        scored[kind] = joined([p.result() for p in parts])
        reward.close()
    out = agreement(seen, scored)
    ok = torch.stack([s.ok for s in scored.values()]).all(0)
    credits = []
    for first in (0, half):
        at = first + ok[first:first + half].nonzero()[:, 0]
        named = {name: scored[methods.HEAT[name]] for name in SHOWN if methods.HEAT[name] in scored}
        credits.append((at - first, {
            name: methods.credit(name, s.rewards[at], s.heat[at], groups[at] - groups[first], generator, s.alignment[at]) for name, s in named.items()
        }))
    heat = scored["artifact"].heat[ok.nonzero()[:, 0]]
    both_halves = {name: merged([given[name] for _, given in credits]) for name in credits[0][1]}
    out["credit"] = {name: allocation(given, heat) for name, given in both_halves.items()}
    if not args.no_gradients:
        a, b = (
            gradients(net, sampler, path, captions[first:first + half], kept, given, args.micro)
            for first, path, (kept, given) in zip((0, half), paths, credits)
        )
        cosine = lambda u, v: rounded(torch.dot(u, v) / u.norm() / v.norm())
        out["cosine_of_halves"] = {name: cosine(a[name], b[name]) for name in a}
        out["cosine_with_scalar"] = {name: cosine(a[name], a["scalar"]) for name in a}
        out["norm"] = {name: float(f"{a[name].norm():.3g}") for name in a}
    args.out.write_text(json.dumps(out, indent=1) + "\n")
    print(json.dumps(out))


if __name__ == "__main__":
    main()
