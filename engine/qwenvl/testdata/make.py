"""Writes qwen25vl-nano and qwen3vl-nano: small checkpoints with random weights, as
transformers 5 saves them, and what transformers computes with them in float32 on a
CPU for images of five shapes (cases.json, logits.npz). The tokenizer is that of
ImageDoctor's miniature, which is not copied.

    pip install torch torchvision transformers==5.* safetensors pillow numpy
    python3 make.py
    python3 make.py --check    # compares what it would write, within rounding, and writes nothing
"""

import hashlib
import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

HERE = pathlib.Path(__file__).parent
NANO = HERE.parent.parent / "imagedoctor" / "nano"
IDS = dict(image_token_id=1468, video_token_id=1469, vision_start_token_id=1465, vision_end_token_id=1466)
SHAPES = [(64, 64), (120, 40), (33, 190), (250, 170), (16, 20)]  # width, height
PROMPTS = ["a red circle", "a cat, asleep", "two dogs under the blue moon", "", "“quoted” text: 12"]
NEW_TOKENS = 24


def qwen25():
    text = dict(
        vocab_size=1536, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=4096, rope_parameters={"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6},
        tie_word_embeddings=False, eos_token_id=1458, bos_token_id=None, pad_token_id=None,
    )
    vision = dict(
        depth=4, hidden_size=32, intermediate_size=44, num_heads=2, patch_size=14, spatial_merge_size=2, temporal_patch_size=2,
        window_size=112, out_hidden_size=64, fullatt_block_indexes=[1, 3],
    )
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False, **IDS)
    processor = dict(patch_size=14, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 56 * 56, "longest_edge": 200 * 200})
    return Qwen2_5_VLForConditionalGeneration(config), processor, "You are a helpful assistant."


def qwen3():
    text = dict(
        vocab_size=1536, hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        head_dim=24, max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "mrope_section": [4, 4, 4], "mrope_interleaved": True, "rope_theta": 5e6},
        tie_word_embeddings=True, eos_token_id=1458, bos_token_id=None, pad_token_id=None,
    )
    vision = dict(
        depth=4, hidden_size=32, intermediate_size=48, num_heads=2, patch_size=16, spatial_merge_size=2, temporal_patch_size=2,
        out_hidden_size=64, num_position_embeddings=36, deepstack_visual_indexes=[0, 1, 2],
    )
    config = Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **IDS)
    processor = dict(
        patch_size=16, merge_size=2, temporal_patch_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3,
        size={"shortest_edge": 64 * 64, "longest_edge": 200 * 200},
    )
    return Qwen3VLForConditionalGeneration(config), processor, ""


def randomise(model, seed):
    """Weights large enough that logits differ, rounded to bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            value = torch.randn(p.shape, generator=generator)
            if p.dim() > 1:
                value = value / (p[0].numel() ** 0.5)
            elif "norm" in name and name.endswith("weight") or "ln_q" in name:
                value = 1 + 0.1 * value
            else:
                value = 0.1 * value
            p.copy_(value.to(torch.bfloat16).to(p.dtype))


def pattern(width, height):
    """A pattern that Go makes as well."""
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    return Image.fromarray(((x * x + 3 * y * (c + 1) + x * y // 7 + 40 * c) % 256).astype(np.uint8))


def write(out, name, made, seed):
    model, processor, system = made
    model = model.float().eval()
    randomise(model, seed)
    folder = out / name
    folder.mkdir(exist_ok=True)
    images = Qwen2VLImageProcessor(**processor)
    images.save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(NANO / "tokenizer.json"))
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
    cases, logits = [], []
    for (width, height), prompt in zip(SHAPES, PROMPTS):
        batch = images(images=[pattern(width, height)], return_tensors="pt")
        thw = batch["image_grid_thw"]
        tokens = int(thw.prod()) // 4
        head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
        ids = encode(
            f"{head}<|im_start|>user\n<|vision_start|>{'<|image_pad|>' * tokens}<|vision_end|>"
            f"Does this show {prompt}? Yes or no.<|im_end|>\n<|im_start|>assistant\n"
        )
        inputs = dict(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), pixel_values=batch["pixel_values"],
            image_grid_thw=thw, mm_token_type_ids=torch.tensor([[int(i == IDS["image_token_id"]) for i in ids]]),
        )
        with torch.no_grad():
            first = model(**inputs).logits[0, -1]
            out = model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=1458, pad_token_id=1458)
        mean, std = np.array(images.image_mean, np.float64), np.array(images.image_std, np.float64)
        size = images.patch_size
        values = batch["pixel_values"].double().numpy().reshape(-1, 3, images.temporal_patch_size, size, size)
        levels = np.rint((values * std[None, :, None, None, None] + mean[None, :, None, None, None]) * 255).astype(np.uint8)
        pixels = levels[:, :, 0].transpose(0, 2, 3, 1).tobytes()  # patches in the processor's order: row, column, channel
        cases.append(
            {
                "width": width, "height": height, "prompt": prompt, "grid": [int(v) for v in thw[0, 1:]], "input_ids": ids,
                "generated_ids": out[0, len(ids):].tolist(), "pixels_sha256": hashlib.sha256(pixels).hexdigest(),
            }
        )
        logits.append(first.numpy())
        print(name, (width, height), cases[-1]["grid"], cases[-1]["generated_ids"])
    (folder / "cases.json").write_text(json.dumps(cases, ensure_ascii=False) + "\n")
    np.savez_compressed(folder / "logits.npz", logits=np.stack(logits))
    model.to(torch.bfloat16).save_pretrained(folder)


def check(made):
    """Compares a folder just made with the one that lies here."""
    here = HERE / made.name
    assert json.loads((made / "cases.json").read_text()) == json.loads((here / "cases.json").read_text()), f"{made.name}: other cases"
    want, got = np.load(here / "logits.npz")["logits"], np.load(made / "logits.npz")["logits"]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5, err_msg=made.name)
    assert (made / "model.safetensors").read_bytes() == (here / "model.safetensors").read_bytes(), f"{made.name}: other weights"


def main():
    checking = sys.argv[1:] == ["--check"]
    with tempfile.TemporaryDirectory() as scratch:
        out = pathlib.Path(scratch) if checking else HERE
        for name, make, seed in [("qwen25vl-nano", qwen25, 25), ("qwen3vl-nano", qwen3, 3)]:
            write(out, name, make(), seed)
            if checking:
                check(out / name)


if __name__ == "__main__":
    main()
