#!/usr/bin/env python3
"""Makes tokenizer.json and cases.json.gz: a small CLIP tokenizer and what transformers makes of 2,000 strings.

Needs transformers 5 and tokenizers. The tokenizer is trained on words that the script makes up, so that its merges are real ones.

    python3 make.py
"""
import gzip
import json
import os
import random

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.normalizers import NFC, Lowercase, Replace, Sequence
from tokenizers import Regex
from transformers import CLIPTokenizer

here = os.path.dirname(os.path.abspath(__file__))
rng = random.Random(20260101)

WORDS = """a an the red green blue yellow photo of painting cat dog horse astronaut riding on in under above next to two three seven
circle square triangle castle forest river mountain city night day light shadow text that says hello world naive café größe straße
it's don't we're they've i'm you'll she'd artstation trending 4k 8k highly detailed digital art octane render studio lighting
東京 北京 猫 犬 привет мир שלום مرحبا γεια σου नमस्ते 안녕하세요 İstanbul ΣΊΣΥΦΟΣ emoji 😀 🚀 👩‍🚀 ﬁne ½ ² Ⅷ""".split()
PIECES = ["  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u0085", "!", "!!", "...", "'", "''", "'S", "'ll", "\"", "<|", "|>", "<|startoftext|>", "<|endoftext|>",
          "<|EndOfText|>", "e\u0301", "\u0301", "A\u030a", "ㅠㅠㅠ", "\u200b", "\u200d", "0", "12", "3.14", "-", "_", "#", "@", "\x00", "\x7f", "ß", "ẞ", "ǅ", "ŉ", "\ufffd", "𝔘", "𐐀"]


def text():
    parts = []
    for _ in range(rng.randint(0, 14)):
        kind = rng.random()
        if kind < 0.6:
            word = rng.choice(WORDS)
            parts.append(rng.choice([word, word.upper(), word.title()]))
            if rng.random() < 0.8:
                parts.append(" ")
        elif kind < 0.85:
            parts.append(rng.choice(PIECES))
        elif kind < 0.97:
            parts.append("".join(chr(rng.choice([rng.randint(32, 126), rng.randint(160, 0x24F), rng.randint(0x370, 0x5FF)])) for _ in range(rng.randint(1, 9))))
        else:
            parts.append(rng.choice("abcxyz") * rng.randint(30, 300))
    return "".join(parts)


def trained():
    t = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix="", unk_token=None))
    t.normalizer = Sequence([NFC(), Replace(Regex(r"\s+"), " "), Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    corpus = [" ".join(rng.choice(WORDS) for _ in range(12)) for _ in range(4000)]
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=900, end_of_word_suffix="</w>", initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    model = json.loads(t.to_str())["model"]
    return [tuple(m) for m in model["merges"]]


merges = trained()
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
vocab = {}
for token in alphabet + [c + "</w>" for c in alphabet] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]:
    vocab.setdefault(token, len(vocab))
tokenizer = CLIPTokenizer(vocab=vocab, merges=merges)
tokenizer.backend_tokenizer.save(os.path.join(here, "tokenizer.json"))

texts = ["", " ", "a", "<|endoftext|>", "a <|startoftext|> b"]
while len(texts) < 2000:
    texts.append(text())
cases = [{"text": s, "ids": tokenizer(s)["input_ids"]} for s in texts]
with gzip.GzipFile(os.path.join(here, "cases.json.gz"), "wb", mtime=0) as f:
    f.write(json.dumps(cases, ensure_ascii=False).encode("utf-8"))
