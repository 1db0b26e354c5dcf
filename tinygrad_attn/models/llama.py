"""Llama: a decoder-only Transformer of newer parts (Touvron et al. 2023).

model:    tokens -> embedding -> blocks -> norm -> linear -> logits
block:    x + attention(norm(x)), then x + mlp(norm(x))

Positions turn queries and keys, norms divide by the root mean square, the inner layer is gated, and
several query heads may share a key head (Ainslie et al. 2023).  No layer has a bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from math import inf
from typing import Any

import numpy as np

from ..engine import ShapeError, Tensor
from ..nn import (
    Embedding,
    KVCache,
    Linear,
    Module,
    ModuleList,
    MultiHeadAttention,
    RMSNorm,
    RotaryPositions,
    functional,
)
from ..nn.functional.layers import real
from ..nn.layers import positive
from ..rng import generator
from .config import check_eps, check_sizes
from .language import LanguageModel


@dataclass(frozen=True)
class LlamaConfig:
    """The sizes of a Llama.

    Attributes:
        vocab_size: number of different tokens.
        max_length: longest sequence.
        num_layers: number of blocks.
        num_heads: query heads in each; they divide d_model into even widths.
        d_model: width.
        d_ff: width inside the gated layers.
        num_kv_heads: key and value heads, each for a group of neighbouring query heads; num_heads
            where None.
        rope_base: of the angles by which positions turn; see nn.RotaryPositions.
        eps: of the norms.
        tied: the output projection is the transposed token embedding.

    Raises:
        ShapeError: sizes that do not fit.
        DTypeError: rope_base or eps is not a number.
    """

    vocab_size: int
    max_length: int
    num_layers: int
    num_heads: int
    d_model: int
    d_ff: int
    num_kv_heads: int | None = None
    rope_base: float = 10_000.0
    eps: float = 1e-6
    tied: bool = False

    def __post_init__(self) -> None:
        check_sizes(self)
        positive("LlamaConfig", num_kv_heads=self.kv_heads)
        check_eps(self)
        if not 0 < real("LlamaConfig", "rope_base", self.rope_base) < inf:
            raise ShapeError(
                f"LlamaConfig: rope_base must be positive and finite, got {self.rope_base}"
            )
        if self.d_model % (2 * self.num_heads) or self.num_heads % self.kv_heads:
            raise ShapeError(
                "LlamaConfig: num_heads must divide d_model into even widths, and num_kv_heads "
                f"num_heads; got num_heads={self.num_heads}, d_model={self.d_model}, "
                f"num_kv_heads={self.kv_heads}"
            )

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads


class GatedMLP(Module):
    """W_down(silu(W_gate x) ∘ W_up x) (Shazeer 2020, eq. 6: SwiGLU)."""

    def __init__(self, config: LlamaConfig, rng: np.random.Generator) -> None:
        self.gate = Linear(config.d_model, config.d_ff, bias=False, rng=rng)
        self.up = Linear(config.d_model, config.d_ff, bias=False, rng=rng)
        self.down = Linear(config.d_ff, config.d_model, bias=False, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        out: Tensor = self.down(functional.silu(self.gate(x)) * self.up(x))
        return out


class LlamaBlock(Module):
    """Attention and gated layer, each on a normalised input and added to what it came from."""

    def __init__(self, config: LlamaConfig, rng: np.random.Generator) -> None:
        positions = RotaryPositions(config.d_model // config.num_heads, base=config.rope_base)
        self.norm1 = RMSNorm(config.d_model, config.eps)
        self.attn = MultiHeadAttention(
            config.d_model,
            config.num_heads,
            num_kv_heads=config.kv_heads,
            bias=False,
            positions=positions,
            rng=rng,
        )
        self.norm2 = RMSNorm(config.d_model, config.eps)
        self.mlp = GatedMLP(config, rng)

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D); position i sees the positions up to i and those in the cache."""
        x = x + self.attn(self.norm1(x), causal=True, cache=cache)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Llama(LanguageModel):
    """A Llama of the sizes in `config`.

    Args:
        config: the sizes.
        rng: generator for initial values; the library's own where None.

    Attributes:
        embed: Embedding.
        blocks: the blocks.
        norm: the last norm.
        head: the Linear that makes the logits; None with tied=True.
    """

    def __init__(self, config: LlamaConfig, *, rng: np.random.Generator | None = None) -> None:
        self.config = config
        rng = generator(rng)
        self.embed = Embedding(config.vocab_size, config.d_model, rng=rng)
        self.blocks = ModuleList(LlamaBlock(config, rng) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.d_model, config.eps)
        self.head = (
            None if config.tied else Linear(config.d_model, config.vocab_size, bias=False, rng=rng)
        )
        for parameter in self.parameters():
            if parameter.ndim == 2:
                parameter.data = rng.normal(0.0, 0.02, parameter.shape)

    def forward(self, tokens: Any, cache: Sequence[KVCache] | None = None) -> Tensor:
        """Tokens (B, T) -> logits (B, T, vocab_size).

        Args:
            cache: what `new_cache` made; the tokens then follow those that it was given before.

        Raises:
            ShapeError: tokens are not (B, T), there are more than max_length, cached ones included,
                or the cache is another model's.
            DTypeError: tokens are not integers, or the cache is not a list of them.
            IndexingError: a token is outside the vocabulary.
        """
        tokens, _ = self.placed(tokens, cache)
        x = self.embed(tokens)
        for block, kept in zip(self.blocks, cache or repeat(None)):
            x = block(x, kept)
        x = self.norm(x)
        weight = self.embed.weight if self.head is None else self.head.weight
        return functional.linear(x, weight)
