"""What completions of think mode earn: the twelve rewards of ImageDoctor's published run, from a server's /v1/rft."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

import densereward
from densereward.integrations.rft import completion_rewards
from scenes.truth import write_answer

PIXELS = 512  # of the image on whose side the published rewards count a box's coordinates
SCORE = re.compile(r"(score: [\d.]+)\n")
BOX = re.compile(r'"box_2d":\[(\d+),(\d+),(\d+),(\d+)\]')
IN_FLIGHT = 8


def published(text):
    """A text of the pocket in the form that the rewards read: scores that a semicolon ends, boxes in pixels, no end token."""
    text = SCORE.sub(r"\1;\n", text.replace("<|im_end|>", ""))
    scale = lambda m: '"box_2d":[%s]' % ",".join(str(round(int(v) * PIXELS / 1000)) for v in m.groups())
    return BOX.sub(scale, text)


class Rewards(NamedTuple):
    """Of N groups of G completions."""
    sums: np.ndarray  # (N,G)
    advantages: np.ndarray  # (N,G), relative to the group
    means: dict  # of each of the twelve, and of the format


class Judge:
    """A server of this machine and its rewards."""

    def __init__(self, program=None):
        self.server = densereward.LocalServer(program=program)
        self.client = densereward.Client(self.server.url)
        self.pool = ThreadPoolExecutor(IN_FLIGHT)

    def __call__(self, truths, heat, texts, maps):
        """truths of N scenes with their heat (N,2,288,288); texts (N lists of G) with the maps that came with them (N,G,2,288,288)."""
        found = list(self.pool.map(self._group, truths, heat, texts, maps))
        means = {k: float(np.mean([f.rewards[k].mean() for f in found])) for k in found[0].rewards}
        means["format"] = float(np.mean([f.format.mean() for f in found]))
        return Rewards(np.stack([f.sums for f in found]), np.stack([f.advantages for f in found]), means)

    def _group(self, truth, heat, texts, maps):
        solution = published("<answer>" + write_answer(truth))
        return completion_rewards(self.client, [published(t) for t in texts], [solution] * len(texts), heat[:1], heat[1:],
                                  predicted_misalignment=maps[:, 0], predicted_artifact=maps[:, 1])

    def close(self):
        self.client.close()
        self.server.stop()
