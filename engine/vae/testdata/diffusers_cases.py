"""Makes small random decoders with diffusers and what diffusers decodes with them.

    python3 diffusers_cases.py                     # writes the cases beside this file anew
    python3 diffusers_cases.py --seed 7 DIR        # other weights and latents, with encoders, into DIR

Written with diffusers 0.42.1 and torch 2.15.0 on a CPU, float32. The tests read
what lies beside this file; with DENSEREWARD_VAE_CASES=DIR they read DIR.

cases.npz holds, for the model NAME and latents of HxW cells,

    NAME.HxW.latents  as the model's pipeline holds them, normalised
    NAME.HxW.tokens   the same, packed by the pipeline's own code, where it packs
    NAME.HxW.z        the same as vae.decode takes them, (N,C,h,w)
    NAME.HxW.decoded  what vae.decode returns for them, (N,C,h,w)
    NAME.HxW.image    the same as the pipeline's image processor gives it, (N,h,w,3) uint8
    pack.latents, pack.tokens  of FLUX's pipeline

and names.json how the tensors of a file such as FLUX's ae.safetensors are
called, by diffusers' name.
"""

import argparse
import json
import math
import pathlib
import re
import shutil

import diffusers
import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from diffusers.pipelines.flux.pipeline_flux import FluxPipeline
from diffusers.pipelines.flux2.pipeline_flux2 import Flux2Pipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
from diffusers.pipelines.qwenimage21.pipeline_qwenimage21 import QwenImage21Pipeline
from safetensors.torch import load_file

HERE = pathlib.Path(__file__).parent

STATISTICS = [0.3, -0.7, 1.1, 0.05, -0.4, 0.9, -1.3, 0.6]
DEVIATIONS = [1.7, 2.3, 0.8, 2.9, 1.2, 3.1, 1.4, 0.6]


def up(n):
    return {"down_block_types": ["DownEncoderBlock2D"] * n, "up_block_types": ["UpDecoderBlock2D"] * n}


