"""Language models: what GPT and Llama share.  They write a text on, token by token.

logits       of the token after the sequence, from the model
scores       logits / temperature; −∞ where top_k or top_p leave a token out
token        drawn from softmax(scores), and put at the end of the sequence
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, ShapeError, Tensor
from ..nn import KVCache, Module, ModuleList, functional
from ..nn.functional.layers import real, whole_numbers
from ..rng import generator
from .config import check_integer, name_of
from .evaluation import check_logits, evaluating


class LanguageModel(Module):
    """Predicts each next token from those before.

    A subclass computes in `forward(tokens, cache=None)` the logits (B, T, vocab_size) of tokens
    (B, T), no position of which sees a later one.

    Attributes:
        config: the sizes, among them vocab_size and max_length.
        blocks: the layers; each keeps its keys and values in a cache of its own.
    """

    config: Any
    blocks: ModuleList

    # ── input ────────────────────────────────────────────────────────────────────────────────────
    def placed(self, tokens: Any, cache: Sequence[KVCache] | None) -> tuple[Array, int]:
        """`tokens` as an array (B, T), and the position of the first: how many are cached.

        Raises:
            ShapeError, DTypeError, IndexingError: see `forward`.
        """
        array, past = self.checked(tokens), self.cached(cache)
        if past + array.shape[1] > self.config.max_length:
            after = f" after {past} in the cache" if past else ""
            raise ShapeError(
                f"{name_of(self)}: expected at most max_length={self.config.max_length} "
                f"tokens in a row, got {array.shape}{after}"
            )
        return array, past

    def checked(self, tokens: Any) -> Array:
        """`tokens` as an array (B, T) of this vocabulary."""
        who = name_of(self)
        array = whole_numbers(who, "tokens", tokens, self.config.vocab_size)
        if array.ndim != 2:
            raise ShapeError(f"{who}: expected tokens (B, T), got {array.shape}")
        return array

    def new_cache(self) -> list[KVCache]:
        """An empty cache for each block."""
        return [KVCache(self.config.max_length) for _ in self.blocks]

    def cached(self, cache: Sequence[KVCache] | None) -> int:
        """Number of positions in a cache that fits this model."""
        if cache is None:
            return 0
        who = name_of(self)
        if not isinstance(cache, Sequence) or not all(isinstance(one, KVCache) for one in cache):
            raise DTypeError(
                f"{who}: expected a list with a cache for each block, as model.new_cache() makes "
                f"it; got a {type(cache).__name__}"
            )
        lengths = [one.length for one in cache]
        if len(lengths) != len(self.blocks) or len(set(lengths)) > 1:
            raise ShapeError(
                f"{who}: expected a cache of equal length for each of {len(self.blocks)} blocks, "
                f"got the lengths {lengths}"
            )
        return lengths[0]

    # ── learning and writing ─────────────────────────────────────────────────────────────────────
    def loss(self, tokens: Any, targets: Any) -> Tensor:
        """Mean cross-entropy, in nats, of `targets` (B, T): each the token after that in `tokens`.

        A target of −100 does not count.
        """
        return functional.cross_entropy(self(tokens), targets)

    def generate(
        self,
        tokens: Any,
        steps: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        rng: np.random.Generator | None = None,
        use_cache: bool = True,
    ) -> Array:
        """`tokens` (B, T) continued by `steps` tokens drawn from the model, without dropout.

        The model sees the last max_length tokens.  Up to that length each step costs one position.
        Beyond it the window slides and all its positions are computed anew, even where only their
        distances count: what a cache holds of them was computed from tokens that have left.

        Args:
            temperature: divides the logits; 0 takes the most probable token each time.
            top_k: draw among so many most probable tokens only, and those equal to the last.
            top_p: draw among the fewest most probable tokens that together have at least this
                probability (Holtzman et al. 2020, section 3.1), and those equal to the last.
            rng: generator for the draws.
            use_cache: keep keys and values instead of computing them at every step.

        Returns:
            Integers (B, T + steps).

        Raises:
            ShapeError, DTypeError, IndexingError: an option is out of range, tokens are wrong, or
                the model's logits are NaN or infinite.
        """
        drawn = self.drawing(tokens, steps, temperature, top_k, top_p, rng, use_cache)
        with evaluating(self):
            return np.column_stack([self.checked(tokens).astype(np.int64), *drawn])

    def stream(
        self,
        tokens: Any,
        steps: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        rng: np.random.Generator | None = None,
        use_cache: bool = True,
    ) -> Iterator[Array]:
        """The tokens with which `generate` continues, one by one as they are drawn: integers (B,).

        Arguments and errors are those of `generate`; wrong ones are refused at once.  Between two
        tokens the model has its own mode again and operations are recorded as before; a change of
        its weights there does not reach what the cache holds already.
        """
        drawn = self.drawing(tokens, steps, temperature, top_k, top_p, rng, use_cache)

        def one_by_one() -> Iterator[Array]:
            for _ in range(steps):
                with evaluating(self):  # not around `yield`: what the caller does there is its own
                    token = next(drawn)
                yield token

        return one_by_one()

    def drawing(
        self,
        tokens: Any,
        steps: int,
        temperature: float,
        top_k: int | None,
        top_p: float | None,
        rng: np.random.Generator | None,
        use_cache: bool,
    ) -> Iterator[Array]:
        """The tokens of `stream`, drawn by the model in the mode that it is in."""
        check_options(steps, temperature, top_k, top_p)
        given, draw = self.checked(tokens), generator(rng)
        if not given.shape[1]:
            raise ShapeError(
                f"{name_of(self)}.generate: expected at least one token to continue, got "
                f"{given.shape}"
            )
        sequence = np.empty((len(given), given.shape[1] + int(steps)), np.int64)
        sequence[:, : given.shape[1]] = given
        cache = self.new_cache() if use_cache else None

        def drawn() -> Iterator[Array]:
            for end in range(given.shape[1], sequence.shape[1]):
                logits = self.following(sequence[:, :end], cache)
                token = chosen(logits, temperature, top_k, top_p, draw)
                sequence[:, end] = token
                yield token

        return drawn()

    def following(self, sequence: Array, cache: list[KVCache] | None) -> Array:
        """Logits (B, vocab_size) of the token after `sequence`; the cache holds its start."""
        if cache is not None and sequence.shape[1] <= self.config.max_length:
            logits = self(sequence[:, self.cached(cache) :], cache)
        else:
            logits = self(sequence[:, -self.config.max_length :])
        last: Array = logits._data[:, -1]
        check_logits(name_of(self), last)
        return last


# ── drawing a token ──────────────────────────────────────────────────────────────────────────────
def check_options(steps: int, temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Refuse options of `generate` that are of a wrong kind or out of range."""
    for name, n in (("steps", steps), ("top_k", 1 if top_k is None else top_k)):
        check_integer("generate", name, n)
    for name, x in (("temperature", temperature), ("top_p", 1 if top_p is None else top_p)):
        real("generate", name, x)
    if (
        not temperature >= 0
        or steps < 0
        or (top_k is not None and top_k < 1)
        or (top_p is not None and not 0 < top_p <= 1)
    ):
        raise ShapeError(
            "generate: expected temperature ≥ 0, steps ≥ 0, top_k ≥ 1 and "
            f"0 < top_p ≤ 1, got {temperature=}, {steps=}, {top_k=}, {top_p=}"
        )


