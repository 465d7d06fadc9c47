"""The reward: images go to a DenseReward server, scores and maps come back while the trainer does something else.

R = alignment x plausibility, so that neither an empty image nor a wrong one that is tidy
pays. A sample that failed is left out of its group: it never counts as 0.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch

import densereward
import world

# What the artifact and the misalignment heatmap weigh in H.
BOTH, ARTIFACT = {"artifact": 0.5, "misalignment": 0.5}, {"artifact": 1.0, "misalignment": 0.0}
# Of BoxFlow-GRPO's reward map: what a box of importance 100 costs. R is at most 1.
BOX_PENALTY = 0.5


class Scored(NamedTuple):
    """N samples: rewards and scores (N), heat H (N,64,64) in [0,1], ok (N) whether it was scored; all on the trainer's device."""

    rewards: torch.Tensor
    alignment: torch.Tensor
    plausibility: torch.Tensor
    heat: torch.Tensor
    ok: torch.Tensor
    seconds: float


class Reward:
    def __init__(self, url, device, maps="both", think=False, threads=2):
        self.client = densereward.Client(url)
        self.device = device
        self.weights = {"heatmaps": ARTIFACT if maps == "artifact" else BOTH}
        self.think = think
        self.pool = ThreadPoolExecutor(threads)

    def submit(self, images, captions):
        """Scores images (N,3,64,64) in [0,1] in the background: a future of `Scored`."""
        pixels = (images * 255).round().byte().cpu().numpy()
        return self.pool.submit(self._score, pixels, [world.text(c) for c in captions.tolist()])

    def _score(self, pixels, prompts):
        start = time.perf_counter()
        if self.think:
            result = self.client.score(pixels, prompts, mode="think", returns="boxes", missing="error")
            heat = np.stack([box_heat(boxes or []) for boxes in result.boxes])
        else:
            result = self.client.score(pixels, prompts, grid=world.SIDE, weights=self.weights, missing="error")
            heat = 1 - np.asarray(result.dense.weight, np.float32)
        ok = np.array([e is None for e in result.errors])
        heat = np.where(ok[:, None, None], heat, 0)
        alignment, plausibility = result.scores["semantic_alignment"], result.scores["plausibility"]
        tensor = lambda a: torch.from_numpy(np.ascontiguousarray(a, np.float32)).to(self.device)
        return Scored(
            tensor(alignment * plausibility), tensor(alignment), tensor(plausibility), tensor(heat),
            torch.from_numpy(ok).to(self.device), time.perf_counter() - start,
        )

    def second(self, images, captions, evaluator):
        """A future of the mean R by another evaluator of the server, which no method trains on; samples that failed are left out."""
        pixels = (images * 255).round().byte().cpu().numpy()
        return self.pool.submit(self._second, pixels, [world.text(c) for c in captions.tolist()], evaluator)

    def _second(self, pixels, prompts, evaluator):
        result = self.client.score(pixels, prompts, evaluator=evaluator, returns=[])
        ok = np.array([e is None for e in result.errors])
        product = np.asarray(result.scores["semantic_alignment"]) * np.asarray(result.scores["plausibility"])
        return float(product[ok].mean())

    def close(self):
        self.pool.shutdown()
        self.client.close()


def box_heat(boxes):
    """BoxFlow-GRPO's penalty of boxes (in thousandths of the side) at every location, (64,64): the largest importance of a label, labels added."""
    maps = {}
    for box in boxes:
        x0, y0, x1, y1 = (int(np.floor(v * world.SIDE / 1000)) for v in box.box)
        one = maps.setdefault(box.label == "misalignment", np.zeros((world.SIDE, world.SIDE), np.float32))
        np.maximum(one[y0:y1, x0:x1], box.importance / 100, out=one[y0:y1, x0:x1])
    return BOX_PENALTY * sum(maps.values()) if maps else np.zeros((world.SIDE, world.SIDE), np.float32)
