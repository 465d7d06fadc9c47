#!/usr/bin/env python3
"""Writes rewards.json: what flow_grpo's ocr.py makes of a prompt and of what was read, with the package Levenshtein for the distance.

    python3 rewards.py
"""
import json
import os
import random

from Levenshtein import distance

here = os.path.dirname(os.path.abspath(__file__))
rng = random.Random(5)


def reward(prompt, lines):
    """The formula of flow_grpo's OcrScorer.__call__, yifan123/flow_grpo at ac4c86e, flow_grpo/ocr.py."""
    wanted = prompt.split('"')[1].replace(" ", "").lower()
    read = "".join(lines).replace(" ", "").lower()
    d = 0 if wanted in read else distance(read, wanted)
    return 1 - min(d, len(wanted)) / len(wanted), d


cases = []
words = ["Hello", "WORLD", "NASA", "2049", "ΣΊΣΥΦΟΣ", "İstanbul", "straße", "東京", "a", "", "  ", "ОТКРЫТО", "Café", "!?", "x" * 40]
for _ in range(300):
    target = " ".join(rng.choice(words) for _ in range(rng.randint(1, 4)))
    if not target.replace(" ", ""):
        continue
    text = target
    for _ in range(rng.randint(0, 6)):
        at = rng.randint(0, len(text))
        text = rng.choice([text[:at] + rng.choice("abcXYZ0 é") + text[at:], text[:at] + text[at + 1:], text[:at] + rng.choice("abcQ") + text[at + 1:]])
    if rng.random() < 0.2:
        text = rng.choice(["", "noise " + text + " noise", text * 3, "entirely different words that go on and on"])
    cut = rng.randint(0, len(text))
    lines = [part for part in (text[:cut], text[cut:]) if part]
    prompt = rng.choice(['a sign that says "%s"', '"%s" on a wall, and "more"', 'says "%s']) % target
    value, d = reward(prompt, lines)
    cases.append({"prompt": prompt, "lines": lines, "reward": value, "distance": d})
with open(os.path.join(here, "rewards.json"), "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]\n")
