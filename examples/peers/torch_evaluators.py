"""Images a second of PyTorch's evaluators and decoders at the shapes that our benchmarks measure.

    python3 examples/peers/torch_evaluators.py clip     # CLIP-H as PickScore has it, by transformers
    python3 examples/peers/torch_evaluators.py judge    # Qwen3-VL-4B, 1,024 tokens of an image, 300 new ones
    python3 examples/peers/torch_evaluators.py vae      # decoders of latents, by diffusers

Random weights in published shapes, one JSON object a line. It flatters the peer: images
are tensors on the GPU already. Downloads nothing; out of memory is a line's error.
"""

import argparse
import json
import pathlib
import shutil
import time

import torch

PRECISIONS = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def made(build, dtype):
    torch.manual_seed(1)
    torch.set_default_dtype(dtype)
    with torch.device(DEVICE):
        model = build()
    torch.set_default_dtype(torch.float32)
    return model.eval()


def synchronise():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


@torch.inference_mode()
def measure(run, images, rounds, about):
    """Prints the fastest of some runs after one that is not counted."""
    try:
        times = []
        for _ in range(1 + rounds):
            synchronise()
            began = time.perf_counter()
            run()
            synchronise()
            times.append(time.perf_counter() - began)
        found = {"seconds": min(times[1:]), "images_per_second": images / min(times[1:])}
    except torch.cuda.OutOfMemoryError:
        found = {"error": "out of memory"}
    print(json.dumps(about | found), flush=True)


def clip(options):
    import transformers
    text = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16, "hidden_act": "gelu",
            "projection_dim": 1024}
    vision = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16, "patch_size": 14,
              "image_size": 224, "hidden_act": "gelu", "projection_dim": 1024}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=1024)
    if options.small:
        for part in (config.text_config, config.vision_config):
            part.num_hidden_layers = 1
    for precision in options.precisions:
        dtype = PRECISIONS[precision]
        model = made(lambda: transformers.CLIPModel(config), dtype)
        for prompts in (3, options.batch):
            ids = torch.randint(0, 49000, (prompts, 77), device=DEVICE)
            pixels = torch.randn(options.batch, 3, 224, 224, device=DEVICE, dtype=dtype)
            measure(lambda: model(input_ids=ids, pixel_values=pixels), options.batch, options.rounds,
                    {"model": "CLIP-H", "precision": precision, "batch": options.batch, "prompts": prompts, "transformers": transformers.__version__})
        del model


def qwen3vl_config(options):
    import transformers
    text = {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
            "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5000000, "mrope_section": [24, 20, 20], "mrope_interleaved": True}}
    vision = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "patch_size": 16, "out_hidden_size": 2560,
              "deepstack_visual_indexes": [5, 11, 17]}
    if options.small:
        text |= {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 2000}
        vision |= {"depth": 3, "hidden_size": 128, "intermediate_size": 256, "num_heads": 2, "out_hidden_size": 256, "deepstack_visual_indexes": [0, 1, 2]}
    ids = {"image_token_id": 1990, "video_token_id": 1991, "vision_start_token_id": 1992, "vision_end_token_id": 1993} if options.small else {}
    if options.tokenizer:
        known = {t["content"]: t["id"] for t in json.loads(pathlib.Path(options.tokenizer).read_text())["added_tokens"]}
        ids = {"image_token_id": known["<|image_pad|>"], "vision_start_token_id": known["<|vision_start|>"], "vision_end_token_id": known["<|vision_end|>"],
               "video_token_id": known["<|video_pad|>"]}
        text["eos_token_id"] = known["<|im_end|>"]
    return transformers.Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)


def judge(options):
    import transformers
    config = qwen3vl_config(options)
    side = 8 if options.small else 64  # patches, of which 2x2 are a token
    tokens, new = side * side // 4, options.new_tokens
    for precision in options.precisions:
        dtype = PRECISIONS[precision]
        model = made(lambda: transformers.Qwen3VLForConditionalGeneration(config), dtype)
        ids = torch.randint(0, 1000, (options.batch, tokens + 100), device=DEVICE)
        ids[:, 9], ids[:, 10 + tokens], ids[:, 10:10 + tokens] = config.vision_start_token_id, config.vision_end_token_id, config.image_token_id
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids),
                  "pixel_values": torch.randn(options.batch * side * side, 3 * 2 * 16 * 16, device=DEVICE, dtype=dtype),
                  "image_grid_thw": torch.tensor([[1, side, side]] * options.batch, device=DEVICE),
                  "mm_token_type_ids": (ids == config.image_token_id).int()}
        generate = lambda n: model.generate(**inputs, max_new_tokens=n, min_new_tokens=n, do_sample=False, pad_token_id=0)
        with torch.inference_mode():
            generate(2)  # warm: a run in full takes too long to be thrown away
            times = []
            for n in (1, new):
                synchronise()
                began = time.perf_counter()
                generate(n)
                synchronise()
                times.append(time.perf_counter() - began)
        print(json.dumps({"model": "Qwen3-VL-4B", "precision": precision, "batch": options.batch, "prompt_tokens": ids.shape[1], "new_tokens": new,
                          "transformers": transformers.__version__, "torch": torch.__version__, "parameters": sum(p.numel() for p in model.parameters()),
                          "attention": model.config._attn_implementation,
                          "first_token_seconds": times[0], "seconds": times[1], "images_per_second": options.batch / times[1]}), flush=True)
        if options.save and precision == options.precisions[0]:
            save(model, options)
        del model, generate


