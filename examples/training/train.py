"""Trains a small ImageDoctor on drawn scenes: first to see (stage 0), then to answer and to think (stages 1 and 2).

    python train.py --config configs/pocket.json --out OUT --seconds 480
    python train.py --config configs/pocket.json --out OUT2 --resume OUT --seconds 480

A run is a schedule of so many steps, cut into pieces: each goes on from where the
one it resumes ended, with what the optimisers knew, until the schedule is done or
--seconds of wall time are over, compiling included. OUT then holds checkpoint/ in
the released layout, and state.pt and progress.json for the next piece.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import torch.nn.functional as F

import checkpoint
import losses
import model
from graph import Ahead, Captured, Plain, own_stream
from loader import Loader
from muon import Muon
from probes import Probes, background_loss, layers_read, patch_loss
from samples import APPRAISED, Text, layout
from scenes.heldout import SIDE
from scenes.render import LABEL_SIDE, Renderer

HERE = Path(__file__).resolve().parent
PROBES_ALONE = 100  # steps in which probes that are new to a trained model learn to read it, and it stays as it is
LOG_EVERY = 100
MATRICES = ("blocks.", "layers.", "merger.", "hidden_fcs", "transformer.")  # what Muon trains, where it is a matrix
UNUSED = ("mask_downscaling", "point_embed", "not_a_point")  # of SAM, and never run


def arguments():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("--config", default=str(HERE / "configs" / "pocket.json"))
    a.add_argument("--out", required=True)
    a.add_argument("--resume", help="the folder of the piece before")
    a.add_argument("--seconds", type=float, default=math.inf, help="wall time of this piece")
    a.add_argument("--schedule", type=int, help="steps of the whole schedule, in place of the configuration's")
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--steps", type=int, help="end this piece after so many steps")
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a.add_argument("--eager", action="store_true", help="do not compile")
    a.add_argument("--rehearse", action="store_true", help="only compile what the second stage needs, into the compiler's cache")
    a.add_argument("--launch", action="store_true", help="launch kernel by kernel, not as CUDA graphs")
    a.add_argument("--batch", help="the configuration's batch as JSON, for tests")
    a.add_argument("--workers", type=int)
    a.add_argument("--checkpoint", help="a folder in place of the configuration's")
    a.add_argument("--data", nargs="+", help="Parquet files in place of the configuration's")
    return a.parse_args()


class Log:
    def __init__(self, folder):
        self.start = time.time()
        self.file = open(folder / "log.txt", "a", encoding="utf-8")

    def __call__(self, *words):
        line = f"[{time.time() - self.start:6.1f}] " + " ".join(map(str, words))
        print(line, flush=True)
        self.file.write(line + "\n")
        self.file.flush()


def resizing(device):
    """The matrix (504,512) that resizes a side as the evaluator does: bicubic, with antialiasing."""
    matrix = F.interpolate(torch.eye(SIDE)[None, None], (model.IMAGE_SIDE, SIDE), mode="bicubic", antialias=True)[0, 0]
    return matrix.to(device, torch.float16 if device.type == "cuda" else torch.float32)


def resized(images, matrix):
    """Images (B,3,512,512) as the evaluator sees them, (B,3,504,504): of whole levels, and resized, which softens what is fine.

    In float16 some levels are off by one.
    """
    levels = (images.float() * 255).round().to(matrix.dtype)
    return (matrix @ levels @ matrix.T).float().round().clamp(0, 255) / 255


def patches_seen(images, matrix):
    """resized's images as patches (B,1296,588), in bfloat16 on a GPU."""
    patches = model.patchify(resized(images, matrix))
    return patches.bfloat16() if patches.is_cuda else patches


def rate(settings, fraction):
    """The learning rates' factor at a fraction of the schedule."""
    decay = max(0.0, fraction - settings["constant_until"]) / (1 - settings["constant_until"])
    return min(1.0, fraction / settings["warm_up"]) * (settings["final"] + (1 - settings["final"]) * 0.5 * (1 + math.cos(math.pi * decay)))


