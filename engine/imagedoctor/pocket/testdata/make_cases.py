"""Writes what the PyTorch model of examples/training says of held-out scenes: cases.json and the scenes' images.

In float32 on a CPU. A scene on which two tokens come within MARGIN of each other
would be a matter of the processor's rounding and is left out. Needs torch,
tokenizers and Pillow.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[3] / "examples" / "training"))

import checkpoint
import model
from evaluate import read_scores
from generate import generate
from samples import BRANCH_LENGTH, Text
from scenes.heldout import SIDE, render_samples, samples
from scenes.render import Renderer

COUNT = 20  # scenes, in both modes
MARGIN = 0.01  # of logits
COARSE = 16  # cells a side of the maps that are kept
MOST_BYTES = 100_000  # of an image; fine noise makes large files


class Margins:
    """Notes how far the greatest logit is ahead while the model generates."""

    def __init__(self, net):
        self.logits, self.gaps = net.logits, []
        net.logits = self

    def __call__(self, hidden):
        logits = self.logits(hidden)
        first, second = logits.topk(2, -1).values[0].tolist()
        self.gaps.append(first - second)
        return logits


def say(net, text, margins, image, mode, caption):
    """What the model says: a dictionary, and the least margin of its tokens."""
    margins.gaps = []
    ids, states, _ = generate(net, text, mode, image, [caption], BRANCH_LENGTH[mode])
    with torch.no_grad():
        maps = F.adaptive_avg_pool2d(net.heatmaps(image, states).sigmoid(), COARSE)[0]
    asked = text.prefix[mode] + text.tokenizer.encode(text.question(mode, caption)).ids
    said = text.decode(ids[0])
    return {
        "mode": mode, "prompt": caption, "generated_ids": ids[0], "scores": read_scores(said), "text": said,
        "input_ids": [i for i in asked if i != text.config["image_token_id"]],  # without the image's
        "maps": [[round(v, 5) for v in m.flatten().tolist()] for m in maps],
    }, min(margins.gaps)


def both(net, text, margins, pixels, caption):
    """What the model says in both modes, None where a token is near another."""
    small = pixels.resize((model.IMAGE_SIDE,) * 2, Image.BICUBIC)  # as the evaluator does
    with torch.no_grad():
        image = net.visual(model.patchify(torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255))
    answers = []
    for mode in ("answer", "think"):
        answer, gap = say(net, text, margins, image, mode, caption)
        if gap < MARGIN:
            return None
        answers.append(answer)
    return answers


def main():
    torch.set_num_threads(1)
    folder = HERE.parent
    net, text, renderer = checkpoint.load(folder).eval(), Text(folder), Renderer(SIDE)
    margins, cases = Margins(net), []
    for old in HERE.glob("heldout*.png"):
        old.unlink()
    for number, s in enumerate(samples("heldout", 20 * COUNT)):
        images, _ = render_samples(renderer, [s])
        pixels = Image.fromarray((images[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
        file = HERE / f"heldout{number:02d}.png"
        pixels.save(file, optimize=True)
        answers = file.stat().st_size <= MOST_BYTES and both(net, text, margins, pixels, s.caption.text)
        if not answers:
            file.unlink()
            continue
        cases.append({"image": file.name, "truth": s.truth.scores, "answers": answers})
        if len(cases) == COUNT:
            break
    with open(HERE / "cases.json", "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


if __name__ == "__main__":
    main()
