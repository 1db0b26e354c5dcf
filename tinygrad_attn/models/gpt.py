"""GPT-2: a decoder-only Transformer that predicts the next token (Radford et al. 2019).

    model:    tokens -> embedding + position -> blocks -> norm -> embeddingᵀ -> logits
    block:    x + attention(norm(x)), then x + mlp(norm(x))
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from ..engine import Array, ShapeError, Tensor, no_grad
from ..nn import (
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Module,
    ModuleList,
    MultiHeadAttention,
    functional,
)
from ..nn.functional.layers import probability, whole_numbers
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
        positive("GPTConfig", vocab_size=self.vocab_size, max_length=self.max_length,
                 num_layers=self.num_layers, num_heads=self.num_heads, d_model=self.d_model)
        if self.d_model % self.num_heads:
            raise ShapeError(f"GPTConfig: num_heads must divide d_model, got {self.num_heads} and "
                             f"{self.d_model}")
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
        self.attn = MultiHeadAttention(width, config.num_heads, bias=config.bias,
                                       dropout=config.dropout, rng=rng)
        self.ln_2 = LayerNorm(width, bias=config.bias)
        self.mlp = MLP(config, rng)
        self.drop = Dropout(config.dropout, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D); position i sees the positions up to i."""
        x = x + self.drop(self.attn(self.ln_1(x), causal=True))
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

    def forward(self, tokens: Any) -> Tensor:
        """Tokens (B, T) -> logits (B, T, vocab_size).

        Raises:
            ShapeError: tokens are not (B, T), or T is longer than max_length.
            DTypeError: tokens are not integers.
            IndexingError: a token is outside the vocabulary.
        """
        tokens = self.checked(tokens)
        if tokens.shape[1] > self.config.max_length:
            raise ShapeError(f"GPT: expected at most max_length={self.config.max_length} tokens in "
                             f"a row, got {tokens.shape}")
        x = self.drop(self.wte(tokens) + self.wpe(np.arange(tokens.shape[1])))
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.ln_f(x), self.wte.weight)

    def checked(self, tokens: Any) -> Array:
        """`tokens` as an array (B, T) of this vocabulary."""
        array = whole_numbers("GPT", "tokens", tokens, self.config.vocab_size)
        if array.ndim != 2 or not array.shape[1]:
            raise ShapeError(f"GPT: expected tokens (B, T), T at least 1, got {array.shape}")
        return array

    def loss(self, tokens: Any, targets: Any) -> Tensor:
        """Mean cross-entropy, in nats, of `targets` (B, T): each the token after that in `tokens`.

        A target of −100 does not count.
        """
        return functional.cross_entropy(self(tokens), targets)

    def generate(self, tokens: Any, steps: int, *, temperature: float = 1.0,
                 top_k: int | None = None, rng: np.random.Generator | None = None) -> Array:
        """`tokens` (B, T) continued by `steps` tokens drawn from the model, without dropout.

        The model sees the last max_length tokens.

        Args:
            temperature: divides the logits; 0 takes the most probable token each time.
            top_k: draw among so many most probable tokens only.
            rng: generator for the draws.

        Returns:
            Integers (B, T + steps).

        Raises:
            ShapeError, DTypeError, IndexingError: an option is out of range, or tokens are wrong.
        """
        if not temperature >= 0 or steps < 0 or (top_k is not None and top_k < 1):
            raise ShapeError("generate: expected temperature ≥ 0, steps ≥ 0 and top_k ≥ 1, got "
                             f"{temperature=}, {steps=}, {top_k=}")
        sequence, draw = self.checked(tokens), generator(rng)
        with evaluating(self), no_grad():
            for _ in range(steps):
                logits = self(sequence[:, -self.config.max_length:])._data[:, -1]
                following = chosen(logits, temperature, top_k, draw)
                sequence = np.concatenate([sequence, following[:, None]], axis=1)
        return sequence


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


def chosen(logits: Array, temperature: float, top_k: int | None, rng: np.random.Generator) -> Array:
    """One token for each row of logits (B, V)."""
    scores: Array = logits.astype(np.float64)
    if temperature > 0:
        # The largest of logits + Gumbel noise is distributed as softmax(logits).
        scores = scores / temperature + rng.gumbel(size=scores.shape)
    if top_k is not None and top_k < scores.shape[-1]:
        least = np.partition(logits, -top_k, axis=-1)[:, -top_k, None]
        scores = np.where(logits < least, -np.inf, scores)
    tokens: Array = scores.argmax(axis=-1)
    return tokens
