#!/usr/bin/env python3
"""Makes openclip/, a tiny random model of open_clip in a torch file as HPSv2 is published, with what open_clip makes of images and texts
in float64; and head.pth, an aesthetic head as LAION's module saves it. Images and prompts are make.py's.

Needs torch, open_clip_torch 3.3, transformers 5, numpy and Pillow.

    python3 make_openclip.py
"""
import gzip
import json
import os
import shutil
import sys

import numpy as np
import open_clip
import torch
from PIL import Image
from open_clip.tokenizer import _clean_lower
from transformers import CLIPTokenizer

sys.argv = [sys.argv[0], "--import"]
here = os.path.dirname(os.path.abspath(__file__))
source = open(os.path.join(here, "make.py")).read()
make = {"__file__": os.path.join(here, "make.py"), "__name__": "make"}
exec(source[:source.index("for name in MODELS:")], make)

folder = os.path.join(here, "openclip")
os.makedirs(folder, exist_ok=True)
config = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 28, "layers": 2, "width": 48, "head_width": 16, "patch_size": 7, "mlp_ratio": 2},
    "text_cfg": {"context_length": 20, "vocab_size": 811, "width": 40, "heads": 5, "layers": 2},
}
mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.25]
torch.manual_seed(11)
model = open_clip.model.CLIP(**config)
for p in model.parameters():
    p.data.normal_(0, 0.2) if p.dim() > 1 else p.data.add_(torch.randn_like(p) * 0.1)
# As training saves it: in half precision, within DistributedDataParallel, beside other things.
model.half().float()
state = {"module." + k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
torch.save({"epoch": 3, "name": "tiny", "state_dict": state}, os.path.join(folder, "open_clip_pytorch_model.bin"))
with open(os.path.join(folder, "open_clip_config.json"), "w") as f:
    json.dump({"model_cfg": config, "preprocess_cfg": {"mean": mean, "std": std}}, f, indent=1)
shutil.copy(make["tokenizer_file"], os.path.join(folder, "tokenizer.json"))

model.load_state_dict({k.removeprefix("module."): v.float() for k, v in state.items()})
model = model.eval().double()
transform = open_clip.image_transform(28, is_train=False, mean=mean, std=std)
square = type(transform)(transform.transforms[:2])  # resize, crop
images = [make["image"](i, s) for i, s in enumerate(make["SIZES"])]
tokenizer = CLIPTokenizer.from_pretrained(folder)
# The last prompt's end token is text to open_clip.
prompts = make["PROMPTS"][:-1] + ["It’s “a ﬁne” ＣＡＴ &amp;amp; dog…  ΣΊΣΥΦΟΣ"]
ids = [tokenizer(_clean_lower(p), truncation=True, max_length=20)["input_ids"] for p in prompts]
tokens = torch.tensor([i + [0] * (20 - len(i)) for i in ids])
with torch.no_grad():
    # float32 pixels, as open_clip has them
    image = model.encode_image(torch.stack([transform(Image.fromarray(x)) for x in images]).double(), normalize=True)
    text = model.encode_text(tokens, normalize=True)
    logits = model.logit_scale.exp() * image @ text.T
b64 = make["b64"]
with gzip.GzipFile(os.path.join(folder, "cases.json.gz"), "wb", mtime=0) as f:
    f.write(json.dumps({
        "sizes": make["SIZES"], "images": [b64(x, "u1") for x in images],
        "squares": [b64(np.asarray(square(Image.fromarray(x))), "u1") for x in images],
        "prompts": prompts, "ids": ids, "text": b64(text), "image": b64(image), "logits": b64(logits)}).encode())


class Head(torch.nn.Module):  # as flow_grpo's aesthetic_scorer.py, which is LAION's
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(24, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))


head = Head()
torch.save(head.state_dict(), os.path.join(here, "head.pth"))
with torch.no_grad():
    value = head.layers.eval()(torch.arange(24) / 24).item()
with open(os.path.join(here, "head.json"), "w") as f:
    json.dump({"input": "arange(24)/24", "value": value}, f)
