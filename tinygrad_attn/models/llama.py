"""Llama: a decoder-only Transformer of newer parts (Touvron et al. 2023).

model:    tokens -> embedding -> blocks -> norm -> linear -> logits
block:    x + attention(norm(x)), then x + mlp(norm(x))

Positions turn queries and keys, norms divide by the root mean square, the inner layer is gated, and
several query heads may share a key head (Ainslie et al. 2023).  No layer has a bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, ShapeError, Tensor
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
from ..nn.functional.layers import whole_numbers
from ..nn.layers import positive
from ..rng import generator


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
        positive(
            "LlamaConfig",
            vocab_size=self.vocab_size,
            max_length=self.max_length,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            d_model=self.d_model,
            d_ff=self.d_ff,
            num_kv_heads=self.kv_heads,
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
        self.gate = Linear(config.d_model, config.d_ff, False, rng=rng)
        self.up = Linear(config.d_model, config.d_ff, False, rng=rng)
        self.down = Linear(config.d_ff, config.d_model, False, rng=rng)

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


class Llama(Module):
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
            None if config.tied else Linear(config.d_model, config.vocab_size, False, rng=rng)
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
        x = self.embed(self.checked(tokens, cache))
        for i, block in enumerate(self.blocks):
            x = block(x) if cache is None else block(x, cache[i])
        x = self.norm(x)
        weight = self.embed.weight if self.head is None else self.head.weight
        return functional.linear(x, weight)

    def checked(self, tokens: Any, cache: Sequence[KVCache] | None) -> Array:
        """`tokens` as an array (B, T) of this vocabulary, which fits after the cached ones."""
        array = whole_numbers("Llama", "tokens", tokens, self.config.vocab_size)
        past = self.cached(cache)
        room = self.config.max_length - past
        if array.ndim != 2 or not 1 <= array.shape[1] <= room:
            raise ShapeError(
                f"Llama: expected tokens (B, T), T from 1 to {room} (max_length="
                f"{self.config.max_length}, {past} cached), got {array.shape}"
            )
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
                "Llama: expected one nn.KVCache a block, in a list such as model.new_cache() "
                f"makes, got a {type(cache).__name__}"
            )
        lengths = [one.length for one in cache]
        if len(lengths) != len(self.blocks) or len(set(lengths)) > 1:
            raise ShapeError(
                f"Llama: expected a cache of equal length for each of {len(self.blocks)} blocks, "
                f"got the lengths {lengths}"
            )
        return lengths[0]

    def loss(self, tokens: Any, targets: Any) -> Tensor:
        """Mean cross-entropy, in nats, of `targets` (B, T): each the token after that in `tokens`.

        A target of −100 does not count.
        """
        return functional.cross_entropy(self(tokens), targets)
