"""Checkpoints in the released layout: config.json, tokenizer files, an index and safetensors shards in bfloat16."""

import json
import shutil
import struct
from pathlib import Path

import torch

from model import ImageDoctor

FILES = ["config.json", "tokenizer.json", "preprocessor_config.json"]
DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def read_tensors(folder):
    """All tensors of the folder's shards by name, in float32."""
    tensors = {}
    for path in sorted(Path(folder).glob("model*.safetensors")):
        tensors.update(read_shard(path))
    return tensors


def read_shard(path):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
        data = bytearray(f.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        flat = torch.frombuffer(data, dtype=torch.uint8, count=end - begin, offset=begin)
        tensors[name] = flat.clone().view(DTYPES[entry["dtype"]]).view(entry["shape"]).float()
    return tensors


def write_shard(path, tensors):
    """Writes tensors as bfloat16, sorted by name."""
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(tensors):
        t = tensors[name].detach().float().cpu().contiguous().to(torch.bfloat16)
        raw = t.view(torch.int16).numpy().tobytes()
        header[name] = {"dtype": "BF16", "shape": list(t.shape), "data_offsets": [at, at + len(raw)]}
        blobs.append(raw)
        at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    return at


def load(folder):
    """The model of a checkpoint folder, in float32; the heads' widths are read off the tensors."""
    config = json.loads((Path(folder) / "config.json").read_text())
    tensors = read_tensors(folder)
    width = tensors["heatmap.mask_tokens.weight"].shape[1]
    hidden = tensors["heatmap.transformer.layers.0.mlp.lin1.weight"].shape[0]
    net = ImageDoctor(config, width, hidden)
    net.load_state_dict(tensors)
    return net


def save(folder, net, base):
    """Writes net to folder with the configuration and tokenizer files of the folder base."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if Path(base).resolve() != folder.resolve():
            shutil.copyfile(Path(base) / name, folder / name)
    write_tensors(folder, net.state_dict())


def write_tensors(folder, tensors):
    """Writes two shards, the heads' tensors in the second, and their index."""
    folder, shards = Path(folder), {1: {}, 2: {}}
    for name, t in tensors.items():
        shards[1 if name.startswith(("model.", "visual.", "lm_head.")) else 2][name] = t
    where, total = {}, 0
    for number, part in shards.items():
        file = f"model-{number:05d}-of-00002.safetensors"
        total += write_shard(folder / file, part)
        where.update(dict.fromkeys(part, file))
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
