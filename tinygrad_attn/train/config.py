"""How to train, as one record of plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real
from typing import Any

from .errors import TrainError

COUNTS = ("steps", "batch", "accumulate", "evaluate_every", "evaluate_examples", "keep")
# What may be another when a run goes on.  More steps make a longer schedule, and the target decides
# where it ends; the rest decides nothing but how the work is done.
CHANGEABLE = ("steps", "target", "threads", "save_every", "keep")


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a run; the model's sizes are in its own configuration.

    Attributes:
        steps: number of updates, at most.
        batch: examples (of a text: windows) computed at once.
        accumulate: batches whose mean gradient makes one update.
        lr: highest learning rate.
        warmup: share of the steps in which the rate rises to `lr`; then it falls along a cosine.
        lr_end: rate at the end, as a share of `lr`.
        weight_decay: of the matrices; biases and norms have none.
        betas: of AdamW.
        clip: greatest norm of all gradients together.
        evaluate_every: steps between two evaluations.
        evaluate_examples: held-out examples (of a text: windows) in those, always the same.
        target: stop once such an evaluation is at or below this loss (None: never).
        seed: of the generator that the caller makes, for first weights, batches and dropout; it
            goes into the log.
        threads: BLAS threads in `run` (None: as many as it takes).  With one, the numbers do not
            depend on how many processors there are, and small products are as fast.
        save_every: steps between two checkpoints from which `run` can go on after it was killed
            (None: none are written, and a signal ends the run as it ends any program).
        keep: how many of those are kept, the newest ones.

    Raises:
        TrainError: a value is out of range.
    """

    steps: int = 1_000
    batch: int = 12
    accumulate: int = 1
    lr: float = 4e-3
    warmup: float = 0.1
    lr_end: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    evaluate_every: int = 50
    evaluate_examples: int = 100
    target: float | None = None
    seed: int = 0
    threads: int | None = None
    save_every: int | None = 100
    keep: int = 2

    def __post_init__(self) -> None:
        whole = "an integer of 1 or more"
        for name in COUNTS:
            self.need(name, Integral, whole, lambda n: n >= 1)
        for name in ("threads", "save_every"):
            if getattr(self, name) is not None:
                self.need(name, Integral, f"{whole}, or None", lambda n: n >= 1)
        self.need("seed", Integral, "an integer of 0 or more", lambda n: n >= 0)
        for name in ("lr", "clip"):
            self.need(name, Real, "a positive number", lambda x: isfinite(x) and x > 0)
        for name in ("warmup", "lr_end"):
            self.need(name, Real, "a number from 0 to 1", lambda x: 0 <= x <= 1)
        if self.target is not None:
            self.need("target", Real, "a finite number, or None", isfinite)
        self.need(
            "betas",
            tuple,
            "two numbers from 0 to below 1",
            lambda b: len(b) == 2 and all(isinstance(x, (int, float)) and 0 <= x < 1 for x in b),
        )
        self.need("weight_decay", Real, "a number of 0 or more", lambda x: isfinite(x) and x >= 0)

    def need(self, name: str, kind: type, what: str, fulfilled: Callable[[Any], bool]) -> None:
        """Raise TrainError unless a field is of a kind and fulfils a condition."""
        value = getattr(self, name)
        if not isinstance(value, kind) or not fulfilled(value):
            raise TrainError(f"TrainConfig: {name} must be {what}, got {value!r}")
