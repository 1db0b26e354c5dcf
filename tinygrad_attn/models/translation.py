"""Models that translate: what Seq2Seq and Transformer share.  They write a target to a source.

rows        tokens, filled up at the end with `padding`; targets stand without start and end
learning    the decoder sees the start and the target; it is to predict the target and the end
writing     the most probable token at each step, until the end
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import Array, ShapeError, Tensor
from ..nn import Module, functional
from ..nn.functional.layers import whole_numbers
from .config import check_integer, name_of
from .evaluation import check_logits

# The last tokens (B, 1) -> logits (B, 1, V) of those after them, attention weights (B, …, 1, S).
Step = Callable[[Array], tuple[Tensor, Tensor]]


class TranslationModel(Module):
    """Reads sources and predicts the tokens of targets.

    Attributes:
        config: the sizes, among them source_vocab and target_vocab, and padding, start and end.
        longest: how many tokens the start and a target may have together; None for any number.
    """

    config: Any
    longest: int | None = None

    # ── input ────────────────────────────────────────────────────────────────────────────────────
    def source(self, values: Any) -> Array:
        """`values` as sources (B, S).

        Raises:
            ShapeError, DTypeError, IndexingError: see `forward`.
        """
        return self.tokens("source", values, self.config.source_vocab, self.longest)

    def target(self, values: Any) -> Array:
        """`values` as targets (B, T); the start or the end among them is refused."""
        most = None if self.longest is None else self.longest - 1
        array = self.tokens("target", values, self.config.target_vocab, most)
        start, end = self.config.start, self.config.end
        if ((array == start) | (array == end)).any():
            raise ShapeError(
                f"{name_of(self)}: expected targets without the start {start} and the end {end}, "
                "which the model adds; cut them off"
            )
        return array

    def tokens(self, what: str, values: Any, vocabulary: int, most: int | None) -> Array:
        """`values` as tokens (B, time) of a vocabulary, int64."""
        array = whole_numbers(name_of(self), what, values, vocabulary)
        if array.ndim != 2 or (most is not None and array.shape[1] > most):
            limit = "" if most is None else f", at most {most} in a row"
            raise ShapeError(
                f"{name_of(self)}: expected {what} tokens (B, time){limit}, got {array.shape}"
            )
        return array.astype(np.int64)

    # ── learning ─────────────────────────────────────────────────────────────────────────────────
    def started(self, source: Array, target: Array) -> Array:
        """Targets (B, T) with the start before each, (B, T + 1), if there is one for each source.

        Raises:
            ShapeError: there are more or fewer.
        """
        if len(source) != len(target):
            raise ShapeError(
                f"{name_of(self)}: source has {len(source)} sequences but target has {len(target)}"
            )
        return np.pad(target, ((0, 0), (1, 0)), constant_values=self.config.start)

    def ended(self, target: Array) -> Array:
        """Targets (B, T) with the end after each one's last token, (B, T + 1)."""
        rows = np.pad(target, ((0, 0), (0, 1)), constant_values=self.config.padding)
        rows[np.arange(len(rows)), self.lengths(rows)] = self.config.end
        return rows

    def lengths(self, tokens: Array) -> Array:
        """How many tokens stand up to the last that is not padding, (B,)."""
        places = np.arange(1, tokens.shape[1] + 1)
        return np.where(tokens == self.config.padding, 0, places).max(axis=1, initial=0)

    def cross_entropy(self, logits: Tensor, target: Any, label_smoothing: float) -> Tensor:
        """Mean cross-entropy, in nats, of the targets' tokens and ends; padding does not count."""
        wanted = self.ended(self.target(target))
        return functional.cross_entropy(logits, wanted, self.config.padding, label_smoothing)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────
    def check_steps(self, max_steps: Any) -> None:
        """Refuse a `max_steps` of `generate` that is of a wrong kind or out of range."""
        who = f"{name_of(self)}.generate"
        check_integer(who, "max_steps", max_steps)
        if max_steps < 0 or (self.longest is not None and max_steps > self.longest):
            limit = "of 0 or more"
            if self.longest is not None:
                limit = f"from 0 to max_length={self.longest}"
            raise ShapeError(f"{who}: expected max_steps {limit}, got {max_steps}")

    def written(self, step: Step, weights: Array) -> Array:
        """The most probable token at each step until the end, then padding: (B, max_steps).

        Args:
            step: computes what comes after the tokens it is given, and all those before.
            weights: zeros (B, …, max_steps, S), filled with the weights of the tokens written.

        Raises:
            ShapeError: the model's logits are NaN or infinite.
        """
        config = self.config
        batch, max_steps = len(weights), weights.shape[-2]
        tokens = np.full((batch, max_steps), config.padding, np.int64)
        last, alive = np.full((batch, 1), config.start, np.int64), np.ones(batch, bool)
        for at in range(max_steps):
            logits, seen = step(last)
            check_logits(name_of(self), logits._data)
            scores = logits.numpy()  # (B, 1, V)
            scores[..., [config.padding, config.start]] = -np.inf  # neither can follow
            last = scores.argmax(-1)
            alive &= last[:, 0] != config.end
            if not alive.any():
                break
            tokens[alive, at] = last[alive, 0]
            weights[alive, ..., at, :] = seen._data[alive, ..., 0, :]
        return tokens
