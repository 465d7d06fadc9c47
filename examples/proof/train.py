"""Flow-GRPO of the base model with one method and one seed, rewards from a DenseReward server.

    python train.py --base RUN/base.pt --server http://127.0.0.1:8080 --method denseflow --seed 1 --out LOGS --seconds 400

The next rollout is drawn while the server scores the last one, so a rollout is one
update old when it is trained on; its log-probabilities are those of the policy that drew it.
"""

import argparse
import copy
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


class Log:
    def __init__(self, path, **always):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file, self.always, self.start = open(path, "w"), always, time.time()

    def __call__(self, **line):
        rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in line.items()}
        self.file.write(json.dumps({**self.always, "t": round(time.time() - self.start, 1), **rounded}) + "\n")
        self.file.flush()


class Trainer:
    def __init__(self, base, reward, args, device):
        self.net, self.reward, self.args, self.device = base, reward, args, device
        self.reference = copy.deepcopy(base).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(base.parameters(), args.rate, (0.9, 0.99), weight_decay=0.0)
        self.sampler = flow.Sampler(noise_level=args.noise)
        self.generator = torch.Generator(device).manual_seed(args.seed)
        self.captions = torch.tensor(world.prompts("train", 512), device=device)
        self.variant = methods.parse(args.method)
        self.rate, self.updates = args.rate, 0

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
        given = methods.credit(self.variant, scored.rewards[kept], scored.heat[kept], groups[kept], self.generator)
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
        sums = dict.fromkeys(("kl", "clip_frac"), 0.0)
        before = self.outputs(path, captions, kept[:PROBED])
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
                sums["kl"] += float(loss.kl) * share
                sums["clip_frac"] += float(loss.clip_frac) * share
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.param_groups[0]["lr"] = self.rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        divergence = self.divergence(before, self.outputs(path, captions, kept[:PROBED]))
        used = self.rate
        self.steer(divergence)
        return {**sums, "grad": float(norm), "divergence": divergence, "rate": used}

    @torch.no_grad()
    def outputs(self, path, captions, rows):
        """The policy's velocities at every stochastic step of some samples."""
        sigmas = self.sampler.sigmas(self.device)
        return [flow.velocity(self.net, x[rows], sigmas[i], captions[rows]) for i, x in enumerate(path.samples)]

    def divergence(self, before, after):
        """KL of a step's transition a dimension, this update's policy from the last one's: the mean over all stochastic steps, since one step's is up to a thousand times another's."""
        total = 0.0
        for index, (old, new) in enumerate(zip(before, after)):
            step = self.sampler.step(index, self.device)
            total += float((new - old).square().mean() * (step.output_coef / step.noise_std).square().mean() / 2)
        return total / len(before)

    def steer(self, divergence):
        """Moves the learning rate towards the divergence that every method is given, slower in the first updates."""
        self.updates += 1
        target = self.args.target * min(1.0, self.updates / self.args.warm) ** 2
        self.rate *= min(1.3, max(0.7, (target / max(divergence, 1e-12)) ** 0.25))


def evaluate(net, captions, sampler, repeats):
    """The judge's verdicts on images of every caption from the same noise for all methods, and the images."""
    generator = torch.Generator(captions.device).manual_seed(12345)
    images = torch.cat([sampler.draw(net, captions, generator, keep=False).images for _ in range(repeats)])
    seen = judge.inspect(images, captions.repeat(repeats, 1))
    return {k: v.cpu() for k, v in seen.items()}, images


def drawn_scenes(count, device):
    """Images (count,3,64,64) of scenes without flaws that are as their captions say."""
    scenes = world.draw_many((7, count, 0, 0))
    return world.draw_pixels(world.make_renderer(device), scenes, np.arange(count))[0]


def means(seen):
    return {"judge_" + k: float(v[~v.isnan()].mean()) for k, v in seen.items()}


def main(argv=None):
    args = parse(argv)
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base = flow.load(args.base, device)
    kind = methods.HEAT[methods.parse(args.method).method]
    reward = Reward(args.server, device, maps=kind, think=kind == "boxes")
    name = f"{args.method}-{args.seed}".replace(":", "_")
    log = Log(args.out / f"{name}.jsonl", method=args.method, seed=args.seed)
    captions = torch.tensor(world.prompts(args.evaluate, args.evaluated), device=device)
    trainer = Trainer(base, reward, args, device)
    start = time.time()
    scenes = drawn_scenes(len(captions), device)

    def beyond(images):
        """What neither the reward nor the judge sees: distance to drawn scenes, and the second evaluator's R."""
        other = {"second": reward.second(images, captions, args.second)} if args.second else {}
        return {"distance": judge.distance(images, scenes), **other}

    seen, images = evaluate(base, captions, trainer.sampler, 1)
    log(rollout=0, **means(seen), **beyond(images))
    drawn, n = trainer.draw(), 0
    while n < args.rollouts and time.time() - start < args.seconds:
        last = n + 1 == args.rollouts
        line, drawn = trainer.rollout(drawn, (lambda: None) if last else trainer.draw)
        n += 1
        if n % args.check_every == 0:
            line.update(means(evaluate(base, captions, trainer.sampler, 1)[0]))
        log(rollout=n, **line)
    if drawn is not None:
        drawn[3].cancel()
    seen, images = evaluate(base, captions, trainer.sampler, 4)
    ode = judge.inspect(flow.draw_ode(base, captions, torch.Generator(device).manual_seed(5)), captions)
    log(final=True, rollout=n, images=n * args.prompts * args.group, **means(seen), **beyond(images[:len(captions)]), **{"ode_" + k[6:]: v for k, v in means(ode).items()})
    torch.save({"right": seen["right"], "exact": seen["exact"], "flaw_area": seen["flaw_area"],
                "images": (images[:32] * 255).byte().cpu(), "captions": captions[:32].cpu()}, args.out / f"{name}.pt")
    if args.keep:
        flow.save(base, args.out / f"{name}-weights.pt")
    reward.close()


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", required=True)
    parser.add_argument("--server", required=True, help="address of densereward serve")
    parser.add_argument("--method", default="scalar", help=f"{', '.join(methods.METHODS)}; ablations: local:weight=2:coarse=8:noise=0.5")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--rollouts", type=int, default=100)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--train-steps", type=int, default=4, help="of the stochastic steps, trained on in a rollout")
    parser.add_argument("--micro", type=int, default=192)
    parser.add_argument("--noise", type=float, default=0.7)
    parser.add_argument("--rate", type=float, default=1e-5, help="of the first update; then it is steered")
    parser.add_argument("--target", type=float, default=2e-5, help="divergence of an update")
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