def chosen(
    logits: Array,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    rng: np.random.Generator,
) -> Array:
    """One token for each row of logits (B, V)."""
    scores: Array = logits.astype(np.float64)
    if temperature > 0:
        scores = tempered(scores, float(temperature))
        if top_k is not None and top_k < scores.shape[-1]:
            place = -int(top_k)
            least = np.partition(scores, place, axis=-1)[:, place, None]
            scores = np.where(scores < least, -np.inf, scores)
        if top_p is not None:
            scores = nucleus(scores, top_p)
        # The largest of logits + Gumbel noise is distributed as softmax(logits).
        scores = scores + rng.gumbel(size=scores.shape)
    tokens: Array = scores.argmax(axis=-1)
    return tokens


def tempered(scores: Array, temperature: float) -> Array:
    """Scores / temperature, but for a constant: the largest is 0, and all others may fall to −∞."""
    with np.errstate(over="ignore"):
        return (scores - scores.max(axis=-1, keepdims=True)) / temperature


def nucleus(scores: Array, top_p: float) -> Array:
    """−∞ for all tokens but the fewest that have at least the probability `top_p` together."""
    falling = -np.sort(-scores, axis=-1)
    p = functional.softmax(falling)
    wanted = np.cumsum(p, axis=-1) - p < top_p  # what comes before is not yet enough
    least = np.where(wanted, falling, np.inf).min(axis=-1, keepdims=True)
    return np.where(scores < least, -np.inf, scores)
