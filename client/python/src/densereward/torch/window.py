"""MixGRPO's window of steps (arXiv 2507.21802): those inside are sampled by the SDE and
trained on, the others are solved as an ODE. After GRPOTrainingStates of
Tencent-Hunyuan/MixGRPO, fastvideo/utils/grpo_states.py; plain Python."""

from __future__ import annotations

import math
import random
from typing import Optional

STRATEGIES = ("progressive", "random", "decay", "exp_decay")


class Window:
    """The place of the window among ``steps`` steps. ``size`` is group_size there and
    ``interval`` iters_per_group, the iterations before it moves by ``stride`` (its size by
    default). "decay" shortens the interval to ``min_interval`` (a quarter) as it moves,
    "exp_decay" by exp(-decay_rate max(0, place - decay_from)), "random" draws a place
    every iteration."""

    def __init__(
        self,
        steps: int,
        size: int,
        interval: int,
        *,
        strategy: str = "progressive",
        start: int = 0,
        stride: Optional[int] = None,
        roll_back: bool = False,
        min_interval: Optional[int] = None,
        decay_from: int = 13,
        decay_rate: float = 0.1,
    ) -> None:
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy {strategy!r} is not one of {', '.join(STRATEGIES)}")
        if steps < 1 or size < 1 or interval < 1 or not 0 <= start <= steps or (strategy == "random" and size > steps):
            raise ValueError(f"a window of {size} among {steps} steps from {start}, moving every {interval} iterations")
        self.steps, self.size, self.start, self.place = steps, size, start, start
        self._strategy, self._interval, self._stride = strategy, interval, stride or size
        self._least = max(1, interval // 4) if min_interval is None else min_interval
        self._roll_back, self._decay_from, self._decay_rate, self._iteration = roll_back, decay_from, decay_rate, 0

    def inside(self) -> range:
        """The steps inside; none past the last."""
        return range(self.place, min(self.place + self.size, self.steps))

    def advance(self, rng: Optional[random.Random] = None) -> None:
        """Ends a training iteration. "random" draws from ``rng``."""
        if self._strategy == "random":
            self.place = (rng or random.Random()).randint(0, self.steps - self.size)
            return
        self._iteration += 1
        if self._iteration >= self._iterations():
            self._iteration, self.place = 0, self.place + self._stride
        if self.place > self.steps:
            self.place = self.start if self._roll_back else self.steps
            self._iteration = 0 if self._roll_back else self._iteration

    def _iterations(self) -> int:
        if self._strategy == "decay":
            progress = self.place / self.steps
            return max(self._least, int(self._interval * (1 - progress) + self._least * progress))
        if self._strategy == "exp_decay":
            return math.ceil(self._interval * math.exp(-self._decay_rate * max(0, self.place - self._decay_from)))
        return self._interval
