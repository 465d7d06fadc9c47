"""Trains the pocket model's tokenizer: byte-level BPE in Qwen's form with a small vocabulary of the scenes' words.

    python tokenizer.py LIKE OUT [SIZE]

LIKE is a tokenizer.json whose normalizer, pre-tokenizer and special tokens are kept.
"""

import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer, pre_tokenizers, trainers

from prompts import ANSWER_PREFIX, TASKS, chat
from scenes import vocabulary
from scenes.caption import write_captions
from scenes.scene import draw_scene
from scenes.truth import judge, write_answer, write_thought

SCENES = 4000
TASK_WEIGHT = 300  # so that the prompt, which every sample carries, is short


def corpus():
    for _ in range(TASK_WEIGHT):
        for mode in TASKS:
            head, tail = chat(mode)
            yield head.removesuffix("[")
            yield tail + ANSWER_PREFIX
    rng = random.Random("tokenizer")
    words = vocabulary.SHAPES + vocabulary.COLOUR_NAMES + vocabulary.BACKGROUNDS
    words += [vocabulary.plural(s) for s in vocabulary.SHAPES]
    for word in words * 50:
        yield f"{word} {word}"
    for _ in range(SCENES):
        scene = draw_scene(rng, "any")
        for caption in write_captions(rng, scene, 2):
            truth = judge(scene, caption)
            yield caption.text
            yield write_thought(scene, truth) + write_answer(truth)
            yield write_answer(truth)


def train(like, size):
    """The JSON of a tokenizer with size tokens, the special ones last."""
    tokenizer = Tokenizer.from_file(str(like))
    spec = json.loads(Path(like).read_text())
    special = [t["content"] for t in spec["added_tokens"]]
    parts = (part for text in corpus() for part in _without(text, special))
    trainer = trainers.BpeTrainer(vocab_size=size - len(special), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(parts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    spec["model"].update(vocab=model["vocab"], merges=model["merges"])
    for i, token in enumerate(spec["added_tokens"]):
        token["id"] = len(model["vocab"]) + i
    return spec


def _without(text, special):
    for token in special:
        text = text.replace(token, "\0")
    return text.split("\0")


if __name__ == "__main__":
    like, out = sys.argv[1:3]
    spec = train(like, int(sys.argv[3]) if len(sys.argv) > 3 else 2048)
    Path(out).write_text(json.dumps(spec, ensure_ascii=False, separators=(",", ":")))