# The class, its configuration, and how diffusers names the files' precision.
MODELS = {
    "vae-sd3-nano": (
        diffusers.AutoencoderKL,
        {
            **up(4), "block_out_channels": [16, 32, 32, 32], "latent_channels": 16, "layers_per_block": 2,
            "norm_num_groups": 8, "scaling_factor": 1.5305, "shift_factor": 0.0609,
            "use_quant_conv": False, "use_post_quant_conv": False,
        },
        None,
    ),
    "vae-sd-nano": (
        diffusers.AutoencoderKL,
        {
            **up(4), "block_out_channels": [16, 32, 32, 32], "latent_channels": 4, "layers_per_block": 2,
            "norm_num_groups": 8, "scaling_factor": 0.18215,
        },
        None,
    ),
    "vae-tiny-nano": (
        diffusers.AutoencoderTiny,
        {
            "latent_channels": 16, "encoder_block_out_channels": [16] * 4, "decoder_block_out_channels": [16] * 4,
        },
        None,
    ),
    # FLUX.2, with the small decoder's widths of its own.
    "flux2-nano": (
        diffusers.AutoencoderKLFlux2,
        {
            **up(3), "block_out_channels": [8, 16, 16], "decoder_block_out_channels": [8, 12, 16],
            "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 4,
        },
        None,
    ),
    "qwenimage-nano": (
        diffusers.AutoencoderKLQwenImage,
        {
            "base_dim": 8, "z_dim": 4, "dim_mult": [1, 2, 2], "num_res_blocks": 1, "temperal_downsample": [False, True],
            "latents_mean": STATISTICS[:4], "latents_std": DEVIATIONS[:4],
        },
        "fp16",
    ),
    "wan21-nano": (
        diffusers.AutoencoderKLWan,
        {
            "base_dim": 4, "z_dim": 4, "dim_mult": [1, 2, 3], "num_res_blocks": 1, "temperal_downsample": [True, True],
            "latents_mean": STATISTICS[:4], "latents_std": DEVIATIONS[:4], "scale_factor_spatial": 4,
        },
        None,
    ),
    "wan22-nano": (
        diffusers.AutoencoderKLWan,
        {
            "base_dim": 4, "decoder_base_dim": 8, "z_dim": 6, "dim_mult": [1, 2, 2], "num_res_blocks": 1,
            "temperal_downsample": [False, True], "is_residual": True, "patch_size": 2, "in_channels": 12,
            "out_channels": 12, "latents_mean": STATISTICS[:6], "latents_std": DEVIATIONS[:6], "scale_factor_spatial": 8,
        },
        "bf16",
    ),
    "qwenimage21-nano": (
        diffusers.AutoencoderKLQwenImage21,
        {
            "base_dim": 4, "decoder_base_dim": 8, "z_dim": 8, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1,
            "temperal_downsample": [False, True, True], "latents_mean": STATISTICS, "latents_std": DEVIATIONS,
            "scale_factor_spatial": 8,
        },
        None,
    ),
    # SANA 1.5's form, and that of the first DC-AE, whose last stage has no layers.
    "dc-nano": (
        diffusers.AutoencoderDC,
        {
            "latent_channels": 4, "attention_head_dim": 8,
            "encoder_block_types": "ResBlock", "decoder_block_types": ["ResBlock", "ResBlock", "EfficientViTBlock", "EfficientViTBlock"],
            "encoder_block_out_channels": [8, 8, 16, 16], "decoder_block_out_channels": [8, 8, 16, 16],
            "encoder_layers_per_block": [1, 1, 1, 1], "decoder_layers_per_block": [1, 2, 1, 2],
            "encoder_qkv_multiscales": [[], [], [], []], "decoder_qkv_multiscales": [[], [], [5], [5]],
            "upsample_block_type": "interpolate", "downsample_block_type": "conv", "scaling_factor": 0.41407,
        },
        None,
    ),
    "dc10-nano": (
        diffusers.AutoencoderDC,
        {
            "latent_channels": 8, "attention_head_dim": 4,
            "encoder_block_types": "ResBlock", "decoder_block_types": ["ResBlock", "ResBlock", "EfficientViTBlock"],
            "encoder_block_out_channels": [8, 16, 16], "decoder_block_out_channels": [8, 12, 24],
            "encoder_layers_per_block": [0, 1, 1], "decoder_layers_per_block": [0, 1, 1],
            "encoder_qkv_multiscales": [[], [], []], "decoder_qkv_multiscales": [[], [], []],
            "decoder_norm_types": ["rms_norm", "batch_norm", "rms_norm"], "decoder_act_fns": ["silu", "relu", "silu"],
            "scaling_factor": 0.3189,
        },
        None,
    ),
}

# Height, width and number of latents, in cells: odd ones, and a single row.
GRIDS = {"vae-sd3-nano": [(8, 8, 2), (6, 10, 2), (5, 3, 1)]}
GRIDS["vae-sd-nano"] = GRIDS["vae-tiny-nano"] = GRIDS["vae-sd3-nano"]
SMALL = [(4, 4, 2), (3, 5, 1), (1, 7, 1)]


def randomise(model, generator):
    """Draws every parameter so that activations keep their size from layer to layer."""
    for module in model.modules():
        for name, p in list(module.named_parameters(recurse=False)) + list(module.named_buffers(recurse=False)):
            if not p.is_floating_point():
                continue
            noise = torch.randn(p.shape, generator=generator)
            with torch.no_grad():
                if name == "running_var":
                    p.copy_(0.5 + 2 * torch.rand(p.shape, generator=generator))
                elif name == "running_mean":
                    p.copy_(0.5 * noise)
                elif name == "gamma" or (name == "weight" and p.ndim == 1):
                    p.copy_(1 + 0.2 * noise)
                elif p.ndim == 1:
                    p.copy_(0.1 * noise)
                else:
                    fan = math.prod(p.shape[1:])
                    if p.ndim == 5:  # one frame meets the last slice of a causal kernel alone
                        fan //= p.shape[2]
                    p.copy_(noise / math.sqrt(fan))
    return model.eval()


