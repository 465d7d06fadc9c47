"""Token sequences of scenes. One image and several captions of it make one packed sequence.

A sequence is a prefix (chat wrapper, image tokens, task) that all captions of the
image share, then a branch for each caption: caption, end of the turn, answer.
A branch sees the prefix and itself and has the positions that it would have
alone, so that a packed sequence gives what its branches give one by one, for
little more than the price of one: most tokens belong to the prefix.
"""

import json
import random
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from model import GRID, IMAGE_TOKENS, text_positions
from prompts import ANSWER_PREFIX, IMAGE_PAD, chat
from scenes.arrays import encode
from scenes.caption import contradict, write_captions
from scenes.flaws import KINDS
from scenes.scene import draw_scene
from scenes.truth import beauty, judge, plausibility, write_answer, write_thought

BRANCH_LENGTH = {"answer": 96, "think": 296}
MAX_MENTIONS = 3
MORE_BITES = 0.2  # odds of a bite beside those that scenes have anyway: the flaw that is hardest to see
TWINS = 0.5  # odds that the next image is a flawed one's scene without its flaws: nothing but a flaw tells them apart
APPRAISED = 5  # plausibility, contrast, harmony, balance, clutter
COARSE = 9  # cells a side of the coarse heat that a probe reads
# Weights of the cross-entropy by what a token is.
WEIGHT_FORM, WEIGHT_WORDS = 0.05, 0.5
WEIGHT_SCORE = (2.0, 2.0, 0.3)  # units, tenths, hundredths; the units say whether all is well, the costliest mistake
WEIGHT_BOX = (1.5, 1.0, 0.6, 0.6)  # digits of a coordinate, the first first
WEIGHT_IMPORTANCE = 0.2
TOKEN_CLASSES = re.compile(r'"box_2d":\[(?P<box>[\d,]+)\]|"importance":(?P<importance>\d+)|score: (?P<score>\d\.\d\d)')


class Text:
    """The tokenizer of a checkpoint folder and the ids that training needs."""

    def __init__(self, folder, lengths=None):
        self.lengths = {**BRANCH_LENGTH, **(lengths or {})}
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.config = json.loads((Path(folder) / "config.json").read_text())
        self.misalignment, self.artifact = (self.config[f"{k}_token_id"] for k in ("misalignment", "artifact"))
        self.end = self.tokenizer.token_to_id("<|im_end|>")
        self.digits = [self.tokenizer.token_to_id(str(d)) for d in range(10)]
        self.prefix, self.tail = {}, {}
        for mode in BRANCH_LENGTH:
            head, tail = chat(mode)
            self.prefix[mode] = self.tokenizer.encode(head.replace(IMAGE_PAD, IMAGE_PAD * IMAGE_TOKENS)).ids
            self.tail[mode] = tail + (ANSWER_PREFIX if mode == "answer" else "")
        self.image_start = self.prefix["answer"].index(self.config["image_token_id"])

    def question(self, mode, caption):
        """What follows the prefix up to the answer. The prefix ends in a bracket, with which no caption merges."""
        return caption + self.tail[mode]

    def branch_length(self, mode):
        """The mode's length or a little more: attention kernels like multiples of 8 keys."""
        return self.lengths[mode] + -(self.lengths[mode] + len(self.prefix[mode])) % 8

    def decode(self, ids):
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)


@dataclass
class Layout:
    """How sequences of a mode are packed: prefix tokens, branches, tokens in each."""
    prefix: int
    branches: int
    branch: int
    start: int  # of the image tokens

    @property
    def length(self):
        return self.prefix + self.branches * self.branch

    @property
    def pack(self):
        return self.prefix, self.branches, self.branch

    def positions(self):
        """M-RoPE positions (3, length)."""
        p = text_positions(self.start, self.prefix + self.branch)
        return torch.cat([p[:, :self.prefix]] + [p[:, self.prefix:]] * self.branches, 1)

    def mask(self):
        """Which tokens of the prefix and of a branch (columns) each token of the branch sees, (branch, prefix + branch)."""
        return torch.ones(self.branch, self.prefix + self.branch, dtype=torch.bool).tril(self.prefix)


def layout(text, mode, branches):
    return Layout(len(text.prefix[mode]), branches, text.branch_length(mode), text.image_start)


