"""Makes an ImageDoctor of a plain Qwen2.5-VL: two tokens and the heatmap heads, both untrained.

    python attach.py QWEN OUT

QWEN is a checkpoint folder as the hub has it (tensors model.* and visual.*). The trunk is
kept; it is held in memory in float32, 15 GB for 3 billion parameters.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch

import checkpoint
import model

TOKENS = ("<|misalignment|>", "<|artifact|>")
EMBEDDING = "model.embed_tokens.weight"


def add_tokens(tokenizer):
    """Adds TOKENS to a tokenizer.json, as a dictionary, and gives their ids: the next free ones."""
    known = {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
    free = max([*known.values(), *tokenizer["model"]["vocab"].values()]) + 1
    ids = []
    for token in TOKENS:
        if token in known:
            raise ValueError(f"tokenizer.json has {token} already: this is no plain checkpoint")
        tokenizer["added_tokens"].append({"id": free, "content": token, "single_word": False, "lstrip": False,
                                          "rstrip": False, "normalized": False, "special": True})
        ids.append(free)
        free += 1
    return ids


def add_rows(weight, ids):
    """weight (V,C) with rows for ids, which begin as the mean of all others."""
    rows = max(len(weight), max(ids) + 1)
    mean = weight.mean(0)
    grown = torch.cat((weight, mean.expand(rows - len(weight), -1)))
    grown[ids] = mean
    return grown


def heads(config, width, hidden):
    """Random tensors of the heatmap heads. The trunk that is built beside them has no layers."""
    trunk = dict(config, num_hidden_layers=0, vocab_size=1)
    trunk["vision_config"] = dict(config["vision_config"], depth=0, fullatt_block_indexes=[])
    net = model.ImageDoctor(trunk, width, hidden)
    model.initialise(net)
    return {k: v for k, v in net.state_dict().items() if not k.startswith(("model.", "visual."))}


def attach(plain, out, width=None, hidden=None):
    """Writes the ImageDoctor of the folder plain to out; width and hidden are the heads', by default the released ones."""
    plain, out = Path(plain), Path(out)
    config = json.loads((plain / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((plain / "tokenizer.json").read_text(encoding="utf-8"))
    tensors = checkpoint.read_tensors(plain)
    if EMBEDDING not in tensors:
        raise ValueError(f"{plain}: no tensor {EMBEDDING}")
    ids = add_tokens(tokenizer)
    for name in (EMBEDDING, "lm_head.weight"):
        if name in tensors:
            tensors[name] = add_rows(tensors[name], ids)
    config.update(architectures=["ImageDoctorForConditionalGeneration"], model_type="ImageDoctor", heatmap_weight=1,
                  misalignment_token_id=ids[0], artifact_token_id=ids[1], vocab_size=len(tensors[EMBEDDING]))
    tensors.update(heads(config, width, hidden))
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    shutil.copyfile(plain / "preprocessor_config.json", out / "preprocessor_config.json")
    checkpoint.write_tensors(out, tensors)


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("plain")
    a.add_argument("out")
    args = a.parse_args()
    attach(args.plain, args.out)


if __name__ == "__main__":
    main()
