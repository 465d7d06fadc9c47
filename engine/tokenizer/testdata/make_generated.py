#!/usr/bin/env python3
"""Makes generated.json.gz: strings of characters from all of Unicode's first two planes, of runs that normal forms treat apart, of marks, and
what tokenizers makes of them with ../qwen/tokenizer.json.gz. transformers must read the same ids from vocab.json and merges.txt.

Made with tokenizers 0.23.3 and transformers 5.24.

    python3 make_generated.py
"""
import gzip
import json
import os
import random
import tempfile
import unicodedata

from tokenizers import Tokenizer
from transformers import AutoTokenizer

here = os.path.dirname(os.path.abspath(__file__))
rng = random.Random(7)
RUNS = [0x3160, 0x3161, 0x1160, 0x1161, 0x11A8, 0x0301, 0x0323, 0x0345, 0xAC00]


def text():
    out = []
    for _ in range(rng.randint(1, 20)):
        kind = rng.random()
        if kind < 0.2:
            out.append(chr(rng.choice(RUNS)) * rng.choice([1, 2, 29, 30, 31, 32, 33, 61, 100]))
        elif kind < 0.5:
            out.append("".join(chr(rng.randint(32, 126)) for _ in range(rng.randint(1, 8))))
        elif kind < 0.8:
            c = rng.randint(0xA0, 0x1FFFF)
            out.append(chr(0x41 if 0xD800 <= c < 0xE000 else c) * rng.choice([1, 1, 2, 35]))
        else:
            out.append(rng.choice([" ", "\n", "  \n", "\t", "<|im_end|>", "<|", "\u00a0", "a" * 200, "\u0130"]))
    return "".join(out)


def marked():
    """Marks of all versions of Unicode, of which the normal form of tokenizers knows those of 9.0, between what composes."""
    marks = [chr(c) for c in range(0x110000) if unicodedata.combining(chr(c))]
    return "".join(rng.choice("aeuoA\u0915\u1100\u1161\U00011935\U00011930") + "".join(rng.choices(marks, k=rng.randint(0, 40))) for _ in range(5))


with gzip.open(os.path.join(here, "../qwen/tokenizer.json.gz")) as f:
    data = f.read()
file = json.loads(data)
whole = Tokenizer.from_str(data.decode())
with tempfile.TemporaryDirectory() as folder:
    with open(folder + "/vocab.json", "w") as f:
        json.dump(file["model"]["vocab"], f)
    with open(folder + "/merges.txt", "w") as f:
        f.write("#version: 0.2\n")
        f.writelines((m if isinstance(m, str) else " ".join(m)) + "\n" for m in file["model"]["merges"])
    added = {str(t.pop("id")): t for t in file["added_tokens"]}
    with open(folder + "/tokenizer_config.json", "w") as f:
        json.dump({"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": added}, f)
    split = AutoTokenizer.from_pretrained(folder)
cases = []
for t in [text() for _ in range(400)] + [marked() for _ in range(200)]:
    ids = whole.encode(t, add_special_tokens=False).ids
    assert ids == split(t, add_special_tokens=False)["input_ids"], t
    cases.append({"text": t, "ids": ids})
with open(os.path.join(here, "generated.json.gz"), "wb") as f:
    f.write(gzip.compress(json.dumps(cases, ensure_ascii=False).encode(), 9, mtime=0))
