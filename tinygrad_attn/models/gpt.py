"""GPT-2: a decoder-only Transformer that predicts the next token (Radford et al. 2019).

model:    tokens -> embedding + position -> blocks -> norm -> embeddingᵀ -> logits
block:    x + attention(norm(x)), then x + mlp(norm(x))

How it writes a text on, `generate`, stands in language.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from math import sqrt
from typing import Any

import numpy as np

from ..engine import Tensor
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
from ..nn.functional.layers import probability
from ..rng import generator
from .config import check_divides, check_sizes
from .language import LanguageModel


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
        check_sizes(self)
        check_divides(self, "num_heads", "d_model")
        probability("GPTConfig", self.dropout)


class MLP(Module):
    """Two linear layers, four times as wide inside, with GELU (its tanh form) between."""

    def __init__(self, config: GPTConfig, rng: np.random.Generator | None) -> None:
        self.up = Linear(config.d_model, 4 * config.d_model, bias=config.bias, rng=rng)
        self.down = Linear(4 * config.d_model, config.d_model, bias=config.bias, rng=rng)

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


class GPT(LanguageModel):
    """A GPT-2 of the sizes in `config`; the output projection is the transposed token embedding.

    Args:
        config: the sizes.
        rng: generator for initial values and dropout; the library's own where None.

    Attributes:
        wte, wpe: Embedding of the tokens, (vocab_size, d_model), and of their positions,
            (max_length, d_model).
        drop: of the sum of both.
        blocks: the blocks.
        ln_f: the last norm.
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
        tokens, past = self.placed(tokens, cache)
        x = self.drop(self.wte(tokens) + self.wpe(np.arange(past, past + tokens.shape[1])))
        for block, kept in zip(self.blocks, cache or repeat(None)):
            x = block(x, kept)
        return functional.linear(self.ln_f(x), self.wte.weight)
