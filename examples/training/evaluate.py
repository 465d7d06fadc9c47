"""Measures a checkpoint on held-out scenes, in float32 with greedy decoding.

    python evaluate.py CHECKPOINT OUT [--validation 0] [--heldout 1000] [--unseen 250] [--spoiled 200]

validation is for choosing among checkpoints, the others for what is reported of the one chosen.

OUT gets metrics.json, one .jsonl of predictions for each set, and a sheet of images
with their maps.
"""

import argparse
import json
import math
import os
import re
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
import torch.nn.functional as F

import checkpoint
import model
from generate import generate
from samples import BRANCH_LENGTH, Text
from scenes.flaws import KINDS as FLAWS
from scenes.heldout import SIDE, kind_of_mistake, render_samples, samples
from scenes.render import Renderer
from scenes.truth import boxes as true_boxes

SCORES = ("alignment", "aesthetics", "plausibility", "overall")
LABELS = ("Semantic Alignment", "Aesthetic", "Plausibility", "Overall Impression")
MODES = ("answer", "think")
BATCH = 250
FLAGGED = 0.995  # an alignment below this says that something is wrong


def read_scores(text):
    """The four scores, nan where one is missing."""
    text = text.split("<answer>")[-1]
    found = [re.search(label + r" score: ([\d.]+)", text) for label in LABELS]
    def number(text):
        try:
            return min(1.0, float(text))
        except ValueError:  # "1.0." or "0.111.00002" is no score
            return math.nan

    return [number(m.group(1)) if m else math.nan for m in found]


def read_boxes(text):
    """Boxes as ((x0, y0, x1, y1) in thousandths, label)."""
    pattern = r'\{"box_2d":\[(\d+),(\d+),(\d+),(\d+)\],"label":"(\w+)","importance":(\d+)\}'
    return [(tuple(map(int, m[:4])), m[4]) for m in re.findall(pattern, text)]


def correlation(a, b):
    """Pearson's, nan where either is constant."""
    a, b = np.asarray(a, float).ravel(), np.asarray(b, float).ravel()
    if not a.size:
        return math.nan
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm > 1e-12 else math.nan


def ranks(values):
    values = np.asarray(values, float)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def mean(values):
    values = [v for v in values if not math.isnan(v)]
    return round(float(np.mean(values)), 4) if values else None


def score_figures(predicted, truth):
    figures = {}
    for k, name in enumerate(SCORES):
        read = ~np.isnan(predicted[:, k])
        p, t = predicted[read, k], truth[read, k]
        figures[name] = {"n": int(read.sum()), "PLCC": round(correlation(p, t), 4), "SRCC": round(correlation(ranks(p), ranks(t)), 4),
                         "MAE": mean(abs(p - t)), "MAE of the mean": mean(abs(t - t.mean()))}
    return figures


def map_figures(predicted, truth):
    """predicted and truth (N,288,288). CC on maps with heat, squared error on those with and without."""
    hot = truth.amax((1, 2)) > 0.05
    squared = ((predicted - truth) ** 2).mean((1, 2))
    average = truth.mean(0).numpy()
    cc = [correlation(p, t) for p, t in zip(predicted[hot].numpy(), truth[hot].numpy())]
    base = [correlation(average, t) for t in truth[hot].numpy()]
    return {"with heat": int(hot.sum()), "CC": mean([0.0 if math.isnan(c) else c for c in cc]),
            "CC of the mean map": mean(base), "MSE with heat": mean(squared[hot].tolist()),
            "MSE of an empty map": mean((truth[hot] ** 2).mean((1, 2)).tolist()),
            "MSE without heat": mean(squared[~hot].tolist())}


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0, w) * max(0, h)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both + 1e-9)


def box_figures(batch, texts):
    """The best IoU that each true box finds among the named ones, whatever their label."""
    best, labelled, clean = [], [], []
    for s, text in zip(batch, texts):
        named = read_boxes(text)
        truth = true_boxes(s.scene, s.truth)
        if not truth:
            clean.append(not named)
        for box, label, _, _ in truth:
            best.append(max((iou(box, b) for b, _ in named), default=0.0))
            labelled.append(max((iou(box, b) for b, l in named if l == label), default=0.0))
    if not best:
        return {}
    return {"true boxes": len(best), "IoU of the best": mean(best), "with the right label": mean(labelled),
            "above 0.5": mean([float(v > 0.5) for v in best]),
            "none named on clean scenes": mean([float(c) for c in clean])}


def by_flaw(batch, predicted, truth):
    """CC of the artifact map on scenes with one flaw, by kind."""
    found = {k: [] for k in FLAWS}
    for s, p, t in zip(batch, predicted.numpy(), truth.numpy()):
        if len(s.scene.flaws) == 1:
            cc = correlation(p, t)
            found[s.scene.flaws[0].kind].append(0.0 if math.isnan(cc) else cc)
    return {k: {"n": len(v), "CC": mean(v)} for k, v in found.items() if v}


def by_mistake(batch, scores, predicted, truth):
    """On scenes whose caption has one kind of mistake: how many are flagged, and CC of the misalignment map."""
    found = {}
    for s, score, p, t in zip(batch, scores[:, 0], predicted.numpy(), truth.numpy()):
        kind = kind_of_mistake(s)
        if kind:
            cc = correlation(p, t) if t.max() > 0.05 else math.nan
            if t.max() > 0.05 and math.isnan(cc):
                cc = 0.0
            found.setdefault(kind, []).append((float(score < FLAGGED), abs(score - s.truth.scores[0]), cc))
    return {k: {"n": len(v), "flagged": mean([x[0] for x in v]), "MAE": mean([x[1] for x in v]),
                "CC": mean([x[2] for x in v])} for k, v in sorted(found.items())}