class Trainer:
    def __init__(self, args, config, log):
        self.args, self.config, self.log = args, config, log
        self.device = torch.device(args.device)
        self.base = Path(args.checkpoint or Path(args.config).resolve().parent.parent / config["checkpoint"]).resolve()
        self.shape = json.loads(args.batch) if args.batch else config["batch"]
        # Workers are forked before anything touches the device.
        resumed = json.loads((Path(args.resume) / "progress.json").read_text()) if args.resume else {}
        self.step, self.schedule = resumed.get("step", 0), args.schedule or config["steps"]
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32  # of states between layers
        self.text = Text(self.base, config.get("lengths"))
        self.data = config.get("data")
        if self.data and args.data:
            self.data["files"] = args.data
        self.loader = Loader(self.text, f"{args.seed} from {self.step}", self.shape, self.data, args.workers or config["workers"],
                             self.device.type == "cuda")
        self.layouts = {mode: layout(self.text, mode, k) for mode, (_, k) in self.shape.items()}
        torch.manual_seed(args.seed)
        self._build()
        if args.resume:
            self._resume(torch.load(Path(args.resume) / "state.pt", map_location=self.device))

    def _build(self):
        self.alone, self.waited = 0, 0.0
        compile = (lambda f: f) if self.args.eager else (lambda f: torch.compile(f, dynamic=False))
        if self.config.get("begin") == "checkpoint":
            self.net = checkpoint.load(self.base)
            self.alone = PROBES_ALONE
        else:
            heads = self.config["heads"]
            self.net = model.ImageDoctor(self.text.config, heads["width"], heads["hidden"])
            model.initialise(self.net)
        self.net.to(self.device).train()
        self.net.heatmap.to(memory_format=torch.channels_last)
        self.probes = Probes(self.text.config["hidden_size"]).to(self.device)
        self.renderer, self.resizing = Renderer(SIDE, self.device, compile), resizing(self.device)
        self.patches_seen = compile(patches_seen)
        self.masks = {m: v.mask().to(self.device) for m, v in self.layouts.items()}
        self.ropes = {m: self.net.model.rope(v.positions().to(self.device)) for m, v in self.layouts.items()}
        self.digits = torch.tensor(self.text.digits, device=self.device)
        self.prefix = {m: torch.tensor(self.text.prefix[m], device=self.device) for m in self.layouts}
        self.weights = losses.Weights(**self.config["weights"])
        self._optimisers()
        # One compiled function for all blocks of a kind; compiling instances would do it for each.
        model.VisionBlock.forward = compile(model.VisionBlock.forward)
        model.DecoderLayer.forward = compile(model.DecoderLayer.forward)
        self.net.heatmap.forward = compile(self.net.heatmap.forward)

    def _optimisers(self):
        for n, p in self.net.named_parameters():
            p.requires_grad_(not n.startswith(tuple(self.config.get("frozen", ()))))
        named = [(n, p) for n, p in self.net.named_parameters() if p.requires_grad and not any(u in n for u in UNUSED)]
        matrices = [(n, p) for n, p in named if p.ndim == 2 and any(m in n for m in MATRICES)]
        chosen = {id(p) for _, p in matrices}
        rest = [p for _, p in named if id(p) not in chosen]
        decay = self.config["weight_decay"]
        self.muon = Muon([(n.startswith("visual"), p) for n, p in matrices], decay["muon"])
        groups = [{"params": rest}, {"params": list(self.probes.parameters())}]
        # Rates are tensors, so that a captured step reads those of its time.
        cuda = self.device.type == "cuda"
        self.rates = {k: torch.tensor(0.0, device=self.device) for k in ("muon", "network", "probes")}
        groups = [dict(g, lr=self.rates[k]) for g, k in zip(groups, ("network", "probes"))]
        self.adam = torch.optim.AdamW(groups, lr=self.rates["network"], betas=(0.9, 0.98), weight_decay=decay["adam"],
                                      fused=cuda, capturable=cuda)
        self.parameters = [p for _, p in matrices] + rest + groups[1]["params"]
        self.log("parameters", sum(p.numel() for p in self.net.parameters()), "by Muon",
                 sum(p.numel() for _, p in matrices), "by AdamW", sum(p.numel() for p in rest), "on",
                 torch.cuda.get_device_name() if self.device.type == "cuda" else "the CPU")

    def run(self, rehearsal=None):
        start = last = time.time()
        begin, seeing = self.step, None
        kind = Captured if self.device.type == "cuda" and not self.args.launch else Plain
        ahead = Ahead(self._draw, self.device)
        while self.step < self.schedule and self.step - begin != self.args.steps and time.time() - self.log.start < self.args.seconds:
            fraction = self.step / self.schedule
            self._set_rates(fraction)
            if seeing != (fraction < self.config["see"]):
                self._synchronize()
                seeing, step = fraction < self.config["see"], None  # a graph's memory goes with it
                if rehearsal and not seeing:
                    rehearsal.wait()  # its memory is needed, and what it compiled
                step = kind(lambda batch, seeing=seeing: self._step(batch, seeing))
            (loss, figures), free = step(ahead.next())
            ahead.begin(free)
            if (self.step - begin) % LOG_EVERY == 0:
                images = sum(n for n, _ in self.shape.values()) * LOG_EVERY
                self.log(self.step, f"{fraction:.3f} loss {loss.item():.3f}", " ".join(f"{k} {float(v):.3f}" for k, v in figures.items()),
                         f"images/s {images / max(1e-9, time.time() - last):.0f} waited {self.waited:.1f}")
                last = time.time()
            self.step += 1
        self.loader.close()
        self._synchronize()
        if self.device.type == "cuda":
            self.log("memory", round(torch.cuda.max_memory_allocated() / 2 ** 30, 1), "GiB")
        self.log("trained", self.step - begin, "steps in", round(time.time() - start, 1), "s:",
                 "finished" if self.step == self.schedule else f"{self.step} of {self.schedule}")

    def _synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def rehearse(self):
        """Compiles heatmaps and language model, forwards and backwards, on inputs of the shapes and types that _step has."""
        width = self.text.config["hidden_size"]
        zeros = lambda *shape, dtype=torch.float32: torch.zeros(*shape, dtype=dtype, device=self.device, requires_grad=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda", cache_enabled=False):
            n = sum(max(1, count // 2) for count, _ in self.shape.values())
            self.net.heatmaps(zeros(n, model.IMAGE_TOKENS, width), zeros(n, 2, width)).float().sum().backward()
            for mode, (count, _) in self.shape.items():
                plan = self.layouts[mode]
                x = zeros(count, plan.length, width, dtype=self.dtype)
                self.net.hidden(x, self.ropes[mode], self.masks[mode], plan.pack).float().sum().backward()
        self.loader.close()
        self.log("rehearsed")

    def _set_rates(self, fraction):
        settings = self.config["learning_rate"]
        alone = self.step < self.alone
        factor = 0.0 if alone else rate(settings, fraction)
        self.rates["muon"].fill_(settings["muon"] * factor)
        self.rates["network"].fill_(settings["adam"] * factor)
        self.rates["probes"].fill_(settings["adam"] * (1 if alone else factor))

    def _step(self, batch, seeing):
        """A step on what _draw gave. Gives the loss and figures for the log."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda", cache_enabled=False):
            loss, figures = self.loss(batch, seeing)
        loss.backward()
        figures["norm"] = torch.nn.utils.clip_grad_norm_([p for p in self.parameters if p.grad is not None], 1.0)
        self.muon.step(self.rates["muon"])
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        return loss.detach(), figures

    @torch.no_grad()
    def _draw(self):
        """The next batch on the device: patches, heat, label of what patches show, and the texts."""
        before = time.time()
        batch = self.loader.next()
        self.waited += time.time() - before
        patches, heat, label = self.pixels(batch)
        drawn = {"patches": patches, "heat": heat}
        if label is not None:
            drawn.update(label=label, **{k: batch[k].to(self.device, non_blocking=True) for k in ("frame", "appraisal")})
        drawn.update({k: v.to(self.device, non_blocking=True) for k, v in batch.items() if "." in k})
        return drawn

    def loss(self, batch, seeing):
        """The loss of a batch and figures for the log; seeing trains the vision tower alone."""
        image = self.net.visual(batch["patches"]).float()
        heat, label = batch["heat"], batch.get("label")
        total, figures = 0.0, {}
        if label is not None:
            patches, figures["shape"] = patch_loss(self.probes, image, label, F.adaptive_avg_pool2d(heat[:, 1], LABEL_SIDE),
                                                  batch["appraisal"][:, APPRAISED:])
            behind, figures["pattern"] = background_loss(self.probes, image, batch["frame"])
            behind = self.weights.background * behind
            if seeing:
                return patches + behind, figures
            total = self.weights.patches * patches + behind
        asks, asked, begin = [], [], 0
        for mode, (count, _) in self.shape.items():
            mine = {k.split(".")[1]: v for k, v in batch.items() if k.startswith(mode + ".")}
            if label is not None:
                mine["appraisal"] = batch["appraisal"][begin:begin + count]
            loss, states, more = self._texts(mode, image[begin:begin + count], mine)
            total = total + loss
            half = max(1, count // 2)  # the convolutions are dear: heatmaps of half of the images
            asks.append(states[:half])
            asked.append(slice(begin, begin + half))
            begin += count
            figures.update({f"{mode}.{k}": v for k, v in more.items()})
        asks, image, heat = torch.cat(asks), *(torch.cat([x[s] for s in asked]) for x in (image, heat))
        loss, relative = losses.heat_loss(self.weights, self.net.heatmaps(image, asks.to(image.dtype)), heat)
        total = total + loss + self.weights.coarse * losses.P.coarse_loss(self.probes, asks, heat)
        figures.update(misalignment=relative[0], artifact=relative[1])
        return total, figures

    def pixels(self, batch):
        """Patches (B,1296,588), heat (B,2,288,288) and what patches show, None for annotated images."""
        if not self.data:
            images, heat, label = self.renderer(batch["slots"], batch["regions"], batch["frame"], batch["count"].tolist())
            return self.patches_seen(images, self.resizing), heat, label
        images, heat = (batch[k].to(self.device, non_blocking=True).float() / 255 for k in ("images", "heat"))
        return model.patchify(images), heat, None

    def _texts(self, mode, image, batch):
        plan = self.layouts[mode]
        n = len(image)
        ids = torch.zeros(n, plan.length, dtype=torch.long, device=self.device)
        ids[:, :plan.prefix] = self.prefix[mode]
        ids[:, plan.prefix:plan.prefix + plan.branches * plan.branch] = batch["ids"].flatten(1)
        read = layers_read(len(self.net.model.layers))
        tap = dict.fromkeys(read)
        x = self.net.embed(ids, image, plan.start).to(self.dtype)
        hidden = self.net.hidden(x, self.ropes[mode], self.masks[mode], plan.pack, tap=tap)
        return losses.branch_losses(self.net, self.probes, self.weights, self.digits, mode, plan, hidden,
                                    [tap[k] for k in read], batch)

    def save(self):
        """Writes what is learnt. progress.json comes last: a folder that has it is whole."""
        out = Path(self.args.out)
        checkpoint.save(out / "checkpoint", self.net, self.base)
        torch.save({k: part.state_dict() for k, part in self._parts().items()}, out / "state.pt")
        (out / "progress.json").write_text(json.dumps({"step": self.step, "schedule": self.schedule, "seed": self.args.seed}))
        self.log("saved", out)

    def _resume(self, state):
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        for group, rate in zip(self.adam.param_groups, ("network", "probes")):
            group["lr"] = self.rates[rate]  # loading put another tensor in its place

    def _parts(self):
        return {"net": self.net, "probes": self.probes, "muon": self.muon, "adam": self.adam}


def _rehearsal(args, out):
    """Another process that compiles what the second stage needs, while the vision tower learns to see."""
    with open(out / "rehearsal.txt", "w") as told:
        return subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "--out", str(out / "rehearsal"), "--rehearse", "--workers", "1"],
                                stdout=told, stderr=told)


def main():
    args = arguments()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    if hasattr(torch, "_dynamo"):
        torch._dynamo.config.cache_size_limit = 64
    config = json.loads(Path(args.config).read_text())
    rehearsal = _rehearsal(args, out) if config["see"] and not (args.resume or args.eager or args.rehearse) and args.device.startswith("cuda") else None
    trainer = Trainer(args, config, Log(out))
    with own_stream(trainer.device):
        if args.rehearse:
            trainer.rehearse()
            os._exit(0)
        trainer.run(rehearsal)
    trainer.save()
    os._exit(0)  # workers and threads have nothing to finish


if __name__ == "__main__":
    main()
