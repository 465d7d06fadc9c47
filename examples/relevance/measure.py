"""Holds the relevance map of a CLIP score against the masks of the objects that a prompt names.

    densereward serve --evaluator '{"name":"clip","kind":"clipscore","source":"OUT","relevance-map":true}'
    python measure.py http://127.0.0.1:8080 [URL...] [--scenes 300] [--sheet SHEET.png]

Scenes are those of `scenes.heldout`, which no training draws. Three questions, each a line of JSON:
one thing: "a red circle" where other things stand beside it, against that thing's mask;
everything: a true caption against the mask of all objects;
fault: a caption with a mistake, its misalignment heat against the map itself.
Needs numpy, torch and the Python client.
"""

import argparse
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))

import numpy as np
import torch
import torch.nn.functional as F

import densereward
from evaluate import correlation, ranks
from scenes.arrays import encode
from scenes.caption import Caption, Mention, _phrase, true_mentions, write_caption
from scenes.heldout import SIDE, samples
from scenes.render import LABEL_SIDE, Noise, Renderer
from scenes.vocabulary import COLOUR_NAMES, SHAPES

SIGMA = 0.25  # of the centre prior, in sides of the image
HOT = 0.3  # heat above this is a fault's place
BATCH = 16


def auc(values, mask):
    """The odds that a cell of the mask has a higher value than one outside; ties count a half."""
    inside = int(mask.sum())
    if inside in (0, mask.size):
        return np.nan
    return float((ranks(values[mask.astype(bool)].tolist() + values[~mask.astype(bool)].tolist())[:inside].sum() - inside * (inside + 1) / 2)
                 / (inside * (mask.size - inside)))


def hit(values, mask):
    """Whether the highest value lies in the mask; of equal ones the share that does."""
    top = values == values.max()
    return float((top & mask.astype(bool)).sum() / top.sum())


def compared(values, mask, others=None):
    """Figures of a map against a mask of the same grid; "among things" looks at cells of objects alone."""
    found = {"AUC": auc(values.ravel(), mask.ravel()), "CC": correlation(values, mask), "hit": hit(values, mask)}
    if others is not None:
        things = (mask + others) > 0
        found["AUC among things"] = auc(values[things], mask[things])
    return found


def centre():
    axis = (np.arange(LABEL_SIDE) + 0.5) / LABEL_SIDE - 0.5
    return np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / (2 * SIGMA ** 2))


