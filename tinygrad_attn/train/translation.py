"""A Seq2Seq or a Transformer learns to turn one short text into another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..data import Pair, Pairs, Shuffled, Source, Vocabulary, digest
from ..data.pairs import PADDING
from ..engine import Array, Tensor
from ..models import Seq2Seq, Transformer
from ..viz.labels import clean
from .task import EXAMPLES, Score

GROUP = 250  # sources that are translated at once


class Translation:
    """`model` with the corpus's vocabulary on both sides, and `corpus`; see Task."""

    unit = "nats per character"
    baseline = None
    settings: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, model: Seq2Seq | Transformer, corpus: Pairs) -> None:
        self.model, self.corpus, self.name = model, corpus, corpus.name
        self.sizes = len(corpus.train), len(corpus.test)
        self.source, self.target = arrays(corpus.train, corpus.vocabulary)
        self.unseen, self.expected = arrays(corpus.test, corpus.vocabulary)

    @property
    def about(self) -> str:
        """The pairs in one sentence."""
        pair = self.corpus.train[0]
        return (
            f"Pairs: {self.name}, {self.sizes[0]:,} to learn from and {self.sizes[1]:,} held out, "
            f"such as {clean(pair.source, 40)} → {clean(pair.target, 40)}."
        )

    @cached_property
    def digests(self) -> dict[str, str]:
        """Of the pairs to learn from, of those held out, and of the characters."""
        return {
            "train": digest(self.source, self.target),
            "held out": digest(self.unseen, self.expected),
            "vocabulary": digest(self.corpus.vocabulary.symbols),
        }

    def batches(self, size: int, rng: np.random.Generator) -> Source:
        """Sources and targets, both filled up with padding."""
        return Shuffled(self.sizes[0], size, rng, self.chosen)

    def chosen(self, numbers: Array) -> tuple[Array, Array]:
        """The training pairs of these numbers."""
        return trimmed(self.source[numbers]), trimmed(self.target[numbers])

    def loss(self, source: Array, target: Array) -> Tensor:
        """Mean cross-entropy of the target's characters and its end."""
        return self.model.loss(source, target)

    def score(self, at_most: int | None = None) -> Score:
        """The loss with the right characters before each, and the share written without a fault.

        Every character counts alike, and so does every end.
        """
        count = min(len(self.unseen), at_most or len(self.unseen))
        loss, total, right = 0.0, 0, 0
        for start in range(0, count, GROUP):
            rows = slice(start, min(start + GROUP, count))
            source, target = trimmed(self.unseen[rows]), self.expected[rows]
            characters = int(np.count_nonzero(target)) + len(target)
            loss += self.model.loss(source, target).item() * characters
            total += characters
            written = self.model.generate(source, self.steps)[:, : target.shape[1] + 1]
            target = np.pad(target, ((0, 0), (0, written.shape[1] - target.shape[1])))
            right += int((written == target).all(axis=1).sum())
        return Score(loss / total, count, right / count)

    @property
    def steps(self) -> int:
        """Characters to write: one more than any target has, so that a missing end shows."""
        return self.corpus.longest_target + 1

    def state(self) -> dict[str, Any]:
        """The characters, how many to write, and a few held-out pairs."""
        return {
            "vocabulary": list(self.corpus.vocabulary.symbols),
            "steps": self.steps,
            "examples": [[pair.source, pair.target] for pair in self.corpus.test[:EXAMPLES]],
        }


def arrays(part: Sequence[Pair], vocabulary: Vocabulary) -> tuple[Array, Array]:
    """Sources and targets as rows of tokens, filled up with padding."""
    source, _ = vocabulary.rows([pair.source for pair in part], PADDING)
    target, _ = vocabulary.rows([pair.target for pair in part], PADDING)
    return source, target


def trimmed(rows: Array) -> Array:
    """Rows without the columns that hold nothing but padding (token 0)."""
    used = np.flatnonzero(rows.any(axis=0))
    return rows[:, : used[-1] + 1 if len(used) else 0]


def translated(
    model: Seq2Seq | Transformer, vocabulary: Vocabulary, sources: Sequence[str], steps: int
) -> list[tuple[str, Array]]:
    """What the model makes of each source, and its weights.

    Returns:
        For each (text, weights); weights (characters of the text, characters of the source), those
        of a Transformer's last layer averaged over its heads.

    Raises:
        DataError: a character is not in the vocabulary.
        ShapeError: a source is too long for the model.
    """
    rows, lengths = vocabulary.rows(sources, PADDING)
    tokens, weights = model.generate(rows, steps, return_weights=True)
    weights = weights.mean(axis=1) if weights.ndim == 4 else weights
    found = []
    for row, weight, length in zip(tokens, weights, lengths, strict=True):
        count = int((row != 0).sum())
        found.append((vocabulary.decode(row[:count]), weight[:count, :length]))
    return found