def build_branch(text, mode, scene, caption, truth):
    """A branch as arrays of the branch's length: ids, and at each token the weight of predicting the next; None if too long."""
    length = text.branch_length(mode)
    answer = (write_thought(scene, truth) if mode == "think" else "") + write_answer(truth) + "<|im_end|>"
    # The answer is encoded by itself, as it is generated: behind a prompt that ends in tokens of its own.
    asked, answered = text.tokenizer.encode(text.question(mode, caption.text)), text.tokenizer.encode(answer)
    ids, begin = asked.ids + answered.ids, len(asked.ids)
    if len(ids) > length:
        return None
    ends = [end for _, end in asked.offsets]
    weight, tenths = _weights(answered.offsets, answer)
    out = {"ids": np.zeros(length, np.int64), "weight": np.zeros(length, np.float32)}
    out["ids"][:len(ids)] = ids
    out["weight"][begin - 1:len(ids) - 1] = weight
    out["heat"] = np.array([ids.index(text.misalignment) - 1, ids.index(text.artifact) - 1])
    out["tenths"] = np.array(tenths) + begin - 1
    mentions = np.full((MAX_MENTIONS, 4), -1, np.int64)  # token, holds, row, column
    for k, (m, (holds, place)) in enumerate(zip(caption.mentions[:MAX_MENTIONS], truth.mentions)):
        at = next(i for i, end in enumerate(ends) if end >= m.end)
        cell = [min(GRID - 1, max(0, int(v * GRID))) for v in place[::-1]] if place else [-1, -1]
        mentions[k] = [at, holds, *cell]
    out["mentions"] = mentions
    at = next(i for i, end in enumerate(ends) if end > len(caption.text))
    flag = lambda v: -1 if v is None else int(v)
    out["claims"] = np.array([at, flag(truth.relation), flag(truth.background)])
    return out


def _weights(offsets, answer):
    """Each token's weight, and which tokens are tenths of scores."""
    thought = answer.find("</think>")
    kind = [WEIGHT_WORDS if i < thought else WEIGHT_FORM for i in range(len(answer))]
    tenths = []
    for m in TOKEN_CLASSES.finditer(answer):
        for i in range(m.start(), m.end()):
            kind[i] = WEIGHT_FORM
        if m.group("score"):
            at = m.start("score")
            kind[at], kind[at + 2], kind[at + 3] = WEIGHT_SCORE
            tenths.append(at + 2)
        elif m.group("importance"):
            for i in range(*m.span("importance")):
                kind[i] = WEIGHT_IMPORTANCE
        else:
            for number in re.finditer(r"\d+,?", m.group("box")):
                for d in range(min(len(number.group()), 4)):
                    kind[m.start("box") + number.start() + d] = WEIGHT_BOX[d]
    starts = {a: i for i, (a, _) in enumerate(offsets)}
    return [kind[a] for a, _ in offsets], [starts[t] for t in tenths]


def _captions(rng, scene, count):
    """count captions of the scene. Two of them contradict each other in one word where they can, and the answers with them."""
    captions = write_captions(rng, scene, count)
    others = [contradict(rng, c, scene) for c in captions]
    able = [k for k, other in enumerate(others) if other]
    if able and count > 1:
        k = next((k for k in able if captions[k].relation != others[k].relation), able[0])
        captions[k - 1] = others[k]
    rng.shuffle(captions)
    return captions


def appraise(scene):
    """What an image's scores are made of, whatever its caption: APPRAISED numbers, -1 for none, and which kinds of flaws it has."""
    numbers = plausibility(scene), *(beauty(scene) or [-1] * 4)
    kinds = {f.kind for f in scene.flaws}
    return np.array([*numbers, *(k in kinds for k in KINDS)], np.float32)


def build(text, mode, scene, captions):
    """An image and its captions as arrays; the first caption's heat is in the slots. None if a text is too long."""
    truths = [judge(scene, c) for c in captions]
    built = [build_branch(text, mode, scene, c, t) for c, t in zip(captions, truths)]
    if any(b is None for b in built):
        return None
    slots, regions, frame, count = encode(scene, truths[0])
    arrays = {k: np.stack([b[k] for b in built]) for k in built[0]}
    arrays["scores"] = np.array([t.scores for t in truths], np.float32)
    return arrays, {"slots": slots, "regions": regions, "frame": frame, "appraisal": appraise(scene), "count": count}


def images(text, mode, branches, rng, count):
    """count images, each with so many captions, as build gives them."""
    made = []
    while len(made) < count:
        scene = draw_scene(rng, flaw="bite" if rng.random() < MORE_BITES else None)
        captions = _captions(rng, scene, branches)
        made.append(build(text, mode, scene, captions))
        if made[-1] and scene.flaws and rng.random() < TWINS:
            made.append(build(text, mode, replace(scene, flaws=[]), captions))
        made = [m for m in made if m]
    return made[:count]


def batch(text, rng, shape):
    """shape maps a mode to (images, captions of each). Gives arrays "mode.name", and slots, regions, frame, appraisal of all images."""
    out, pixels = {}, []
    for mode, (count, branches) in shape.items():
        made = images(text, mode, branches, rng, count)
        out.update({f"{mode}.{k}": np.stack([a[k] for a, _ in made]) for k in made[0][0]} if made else {})
        pixels += [i for _, i in made]
    for k in ("slots", "regions", "frame", "appraisal"):
        out[k] = np.stack([i[k] for i in pixels])
    out["count"] = np.array([i["count"] for i in pixels])
    return out


def stream(text, seed, worker, shape):
    """Batches without end; seed and worker decide them."""
    rng = random.Random(f"train {seed} {worker}")
    while True:
        yield batch(text, rng, shape)