def denormalise(model, latents):
    """What the pipelines do between the last step and vae.decode."""
    c = model.config
    if isinstance(model, diffusers.AutoencoderKLFlux2):
        mean = model.bn.running_mean.view(1, -1, 1, 1)
        std = torch.sqrt(model.bn.running_var.view(1, -1, 1, 1) + c.batch_norm_eps)
        return Flux2Pipeline._unpatchify_latents(latents * std + mean)
    if "z_dim" in c:
        z = latents.unsqueeze(2)
        mean = torch.tensor(c.latents_mean).view(1, -1, 1, 1, 1)
        std = torch.tensor(c.latents_std).view(1, -1, 1, 1, 1)
        if isinstance(model, diffusers.AutoencoderKLQwenImage21):
            return z * std + mean
        return z / (1.0 / std) + mean
    return latents / c.scaling_factor + (c.get("shift_factor") or 0)


def tokens(model, latents):
    n, c, h, w = latents.shape
    if isinstance(model, diffusers.AutoencoderKLFlux2):
        return Flux2Pipeline._pack_latents(latents)
    if isinstance(model, diffusers.AutoencoderKLQwenImage21):
        return QwenImage21Pipeline._pack_latents(latents.unsqueeze(1), n, c, h, w)
    if isinstance(model, diffusers.AutoencoderKLQwenImage):
        return QwenImagePipeline._pack_latents(latents.unsqueeze(1), n, c, h, w)
    return None


def decode(model, latents):
    with torch.no_grad():
        decoded = model.decode(denormalise(model, latents), return_dict=False)[0]
    if decoded.ndim == 5:
        decoded = decoded[:, :, 0]
    pils = VaeImageProcessor().postprocess(decoded, output_type="pil")
    return decoded.numpy(), np.stack([np.asarray(i.convert("RGB")) for i in pils])


def contrast(model, cls):
    """Scales the last layer so that images have as much contrast as photographs."""
    c = model.config
    held = c.get("z_dim") or c.latent_channels * (4 if cls is diffusers.AutoencoderKLFlux2 else 1)
    latents = torch.randn((1, held, 8, 8), generator=torch.Generator().manual_seed(3))
    last = model.decoder.layers[-1] if cls is diffusers.AutoencoderTiny else model.decoder.conv_out
    last = getattr(last, "conv", last)
    with torch.no_grad():
        # decode clamps in some classes, so that a gain is found on a small output
        last.weight.mul_(0.05)
        last.bias.zero_()
        decoded, _ = decode(model, latents)
        if cls is diffusers.AutoencoderTiny:
            decoded = decoded + 1
        last.weight.mul_(0.45 / decoded.std())
        if cls is diffusers.AutoencoderTiny:
            last.bias.fill_(0.5)
    return held


def fresh(name, where, seed, decoder_only):
    cls, config, variant = MODELS[name]
    model = randomise(cls(**config), torch.Generator().manual_seed(seed))
    contrast(model, cls)
    if decoder_only:
        del model.encoder
        if hasattr(model, "quant_conv"):
            del model.quant_conv
    if variant:
        model = model.to({"fp16": torch.float16, "bf16": torch.bfloat16}[variant])
    model.save_pretrained(where / name, variant=variant)


def load(name, where):
    cls, _, variant = MODELS[name]
    folder = where / name
    config = cls.load_config(folder)
    model = cls.from_config(config).eval()
    stem = "diffusion_pytorch_model" + (f".{variant}" if variant else "")
    missing, unexpected = model.load_state_dict(load_file(folder / f"{stem}.safetensors"), strict=False)
    absent = [k for k in missing if not k.startswith(("encoder.", "quant_conv."))]
    if absent or unexpected:
        raise SystemExit(f"{name}: missing {absent}, unexpected {unexpected}")
    return model.float()


