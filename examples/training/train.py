"""Trains a small ImageDoctor on drawn scenes: first to see (stage 0), then to answer and to think (stages 1 and 2).

    python train.py --config configs/pocket.json --out OUT --seconds 480 --until 0.5
    python train.py --config configs/pocket.json --out OUT2 --resume OUT --seconds 480 --until 1

A run is a schedule from 0 to 1, cut into pieces: each goes on from where the one
it resumes ended, up to --until, in --seconds of wall time, compiling included.
OUT then holds checkpoint/ in the released layout, and probes.pt and progress.json
for the next piece.
"""

import argparse
import json
import math
import os
import queue
import threading
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

import torch
import torch.multiprocessing as multiprocessing
import torch.nn.functional as F

import annotated
import checkpoint
import losses
import model
from muon import Muon
from probes import Probes, background_loss, layers_read, patch_loss
from samples import Text, layout, stream
from scenes.heldout import SIDE
from scenes.render import LABEL_SIDE, Renderer

HERE = Path(__file__).resolve().parent
WARM_RESUME = 60  # steps until a resumed piece, whose momentum starts from nothing, is at full rate
PROBES_ALONE = 100  # steps in which probes that are new to a trained model learn to read it, and it stays as it is
LOG_EVERY = 100
MATRICES = ("blocks.", "layers.", "merger.", "hidden_fcs", "transformer.")  # what Muon trains, where it is a matrix
UNUSED = ("mask_downscaling", "point_embed", "not_a_point")  # of SAM, and never run


def arguments():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("--config", default=str(HERE / "configs" / "pocket.json"))
    a.add_argument("--out", required=True)
    a.add_argument("--resume", help="the folder of the piece before")
    a.add_argument("--seconds", type=float, default=480, help="wall time of this piece")
    a.add_argument("--until", type=float, default=1.0, help="where in the schedule this piece ends")
    a.add_argument("--restart", action="store_true", help="begin the schedule anew with what is resumed")
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--steps", type=int, help="stop after so many steps at the latest")
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a.add_argument("--eager", action="store_true", help="do not compile")
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


class Loader:
    """Batches from worker processes, as pinned tensors."""

    def __init__(self, text, seed, shape, data, workers, pin):
        self.shared = multiprocessing.Queue(2 * workers)
        self.ready = queue.Queue(3)
        self.pin = pin
        self.processes = [multiprocessing.Process(target=_produce, args=(self.shared, text, seed, w, shape, data), daemon=True)
                          for w in range(workers)]
        for p in self.processes:
            p.start()
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self):
        while True:
            tensors = {k: torch.from_numpy(v) for k, v in self.shared.get().items()}
            self.ready.put({k: t.pin_memory() if self.pin else t for k, t in tensors.items()})

    def next(self):
        try:
            return self.ready.get(timeout=120)
        except queue.Empty:
            alive = sum(p.is_alive() for p in self.processes)
            raise RuntimeError(f"no batch for 120 s; {alive} of {len(self.processes)} workers are alive") from None

    def close(self):
        for p in self.processes:
            p.kill()


def _produce(shared, text, seed, worker, shape, data):
    torch.set_num_threads(1)
    for batch in annotated.stream(text, seed, worker, shape, data) if data else stream(text, seed, worker, shape):
        shared.put(batch)


def resized(images):
    """Images (B,3,512,512) as the evaluator sees them, (B,3,504,504): of whole levels, and resized, which softens what is fine."""
    images = (images.float() * 255).round()
    return F.interpolate(images, (model.IMAGE_SIDE,) * 2, mode="bicubic", antialias=True).round().clamp(0, 255) / 255


def rate(settings, fraction, since):
    """The learning rates' factor at a fraction of the schedule, since steps after a piece began; 0 before."""
    if since < 0:
        return 0.0
    warm = min(1.0, fraction / settings["warm_up"], (since + 1) / WARM_RESUME)
    decay = max(0.0, fraction - settings["constant_until"]) / (1 - settings["constant_until"])
    return warm * (settings["final"] + (1 - settings["final"]) * 0.5 * (1 + math.cos(math.pi * min(1.0, decay))))


