#!/usr/bin/env python3
"""Makes tiny random CLIP checkpoints and what transformers makes of them.

Each folder is a checkpoint as transformers saves it, with the tokenizer of engine/tokenizer/testdata/clip (a copy); cases.json.gz holds
embeddings and logits. Needs torch, transformers 5, numpy and Pillow.

    python3 make.py            # writes the folders again
    python3 make.py --cases    # writes what transformers makes of the folders that are there
    python3 make.py --check    # compares what is there with what transformers gives now
"""
import base64
import gzip
import json
import os
import shutil
import sys

import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

here = os.path.dirname(os.path.abspath(__file__))
tokenizer_file = os.path.join(here, "..", "..", "tokenizer", "testdata", "clip", "tokenizer.json")
SIZES = [(32, 32), (57, 40), (40, 57), (200, 31), (9, 14), (64, 64)]  # width, height
PROMPTS = ["a red circle", "", "A photo of TWO cats, highly detailed!!", "東京 night  city", "text that says hello " * 30, "one <|endoftext|> two"]

MODELS = {
    "quick": dict(
        text_config=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=811, eos_token_id=810, bos_token_id=809),
        vision_config=dict(hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=3, image_size=28, patch_size=7),
        projection_dim=24),
    # As CLIP-H is configured: gelu, other widths, an end token of 2, a patch that does not divide the image.
    "gelu": dict(
        text_config=dict(hidden_size=40, intermediate_size=60, num_hidden_layers=3, num_attention_heads=5, vocab_size=820, eos_token_id=2, hidden_act="gelu",
                         max_position_embeddings=20),
        vision_config=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, image_size=30, patch_size=8, hidden_act="gelu"),
        projection_dim=16),
}


def image(i, size):
    rng = np.random.default_rng(i)
    small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize(size, Image.BILINEAR)).astype(np.int16)
    return np.clip(smooth + rng.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8)


def b64(array, dtype="<f4"):
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype).tobytes()).decode()


def cases(folder):
    model = CLIPModel.from_pretrained(folder).eval().double()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    plain = CLIPImageProcessorPil.from_pretrained(folder, do_normalize=False, do_rescale=False)
    side = model.config.vision_config.image_size
    images = [image(i, s) for i, s in enumerate(SIZES)]
    squares = [np.asarray(plain(Image.fromarray(x), return_tensors="np")["pixel_values"][0]).transpose(1, 2, 0) for x in images]
    length = model.config.text_config.max_position_embeddings
    with torch.no_grad():
        pixel_values = processor([Image.fromarray(x) for x in images], return_tensors="pt")["pixel_values"].double()
        text = tokenizer(PROMPTS, padding=True, truncation=True, max_length=length, return_tensors="pt")
        out = model(pixel_values=pixel_values, **text)
        vision = model.vision_model
        patches = model.visual_projection(vision.post_layernorm(out.vision_model_output.last_hidden_state[:, 1:]))
        # What agrees with a prompt is 0, what opposes it 1.
        maps = (1 - torch.einsum("ind,pd->ipn", torch.nn.functional.normalize(patches, dim=-1), out.text_embeds)) / 2
    assert squares[0].shape == (side, side, 3)
    return {
        "sizes": SIZES, "images": [b64(x, "u1") for x in images], "squares": [b64(x, "u1") for x in squares],
        "prompts": PROMPTS, "ids": [tokenizer(p, truncation=True, max_length=length)["input_ids"] for p in PROMPTS],
        "text": b64(out.text_embeds), "image": b64(out.image_embeds), "logits": b64(out.logits_per_image),
        "maps": b64(maps),
    }


def make(name):
    folder = os.path.join(here, name)
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(7)
    config = CLIPConfig(**MODELS[name])
    model = CLIPModel(config)
    for p in model.parameters():
        if p.dim() > 1:
            p.data.normal_(0, 0.2)
        elif p.dim() == 1:
            p.data.add_(torch.randn_like(p) * 0.1)
    model.save_pretrained(folder)
    side = config.vision_config.image_size
    CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=side).save_pretrained(folder)
    shutil.copy(tokenizer_file, os.path.join(folder, "tokenizer.json"))


def close(a, b):
    for key in ("text", "image", "logits", "maps"):
        x, y = (np.frombuffer(base64.b64decode(c[key]), "<f4") for c in (a, b))
        if np.abs(x - y).max() > 1e-5 * max(1, np.abs(y).max()):
            return False
    return all(a[k] == b[k] for k in ("images", "squares", "prompts", "ids"))


for name in MODELS:
    path = os.path.join(here, name, "cases.json.gz")
    if "--check" in sys.argv:
        with gzip.open(path) as f:
            known = json.load(f)
        now = json.loads(json.dumps(cases(os.path.join(here, name))))
        if not close(known, now):
            sys.exit(f"{name}: transformers gives other values than {path} holds")
        print(f"{name}: as transformers gives it")
        continue
    if "--cases" not in sys.argv:
        make(name)
    with gzip.GzipFile(path, "wb", mtime=0) as f:
        f.write(json.dumps(cases(os.path.join(here, name))).encode())
