"""GPT-2: a decoder-only Transformer that predicts the next token (Radford et al. 2019).

    tokens -> embedding + position -> blocks -> norm -> embeddingᵀ -> logits
    block:    x + attention(norm(x)), then x + mlp(norm(x))
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, IndexingError, ShapeError, Tensor, no_grad
from ..engine.dispatch import plain
from ..nn import Dropout, Embedding, LayerNorm, Linear, Module, ModuleList, MultiHeadAttention
from ..nn import functional
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
        dropout: probability of dropping embeddings, attention weights and residual branches while training.
        bias: biases in linear layers and norms.
    """

    vocab_size: int
    max_length: int
    num_layers: int
    num_heads: int
    d_model: int
    dropout: float = 0.0
    bias: bool = True

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name not in ("dropout", "bias") and (not isinstance(value, (int, np.integer)) or value < 1):
                raise ShapeError(f"GPTConfig: {name} must be an integer of 1 or more, got {value!r}")
        if self.d_model % self.num_heads:
            raise ShapeError(f"GPTConfig: num_heads must divide d_model, got {self.num_heads} and {self.d_model}")
        functional.probability("GPTConfig", self.dropout)


class MLP(Module):
    """Two linear layers with GELU (its tanh form, as in GPT-2) between, four times as wide inside."""

    def __init__(self, config: GPTConfig, rng: np.random.Generator) -> None:
        self.up = Linear(config.d_model, 4 * config.d_model, config.bias, rng=rng)
        self.down = Linear(4 * config.d_model, config.d_model, config.bias, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.down(functional.gelu(self.up(x), "tanh"))  # type: ignore[no-any-return]


class Block(Module):
    """Attention and MLP, each on a normalised input and added to what it came from."""

    def __init__(self, config: GPTConfig, rng: np.random.Generator, noise: np.random.Generator | None) -> None:
        self.ln_1 = LayerNorm(config.d_model, bias=config.bias)
        self.attn = MultiHeadAttention(config.d_model, config.num_heads, bias=config.bias, dropout=config.dropout, rng=rng)
        self.attn.rng = noise
        self.ln_2 = LayerNorm(config.d_model, bias=config.bias)
        self.mlp = MLP(config, rng)
        self.drop = Dropout(config.dropout, rng=noise)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D); position i sees positions up to i."""
        x = x + self.drop(self.attn(self.ln_1(x), causal=True))
        return x + self.drop(self.mlp(self.ln_2(x)))  # type: ignore[no-any-return]


class GPT(Module):
    """A GPT-2 of the sizes in `config`; the output projection is the transposed token embedding.

    Args:
        config: the sizes.
        rng: generator for the initial values and for dropout; the library's own where None.
    """

    def __init__(self, config: GPTConfig, *, rng: np.random.Generator | None = None) -> None:
        draw = generator(rng)
        self.config = config
        self.wte = Embedding(config.vocab_size, config.d_model, rng=draw)
        self.wpe = Embedding(config.max_length, config.d_model, rng=draw)
        self.drop = Dropout(config.dropout, rng=rng)
        self.blocks = ModuleList(Block(config, draw, rng) for _ in range(config.num_layers))
        self.ln_f = LayerNorm(config.d_model, bias=config.bias)
        self.initialise(draw)

    def initialise(self, rng: np.random.Generator) -> None:
        """GPT-2's values: N(0, 0.02²), less by √(2·num_layers) where a branch joins the residual stream, zero biases."""
        joining = 0.02 / sqrt(2 * self.config.num_layers)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                deviation = joining if name.endswith(("out_proj.weight", "down.weight")) else 0.02
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
        x = self.drop(self.wte(tokens) + self.wpe(np.arange(tokens.shape[1])))
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.ln_f(x), self.wte.weight)

    def checked(self, tokens: Any) -> Array:
        """`tokens` as an array this model can read."""
        tokens = np.asarray(plain(tokens))
        if tokens.ndim != 2 or not 0 < tokens.shape[1] <= self.config.max_length:
            raise ShapeError(f"GPT: expected tokens (B, T) with 1 ≤ T ≤ {self.config.max_length}, got {tokens.shape}")
        if tokens.dtype.kind not in "iu":
            raise DTypeError(f"GPT: tokens must be integers, got {tokens.dtype}")
        if tokens.size and not (tokens.min() >= 0 and tokens.max() < self.config.vocab_size):
            raise IndexingError(f"GPT: tokens must lie in [0, {self.config.vocab_size}), got {tokens.min()} … {tokens.max()}")
        return tokens  # type: ignore[no-any-return]

    def loss(self, tokens: Any, targets: Any) -> Tensor:
        """Mean cross-entropy of the next tokens `targets` (B, T), in nats; −100 marks a target that does not count."""
        return functional.cross_entropy(self(tokens), targets)

    def generate(self, tokens: Any, steps: int, *, temperature: float = 1.0, top_k: int | None = None,
                 rng: np.random.Generator | None = None) -> Array:
        """`tokens` (B, T) continued by `steps` tokens drawn from the model's distribution, in evaluation mode.

        Args:
            temperature: divides the logits; 0 takes the most probable token each time.
            top_k: draw among so many most probable tokens only.
            rng: generator for the draws.

        Returns:
            Integers (B, T + steps).  The model sees the last max_length tokens.

        Raises:
            ShapeError: an option is out of range, or tokens are not (B, T).
        """
        if not temperature >= 0 or steps < 0 or (top_k is not None and top_k < 1):
            raise ShapeError(f"generate: expected temperature ≥ 0, steps ≥ 0 and top_k ≥ 1, got {temperature}, {steps}, {top_k}")
        tokens, draw, mode = np.asarray(plain(tokens)), generator(rng), self.training
        self.eval()
        try:
            for _ in range(steps):
                with no_grad():
                    logits = self(tokens[:, -self.config.max_length:])._data[:, -1]
                tokens = np.concatenate([tokens, chosen(logits, temperature, top_k, draw)[:, None]], axis=1)
        finally:
            self.train(mode)
        return tokens  # type: ignore[no-any-return]


def chosen(logits: Array, temperature: float, top_k: int | None, rng: np.random.Generator) -> Array:
    """One token for each row of logits (B, V)."""
    if temperature == 0:
        return logits.argmax(axis=-1)
    logits = logits.astype(np.float64) / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        least = np.partition(logits, -top_k, axis=-1)[:, -top_k, None]
        logits = np.where(logits < least, -np.inf, logits)
    noise = rng.gumbel(size=logits.shape)               # argmax of logits + Gumbel noise ~ softmax(logits)
    return (logits + noise).argmax(axis=-1)
