"""What the kept images of a run look like before and after, with artifact heat over them, and their R by the second evaluator.

    python gallery.py RUN/logs --program densereward --out DIR --methods scalar,local,shuffled

Prints the second evaluator's R of every run's images as JSON lines and writes
gallery.png: a pair of rows a method (images, and the same under their heat in red), the
base model first, seed 1 each; what the judge finds wrong has a red frame. A CPU does.
"""

import argparse
import json
import pathlib

import numpy as np
import torch

import densereward
import experiment
import world
from reward import Reward

ZOOM = 2


def load(path):
    return torch.load(path, map_location="cpu", weights_only=True)


def framed(images, right):
    """Images (N,64,64,3) with a red frame where not right."""
    images = images.copy()
    for image, good in zip(images, right):
        if not good:
            image[[0, -1], :], image[:, [0, -1]] = (220, 0, 0), (220, 0, 0)
    return images


def overlaid(images, heat):
    """Images (N,64,64,3) in grey under their heat (N,64,64) in red."""
    grey = images.mean(3, keepdims=True).repeat(3, 3) * 0.5 + 96
    hot = np.clip(heat, 0, 1)[..., None]
    return (grey * (1 - hot) + np.array([255, 0, 0]) * hot).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("logs", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--program", default="densereward")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--methods", default="scalar,local,shuffled")
    parser.add_argument("--shown", type=int, default=12, help="images in a row")
    parser.add_argument("--second", type=int, default=32, help="images of each run that the second evaluator scores")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    from PIL import Image
    rows = []
    with densereward.LocalServer("--device", args.device, *experiment.evaluators(), "--log-level", "warn", program=args.program) as server:
        reward = Reward(server.url, torch.device("cpu"), maps="artifact")
        for method in ["before", *args.methods.split(",")]:
            saved = load(args.logs / ("before.pt" if method == "before" else f"{method.replace(':', '_')}-1.pt"))
            images, captions = saved["images"][:args.shown], saved["captions"][:args.shown]
            heat = reward.submit(images / 255, captions).result().heat.numpy()
            pixels = images.permute(0, 2, 3, 1).numpy()
            for row in (framed(pixels, saved["right"][:args.shown].tolist()), overlaid(pixels.astype(np.float32), heat)):
                rows.append(np.concatenate(list(row), 1))
        whole = np.concatenate(rows, 0).repeat(ZOOM, 0).repeat(ZOOM, 1)
        Image.fromarray(whole).quantize(256).save(args.out / "gallery.png", optimize=True)
        print(json.dumps({"captions": [world.text(c) for c in captions.tolist()]}))
        for path in sorted(args.logs.glob("*.pt")) if args.second else []:
            saved = load(path)
            seen = reward.second(saved["images"][:args.second] / 255, saved["captions"][:args.second], "second").result()
            print(json.dumps({"run": path.stem, "second": round(seen, 4), "images": args.second}), flush=True)
        reward.close()


if __name__ == "__main__":
    main()