class Trainer:
    def __init__(self, args, config, log):
        self.args, self.config, self.log = args, config, log
        self.device = torch.device(args.device)
        self.base = Path(args.checkpoint or Path(args.config).resolve().parent.parent / config["checkpoint"]).resolve()
        self.shape = json.loads(args.batch) if args.batch else config["batch"]
        # Workers are forked before anything touches the device.
        resumed = json.loads((Path(args.resume) / "progress.json").read_text()) if args.resume else {}
        self.begin = 0.0 if args.restart else resumed.get("fraction", 0.0)
        self.step = resumed.get("step", 0)
        self.text = Text(self.base, config.get("lengths"))
        self.data = config.get("data")
        if self.data and args.data:
            self.data["files"] = args.data
        self.loader = Loader(self.text, f"{args.seed} from {self.step}", self.shape, self.data, args.workers or config["workers"],
                             self.device.type == "cuda")
        self.layouts = {mode: layout(self.text, mode, k) for mode, (_, k) in self.shape.items()}
        torch.manual_seed(args.seed)
        self._build(args.resume)

    def _build(self, resume):
        self.alone = 0
        compile = (lambda f: f) if self.args.eager else (lambda f: torch.compile(f, dynamic=False))
        if resume:
            self.net = checkpoint.load(Path(resume) / "checkpoint")
        elif self.config.get("begin") == "checkpoint":
            self.net = checkpoint.load(self.base)
            self.alone = PROBES_ALONE
        else:
            heads = self.config["heads"]
            self.net = model.ImageDoctor(self.text.config, heads["width"], heads["hidden"])
            model.initialise(self.net)
        self.net.to(self.device).train()
        self.net.heatmap.to(memory_format=torch.channels_last)
        self.probes = Probes(self.text.config["hidden_size"]).to(self.device)
        if resume:
            # A probe that is new since then begins with nothing.
            self.probes.load_state_dict(torch.load(Path(resume) / "probes.pt", map_location=self.device), strict=False)
        self.renderer = Renderer(SIDE, self.device, compile)
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
        self.adam = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), weight_decay=decay["adam"],
                                      **({"fused": True} if self.device.type == "cuda" else {}))
        self.parameters = [p for _, p in matrices] + rest + groups[1]["params"]
        self.log("parameters", sum(p.numel() for p in self.net.parameters()), "by Muon",
                 sum(p.numel() for _, p in matrices), "by AdamW", sum(p.numel() for p in rest), "on",
                 torch.cuda.get_device_name() if self.device.type == "cuda" else "the CPU")

    def run(self):
        start = last = time.time()
        since, fraction, waited = 0, self.begin, 0.0
        while fraction < self.args.until and since != self.args.steps:
            before = time.time()
            batch = self.loader.next()
            waited += time.time() - before
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                loss, figures = self.loss(batch, fraction < self.config["see"])
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_([p for p in self.parameters if p.grad is not None], 1.0)
            rates = self.config["learning_rate"]
            factor = rate(rates, fraction, since - self.alone)
            self.muon.step(rates["muon"] * factor)
            network, probes = self.adam.param_groups
            network["lr"] = rates["adam"] * factor
            probes["lr"] = rates["adam"] * (factor if since >= self.alone else 1)
            self.adam.step()
            self.adam.zero_grad(set_to_none=True)
            if since % LOG_EVERY == 0:
                images = sum(n for n, _ in self.shape.values()) * LOG_EVERY
                self.log(self.step, f"{fraction:.3f} loss {loss.item():.3f} norm {norm.item():.2f}",
                         " ".join(f"{k} {float(v):.3f}" for k, v in figures.items()),
                         f"images/s {images / max(1e-9, time.time() - last):.0f} waited {waited:.1f}")
                last = time.time()
            since, self.step = since + 1, self.step + 1
            elapsed = time.time() - start
            fraction = min(self.args.until, self.begin + (self.args.until - self.begin) * elapsed / self.args.seconds)
        self.loader.close()
        self.log("trained", since, "steps in", round(time.time() - start, 1), "s")
        if self.device.type == "cuda":
            self.log("memory", round(torch.cuda.max_memory_allocated() / 2 ** 30, 1), "GiB")
        return fraction

    def loss(self, batch, seeing):
        """The loss of a batch and figures for the log; seeing trains the vision tower alone."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            images, heat, label = self.pixels(batch)
        image = self.net.visual(model.patchify(images)).float()
        total, figures = 0.0, {}
        if label is not None:
            patches, figures["shape"] = patch_loss(self.probes, image, label, F.adaptive_avg_pool2d(heat[:, 1], LABEL_SIDE))
            behind, figures["pattern"] = background_loss(self.probes, image, batch["frame"].to(self.device))
            behind = self.weights.background * behind
            if seeing:
                return patches + behind, figures
            total = self.weights.patches * patches + behind
        asks, asked, begin = [], [], 0
        for mode, (count, _) in self.shape.items():
            mine = {k.split(".")[1]: v.to(self.device, non_blocking=True) for k, v in batch.items()
                    if k.startswith(mode + ".")}
            loss, states, more = self._texts(mode, image[begin:begin + count], mine)
            total = total + loss
            half = max(1, count // 2)  # the convolutions are dear: heatmaps of half of the images
            asks.append(states[:half])
            asked += range(begin, begin + half)
            begin += count
            figures.update({f"{mode}.{k}": v for k, v in more.items()})
        asks, asked = torch.cat(asks), torch.tensor(asked, device=self.device)
        loss, relative = losses.heat_loss(self.weights, self.net.heatmaps(image[asked], asks.to(image.dtype)), heat[asked])
        total = total + loss + self.weights.coarse * losses.P.coarse_loss(self.probes, asks, heat[asked])
        figures.update(misalignment=relative[0], artifact=relative[1])
        return total, figures

    def pixels(self, batch):
        """Images (B,3,504,504), heat (B,2,288,288) and what patches show, None for annotated images."""
        if not self.data:
            images, heat, label = self.renderer(batch["slots"], batch["regions"], batch["frame"], int(batch["count"]))
            return resized(images), heat, label
        images, heat = (batch[k].to(self.device, non_blocking=True).float() / 255 for k in ("images", "heat"))
        return images, heat, None

    def _texts(self, mode, image, batch):
        plan = self.layouts[mode]
        n = len(image)
        ids = torch.zeros(n, plan.length, dtype=torch.long, device=self.device)
        ids[:, :plan.prefix] = self.prefix[mode]
        ids[:, plan.prefix:plan.prefix + plan.branches * plan.branch] = batch["ids"].flatten(1)
        read = layers_read(len(self.net.model.layers))
        tap = dict.fromkeys(read)
        hidden = self.net.hidden(self.net.embed(ids, image, plan.start), self.ropes[mode], self.masks[mode], plan.pack, tap=tap)
        return losses.branch_losses(self.net, self.probes, self.weights, self.digits, mode, plan, hidden,
                                    [tap[k] for k in read], batch)

    def save(self, fraction):
        out = Path(self.args.out)
        checkpoint.save(out / "checkpoint", self.net, self.base)
        torch.save(self.probes.state_dict(), out / "probes.pt")
        (out / "progress.json").write_text(json.dumps({"fraction": fraction, "step": self.step, "seed": self.args.seed}))
        self.log("saved", out)


def main():
    args = arguments()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    if hasattr(torch, "_dynamo"):
        torch._dynamo.config.cache_size_limit = 64
    trainer = Trainer(args, json.loads(Path(args.config).read_text()), Log(out))
    trainer.save(trainer.run())
    os._exit(0)  # workers and threads have nothing to finish


if __name__ == "__main__":
    main()
