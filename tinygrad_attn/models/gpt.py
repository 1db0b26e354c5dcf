"""GPT-2: a decoder-only Transformer that predicts the next token (Radford et al. 2019).

model:    tokens -> embedding + position -> blocks -> norm -> embeddingᵀ -> logits
block:    x + attention(norm(x)), then x + mlp(norm(x))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, ShapeError, Tensor, no_grad
from ..nn import (
    Dropout,
    Embedding,
    KVCache,
    LayerNorm,
    Linear,
    Module,
    ModuleList,
    MultiHeadAttention,
    functional,
)
from ..nn.functional.layers import probability, real, whole_numbers
from ..nn.layers import positive
from ..rng import generator


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT.

    Attributes:
        vocab_size: number of different tokens.
        max_length: longest sequence.
        num_layers: number of blocks.
        num_heads: attention heads in each block; divides d_model.
        d_model: width.
        dropout: probability of dropping embeddings, attention weights and branches in training.
        bias: biases in linear layers and norms.

    Raises:
        ShapeError: sizes that do not fit.
    """

    vocab_size: int
    max_length: int
    num_layers: int
    num_heads: int
    d_model: int
    dropout: float = 0.0
    bias: bool = True

    def __post_init__(self) -> None:
        positive(
            "GPTConfig",
            vocab_size=self.vocab_size,
            max_length=self.max_length,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            d_model=self.d_model,
        )
        if self.d_model % self.num_heads:
            raise ShapeError(
                f"GPTConfig: num_heads must divide d_model, got {self.num_heads} and {self.d_model}"
            )
        probability("GPTConfig", self.dropout)


