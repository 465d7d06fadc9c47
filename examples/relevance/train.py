"""Trains a small CLIP on drawn scenes and their captions, by the contrastive loss alone.

    python train.py OUT --seconds 150

An experiment: what does the relevance map of a CLIP score show, where the place of every
object is known? No label of a place is used, as CLIP had none. OUT is a folder as
transformers writes it, in float16. Needs torch, numpy, transformers and tokenizers.
"""

import argparse
import json
import math
import multiprocessing
import os
import random
import sys
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from scenes.arrays import encode
from scenes.caption import Caption, Mention, _phrase, true_mentions, write_caption
from scenes.render import Renderer
from scenes.scene import draw_scene
from scenes.truth import judge
from scenes.vocabulary import BACKGROUNDS, COLOUR_NAMES, SHAPES, plural

SIDE, PATCH = 224, 16
MOST_TOKENS = 48  # of a caption in training
CHUNK = 64  # scenes that a worker draws at once
WARM = 150  # steps
PARTIAL = 0.25  # odds that a caption names one thing of several, as captions of the web do
MISTAKES = ("colour", "shape", "relation", "background", "count", "missing")  # one of them makes a caption wrong
WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
START, END = "<|startoftext|>", "<|endoftext|>"
SPLIT = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(WORDS), "removed", invert=True),
                                 pre_tokenizers.ByteLevel(add_prefix_space=False)])


def tokenizer(size=900):
    """Byte-level BPE in CLIP's form, of the scenes' words."""
    rng = random.Random("tokenizer")
    corpus = [write_caption(rng, draw_scene(rng, "any", False)).text for _ in range(3000)]
    corpus += [word for word in (*COLOUR_NAMES, *SHAPES, *map(plural, SHAPES), *BACKGROUNDS) for _ in range(50)]
    lower = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    learner.normalizer, learner.pre_tokenizer = lower, SPLIT
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=size, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False))
    merges = [tuple(m) for m in json.loads(learner.to_str())["model"]["merges"]]
    vocab = {}
    for token in [*alphabet, *(c + "</w>" for c in alphabet), *map("".join, merges), START, END]:
        vocab.setdefault(token, len(vocab))
    t = Tokenizer(models.BPE(vocab, merges, end_of_word_suffix="</w>", continuing_subword_prefix="", unk_token=END))
    t.normalizer, t.pre_tokenizer = lower, SPLIT
    t.add_special_tokens([START, END])
    t.post_processor = processors.RobertaProcessing((END, vocab[END]), (START, vocab[START]), trim_offsets=False, add_prefix_space=False)
    return t


def captions(rng, scene):
    """A true caption of a scene and, mostly, one that is wrong in a word."""
    if rng.random() < PARTIAL:
        m = rng.choice(true_mentions(rng, scene))
        right = _phrase(rng, Caption([Mention(m.colour, m.shape, "", m.count)]))
    else:
        right = write_caption(rng, scene, []).text
    return right, write_caption(rng, scene, [rng.choice(MISTAKES)]).text


def produce(queue, words, seed, size):
    """Puts chunks of size scenes: the renderer's arrays, how many slots, and tokens (size,2,MOST_TOKENS)."""
    torch.set_num_threads(1)
    rng, end = random.Random(seed), words.token_to_id(END)
    while True:
        arrays, ids = [], np.full((size, 2, MOST_TOKENS), end, np.int64)
        for i in range(size):
            scene = draw_scene(rng, "seen", False)
            arrays.append(encode(scene, judge(scene, Caption([]))))
            for k, text in enumerate(captions(rng, scene)):
                row = words.encode(text).ids[:MOST_TOKENS]
                ids[i, k, :len(row)] = row
        queue.put((*(np.stack([a[k] for a in arrays]) for k in range(3)), max(a[3] for a in arrays), ids))


class Scenes:
    def __init__(self, words, workers, seed, batch):
        self.size = min(CHUNK, batch)
        self.queue = multiprocessing.Queue(6 * workers)
        self.workers = [multiprocessing.Process(target=produce, args=(self.queue, words, f"relevance {seed} {w}", self.size), daemon=True) for w in range(workers)]
        for w in self.workers:
            w.start()

    def batch(self, size):
        chunks = [self.queue.get(timeout=120) for _ in range(size // self.size)]
        arrays = [torch.from_numpy(np.concatenate([c[k] for c in chunks])) for k in (0, 1, 2, 4)]
        return arrays[:3], max(c[3] for c in chunks), arrays[3]

    def close(self):
        for w in self.workers:
            w.kill()


def made(words):
    """An untrained CLIP of 6.5 million parameters."""
    import transformers
    text = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 3, "num_attention_heads": 3, "hidden_act": "gelu",
            "vocab_size": words.get_vocab_size(), "bos_token_id": words.token_to_id(START), "eos_token_id": words.token_to_id(END)}
    vision = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 4, "hidden_act": "gelu",
              "image_size": SIDE, "patch_size": PATCH}
    torch.manual_seed(1)
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=256))