def original_names(model):
    """What the tensors of the decoder are called in files such as ae.safetensors, by diffusers' name."""
    last = len(model.config.block_out_channels) - 1
    rules = [
        (r"decoder\.up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"decoder.up.{last - int(m[1])}.block.{m[2]}"),
        (r"decoder\.up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"decoder.up.{last - int(m[1])}.upsample"),
        (r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}"),
        (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
        (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
        (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
        (r"conv_shortcut", "nin_shortcut"),
        (r"conv_norm_out", "norm_out"),
    ]
    names = {}
    for ours in model.state_dict():
        if not ours.startswith(("decoder.", "post_quant_conv.")):
            continue
        theirs = ours
        for pattern, into in rules:
            theirs = re.sub(pattern, into, theirs)
        names[ours] = theirs
    # Diffusers' own conversion must undo it.
    state = model.state_dict()
    back = convert_ldm_vae_checkpoint({theirs: state[ours] for ours, theirs in names.items()}, model.config)
    if set(back) != set(names) or any(not torch.equal(back[k], state[k]) for k in back):
        raise SystemExit(f"names that diffusers reads otherwise: {set(back) ^ set(names)}")
    return names


def main():
    args = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    args.add_argument("--seed", type=int, help="draw other weights")
    args.add_argument("--keep-weights", action="store_true", help="keep the checkpoints that are there")
    args.add_argument("where", nargs="?", type=pathlib.Path, default=HERE, metavar="DIR")
    args = args.parse_args()
    torch.set_num_threads(1)
    args.where.mkdir(parents=True, exist_ok=True)
    seed = 20 if args.seed is None else args.seed
    generator = torch.Generator().manual_seed(1000 + seed)
    arrays = {}
    for i, name in enumerate(MODELS):
        if not (args.keep_weights and (args.where / name).exists()):
            shutil.rmtree(args.where / name, ignore_errors=True)
            fresh(name, args.where, seed + i, decoder_only=args.where == HERE)
        model = load(name, args.where)
        c = model.config
        held = c.get("z_dim") or c.latent_channels * (4 if isinstance(model, diffusers.AutoencoderKLFlux2) else 1)
        grids = GRIDS.get(name, SMALL)
        for h, w, n in grids:
            latents = torch.randn((n, held, h, w), generator=generator)
            at = f"{name}.{h}x{w}"
            arrays[f"{at}.latents"] = latents.numpy()
            z = denormalise(model, latents)
            arrays[f"{at}.z"] = (z[:, :, 0] if z.ndim == 5 else z).numpy()
            arrays[f"{at}.decoded"], arrays[f"{at}.image"] = decode(model, latents)
            if h % 2 == w % 2 == 0 or not isinstance(model, diffusers.AutoencoderKLQwenImage):
                packed = tokens(model, latents)
                if packed is not None:
                    arrays[f"{at}.tokens"] = packed.numpy()
            image = arrays[f"{at}.image"]
            print(f"{at}: image {image.shape}, levels {image.mean():.0f} +- {image.std():.0f}")
    latents = torch.randn((2, 16, 8, 12), generator=generator)
    arrays["pack.latents"], arrays["pack.tokens"] = latents.numpy(), FluxPipeline._pack_latents(latents, 2, 16, 8, 12).numpy()
    np.savez_compressed(args.where / "cases.npz", **{k: np.ascontiguousarray(a) for k, a in arrays.items()})
    names = original_names(
        diffusers.AutoencoderKL(**up(4), block_out_channels=[8, 16, 32, 32], layers_per_block=2, norm_num_groups=8)
    )
    (args.where / "names.json").write_text(json.dumps(names, indent=1) + "\n")


if __name__ == "__main__":
    main()
