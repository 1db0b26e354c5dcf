"""Learning-rate schedules."""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, inf, pi
from typing import Any

import numpy as np

from ..engine import DTypeError, ShapeError
from ..nn.functional.layers import real
from .optimizer import Optimizer


class WarmupCosine:
    """The learning rate rises evenly for `warmup` steps, then falls along half a cosine.

    Made with the optimiser, it sets the rate of the first step; `step()` after each
    `optimizer.step()` sets the next.  From step `total` on the rate is lr_min (Loshchilov and
    Hutter 2017, eq. 5, without restarts).

    Args:
        optimizer: its groups' `lr` are the highest rates.
        warmup: number of steps of the rise; the first has the rate lr/(warmup + 1).
        total: number of steps in all.
        lr_min: the lowest rate.

    Raises:
        ShapeError: not 0 ≤ warmup ≤ total, or lr_min is negative.
        DTypeError: something is of another kind.
    """

    def __init__(self, optimizer: Optimizer, warmup: int, total: int, lr_min: float = 0.0) -> None:
        if not isinstance(optimizer, Optimizer):
            raise DTypeError(f"WarmupCosine: expected an optimiser, got {type(optimizer).__name__}")
        lr_min = real("WarmupCosine", "lr_min", lr_min)
        for name, n in (("warmup", warmup), ("total", total)):
            if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
                raise DTypeError(f"WarmupCosine: {name} must be an integer, got {n!r:.80}")
        if not 0 <= warmup <= total or not 0 <= lr_min < inf:
            raise ShapeError(
                "WarmupCosine: expected 0 ≤ warmup ≤ total and lr_min ≥ 0, got "
                f"{warmup=}, {total=}, {lr_min=}"
            )
        self.optimizer, self.warmup, self.total, self.lr_min = optimizer, warmup, total, lr_min
        self.highest = [group["lr"] for group in optimizer.groups]
        self.done = 0
        self.apply()

    def rate(self, highest: float, done: int) -> float:
        """The learning rate after `done` steps."""
        if done < self.warmup:
            return highest * (done + 1) / (self.warmup + 1)
        progress = min((done - self.warmup) / max(self.total - self.warmup, 1), 1.0)
        return self.lr_min + (highest - self.lr_min) * (1 + cos(pi * progress)) / 2

    def apply(self) -> None:
        """Write the rates into the optimiser's groups."""
        for group, highest in zip(self.optimizer.groups, self.highest, strict=True):
            group["lr"] = self.rate(highest, self.done)

    def step(self) -> None:
        """Go on to the next step's rate."""
        self.done += 1
        self.apply()

    def state_dict(self) -> dict[str, int]:
        """Where the schedule stands."""
        return {"done": self.done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where a schedule of the same form stood."""
        if set(state) != {"done"}:
            raise ShapeError(f'WarmupCosine: expected a state with "done", got {list(state)}')
        self.done = int(state["done"])
        self.apply()