class Preprocessor:
    """As CLIP's processor has it, for images that have the size already."""

    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

    def __init__(self, device):
        self.m, self.s = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (self.mean, self.std))

    def __call__(self, images):
        return (images - self.m) / self.s

    def save(self, folder):
        (folder / "preprocessor_config.json").write_text(json.dumps({
            "image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"shortest_edge": SIDE}, "resample": 3, "do_center_crop": True,
            "crop_size": {"height": SIDE, "width": SIDE}, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
            "image_mean": self.mean, "image_std": self.std}))


def features(model, pixels, ids):
    """Embeddings of images (B,D), true captions (B,D) and wrong ones (B,D), each of length 1."""
    longest = int((ids != model.config.text_config.eos_token_id).sum(-1).max()) + 1
    image = model.visual_projection(model.vision_model(pixels).pooler_output)
    text = model.text_projection(model.text_model(ids.flatten(0, 1)[:, :longest]).pooler_output)
    text = F.normalize(text.float(), dim=-1).view(*ids.shape[:2], -1)
    return F.normalize(image.float(), dim=-1), text[:, 0], text[:, 1]


def contrast(scale, image, right, wrong):
    """CLIP's loss, to which the batch's wrong captions are further ones that no image has; and how often an image picks its own."""
    own = torch.arange(len(image), device=image.device)
    logits = scale * image @ torch.cat((right, wrong)).T
    loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits[:, :len(image)].T, own)) / 2
    return loss, (logits.argmax(1) == own).float().mean(), (logits[own, own] > logits[own, own + len(image)]).float().mean()


def rate(step, done):
    """The learning rate's factor at a step and a share of the time."""
    return min(1, (step + 1) / WARM) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1, done))))


def save(model, words, preprocessor, out):
    model.half().save_pretrained(out)
    words.save(str(out / "tokenizer.json"))
    preprocessor.save(out)


def train(options, began):
    words = tokenizer()
    scenes = Scenes(words, options.workers or max(1, os.cpu_count() - 2), options.seed, options.batch)
    device = torch.device(options.device)
    model, preprocessor = made(words).to(device).train(), Preprocessor(device)
    renderer = Renderer(SIDE, device, (lambda f: f) if options.eager else lambda f: torch.compile(f, dynamic=False))
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0}], lr=1e-3, betas=(0.9, 0.98),
                                  fused=device.type == "cuda")
    step, seen, means = 0, 0, []
    while (done := (time.time() - began) / options.seconds) < 1 and step != options.steps:
        arrays, count, ids = scenes.batch(options.batch)
        with torch.no_grad():
            images, _, _ = renderer(*arrays, None if device.type == "cuda" else count)
            pixels = preprocessor(images)
        for group in optimizer.param_groups:
            group["lr"] = options.rate * rate(step, done)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            image, right, wrong = features(model, pixels, ids.to(device, non_blocking=True))
        loss, picked, told = contrast(model.logit_scale.exp(), image, right, wrong)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.logit_scale.data.clamp_(0, math.log(100))
        step, seen = step + 1, seen + len(image)
        means.append(torch.stack((loss, picked, told)).detach())
        if step % options.log_every == 0:
            values = torch.stack(means).mean(0).tolist()
            means = []
            if not math.isfinite(values[0]):
                sys.exit("train.py: the loss is no number any more; try a lower --rate")
            print(json.dumps({"step": step, "images": seen, "seconds": round(time.time() - began, 1), "loss": round(values[0], 4),
                              "picks its own": round(values[1], 4), "tells it from the wrong one": round(values[2], 4),
                              "scale": round(model.logit_scale.exp().item(), 2)}), flush=True)
    scenes.close()
    save(model, words, preprocessor, Path(options.out))


def main():
    began = time.time()
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("out")
    a.add_argument("--seconds", type=float, default=150, help="wall time, starting included [%(default)s]")
    a.add_argument("--batch", type=int, default=1024, help="[%(default)s]")
    a.add_argument("--rate", type=float, default=1e-3, help="learning rate at its highest [%(default)s]")
    a.add_argument("--steps", type=int, default=-1, help="stop after so many at the latest")
    a.add_argument("--log-every", type=int, default=50)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--workers", type=int)
    a.add_argument("--eager", action="store_true", help="do not compile the renderer")
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    train(a.parse_args(), began)


if __name__ == "__main__":
    main()
