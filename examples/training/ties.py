"""Tells ties from differences between the answers of two precisions.

    python ties.py CHECKPOINT --answers labelled/heldout.jsonl [--scenes 500]
    python ties.py CHECKPOINT --simulate [--scenes 8]

The first reads the column `text` that `densereward relabel` wrote for the held-out set, on a
card in bfloat16, say; the second lets PyTorch answer in bfloat16 itself. Either is held against
the float32 model here, with greedy decoding in mode answer. Where two answers part, the float32
model says how far apart its logits of the two tokens are at that place: a tie, if bfloat16 cannot tell
them apart, which keeps eight bits of a logit, and otherwise a difference. --ulps is how many
steps of bfloat16 at the larger logit count as none.
"""

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

import checkpoint
import model
from generate import generate
from samples import BRANCH_LENGTH, Text
from scenes.heldout import SIDE, render_samples, samples
from scenes.render import Renderer

MODE = "answer"


def ulp(value):
    """The step between bfloat16 numbers at a value: an eighth bit behind the leading one."""
    return 2.0 ** (math.floor(math.log2(max(abs(value), 2.0 ** -126))) - 7)


def parting(a, b):
    """Where two lists of ids part, None where they are equal."""
    if a == b:
        return None
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def gap(logits, mine, other):
    """How far the other's token lies below mine, in steps of bfloat16 at the larger logit. logits (V) are of float32."""
    top = max(abs(float(logits[mine])), abs(float(logits[other])))
    return float(logits[mine] - logits[other]) / ulp(top)


@torch.no_grad()
def next_logits(net, text, image, caption, answered):
    """The logits (V) of what follows a beginning of an answer. image (1,324,C)."""
    ids = text.prefix[MODE] + text.tokenizer.encode(text.question(MODE, caption)).ids + answered
    rope = net.model.rope(model.text_positions(text.image_start, len(ids)).to(image.device))
    hidden = net.hidden(net.embed(torch.tensor([ids], device=image.device), image, text.image_start), rope)
    return net.logits(hidden[0, -1]).float()


def images_of(batch, device):
    """Pixels (B,3,504,504) in [0,1], as the evaluator sees the images of a held-out set.

    Rendered on the CPU, as the set's files are: a GPU rounds otherwise, and a level of a pixel can turn a score.
    """
    pixels = (render_samples(Renderer(SIDE), batch)[0] * 255).round().to(device)
    return F.interpolate(pixels, (model.IMAGE_SIDE,) * 2, mode="bicubic", antialias=True).round().clamp(0, 255) / 255


def answers(net, text, pixels, captions, precision=torch.float32):
    """Ids of the answers, and the image tokens."""
    with torch.no_grad(), torch.autocast(pixels.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
        image = net.visual(model.patchify(pixels)).float()
        return generate(net, text, MODE, image, captions, BRANCH_LENGTH[MODE])[0], image


def compare(net, text, batch, theirs, device, ulps, part=50):
    """A line for each answer that parts: {scene, at, ours, theirs, ulps, tie}."""
    found = []
    for begin in range(0, len(batch), part):
        some = batch[begin:begin + part]
        captions = [s.caption.text for s in some]
        pixels = images_of(some, device)
        ours, image = answers(net, text, pixels, captions)
        other = theirs(begin, pixels, captions)
        for k, (a, b) in enumerate(zip(ours, other)):
            at = parting(a, b)
            if at is None:
                continue
            x, y = (ids[at] if at < len(ids) else text.end for ids in (a, b))
            apart = gap(next_logits(net, text, image[k:k + 1], captions[k], a[:at]), x, y)
            found.append({"scene": begin + k, "at": at, "ours": text.decode([x]), "theirs": text.decode([y]),
                          "ulps": round(apart, 3), "tie": apart <= ulps})
    return found


def written(path, text):
    """Answers that relabel wrote, as Parquet or lines, as ids, in the order of the set."""
    if path.endswith(".jsonl"):
        with open(path, encoding="utf-8") as f:
            rows = [json.loads(line) for line in f]
    else:
        import pyarrow.parquet as pq
        rows = pq.read_table(path, columns=["id", "text"]).to_pylist()
    # The prompt ends where the answer's own part begins.
    ids = {r["id"]: text.tokenizer.encode((r["text"] or "").split("<answer>", 1)[-1]).ids for r in rows}
    return lambda begin, pixels, captions: [ids[f"heldout-{begin + k:04d}"] for k in range(len(captions))]


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("checkpoint")
    what = a.add_mutually_exclusive_group(required=True)
    what.add_argument("--answers", help="what relabel wrote of the held-out set: Parquet or .jsonl")
    what.add_argument("--simulate", action="store_true", help="let PyTorch answer in bfloat16")
    a.add_argument("--scenes", type=int, default=500)
    a.add_argument("--ulps", type=float, default=1.0)
    a.add_argument("--out", type=Path, help="a line of JSON for each answer that parts")
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = a.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    net, text = checkpoint.load(args.checkpoint).to(args.device).eval(), Text(args.checkpoint)
    batch = samples("heldout", args.scenes)
    simulated = lambda begin, pixels, captions: answers(net, text, pixels, captions, torch.bfloat16)[0]
    found = compare(net, text, batch, simulated if args.simulate else written(args.answers, text), torch.device(args.device), args.ulps)
    lines = [json.dumps(line) for line in found]
    if args.out:
        args.out.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    print("\n".join(lines))
    ties = sum(line["tie"] for line in found)
    print(f"{len(batch)} answers: {len(batch) - len(found)} equal, {ties} part at a tie, {len(found) - ties} differ; "
          f"steps of bfloat16 between the two tokens: {sorted(line['ulps'] for line in found)}")


if __name__ == "__main__":
    main()
