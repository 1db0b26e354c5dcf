"""BERT: an encoder that reads a text in both directions (Devlin et al. 2019).

tokens -> embedding + position + token type -> norm -> encoder layers -> features
features -> transposed word embedding -> logits of the words
the first token's features -> linear -> tanh -> pooled
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import numpy as np

from ..engine import Array, ShapeError, Tensor
from ..nn import (
    Dropout,
    Embedding,
    LayerNorm,
    LearnedPositions,
    Linear,
    Mask,
    Module,
    TransformerEncoderLayer,
    functional,
)
from ..nn.attention import as_mask, head_mask
from ..nn.functional.layers import probability, whole_numbers
from ..nn.transformer import check_activation
from ..rng import generator
from .config import check_divides, check_eps, check_sizes
from .stack import stacked, through


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
        pooler: has the linear layer that makes one vector of a sequence.
        window: how many positions to either side the first layer sees; None for all.  Words first
            collect what stands beside them, then look further (Beltagy et al. 2020, section 4.1).

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
    window: int | None = None

    def __post_init__(self) -> None:
        window = () if self.window is None else ("window",)
        check_sizes(self, "num_token_types", *window)
        check_divides(self, "num_heads", "d_model")
        check_activation("BERTConfig", self.activation)
        probability("BERTConfig", self.dropout)
        check_eps(self)


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
        self.blocks = stacked(TransformerEncoderLayer, config, rng, eps=config.eps)
        self.pooler = Linear(width, width, rng=rng) if config.pooler else None
        self.initialise(rng)

    def initialise(self, rng: np.random.Generator) -> None:
        """Zero biases, and weights from N(0, 0.02²); the original cuts these off at ±0.04."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                parameter.data = rng.normal(0.0, 0.02, parameter.shape)
            elif name.endswith("bias"):
                parameter.data = np.zeros(parameter.shape)

    def forward(
        self,
        tokens: Any,
        *,
        token_types: Any = None,
        mask: Any = None,
        return_weights: bool = False,
    ) -> Any:
        """Tokens (B, T) -> features (B, T, d_model).

        Args:
            token_types: integers (B, T); zeros where None.
            mask: which position may attend to which, as in nn.TransformerEncoderLayer; for padding
                nn.Mask.lengths(n), or boolean (B, 1, T); not (B, T), which is read as (T, T).
            return_weights: return (features, list of the weights (B, heads, T, T) of every layer).

        Raises:
            ShapeError: tokens are not (B, T), token types have another shape, or T is 0 or more
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
        masks = chain([self.nearby(mask)], repeat(mask))
        x, weights = through(self.blocks, x, masks, return_weights)
        return (x, weights) if return_weights else x

    def nearby(self, mask: Any) -> Any:
        """`mask`, and of what it lets through only what the first layer sees."""
        reach = self.config.window
        return mask if reach is None else as_mask(head_mask(mask)) & Mask.window(reach, reach)

    def checked(self, name: str, values: Any, limit: int) -> Array:
        """`values` as an array (B, T) of integers in [0, limit), T at most max_length."""
        array = whole_numbers("BERT", name, values, limit)
        if array.ndim != 2 or array.shape[1] > self.config.max_length:
            raise ShapeError(
                f"BERT: expected {name} (B, T), T up to max_length={self.config.max_length}, "
                f"got {array.shape}"
            )
        return array

    def logits(self, features: Tensor) -> Tensor:
        """What `forward` returned (..., d_model) as logits of the words (..., vocab_size).

        By the transposed word embedding (Devlin et al. 2019, section 3.1), without the layer that
        the published model has before it.
        """
        out: Tensor = functional.linear(features, self.word_embeddings.weight)
        return out

    def pooled(self, features: Tensor) -> Tensor:
        """What `forward` returned (B, T, d_model) as one vector each: tanh(W x₀ + b), (B, d_model).

        Raises:
            ShapeError: the model has no pooler.
        """
        if self.pooler is None:
            raise ShapeError("BERT.pooled: the configuration has pooler=False")
        out: Tensor = functional.tanh(self.pooler(features[:, 0]))
        return out
