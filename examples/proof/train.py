"""Flow-GRPO of the base model, rewards from a DenseReward server: every method with every seed, side by side in one process.

    python train.py --base RUN/base.pt --server http://127.0.0.1:8080 --method scalar,denseflow --seed 1,2,3 --out LOGS --seconds 400

The next rollout is drawn while the server scores the last one, so a rollout is one
update old when it is trained on; its log-probabilities are those of the policy that drew it.
Runs take turns, a rollout each, so that all have as many at any time; one process on
a device besides the server's spares the switching between many.
"""

import argparse
import copy
import itertools
import json
import pathlib
import time

import numpy as np
import torch

import flow
import judge
import methods
import world
from reward import Reward

CHECK_EVERY = 10  # rollouts between looks of the judge
EVALUATED = 256  # captions
PROBED = 24  # samples on which the divergence of an update is measured
EMA = 0.8  # an update
SHOWN = 64  # images that are kept
STRETCH = 8.0  # how far a step is stretched or shortened at most to its divergence


class Log:
    def __init__(self, path, **always):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file, self.always, self.start = open(path, "w"), always, time.time()

    def __call__(self, **line):
        rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in line.items()}
        self.file.write(json.dumps({**self.always, "t": round(time.time() - self.start, 1), **rounded}) + "\n")
        self.file.flush()


class Trainer:
    def __init__(self, base, reward, args, method, seed, target):
        self.net, self.reference, self.reward, self.args = copy.deepcopy(base).requires_grad_(True), base, reward, args
        self.average = copy.deepcopy(base)  # of the policy's last weights, a second model to judge
        self.device = device = next(base.parameters()).device
        self.optimizer = torch.optim.AdamW(self.net.parameters(), args.rate, (0.9, 0.99), weight_decay=0.0)
        self.sampler = flow.Sampler(noise_level=args.noise)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.captions = torch.tensor(world.prompts("train", 512), device=device)
        self.variant = methods.parse(method)
        self.rate, self.target, self.updates = args.rate, target, 0

    def draw(self):
        """A rollout whose images are on their way to the server."""
        start = time.perf_counter()
        chosen = torch.randint(len(self.captions), (self.args.prompts,), device=self.device, generator=self.generator)
        groups = torch.arange(self.args.prompts, device=self.device).repeat_interleave(self.args.group)
        captions = self.captions[chosen][groups]
        path = self.sampler.draw(self.net, captions, self.generator)
        future = self.reward.submit(path.images, captions)
        return path, captions, groups, future, time.perf_counter() - start

    def rollout(self, drawn, upcoming):
        """Trains on a rollout; ``upcoming`` draws the next one first, while this one is scored."""
        path, captions, groups, future, drawing = drawn
        following = upcoming()
        start = time.perf_counter()
        scored = future.result()
        waited = time.perf_counter() - start
        kept = scored.ok.nonzero()[:, 0]
        variant = self.variant.after(self.updates)
        given = methods.credit(variant, scored.rewards[kept], scored.heat[kept], groups[kept], self.generator, scored.alignment[kept])
        start = time.perf_counter()
        figures = self.update(path, captions, kept, given)
        line = {
            "reward": float(scored.rewards[kept].mean()), "alignment": float(scored.alignment[kept].mean()),
            "plausibility": float(scored.plausibility[kept].mean()), "heat": float(scored.heat[kept].mean()),
            "failed": len(captions) - len(kept), "s_draw": drawing, "s_score": scored.seconds, "s_wait": waited,
            "s_update": time.perf_counter() - start, **figures,
        }
        return line, following

    def update(self, path, captions, kept, given):
        """One optimiser step on some of the stochastic steps of the samples kept (indices)."""
        args = self.args
        steps = torch.randperm(len(path.samples), generator=self.generator, device=self.device)[:args.train_steps].tolist()
        parts = kept.split(args.micro)
        sums = {name: torch.zeros((), device=self.device) for name in ("kl", "clip_frac")}
        for index in steps:
            step = self.sampler.step(index, self.device)
            sigma, at = step.sigma, 0
            for rows in parts:
                chosen = torch.arange(at, at + len(rows), device=self.device)
                at += len(rows)
                x, nxt, old = path.samples[index][rows], path.following[index][rows], path.outputs[index][rows]
                with torch.no_grad():
                    reference = flow.velocity(self.reference, x, sigma, captions[rows]) if args.beta else None
                output = flow.velocity(self.net, x, sigma, captions[rows])
                loss = methods.loss(
                    self.variant.method, step, output, x, nxt, old, given.rows(chosen),
                    clip_range=args.clip, kl_beta=args.beta, ref_model_output=reference,
                )
                share = len(rows) / len(kept) / len(steps)
                (loss.loss * share).backward()
                sums["kl"] += loss.kl.detach() * share
                sums["clip_frac"] += loss.clip_frac.detach() * share
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        moved = self.move(path, captions, kept[:PROBED])
        return {**{k: float(v) for k, v in sums.items()}, "grad": float(norm), **moved}

    @torch.no_grad()
    def move(self, path, captions, rows):
        """The optimiser's step, as long as makes the divergence that every method is given; less in the first updates.

        Divergence grows with the square of a short step's length, so one measurement says how far to go.
        """
        self.updates += 1
        target = self.target * min(1.0, self.updates / self.args.warm) ** 2
        here = [p.clone() for p in self.net.parameters()]
        before = self.outputs(path, captions, rows)
        self.optimizer.param_groups[0]["lr"] = self.rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        unscaled = self.divergence(before, self.outputs(path, captions, rows))
        stretch = min(STRETCH, max(1 / STRETCH, (target / max(unscaled, 1e-12)) ** 0.5))
        for p, old in zip(self.net.parameters(), here):
            p.sub_(old).mul_(stretch).add_(old)
        self.rate *= stretch
        torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), 1 - EMA)
        return {"divergence": self.divergence(before, self.outputs(path, captions, rows)), "unscaled": unscaled, "rate": self.rate}

    @torch.no_grad()
    def outputs(self, path, captions, rows):
        """The policy's velocities at every stochastic step of some samples, step after step."""
        steps = len(path.samples)
        sigmas = self.sampler.sigmas(self.device)[:steps].repeat_interleave(len(rows))
        return flow.velocity(self.net, torch.cat([x[rows] for x in path.samples]), sigmas, captions[rows].repeat(steps, 1))

    def divergence(self, before, after):
        """KL of a step's transition a dimension, this update's policy from the last one's: the mean over all stochastic steps, since one step's is up to a thousand times another's."""
        count = self.sampler.steps - 1
        step = self.sampler.step(list(range(count)), self.device)
        moved = (after - before).square().flatten(1).mean(1).view(count, -1).mean(1)
        return float((moved * (step.output_coef / step.noise_std).square() / 2).mean())


