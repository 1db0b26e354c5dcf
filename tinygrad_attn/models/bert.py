"""BERT: an encoder that reads a text in both directions (Devlin et al. 2019).

tokens -> embedding + position + token type -> norm -> encoder layers -> features
the first token's features -> linear -> tanh -> pooled
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import Array, ShapeError, Tensor
from ..nn import (
    Dropout,
    Embedding,
    LayerNorm,
    LearnedPositions,
    Linear,
    Module,
    ModuleList,
    TransformerEncoderLayer,
    functional,
)
from ..nn.functional.layers import probability, whole_numbers
from ..nn.layers import positive
from ..nn.transformer import check_activation
from ..rng import generator


@dataclass(frozen=True)
class BERTConfig:
    """The sizes of a BERT.

    Attributes:
        vocab_size: number of different tokens.
        max_length: longest sequence.
        num_layers: number of encoder layers.
        num_heads: attention heads in each; divides d_model.
        d_model: width.
        d_ff: width inside the feed-forward networks.
        num_token_types: number of different token types: 2 tell a first sentence from a second.
        dropout: probability of dropping embeddings, attention weights and branches in training.
        activation: of the feed-forward networks; see nn.TransformerEncoderLayer.
        eps: of the norms.
        pooler: with the linear layer that makes one vector of a sequence.

    Raises:
        ShapeError: sizes that do not fit.
    """

    vocab_size: int
    max_length: int
    num_layers: int
    num_heads: int
    d_model: int
    d_ff: int
    num_token_types: int = 2
    dropout: float = 0.0
    activation: str = "gelu"
    eps: float = 1e-12
    pooler: bool = True

    def __post_init__(self) -> None:
        positive(
            "BERTConfig",
            vocab_size=self.vocab_size,
            max_length=self.max_length,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            d_model=self.d_model,
            d_ff=self.d_ff,
            num_token_types=self.num_token_types,
        )
        if self.d_model % self.num_heads:
            raise ShapeError(
                f"BERTConfig: num_heads must divide d_model, got {self.num_heads} and "
                f"{self.d_model}"
            )
        check_activation("BERTConfig", self.activation)
        probability("BERTConfig", self.dropout)


class BERT(Module):
    """A BERT of the sizes in `config`; the layers are post-norm.

    Args:
        config: the sizes.
        rng: generator for initial values and dropout; the library's own where None.

    Attributes:
        word_embeddings, token_type_embeddings: Embedding.
        position_embeddings: LearnedPositions.
        norm: of the sum of these.
        blocks: the encoder layers.
        pooler: Linear; None where the configuration wants none.
    """

    def __init__(self, config: BERTConfig, *, rng: np.random.Generator | None = None) -> None:
        self.config = config
        width, rng = config.d_model, generator(rng)
        self.word_embeddings = Embedding(config.vocab_size, width, rng=rng)
        self.token_type_embeddings = Embedding(config.num_token_types, width, rng=rng)
        self.position_embeddings = LearnedPositions(config.max_length, width, rng=rng)
        self.norm = LayerNorm(width, config.eps)
        self.dropout = Dropout(config.dropout, rng=rng)
        self.blocks = ModuleList(
            TransformerEncoderLayer(
                width,
                config.num_heads,
                config.d_ff,
                dropout=config.dropout,
                activation=config.activation,
                eps=config.eps,
                rng=rng,
            )
            for _ in range(config.num_layers)
        )
        self.pooler = Linear(width, width, rng=rng) if config.pooler else None
        self.initialise(rng)

    def initialise(self, rng: np.random.Generator) -> None:
        """BERT's initial values: zero biases, and weights from N(0, 0.02²)."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                parameter.data = rng.normal(0.0, 0.02, parameter.shape)
            elif name.endswith("bias"):
                parameter.data = np.zeros(parameter.shape)

    def forward(
        self,
        tokens: Any,
        token_types: Any = None,
        mask: Any = None,
        *,
        return_weights: bool = False,
    ) -> Any:
        """Tokens (B, T) -> features (B, T, d_model).

        Args:
            token_types: integers (B, T); zeros where None.
            mask: which position may attend to which, as in nn.TransformerEncoderLayer; for padding
                nn.Mask.lengths(n), or boolean (B, 1, T).
            return_weights: return (features, list of the weights (B, heads, T, T) of every layer).

        Raises:
            ShapeError: tokens are not (B, T), token types have another shape, or there are more
                than max_length.
            DTypeError: tokens or types are not integers.
            IndexingError: one is outside its vocabulary.
        """
        tokens = self.checked("tokens", tokens, self.config.vocab_size)
        zeros = np.zeros_like(tokens)
        types = self.checked(
            "token_types",
            zeros if token_types is None else token_types,
            self.config.num_token_types,
        )
        if types.shape != tokens.shape:
            raise ShapeError(
                f"BERT: expected token_types of the tokens' shape {tokens.shape}, got {types.shape}"
            )
        x = self.word_embeddings(tokens) + self.token_type_embeddings(types)
        x = self.dropout(self.norm(self.position_embeddings(x)))
        weights: list[Tensor] = []
        for block in self.blocks:
            x = block(x, mask, return_weights=return_weights)
            if return_weights:
                x, found = x
                weights.append(found)
        return (x, weights) if return_weights else x

    def checked(self, name: str, values: Any, limit: int) -> Array:
        """`values` as an array (B, T) of integers in [0, limit), T at most max_length."""
        array = whole_numbers("BERT", name, values, limit)
        if array.ndim != 2 or not 1 <= array.shape[1] <= self.config.max_length:
            raise ShapeError(
                f"BERT: expected {name} (B, T), T from 1 to max_length={self.config.max_length}, "
                f"got {array.shape}"
            )
        return array

    def pooled(self, features: Tensor) -> Tensor:
        """What `forward` returned (B, T, d_model) as one vector each: tanh(W x₀ + b), (B, d_model).

        Raises:
            ShapeError: the model has no pooler.
        """
        if self.pooler is None:
            raise ShapeError("BERT.pooled: the configuration has pooler=False")
        out: Tensor = functional.tanh(self.pooler(features[:, 0]))
        return out