def save(model, options):
    """Writes the model as a folder that `densereward bench --engine --evaluator` takes, with an image's pixels bounded to those measured here."""
    model.save_pretrained(options.save)
    folder = pathlib.Path(options.save)
    shutil.copy(options.tokenizer, folder / "tokenizer.json")
    (folder / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": "Qwen2VLImageProcessor", "patch_size": 16, "merge_size": 2, "temporal_patch_size": 2, "resample": 3,
        "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"shortest_edge": 64 * 64, "longest_edge": 1024 * 1024}}))


def vae(options):
    import diffusers
    up = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4, "block_out_channels": [128, 256, 512, 512],
          "layers_per_block": 2}
    residual = {"num_res_blocks": 2, "is_residual": True}
    # Class, configuration, and the latents' channels and cells a side of an image of 512x512.
    decoders = {
        "SD3.5": ("AutoencoderKL", {**up, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}, 16, 64),
        "SDXL": ("AutoencoderKL", {**up, "latent_channels": 4}, 4, 64),
        "Qwen-Image-2.1": ("AutoencoderKLQwenImage21", {}, 64, 32),
        "SANA": ("AutoencoderDC", {
            "latent_channels": 32, "attention_head_dim": 32, "upsample_block_type": "interpolate", "downsample_block_type": "conv",
            "encoder_block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3, "decoder_block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3,
            "encoder_block_out_channels": [128, 256, 512, 512, 1024, 1024], "decoder_block_out_channels": [128, 256, 512, 512, 1024, 1024],
            "encoder_layers_per_block": [2, 2, 2, 3, 3, 3], "decoder_layers_per_block": [3] * 6,
            "encoder_qkv_multiscales": [[], [], [], [5], [5], [5]], "decoder_qkv_multiscales": [[], [], [], [5], [5], [5]]}, 32, 16),
        "Wan-2.1": ("AutoencoderKLWan", {}, 16, 64),
        "Wan-2.2": ("AutoencoderKLWan", {"base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "in_channels": 12, "out_channels": 12,
                                         "patch_size": 2, **residual, "latents_mean": [0.0] * 48, "latents_std": [1.0] * 48}, 48, 32),
        "TAESD3": ("AutoencoderTiny", {"latent_channels": 16}, 16, 64),
    }
    for name in options.decoders or decoders:
        kind, config, channels, side = decoders[name]
        for precision in options.precisions:
            dtype = PRECISIONS[precision]
            model = made(lambda: getattr(diffusers, kind)(**config), dtype)
            shape = (options.batch, channels, *((1,) if kind.startswith(("AutoencoderKLQ", "AutoencoderKLW")) else ()), side, side)
            latents = torch.randn(shape, device=DEVICE, dtype=dtype)
            out = lambda: model.decode(latents).sample
            measure(out, options.batch, options.rounds,
                    {"model": name, "class": kind, "precision": precision, "batch": options.batch, "diffusers": diffusers.__version__,
                     "torch": torch.__version__, "parameters": sum(p.numel() for n, p in model.named_parameters() if "encoder" not in n)})
            del model, out
            if DEVICE == "cuda":
                torch.cuda.empty_cache()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["clip", "judge", "vae"])
    parser.add_argument("--batch", type=int, help="images of a batch [64 for clip, 16 otherwise]")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["float16", "float32"])
    parser.add_argument("--decoders", nargs="*", help="[all]")
    parser.add_argument("--rounds", type=int, default=5, help="[%(default)s]")
    parser.add_argument("--new-tokens", type=int, default=300, help="[%(default)s]")
    parser.add_argument("--save", metavar="DIR", help="write the judge's first checkpoint there, for densereward; needs --tokenizer")
    parser.add_argument("--tokenizer", metavar="FILE", help="tokenizer.json whose ids of image tokens the judge has")
    parser.add_argument("--small", action="store_true", help="a few layers and little images, for a try")
    options = parser.parse_args()
    if options.save and not options.tokenizer:
        parser.error("--save needs --tokenizer")
    options.batch = options.batch or (64 if options.what == "clip" else 16)
    {"clip": clip, "judge": judge, "vae": vae}[options.what](options)


if __name__ == "__main__":
    main()