class Drawn:
    """A held-out scene with its image, the label of each cell, and the heat of its caption's faults."""

    def __init__(self, renderer, sample):
        slots, regions, frame, count = encode(sample.scene, sample.truth)
        arrays = [torch.from_numpy(a)[None] for a in (slots, regions, frame)]
        images, heat, label = renderer(*arrays, count, Noise(renderer.device, [sample.seed]))
        self.sample = sample
        self.image = (images[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        self.heat = F.interpolate(heat[:, :1], (LABEL_SIDE,) * 2, mode="area")[0, 0].numpy()
        self.shape, self.colour = label[0].numpy()

    def mask(self, pair):
        colour, shape = pair
        return ((self.shape == SHAPES.index(shape) + 1) & (self.colour == COLOUR_NAMES.index(colour) + 1)).astype(float)


def questions(drawn, rng):
    """Prompts with their kinds and what they are compared with."""
    scene, things = drawn.sample.scene, (drawn.shape > 0).astype(float)
    groups = true_mentions(rng, scene)
    if len(groups) > 1:
        for m in groups:
            mask = drawn.mask(m.pair)
            if mask.any():
                yield "one thing", _phrase(rng, Caption([Mention(*m.pair, "", m.count)])), mask, things - mask
    if things.any():
        yield "everything", write_caption(rng, scene, []).text, things, None
    hot = (drawn.heat > HOT).astype(float)
    if hot.any() and not hot.all() and not drawn.sample.truth.everywhere:
        yield "fault", drawn.sample.caption.text, hot, None


def relevance(client, asked):
    """The map of each question on the grid of labels, high where an image agrees with the prompt; and the scores."""
    maps, scores = [], []
    for begin in range(0, len(asked), BATCH):
        part = asked[begin:begin + BATCH]
        result = client.score([d.image for d, *_ in part], [prompt for _, _, prompt, *_ in part], returns=["heatmaps"])
        irrelevance = torch.from_numpy(np.asarray(result.heatmaps["irrelevance"], np.float32))
        big = F.interpolate(irrelevance[:, None], (LABEL_SIDE,) * 2, mode="bilinear", align_corners=False)
        maps += list(1 - big[:, 0].numpy())
        scores += list(result.scores["clipscore"])
    return maps, scores


def summary(figures):
    """Means with 95% intervals by the scatter of questions."""
    found = {}
    for name in figures[0]:
        values = np.array([f[name] for f in figures], float)
        values = values[~np.isnan(values)]
        if values.size:
            found[name] = [round(float(values.mean()), 3), round(1.96 * float(values.std() / len(values) ** 0.5), 3)]
    return found


def sheet(path, asked, maps, columns=6):
    """Images beside their maps, each stretched from its lowest to its highest value."""
    from PIL import Image
    cells = []
    for (d, *_), m in list(zip(asked, maps))[:columns * 6]:
        grey = ((m - m.min()) / (np.ptp(m) + 1e-9) * 255).astype(np.uint8)
        pair = [Image.fromarray(x).resize((144, 144)).convert("RGB") for x in (d.image, grey)]
        cells.append(np.concatenate([np.asarray(p) for p in pair], 1))
    rows = [np.concatenate(cells[r:r + columns], 1) for r in range(0, len(cells) - columns + 1, columns)]
    Image.fromarray(np.concatenate(rows)).save(path)


def told_apart(client, all_drawn, rng):
    """How often an image's true caption scores higher than one with a mistake in a word."""
    right, wrong = [], []
    for d in all_drawn:
        right.append((d, "", write_caption(rng, d.sample.scene, []).text))
        wrong.append((d, "", write_caption(rng, d.sample.scene, [rng.choice(("colour", "shape"))]).text))
    return float((np.array(relevance(client, right)[1]) > np.array(relevance(client, wrong)[1])).mean())


def measure(url, drawn, asked):
    """Prints a server's figures and gives its maps."""
    client, prior = densereward.Client(url), centre()
    maps, _ = relevance(client, asked)
    print(json.dumps({"server": url, "scenes": len(drawn), "true caption above a wrong one": round(told_apart(client, drawn, random.Random("wrong")), 3)}), flush=True)
    for kind in ("one thing", "everything", "fault"):
        rows = [(m, mask, others) for (_, k, _, mask, others), m in zip(asked, maps) if k == kind]
        sign = -1 if kind == "fault" else 1  # what is faulty should agree least
        of = lambda values: summary([compared(values(m), mask, others) for m, mask, others in rows])
        print(json.dumps({"question": kind, "asked": len(rows), "map": of(lambda m: sign * m),
                          "centre": of(lambda m: prior), "uniform": of(np.zeros_like)}), flush=True)
    return maps


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("url", nargs="+", help="servers, of the same scenes")
    a.add_argument("--scenes", type=int, default=300, help="[%(default)s]")
    a.add_argument("--sheet", help="a PNG of some images with their maps by the first server")
    options = a.parse_args()
    rng, renderer = random.Random("relevance"), Renderer(SIDE)
    drawn = [Drawn(renderer, s) for s in samples("heldout", options.scenes)]
    asked = [(d, *q) for d in drawn for q in questions(d, rng)]
    for k, url in enumerate(options.url):
        maps = measure(url, drawn, asked)
        if options.sheet and k == 0:
            one = [(q, m) for q, m in zip(asked, maps) if q[1] == "one thing"]
            sheet(options.sheet, [q for q, _ in one], [m for _, m in one])


if __name__ == "__main__":
    main()
