"""A GPT learns to predict the next character of a text."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..data import Bigram, Source, Text, batches, digest, windows
from ..data.text import need_window
from ..engine import Array, Tensor
from ..models import GPT
from .task import Baseline, Score


class Language:
    """`model`, a GPT with the corpus's vocabulary, and `corpus`, a text; see Task.

    Raises:
        DataError: a part of the text is shorter than one window of the model's length.
    """

    unit = "nats per character"
    settings: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, model: GPT, corpus: Text) -> None:
        for part in (corpus.train, corpus.held_out):
            need_window(part, model.config.max_length)
        self.model, self.corpus, self.name = model, corpus, corpus.name
        self.sizes = len(corpus.train), len(corpus.held_out)

    @property
    def about(self) -> str:
        """The text in one sentence."""
        return (
            f"Text: {self.name}, {self.sizes[0]:,} characters to learn from and "
            f"{self.sizes[1]:,} held out; {len(self.corpus.vocabulary)} different ones."
        )

    @cached_property
    def baseline(self) -> Baseline:
        """A model that looks at one character only."""
        bigram = Bigram(self.corpus.train, len(self.corpus.vocabulary))
        return Baseline(
            bigram.loss(self.corpus.held_out), "a model that looks at one character only"
        )

    @cached_property
    def digests(self) -> dict[str, str]:
        """Of the text to learn from, of the held-out one, and of the characters."""
        corpus = self.corpus
        return {
            "train": digest(corpus.train),
            "held out": digest(corpus.held_out),
            "vocabulary": digest(corpus.vocabulary.symbols),
        }

    def batches(self, size: int, rng: np.random.Generator) -> Source:
        """Windows of the text, and the same one character later."""
        return batches(self.corpus.train, self.model.config.max_length, size, rng)

    def loss(self, tokens: Array, targets: Array) -> Tensor:
        """Mean cross-entropy."""
        return self.model.loss(tokens, targets)

    def score(self, at_most: int | None = None) -> Score:
        """On the held-out text, or on so many windows of it."""
        length = self.model.config.max_length
        count = -(-(len(self.corpus.held_out) - 1) // length)
        loss = text_loss(self.model, self.corpus.held_out, at_most)
        return Score(loss, count if at_most is None else min(at_most, count))

    def state(self) -> dict[str, Any]:
        """The characters."""
        return {"vocabulary": list(self.corpus.vocabulary.symbols)}


def text_loss(model: GPT, tokens: Array, at_most: int | None = None, size: int = 32) -> float:
    """Mean loss in nats a token, every token counted alike.

    Args:
        tokens: a text; cut into windows of the model's length, so that each token is predicted once
            from those before it in its window.
        at_most: only so many windows, evenly spread; the same ones every time.
        size: windows computed at once.
    """
    total, count = 0.0, 0
    for x, y in windows(tokens, model.config.max_length, size, at_most):
        total += model.loss(x, y).item() * y.size
        count += y.size
    return total / count
