"""Images a second of the transformers generate loop at ImageDoctor's shapes.

Qwen2.5-VL-3B with random bfloat16 weights in the published shapes, 671-token
prompts with one image of 504x504 (324 of the tokens), greedy, exactly 60 new
tokens, on one GPU. One JSON object a line for each batch size:

    python3 examples/peers/transformers_loop.py [--batches 1,16,64]

It flatters the peer: patches lie on the GPU already, and the heatmap heads are
left out. It needs torch and transformers 5 (or 4.52), and downloads nothing.
"""

import argparse
import inspect
import json
import pathlib
import sys
import time

try:
    import torch
    import transformers
except ImportError as missing:
    sys.exit(f"transformers_loop: needs torch and transformers: {missing}")

RELEASED = pathlib.Path(__file__).resolve().parents[2] / "engine/imagedoctor/released/config.json"
VOCABULARY = 151936  # config.json is silent on it
IMAGE, VISION_START, VISION_END = 151655, 151652, 151653
GRID, MERGE, PATCH = 36, 2, 3 * 2 * 14 * 14  # 504 / 14 patches a side; values of a patch
BEFORE = 15  # tokens before the image, as in the published prompt


def configuration():
    """The published numbers as a configuration of Qwen2.5-VL."""
    released = json.loads(RELEASED.read_text())
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
             "rms_norm_eps", "hidden_act", "initializer_range", "max_position_embeddings", "bos_token_id",
             "eos_token_id", "use_sliding_window", "tie_word_embeddings")
    text = {name: released[name] for name in names} | {"vocab_size": VOCABULARY}
    rope = {"rope_type": "default", "mrope_section": released["rope_scaling"]["mrope_section"]}
    if int(transformers.__version__.split(".")[0]) >= 5:
        text["rope_parameters"] = rope | {"rope_theta": released["rope_theta"]}
    else:
        text |= {"rope_scaling": rope, "rope_theta": released["rope_theta"]}
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "in_channels": 3,
              "hidden_act": "silu", "patch_size": 14, "temporal_patch_size": 2, "spatial_merge_size": MERGE,
              "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2,
              "out_hidden_size": released["hidden_size"]}
    return transformers.Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=released["tie_word_embeddings"],
        image_token_id=IMAGE, video_token_id=151656, vision_start_token_id=VISION_START, vision_end_token_id=VISION_END)


def random_model(device):
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = transformers.Qwen2_5_VLForConditionalGeneration(configuration())
    torch.set_default_dtype(torch.float32)
    return model.eval()


def made_up(model, batch, tokens, device):
    """Inputs as the processor would make them: text, an image, text."""
    units = (GRID // MERGE) ** 2
    ids = torch.randint(0, 1000, (batch, tokens), device=device)
    ids[:, BEFORE - 1], ids[:, BEFORE + units] = VISION_START, VISION_END
    ids[:, BEFORE:BEFORE + units] = IMAGE
    patches = torch.randn(batch * GRID * GRID, PATCH, device=device, dtype=torch.bfloat16)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": patches,
              "image_grid_thw": torch.tensor([[1, GRID, GRID]] * batch, device=device)}
    if "mm_token_type_ids" in inspect.signature(model.forward).parameters:  # since 5.3: 1 for tokens of images
        inputs["mm_token_type_ids"] = (ids == IMAGE).int()
    return inputs


@torch.inference_mode()
def measure(model, batch, options, device):
    """Seconds of the fastest of some runs after one that is not counted."""
    inputs = made_up(model, batch, options.prompt_tokens, device)
    length, times = options.new_tokens, []
    for _ in range(1 + options.rounds):
        torch.cuda.synchronize(device)
        began = time.perf_counter()
        out = model.generate(**inputs, max_new_tokens=length, min_new_tokens=length, do_sample=False, pad_token_id=0)
        torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
        if out.shape[1] != options.prompt_tokens + length:
            raise RuntimeError(f"{out.shape[1]} tokens, not {options.prompt_tokens} + {length}")
    return min(times[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", default="1,16,64", help="batch sizes [%(default)s]")
    for name, usual in (("--prompt-tokens", 671), ("--new-tokens", 60), ("--rounds", 3)):
        parser.add_argument(name, type=int, default=usual, help="[%(default)s]")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("transformers_loop: needs a GPU, and torch sees none")
    device = torch.device("cuda", 0)
    model = random_model(device)
    about = {"device": torch.cuda.get_device_name(device), "torch": torch.__version__,
             "transformers": transformers.__version__, "attention": model.config._attn_implementation,
             "parameters": sum(p.numel() for p in model.parameters()), "prompt_tokens": options.prompt_tokens,
             "new_tokens": options.new_tokens, "left_out": "heatmap heads, decoding and resizing of images"}
    for batch in map(int, options.batches.split(",")):
        torch.cuda.reset_peak_memory_stats(device)
        try:
            took = measure(model, batch, options, device)
            result = {"seconds": took, "images_per_second": batch / took,
                      "peak_memory_bytes": torch.cuda.max_memory_allocated(device)}
        except torch.cuda.OutOfMemoryError:
            result = {"error": "out of memory"}
        torch.cuda.empty_cache()
        print(json.dumps({"batch": batch} | result | about), flush=True)


if __name__ == "__main__":
    main()
