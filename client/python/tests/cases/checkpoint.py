"""Variants of the miniature checkpoint, written without a library of safetensors."""

import json
import pathlib
import shutil
import struct

from conftest import ROOT

NANO = ROOT / "engine/imagedoctor/nano"
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = "model.safetensors.index.json"
SETTINGS = ["config.json", "preprocessor_config.json", "tokenizer.json"]


def copied(folder: pathlib.Path, change=lambda config: None) -> pathlib.Path:
    """The whole checkpoint, its config.json changed."""
    _settings(folder, change)
    for name in (*SHARDS, INDEX):
        shutil.copy(NANO / name, folder)
    return folder


def renamed(folder: pathlib.Path, name) -> pathlib.Path:
    """One file of all tensors, called what ``name`` calls them."""
    _settings(folder)
    tensors = {name(old): tensor for shard in SHARDS for old, tensor in _tensors(NANO / shard).items()}
    header, offset = {}, 0
    for new, (entry, data) in tensors.items():
        header[new] = {**entry, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(data for _, data in tensors.values())
    return folder


def linked(folder: pathlib.Path) -> pathlib.Path:
    """One shard lies in another folder, behind a link, the other beside the link."""
    base = folder.with_name(folder.name + "-base")
    base.mkdir()
    copied(folder)
    (folder / SHARDS[0]).rename(base / SHARDS[0])
    (folder / SHARDS[0]).symlink_to(base / SHARDS[0])
    return folder


def _settings(folder, change=lambda config: None):
    folder.mkdir()
    for name in SETTINGS:
        shutil.copy(NANO / name, folder)
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def _tensors(path):
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    data = raw[8 + length :]
    entries = {name: entry for name, entry in json.loads(raw[8 : 8 + length]).items() if name != "__metadata__"}
    return {name: (entry, data[slice(*entry["data_offsets"])]) for name, entry in entries.items()}
