"""Flow matching of the base model on drawn scenes, flaws and contradictions among them, for so many seconds.

    python pretrain.py --out RUN --seconds 400
"""

import argparse
import copy
import json
import math
import multiprocessing
import os
import pathlib
import time

import numpy as np
import torch

import flow
import judge
import world
from muon import Muon

# Peak rates of the matrices (Muon) and of all else (AdamW).
MATRIX_RATE, OTHER_RATE, WARM = 2e-3, 1e-3, 200
EMA = 0.999


def draw_pool(count, seed, device, workers):
    """Pixels (count,3,64,64) in uint8 and captions on the device."""
    captions, flawed, at = [], 0, 0
    jobs = [(seed * 100003 + k, min(1024, count - k * 1024), world.WRONG, world.FLAWED) for k in range(-(-count // 1024))]
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        renderer = world.make_renderer(device)  # after the workers: they know nothing of the device
        pixels = torch.empty(count, 3, world.SIDE, world.SIDE, dtype=torch.uint8, device=device)
        for scenes in pool.imap(world.draw_many, jobs):
            n = len(scenes["used"])
            images, _ = world.draw_pixels(renderer, scenes, np.arange(n))
            pixels[at:at + n] = (images * 255).round().byte()
            captions.append(scenes["captions"])
            flawed += scenes["flawed"].sum()
            at += n
    return pixels, torch.from_numpy(np.concatenate(captions)).to(device), flawed / count


def optimizers(net, compiled):
    matrices = [(name.split(".")[-2], p) for name, p in net.blocks.named_parameters() if p.dim() == 2]
    chosen = {id(p) for _, p in matrices}
    others = [p for p in net.parameters() if id(p) not in chosen]
    return Muon(matrices, 0.01, torch.compile if compiled else lambda f: f), torch.optim.AdamW(others, OTHER_RATE, (0.9, 0.98), weight_decay=0.0)


def train(net, pixels, captions, seconds, batch, compiled, log):
    device = pixels.device
    muon, adam = optimizers(net, compiled)
    ema = copy.deepcopy(net)
    forward = torch.compile(net) if compiled else net
    start, step, average = time.time(), 0, None
    while True:
        share = (time.time() - start) / seconds
        if share >= 1:
            break
        rate = min(1, (step + 1) / WARM) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        rows = torch.randint(len(pixels), (batch,), device=device)
        image = pixels[rows].float() / 127.5 - 1
        sigma = torch.sigmoid(torch.randn(batch, device=device))
        noise = torch.randn_like(image)
        mixed = image + sigma.view(-1, 1, 1, 1) * (noise - image)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            loss = (forward(mixed, sigma, captions[rows]).float() - (noise - image)).square().mean()
        loss.backward()
        muon.step(MATRIX_RATE * rate)
        adam.param_groups[0]["lr"] = OTHER_RATE * rate
        adam.step()
        adam.zero_grad(set_to_none=True)
        with torch.no_grad():
            kept = min(EMA, step / (step + 10))
            torch._foreach_lerp_(list(ema.parameters()), list(net.parameters()), 1 - kept)
        step += 1
        if step % 500 == 0:
            average = float(loss)
            log(phase="pretrain", step=step, loss=round(average, 4), images_per_s=round(step * batch / (time.time() - start)))
    log(phase="pretrain", step=step, loss=float(loss.detach()), seconds=round(time.time() - start, 1))
    return ema


def figures(net, captions, seed, sampler=None):
    """The judge's means on images of each caption."""
    generator = torch.Generator(captions.device).manual_seed(seed)
    images = torch.cat([
        sampler.draw(net, part, generator, keep=False).images if sampler else flow.draw_ode(net, part, generator)
        for part in captions.split(512)
    ])
    seen = judge.inspect(images, captions)
    return {k: round(float(v[~v.isnan()].mean()), 4) for k, v in seen.items()}, images


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--scenes", type=int, default=300_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--width", type=int, default=288)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=max(1, min(14, (os.cpu_count() or 2) - 1)))
    parser.add_argument("--check", type=int, default=512, help="captions that the judge looks at")
    parser.add_argument("--no-compile", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    start = time.time()

    def log(**line):
        line = json.dumps({"t": round(time.time() - start, 1), **line})
        print(line, flush=True)
        with open(args.out / "pretrain.jsonl", "a") as file:
            file.write(line + "\n")

    pixels, captions, flawed = draw_pool(args.scenes, args.seed, device, args.workers)
    net = flow.DiT(args.width, args.depth).to(device)
    log(phase="drawn", scenes=args.scenes, flawed=round(float(flawed), 3), parameters=sum(p.numel() for p in net.parameters()))
    ema = train(net, pixels, captions, args.seconds, args.batch, device.type == "cuda" and not args.no_compile, log)
    flow.save(ema, args.out / "base.pt")
    held = torch.tensor(world.prompts("choose", min(args.check, 256)), device=device).repeat(max(1, args.check // 256), 1)
    for name, sampler in (("ode", None), ("cps", flow.Sampler()), ("cps 0.4", flow.Sampler(noise_level=0.4))):
        log(phase="scored", sampler=name, **figures(ema, held, 7, sampler)[0])


if __name__ == "__main__":
    main()
