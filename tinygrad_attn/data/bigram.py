"""The baseline: a model that looks at one character only.

Its loss on held-out text says what is to be had without attention.
"""

from __future__ import annotations

import numpy as np

from ..engine import Array
from .errors import DataError


class Bigram:
    """Counted pairs of neighbours: p(b | a) = (n(ab) + α) / (n(a) + αV).

    Args:
        tokens: the training text, int64 (N,).
        vocab_size: V.
        smoothing: α, added to every count.  A tenth is better than one where most pairs never
            occur; between 1 and 0.01 the loss on the embedded text moves by less than 0.01.

    Raises:
        DataError: there are fewer than two tokens; so do the methods.
    """

    def __init__(self, tokens: Array, vocab_size: int, smoothing: float = 0.1) -> None:
        self.vocab_size, self.smoothing = vocab_size, smoothing
        self.pairs, self.counts = np.unique(self.pair(tokens), return_counts=True)  # V² may be huge
        self.totals = np.bincount(tokens[:-1], minlength=vocab_size)

    def pair(self, tokens: Array) -> Array:
        """One number for every two neighbours.

        Raises:
            DataError: there are fewer than two tokens.
        """
        if len(tokens) < 2:
            raise DataError(f"bigram: expected at least 2 tokens, got {len(tokens)}")
        code: Array = tokens[:-1] * self.vocab_size + tokens[1:]
        return code

    def log_probability(self, tokens: Array) -> Array:
        """log p of every token but the first, given the one before it: (N − 1,)."""
        pairs = self.pair(tokens)
        at = np.minimum(np.searchsorted(self.pairs, pairs), len(self.pairs) - 1)
        count = np.where(self.pairs[at] == pairs, self.counts[at], 0)
        total = self.totals[tokens[:-1]]
        logp: Array = np.log((count + self.smoothing) / (total + self.smoothing * self.vocab_size))
        return logp

    def loss(self, tokens: Array) -> float:
        """Mean of −log p over `tokens`, in nats a character."""
        return float(-self.log_probability(tokens).mean())
