"""Stage 3: reinforcement fine-tuning of think mode with GRPO on the twelve rewards of ImageDoctor's published run.

    python rft.py CHECKPOINT --out OUT --seconds 200

For each drawn scene the model samples a group of completions; a densereward server, started
here, says what each earns against the truth, its heatmaps included; those above their group's
mean become likelier, within a clip and near the model that it began with. Only the language
model is trained: the published run has no heatmap loss either, the maps act through their
rewards. Needs the Python client (densereward) and a server's program.

OUT then holds checkpoint/ in the released layout and log.txt.
"""

import argparse
import copy
import json
import math
import multiprocessing
import os
import random
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch

import checkpoint
import model
from generate import generate
from grpo import policy_loss
from rewards import Judge
from samples import Text, layout
from scenes.arrays import encode
from scenes.caption import write_caption
from scenes.heldout import SIDE
from scenes.render import Renderer
from scenes.scene import draw_scene
from scenes.truth import judge
from train import Log, resized, resizing

MODE = "think"


def arguments():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("checkpoint", help="what stages 1 and 2 made")
    a.add_argument("--out", required=True)
    a.add_argument("--seconds", type=float, default=200, help="wall time of training")
    a.add_argument("--steps", type=int, help="stop after so many rollouts at the latest")
    a.add_argument("--scenes", type=int, default=32, help="scenes of a rollout")
    a.add_argument("--group", type=int, default=8, help="completions of a scene")
    a.add_argument("--updates", type=int, default=2, help="passes over a rollout")
    a.add_argument("--part", type=int, default=16, help="scenes whose gradients are computed at once")
    a.add_argument("--tokens", type=int, default=10**6, help="cut completions behind so many; by default what the layout of training holds")
    a.add_argument("--temperature", type=float, default=1.0)
    a.add_argument("--rate", type=float, default=1e-4, help="AdamW's; the published 2e-6 is for 3 billion parameters")
    a.add_argument("--clip", type=float, default=0.2)
    a.add_argument("--beta", type=float, default=0.04, help="weight of the distance to the first model")
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--workers", type=int, default=4, help="processes that draw scenes")
    a.add_argument("--program", help="the densereward binary; by default the client's or the first on the path")
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return a.parse_args()


def draw(seed):
    """A scene's caption, truth and arrays; the seeds of training are not those of held-out scenes."""
    rng = random.Random(f"rft {seed}")
    scene = draw_scene(rng, "seen")
    caption = write_caption(rng, scene)
    truth = judge(scene, caption)
    return caption.text, truth, encode(scene, truth)


class Scenes:
    """Batches of scenes, the next drawn while one is in use."""

    def __init__(self, seed, count, workers):
        self.seed, self.count, self.at = seed, count, 0
        self.pool = multiprocessing.get_context("fork").Pool(workers)
        self._begin()

    def _begin(self):
        self.drawn = self.pool.map_async(draw, [f"{self.seed} {self.at + k}" for k in range(self.count)])
        self.at += self.count

    def next(self):
        captions, truths, arrays = zip(*self.drawn.get())
        self._begin()
        slots, regions, frame = (torch.from_numpy(np.stack([a[k] for a in arrays])) for k in range(3))
        return captions, truths, (slots, regions, frame, max(a[3] for a in arrays))


