"""The training loop: an iterator of what happened, step by step.

    for record in Trainer(Language(model, corpus), TrainConfig(steps=600), rng):
        print(record)

Nothing here prints, draws or writes; `run.py` does that around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from .. import checkpoint
from ..models.evaluation import evaluating
from ..nn import Module
from ..optim import AdamW, WarmupCosine, clip_grad_norm
from .config import TrainConfig
from .errors import TrainError
from .task import Task


@dataclass(frozen=True)
class Step:
    """One update: the loss before it, its gradient's norm before clipping, the rate it used."""

    step: int
    loss: float
    lr: float
    grad_norm: float
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """How well held-out examples are predicted after so many steps.

    Attributes:
        step: steps done.
        held_out: mean loss.
        right: share that is right; None where the task counts none.
        examples: how many there were; of a text: windows.
        seconds: that it took.
    """

    step: int
    held_out: float
    right: float | None
    examples: int
    seconds: float


Record = Step | Evaluation


class Trainer:
    """Trains a task's model; iterating does the work and yields every Step and Evaluation.

    Args:
        task: model and data.
        config: how.
        rng: draws the batches; give the model the same one, so that one seed decides everything.
    """

    def __init__(self, task: Task, config: TrainConfig, rng: np.random.Generator) -> None:
        self.task, self.config, self.rng = task, config, rng
        self.step = 0
        self.optimizer = AdamW(
            decay_groups(task.model), config.lr, config.betas, weight_decay=config.weight_decay
        )
        self.schedule = WarmupCosine(
            self.optimizer,
            round(config.warmup * config.steps),
            config.steps,
            config.lr_end * config.lr,
        )
        self.batches = task.batches(config.batch, rng)

    def __iter__(self) -> Iterator[Record]:
        last, every, target = self.config.steps, self.config.evaluate_every, self.config.target
        while self.step < last:
            yield self.update()
            if self.step % every == 0 or self.step == last:
                evaluation = self.evaluate(self.config.evaluate_examples)
                yield evaluation
                if target is not None and evaluation.held_out <= target:
                    return

    def update(self) -> Step:
        """One step of gradient descent."""
        began = perf_counter()
        self.task.model.train()
        self.optimizer.zero_grad()
        with np.errstate(over="ignore", invalid="ignore"):  # both are looked at below
            loss = self.task.loss(*next(self.batches))
            loss.backward()
            norm = clip_grad_norm(self.optimizer.parameters, self.config.clip)
        self.step, lr = self.step + 1, self.optimizer.groups[0]["lr"]
        if not (isfinite(loss.item()) and isfinite(norm)):
            raise TrainError(
                f"step {self.step}: the loss is {loss.item()} and its gradient's norm "
                f"{norm}; both must be finite: lower the learning rate, now {lr:.2g}"
            )
        self.optimizer.step()
        self.schedule.step()
        return Step(self.step, loss.item(), lr, norm, perf_counter() - began)

    def evaluate(self, at_most: int | None = None) -> Evaluation:
        """The score on held-out examples, or on the same `at_most` of them every time."""
        began = perf_counter()
        with evaluating(self.task.model):
            score = self.task.score(at_most)
        seconds = perf_counter() - began
        return Evaluation(self.step, score.loss, score.right, score.examples, seconds)

    def save(self, path: Path, **state: Any) -> None:
        """Write a checkpoint with the task's state: all it takes to use the model, or to go on."""
        checkpoint.save(
            path,
            model=self.task.model,
            optimizer=self.optimizer,
            step=self.step,
            rng=self.rng,
            **self.task.state(),
            **state,
        )


def decay_groups(model: Module) -> list[dict[str, Any]]:
    """The parameters as two groups: matrices, and what gets no weight decay (biases and norms)."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2]},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
