"""The training loop: an iterator of what happened, step by step.

    for record in Trainer(Language(model, corpus), TrainConfig(steps=600), rng):
        print(record)

Nothing here prints or draws; `run.py` does that around it.  Between any two records everything that
decides the next ones is known (see resuming.py): `contents` has it, and after `resume` the records
are those that would have come without a break, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite
from time import perf_counter
from typing import Any

import numpy as np

from ..checkpoint import Checkpoint
from ..models.evaluation import evaluating
from ..nn import Module
from ..optim import AdamW, WarmupCosine, clip_grad_norm
from .config import TrainConfig
from .errors import TrainError
from .folder import Place
from .resuming import checked, position, restore
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

    Attributes:
        step: updates done.
        evaluated: after how many of them the last evaluation was made.
        best: lowest held-out loss of all evaluations; infinity before the first.
        resumed: the environment of the checkpoint that it goes on from, or None.
        place: the folder where that was the latest, as it was then; None where it is not known.
    """

    def __init__(self, task: Task, config: TrainConfig, rng: np.random.Generator) -> None:
        self.task, self.config, self.rng = task, config, rng
        self.step, self.evaluated, self.best = 0, 0, inf
        self.resumed: dict[str, Any] | None = None
        self.place: Place | None = None
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
        while not self.finished:
            yield self.examine() if self.due else self.update()

    @property
    def due(self) -> bool:
        """Does an evaluation come before the next update?"""
        last = self.step == self.config.steps
        return self.step > self.evaluated and (last or self.step % self.config.evaluate_every == 0)

    @property
    def finished(self) -> bool:
        """Are all steps done, or the target reached?"""
        target = self.config.target
        reached = target is not None and self.best <= target
        return not self.due and (reached or self.step >= self.config.steps)

    def update(self) -> Step:
        """One step of gradient descent."""
        began = perf_counter()
        self.task.model.train()
        self.optimizer.zero_grad()
        with np.errstate(over="ignore", invalid="ignore"):  # both are looked at below
            loss = self.accumulated()
            norm = clip_grad_norm(self.optimizer.parameters, self.config.clip)
        self.step, lr = self.step + 1, self.optimizer.groups[0]["lr"]
        if not (isfinite(loss) and isfinite(norm)):
            raise TrainError(
                f"step {self.step}: the loss is {loss} and its gradient's norm "
                f"{norm}; both must be finite: lower the learning rate, now {lr:.2g}"
            )
        self.optimizer.step()
        self.schedule.step()
        return Step(self.step, loss, lr, norm, perf_counter() - began)

    def accumulated(self) -> float:
        """The mean loss of an update's batches; its gradient is in the parameters afterwards."""
        total, count = 0.0, self.config.accumulate
        for _ in range(count):
            loss = self.task.loss(*next(self.batches)) / count  # exact where there is one batch
            loss.backward()
            total += loss.item()
        return total

    def examine(self) -> Evaluation:
        """The evaluation that is due."""
        evaluation = self.evaluate(self.config.evaluate_examples)
        self.evaluated, self.best = self.step, min(self.best, evaluation.held_out)
        return evaluation

    def evaluate(self, at_most: int | None = None) -> Evaluation:
        """The score on held-out examples, or on the same `at_most` of them every time."""
        began = perf_counter()
        with evaluating(self.task.model):
            score = self.task.score(at_most)
        seconds = perf_counter() - began
        return Evaluation(self.step, score.loss, score.right, score.examples, seconds)

    def contents(self, **state: Any) -> dict[str, Any]:
        """What `checkpoint.save` takes: all that is needed to use the model, or to go on."""
        return {
            "model": self.task.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "step": self.step,
            "rng": self.rng,
            "training": position(self),
            **self.task.state(),
            **state,
        }

    def resume(self, saved: Checkpoint) -> None:
        """Go on where the trainer stood that wrote `saved`; from `latest` it knows its folder.

        This one must have been made with a model of the same sizes, the same data and the same
        settings; `steps` may be more, and `target` and what does not touch the numbers others.

        Raises:
            TrainError: something else differs (the message says what), or no trainer wrote it;
                nothing has changed then.
        """
        restore(self, saved, checked(self, saved))


def decay_groups(model: Module) -> list[dict[str, Any]]:
    """The parameters as two groups: matrices, and what gets no weight decay (biases and norms)."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2]},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