class Rollout:
    """Sampled completions of a batch of scenes, packed behind each scene's prefix, with what they earned."""

    def __init__(self, net, text, renderer, reward, batch, args):
        self.captions, truths, arrays = batch
        n, g = len(truths), args.group
        asked = [text.tokenizer.encode(text.question(MODE, c)).ids for c in self.captions]
        self.plan = layout(text, MODE, g)
        limit = min(args.tokens, self.plan.branch - max(map(len, asked)))
        with torch.no_grad():
            images, heat, _ = renderer(*arrays)
            images = resized(images, resizing(images.device))
            self.image = net.visual(model.patchify(images))
            each = self.image.repeat_interleave(g, 0)
            many = [c for c in self.captions for _ in range(g)]
            answers, states, came = generate(net, text, MODE, each, many, limit, args.temperature)
            maps = torch.cat([net.heatmaps(i, s).sigmoid() for i, s in zip(each.split(64), states.split(64))])
            maps = (maps * came[..., None, None]).view(n, g, 2, *maps.shape[2:]).cpu().numpy()
        texts = [[text.decode(a) for a in answers[k * g:(k + 1) * g]] for k in range(n)]
        self.earned = reward(truths, heat.cpu().numpy(), texts, maps)
        self.tokens = sum(map(len, answers)) / len(answers)
        ids = torch.zeros(n, g, self.plan.branch, dtype=torch.long)
        self.mask = torch.zeros(n, g, self.plan.branch - 1, dtype=torch.bool)  # which next tokens were sampled
        for k, answer in enumerate(answers):
            i, j, begin = k // g, k % g, len(asked[k // g])
            ids[i, j, :begin + len(answer)] = torch.tensor(asked[i] + answer)
            self.mask[i, j, begin - 1:begin - 1 + len(answer)] = True
        prefix = torch.tensor(text.prefix[MODE]).expand(n, -1)
        device = self.image.device
        self.ids = torch.cat((prefix, ids.flatten(1)), 1).to(device)
        self.mask = self.mask.to(device)
        self.advantages = torch.from_numpy(self.earned.advantages).float().to(device)

    def log_probabilities(self, net, part, temperature):
        """Of the sampled tokens of some scenes, (n,G,branch - 1)."""
        plan, ids = self.plan, self.ids[part]
        device = ids.device
        rope = net.model.rope(plan.positions().to(device))
        hidden = net.hidden(net.embed(ids, self.image[part], plan.start), rope, plan.mask().to(device), plan.pack)
        branches = (len(ids), plan.branches, plan.branch)
        logits = net.logits(hidden[:, plan.prefix:].reshape(*branches, -1)[:, :, :-1]) / temperature
        chosen = ids[:, plan.prefix:].view(branches)[:, :, 1:]
        return logits.log_softmax(-1).gather(-1, chosen[..., None])[..., 0]


def update(net, first, optimiser, rollout, args):
    """Passes over a rollout; gives the last pass's figures."""
    parts = [slice(k, k + args.part) for k in range(0, args.scenes, args.part)]
    with torch.no_grad():
        # Of the policy that sampled, by the same arithmetic as the one that is trained.
        old, reference = ([rollout.log_probabilities(m, p, args.temperature) for p in parts] for m in (net, first))
    for _ in range(args.updates):
        figures = {}
        for p, o, r in zip(parts, old, reference):
            new = rollout.log_probabilities(net, p, args.temperature)
            flat = lambda x: x.flatten(0, 1)
            loss, found = policy_loss(flat(new), flat(o), flat(r), flat(rollout.advantages[p]), flat(rollout.mask[p]),
                                      args.clip, args.beta)
            share = len(new) / args.scenes
            (loss * share).backward()
            for k, v in {"loss": loss.detach(), **found}.items():
                figures[k] = figures.get(k, 0.0) + share * float(v)
        figures["norm"] = float(torch.nn.utils.clip_grad_norm_(net.model.parameters(), 1.0))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return figures


def rate(args, step, fraction):
    """Ten rollouts to the full rate, then a cosine to a tenth of it."""
    return args.rate * min(1.0, (step + 1) / 10) * (0.55 + 0.45 * math.cos(math.pi * min(1.0, fraction)))


def train(args, log):
    scenes = Scenes(args.seed, args.scenes, args.workers)  # forks before anything touches the device
    torch.manual_seed(args.seed)
    net, text = checkpoint.load(args.checkpoint).to(args.device), Text(args.checkpoint)
    net.requires_grad_(False)
    first = copy.deepcopy(net)
    net.model.requires_grad_(True)
    optimiser = torch.optim.AdamW(net.model.parameters(), lr=args.rate, betas=(0.9, 0.98), weight_decay=0.0)
    renderer, reward = Renderer(SIDE, torch.device(args.device)), Judge(args.program)
    start, step = time.time(), 0
    while time.time() - start < args.seconds and step != args.steps:
        begin = time.time()
        rollout = Rollout(net, text, renderer, reward, scenes.next(), args)
        sampled = time.time()
        for group in optimiser.param_groups:
            group["lr"] = rate(args, step, (sampled - start) / args.seconds)
        figures = update(net, first, optimiser, rollout, args)
        earned = rollout.earned
        log(step, f"reward {earned.sums.mean():.4f} within groups {earned.sums.std(1).mean():.4f} tokens {rollout.tokens:.0f}",
            " ".join(f"{k} {v:.4f}" for k, v in figures.items()),
            f"seconds {sampled - begin:.1f} + {time.time() - sampled:.1f}", json.dumps({k: round(v, 3) for k, v in earned.means.items()}))
        step += 1
    reward.close()
    log("trained on", step, "rollouts in", round(time.time() - start, 1), "s")
    checkpoint.save(Path(args.out) / "checkpoint", net, args.checkpoint)


def main():
    args = arguments()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    train(args, Log(out))


if __name__ == "__main__":
    main()