def evaluate(net, captions, sampler, repeats):
    """The judge's verdicts on images of every caption from the same noise for all methods, and the images."""
    generator = torch.Generator(captions.device).manual_seed(12345)
    images = torch.cat([sampler.draw(net, captions, generator, keep=False).images for _ in range(repeats)])
    seen = judge.inspect(images, captions.repeat(repeats, 1))
    return {k: v.cpu() for k, v in seen.items()}, images


def stored(images):
    return (images[:SHOWN] * 255).round().byte().cpu()


def drawn_scenes(count, device):
    """Images (count,3,64,64) of scenes without flaws that are as their captions say."""
    scenes = world.draw_many((7, count, 0, 0))
    return world.draw_pixels(world.make_renderer(device), scenes, np.arange(count))[0]


def means(seen, prefix="judge_"):
    return {prefix + k: float(v[~v.isnan()].mean()) for k, v in seen.items()}


class Run:
    """One method with one seed and one divergence: its trainer, its log, its next rollout."""

    def __init__(self, base, reward, args, device, out, method, seed, target):
        self.name = f"{method}-{seed}".replace(":", "_")
        self.log = Log(out / f"{self.name}.jsonl", method=method, seed=seed)
        self.out, self.args, self.rollouts = out, args, 0
        self.trainer = Trainer(base, reward, args, method, seed, target)
        self.captions = torch.tensor(world.prompts(args.evaluate, args.evaluated), device=device)

    def begin(self):
        self.drawn = self.trainer.draw()

    def advance(self):
        last = self.rollouts + 1 == self.args.rollouts
        line, self.drawn = self.trainer.rollout(self.drawn, (lambda: None) if last else self.trainer.draw)
        self.rollouts += 1
        if self.rollouts % self.args.check_every == 0:
            line.update(means(evaluate(self.trainer.net, self.captions, self.trainer.sampler, 1)[0]))
            line.update(means(evaluate(self.trainer.average, self.captions, self.trainer.sampler, 1)[0], "ema_"))
        self.log(rollout=self.rollouts, **line)

    def end(self, beyond):
        """The judge's last look, at four images a caption; ``beyond`` gives a future of what else is measured."""
        if self.drawn is not None:
            self.drawn[3].cancel()
        net, captions, args = self.trainer.net, self.captions, self.args
        seen, images = evaluate(net, captions, self.trainer.sampler, 4)
        ode = judge.inspect(flow.draw_ode(net, captions, torch.Generator(captions.device).manual_seed(5)), captions)
        torch.save({"right": seen["right"], "exact": seen["exact"], "flaw_area": seen["flaw_area"],
                    "images": stored(images), "captions": captions[:SHOWN].cpu()}, self.out / f"{self.name}.pt")
        if args.keep:
            flow.save(net, self.out / f"{self.name}-weights.pt")
        average = evaluate(self.trainer.average, captions, self.trainer.sampler, 4)[0]
        line = {**means(seen), **means(average, "ema_"), **means(ode, "ode_"), "images": self.rollouts * args.prompts * args.group}
        measured = beyond(images[:len(captions)])
        return lambda: self.log(final=True, rollout=self.rollouts, **line, **measured())


