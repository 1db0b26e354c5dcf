"""What is learnt: a model, batches to learn from, and examples that it has never seen.

    Trainer(presets.transformer(dates(), rng), presets.SETTINGS["transformer"], rng)

One file for each: language.py (a GPT on text), translation.py (Seq2Seq or Transformer on pairs),
digits.py (a ViT on images), reference.py (a BERT on sentences with a pronoun).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..data import Source
from ..engine import Tensor
from ..nn import Module

EXAMPLES = 8  # held-out examples that travel with a checkpoint


@dataclass(frozen=True)
class Score:
    """How well held-out examples are predicted.

    Attributes:
        loss: the mean.
        examples: how many there were; of a text: windows.
        right: the share that is right; None where the task counts none.
    """

    loss: float
    examples: int
    right: float | None = None


@dataclass(frozen=True)
class Baseline:
    """The loss of something simpler, for comparison."""

    loss: float
    label: str


class Task(Protocol):
    """Model and data."""

    @property
    def model(self) -> Module:
        """What learns."""
        ...

    @property
    def name(self) -> str:
        """Where the data come from."""
        ...

    @property
    def about(self) -> str:
        """The data in one sentence."""
        ...

    @property
    def sizes(self) -> tuple[int, int]:
        """How much there is to learn from, and how much is held out."""
        ...

    @property
    def unit(self) -> str:
        """Of the loss."""
        ...

    @property
    def baseline(self) -> Baseline | None:
        """What the loss is compared with, if there is anything."""
        ...

    @property
    def digests(self) -> Mapping[str, str]:
        """Of every part of the data by its name: a run goes on with the same data only."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What else decides the loss: plain values by name; a run goes on with the same only."""
        ...

    def batches(self, size: int, rng: np.random.Generator) -> Source:
        """Endless batches of `size` examples, drawn by `rng`."""
        ...

    def loss(self, *batch: Any) -> Tensor:
        """The mean loss of a batch."""
        ...

    def score(self, at_most: int | None = None) -> Score:
        """How well the held-out examples are predicted, or the same `at_most` of them every time.

        The model is in evaluation mode, and nothing is recorded.
        """
        ...

    def state(self) -> dict[str, Any]:
        """What it takes to use the trained model, beside the model: values that JSON can hold."""
        ...