class MLP(Module):
    """Two linear layers, four times as wide inside, with GELU (its tanh form) between."""

    def __init__(self, config: GPTConfig, rng: np.random.Generator | None) -> None:
        self.up = Linear(config.d_model, 4 * config.d_model, config.bias, rng=rng)
        self.down = Linear(4 * config.d_model, config.d_model, config.bias, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        out: Tensor = self.down(functional.gelu(self.up(x), "tanh"))
        return out


class Block(Module):
    """Attention and MLP, each on a normalised input and added to what it came from."""

    def __init__(self, config: GPTConfig, rng: np.random.Generator | None) -> None:
        width = config.d_model
        self.ln_1 = LayerNorm(width, bias=config.bias)
        self.attn = MultiHeadAttention(
            width, config.num_heads, bias=config.bias, dropout=config.dropout, rng=rng
        )
        self.ln_2 = LayerNorm(width, bias=config.bias)
        self.mlp = MLP(config, rng)
        self.drop = Dropout(config.dropout, rng=rng)

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D); position i sees the positions up to i and those in the cache."""
        x = x + self.drop(self.attn(self.ln_1(x), causal=True, cache=cache))
        out: Tensor = x + self.drop(self.mlp(self.ln_2(x)))
        return out


class GPT(Module):
    """A GPT-2 of the sizes in `config`; the output projection is the transposed token embedding.

    Args:
        config: the sizes.
        rng: generator for initial values and dropout; the library's own where None.
    """

    def __init__(self, config: GPTConfig, *, rng: np.random.Generator | None = None) -> None:
        self.config = config
        self.wte = Embedding(config.vocab_size, config.d_model, rng=rng)
        self.wpe = Embedding(config.max_length, config.d_model, rng=rng)
        self.drop = Dropout(config.dropout, rng=rng)
        self.blocks = ModuleList(Block(config, rng) for _ in range(config.num_layers))
        self.ln_f = LayerNorm(config.d_model, bias=config.bias)
        self.initialise(generator(rng))

    def initialise(self, rng: np.random.Generator) -> None:
        """GPT-2's initial values: zero biases, and weights from N(0, 0.02²).

        Where a branch joins the residual stream, the deviation is smaller by √(2·num_layers), so
        that the stream does not grow with the depth.
        """
        for name, parameter in self.named_parameters():
            joins = name.endswith(("out_proj.weight", "down.weight"))
            deviation = 0.02 / sqrt(2 * self.config.num_layers) if joins else 0.02
            if parameter.ndim == 2:
                parameter.data = rng.normal(0.0, deviation, parameter.shape)
            elif name.endswith("bias"):
                parameter.data = np.zeros(parameter.shape)

    def forward(self, tokens: Any, cache: Sequence[KVCache] | None = None) -> Tensor:
        """Tokens (B, T) -> logits (B, T, vocab_size).

        Args:
            cache: what `new_cache` made; the tokens then follow those that it was given before.

        Raises:
            ShapeError: tokens are not (B, T), or there are more than max_length, cached ones
                included.
            DTypeError: tokens are not integers, or the cache is not a list of them.
            IndexingError: a token is outside the vocabulary.
        """
        tokens = self.checked(tokens)
        past = self.cached(cache)
        if past + tokens.shape[1] > self.config.max_length:
            after = f" after {past} in the cache" if past else ""
            raise ShapeError(
                f"GPT: expected at most max_length={self.config.max_length} tokens in "
                f"a row, got {tokens.shape}{after}"
            )
        x = self.drop(self.wte(tokens) + self.wpe(np.arange(past, past + tokens.shape[1])))
        for i, block in enumerate(self.blocks):
            x = block(x) if cache is None else block(x, cache[i])
        return functional.linear(self.ln_f(x), self.wte.weight)

    def checked(self, tokens: Any) -> Array:
        """`tokens` as an array (B, T) of this vocabulary."""
        array = whole_numbers("GPT", "tokens", tokens, self.config.vocab_size)
        if array.ndim != 2 or not array.shape[1]:
            raise ShapeError(f"GPT: expected tokens (B, T), T at least 1, got {array.shape}")
        return array

    def new_cache(self) -> list[KVCache]:
        """An empty cache for each block."""
        return [KVCache(self.config.max_length) for _ in self.blocks]

    def cached(self, cache: Sequence[KVCache] | None) -> int:
        """Number of positions in a cache that fits this model."""
        if cache is None:
            return 0
        if not isinstance(cache, Sequence) or not all(isinstance(one, KVCache) for one in cache):
            raise DTypeError(
                "GPT: expected a list with a cache for each block, as model.new_cache() makes it; "
                f"got a {type(cache).__name__}"
            )
        lengths = [one.length for one in cache]
        if len(lengths) != len(self.blocks) or len(set(lengths)) > 1:
            raise ShapeError(
                f"GPT: expected a cache of equal length for each of {len(self.blocks)}"
                f" blocks, got the lengths {lengths}"
            )
        return lengths[0]

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

        The model sees the last max_length tokens.  Up to that length each step costs one position;
        beyond it every position moves, and all are computed anew.

        Args:
            temperature: divides the logits; 0 takes the most probable token each time.
            top_k: draw among so many most probable tokens only.
            top_p: draw among the fewest most probable tokens that together have at least this
                probability (Holtzman et al. 2020, section 3.1).
            rng: generator for the draws.
            use_cache: keep keys and values instead of computing them at every step.

        Returns:
            Integers (B, T + steps).

        Raises:
            ShapeError, DTypeError, IndexingError: an option is out of range, or tokens are wrong.
        """
        check_options(steps, temperature, top_k, top_p)
        sequence, draw = self.checked(tokens), generator(rng)
        cache = self.new_cache() if use_cache else None
        with evaluating(self), no_grad():
            for _ in range(steps):
                logits = self.following(sequence, cache)
                token = chosen(logits, temperature, top_k, top_p, draw)
                sequence = np.concatenate([sequence, token[:, None]], axis=1)
        return sequence

    def following(self, sequence: Array, cache: list[KVCache] | None) -> Array:
        """Logits (B, vocab_size) of the token after `sequence`; the cache holds its start."""
        if cache is not None and sequence.shape[1] <= self.config.max_length:
            return self(sequence[:, self.cached(cache) :], cache)._data[:, -1]
        return self(sequence[:, -self.config.max_length :])._data[:, -1]


def check_options(steps: int, temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Refuse options of `generate` that are of a wrong kind or out of range."""
    for name, n in (("steps", steps), ("top_k", 1 if top_k is None else top_k)):
        if not isinstance(n, (int, np.integer)):
            raise DTypeError(f"generate: {name} must be an integer, got {n!r}")
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


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode inside the block; every module's own mode again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


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
        scores = scores / temperature
        if top_k is not None and top_k < scores.shape[-1]:
            least = np.partition(scores, -top_k, axis=-1)[:, -top_k, None]
            scores = np.where(scores < least, -np.inf, scores)
        if top_p is not None:
            scores = nucleus(scores, top_p)
        # The largest of logits + Gumbel noise is distributed as softmax(logits).
        scores = scores + rng.gumbel(size=scores.shape)
    tokens: Array = scores.argmax(axis=-1)
    return tokens


def nucleus(scores: Array, top_p: float) -> Array:
    """−∞ for all tokens but the fewest that have at least the probability `top_p` together."""
    falling = -np.sort(-scores, axis=-1)
    p = functional.softmax(falling)
    wanted = np.cumsum(p, axis=-1) - p < top_p  # what comes before is not yet enough
    least = np.where(wanted, falling, np.inf).min(axis=-1, keepdims=True)
    return np.where(scores < least, -np.inf, scores)
