"""The training loop: an iterator of what happened, step by step.

    for record in Trainer(model, corpus, TrainConfig(steps=600), rng):
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
from ..data import Text, batches, windows
from ..data.text import need_window
from ..engine import Array, no_grad
from ..models import GPT
from ..optim import AdamW, WarmupCosine, clip_grad_norm
from .config import TrainConfig
from .errors import TrainError


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
    """A loss on held-out text after so many steps; `windows` is None for the whole of it."""

    step: int
    held_out: float
    windows: int | None
    seconds: float


Record = Step | Evaluation


class Trainer:
    """Trains `model` on `corpus`; iterating does the work and yields every Step and Evaluation.

    Args:
        model: a GPT with the corpus's vocabulary.
        corpus: the text.
        config: how.
        rng: draws the batches; give the model the same one, so that one seed decides everything.

    Raises:
        DataError: a part of the text is shorter than one window of the model's length.
    """

    def __init__(
        self, model: GPT, corpus: Text, config: TrainConfig, rng: np.random.Generator
    ) -> None:
        for part in (corpus.train, corpus.held_out):
            need_window(part, model.config.max_length)
        self.model, self.corpus, self.config, self.rng = model, corpus, config, rng
        self.step = 0
        self.optimizer = AdamW(
            decay_groups(model), config.lr, config.betas, weight_decay=config.weight_decay
        )
        self.schedule = WarmupCosine(
            self.optimizer,
            round(config.warmup * config.steps),
            config.steps,
            config.lr_end * config.lr,
        )
        self.batches = batches(corpus.train, model.config.max_length, config.batch, rng)

    def __iter__(self) -> Iterator[Record]:
        last, every, target = self.config.steps, self.config.evaluate_every, self.config.target
        while self.step < last:
            yield self.update()
            if self.step % every == 0 or self.step == last:
                evaluation = self.evaluate(self.config.evaluate_windows)
                yield evaluation
                if target is not None and evaluation.held_out <= target:
                    return

    def update(self) -> Step:
        """One step of gradient descent."""
        began = perf_counter()
        tokens, targets = next(self.batches)
        self.model.train()
        self.optimizer.zero_grad()
        loss = self.model.loss(tokens, targets)
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
        """The loss on the held-out text, or on the same `at_most` windows of it every time."""
        began = perf_counter()
        held_out = evaluate(self.model, self.corpus.held_out, at_most)
        return Evaluation(self.step, held_out, at_most, perf_counter() - began)

    def save(self, path: Path, **state: Any) -> None:
        """Write a checkpoint with the vocabulary: all it takes to sample, or to go on."""
        checkpoint.save(
            path,
            model=self.model,
            optimizer=self.optimizer,
            step=self.step,
            rng=self.rng,
            vocabulary=list(self.corpus.vocabulary.symbols),
            **state,
        )


def decay_groups(model: GPT) -> list[dict[str, Any]]:
    """The parameters as two groups: matrices, and what gets no weight decay (biases and norms)."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2]},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def evaluate(model: GPT, tokens: Array, at_most: int | None = None, size: int = 32) -> float:
    """Mean loss in nats a token, without dropout, every token counted alike.

    Args:
        tokens: a text; cut into windows of the model's length, so that each token is predicted once
            from those before it in its window.
        at_most: only so many windows, evenly spread; the same ones every time.
        size: windows computed at once.
    """
    training, total, count = model.training, 0.0, 0
    model.eval()
    with no_grad():
        for x, y in windows(tokens, model.config.max_length, size, at_most):
            total += model.loss(x, y).item() * y.size
            count += y.size
    model.train(training)
    return total / count