def main(argv=None):
    args = parse(argv)
    start = time.time()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base = flow.load(args.base, device).requires_grad_(False)
    chosen = list(itertools.product(args.target.split(","), args.seed.split(","), args.method.split(",")))
    kinds = {methods.HEAT[methods.parse(method).method] for _, _, method in chosen}
    rewards = {kind: Reward(args.server, device, maps=kind, think=kind == "boxes", threads=2 * len(chosen)) for kind in kinds}
    runs = []
    for target, seed, method in chosen:
        out = args.out / target if "," in args.target else args.out
        reward = rewards[methods.HEAT[methods.parse(method).method]]
        runs.append(Run(base, reward, args, device, out, method, int(seed), float(target)))
    scenes = drawn_scenes(args.evaluated, device)

    def beyond(images):
        """What neither the reward nor the judge sees: distance to drawn scenes, and the second evaluator's R."""
        far = judge.distance(images, scenes)
        other = rewards[min(kinds)].second(images, runs[0].captions, args.second) if args.second else None
        return lambda: {"distance": far, **({"second": other.result()} if other else {})}

    seen, images = evaluate(base, runs[0].captions, runs[0].trainer.sampler, 1)
    first = {**means(seen), **beyond(images)()}
    torch.save({"right": seen["right"], "images": stored(images), "captions": runs[0].captions[:SHOWN].cpu()}, runs[0].out / "before.pt")
    for run in runs:
        run.log(rollout=0, **first)
        run.begin()
    rollouts = 0
    while rollouts < args.rollouts and time.time() - start < args.seconds:
        for run in runs:
            run.advance()
        rollouts += 1
    for write in [run.end(beyond) for run in runs]:
        write()
    for reward in rewards.values():
        reward.close()


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", required=True)
    parser.add_argument("--server", required=True, help="address of densereward serve")
    parser.add_argument("--method", default="scalar", help=f"{', '.join(methods.METHODS)}; ablations: local:weight=2:coarse=8:noise=0.5; with commas between")
    parser.add_argument("--seed", default="1", help="with commas between")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--rollouts", type=int, default=100)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--train-steps", type=int, default=4, help="of the stochastic steps, trained on in a rollout")
    parser.add_argument("--micro", type=int, default=192)
    parser.add_argument("--noise", type=float, default=0.7)
    parser.add_argument("--rate", type=float, default=1e-5, help="of the first update")
    parser.add_argument("--target", default="1e-4", help="divergence of an update; with commas between, each has a folder in OUT")
    parser.add_argument("--warm", type=int, default=10)
    parser.add_argument("--clip", type=float, default=5e-4)
    parser.add_argument("--beta", type=float, default=0.5, help="weight of KL to the base model")
    parser.add_argument("--evaluate", choices=["choose", "report"], default="report", help="captions that the judge looks at")
    parser.add_argument("--evaluated", type=int, default=EVALUATED)
    parser.add_argument("--check-every", type=int, default=CHECK_EVERY)
    parser.add_argument("--second", help="another evaluator of the server, which looks at the first and the last images")
    parser.add_argument("--keep", action="store_true", help="save the weights")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