def spoiled_figures(batch, scores, predicted):
    """Of spoiled images: how many have a plausibility below 0.3, and the mean heat of their artifact maps, by kind."""
    kinds = {"all": range(len(batch))}
    for i, s in enumerate(batch):
        kinds.setdefault(s.scene.corruption.kind, []).append(i)
    heat = predicted.mean((1, 2)).numpy()
    return {k: {"n": len(v), "plausibility below 0.3": mean([float(scores[i, 2] < 0.3) for i in v]),
                "plausibility": mean([scores[i, 2] for i in v]), "heat": mean([float(heat[i]) for i in v])}
            for k, v in kinds.items()}


class Predictions:
    """What a checkpoint says about a list of samples: for each mode texts, scores and maps."""

    def __init__(self, net, text, batch, device, modes=MODES):
        self.texts, self.scores, maps = {m: [] for m in modes}, {}, {m: [] for m in modes}
        renderer, truth = Renderer(SIDE, device), []
        self.images = []
        for begin in range(0, len(batch), BATCH):
            part = batch[begin:begin + BATCH]
            images, heat = render_samples(renderer, part)
            truth.append(heat.cpu())
            pixels = (images * 255).round()
            self.images.append(pixels[:24 if begin == 0 else 0].byte().cpu())
            small = F.interpolate(pixels, (model.IMAGE_SIDE,) * 2, mode="bicubic", antialias=True).round().clamp(0, 255)
            with torch.no_grad():
                image = net.visual(model.patchify(small / 255))
            for mode in modes:
                ids, states, came = generate(net, text, mode, image, [s.caption.text for s in part], BRANCH_LENGTH[mode])
                with torch.no_grad():
                    drawn = net.heatmaps(image, states).sigmoid() * came[..., None, None]
                maps[mode].append(drawn.cpu())
                self.texts[mode] += [text.decode(i) for i in ids]
        self.truth = torch.cat(truth)
        self.maps = {m: torch.cat(v) for m, v in maps.items()}
        for m in modes:
            self.scores[m] = np.array([read_scores(t) for t in self.texts[m]])


def figures(name, batch, found):
    """Every figure of a set."""
    truth = np.array([s.truth.scores for s in batch])
    result = {}
    for mode, scores in found.scores.items():
        maps = found.maps[mode]
        one = {"well formed": mean([float(t.endswith("<|im_end|>")) for t in found.texts[mode]])}
        if name == "spoiled":
            one.update(spoiled_figures(batch, scores, maps[:, 1]))
        else:
            one.update(score_figures(scores, truth))
            one["misalignment"] = map_figures(maps[:, 0], found.truth[:, 0])
            one["artifact"] = map_figures(maps[:, 1], found.truth[:, 1])
            one["by flaw"] = by_flaw(batch, maps[:, 1], found.truth[:, 1])
            one["by mistake"] = by_mistake(batch, scores, maps[:, 0], found.truth[:, 0])
        if mode == "think":
            one["boxes"] = box_figures(batch, found.texts[mode])
        result[mode] = one
    return result


def write_predictions(path, name, batch, found):
    with open(path, "w", encoding="utf-8") as f:
        for i, s in enumerate(batch):
            row = {"id": f"{name}-{i:04d}", "prompt": s.caption.text, "truth": dict(zip(SCORES, s.truth.scores))}
            for mode, texts in found.texts.items():
                row[mode] = {"text": texts[i], "scores": dict(zip(SCORES, found.scores[mode][i].tolist()))}
            f.write(json.dumps(row) + "\n")


def write_sheet(path, found, columns=4):
    """Images, each with its predicted maps and the true ones beside it."""
    from PIL import Image
    cells = []
    for i, image in enumerate(found.images[0]):
        shown = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((144, 144))
        maps = [(m * 255).byte().numpy() for m in (*found.maps["answer"][i], *found.truth[i])]
        small = [np.asarray(Image.fromarray(m).resize((72, 72))) for m in maps]
        grid = np.concatenate([np.concatenate((small[0], small[2]), 1), np.concatenate((small[1], small[3]), 1)])
        cells.append(np.concatenate((np.asarray(shown), np.repeat(grid[:, :, None], 3, 2)), 1))
    sheet = [np.concatenate(cells[r:r + columns], 1) for r in range(0, len(cells) - columns + 1, columns)]
    if sheet:
        Image.fromarray(np.concatenate(sheet)).save(path)


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("checkpoint")
    a.add_argument("out")
    a.add_argument("--validation", type=int, default=0)
    a.add_argument("--heldout", type=int, default=1000)
    a.add_argument("--unseen", type=int, default=250)
    a.add_argument("--spoiled", type=int, default=200)
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = a.parse_args()
    torch.backends.cudnn.allow_tf32 = False
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    net, text = checkpoint.load(args.checkpoint).to(args.device).eval(), Text(args.checkpoint)
    everything = {}
    for name in ("validation", "heldout", "unseen", "spoiled"):
        start = time.time()
        batch = samples(name, getattr(args, name))
        if not batch:
            continue
        found = Predictions(net, text, batch, torch.device(args.device))
        everything[name] = figures(name, batch, found)
        write_predictions(out / f"{name}.jsonl", name, batch, found)
        (out / "metrics.json").write_text(json.dumps(everything, indent=1))
        write_sheet(out / f"{name}.png", found)
        print(name, len(batch), "scenes in", round(time.time() - start, 1), "s", json.dumps(everything[name]), flush=True)


if __name__ == "__main__":
    main()
