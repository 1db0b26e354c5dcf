"""The Transformer: an encoder reads a sequence, a decoder writes another (Vaswani et al. 2017).

    encoder:  source tokens -> embedding·√D + position -> layers -> memory
    decoder:  target tokens -> embedding·√D + position -> layers, looking at the memory -> logits

Sequences are rows of tokens, filled up at the end with `padding`.  Targets stand without the start
and end tokens: the model adds them to learn, and takes them off what it generates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from math import sqrt
from typing import Any

import numpy as np

from ..engine import Array, ShapeError, Tensor
from ..nn import (
    Dropout,
    Embedding,
    KVCache,
    LayerNorm,
    LearnedPositions,
    Linear,
    Module,
    SinusoidalPositions,
    TransformerDecoderLayer,
    TransformerEncoderLayer,
)
from ..nn.functional.layers import probability
from ..nn.transformer import check_activation
from ..rng import generator
from .config import check_divides, check_sizes, check_special_tokens
from .evaluation import evaluating
from .stack import stacked
from .translation import TranslationModel

POSITIONS = ("sinusoidal", "learned")


@dataclass(frozen=True)
class TransformerConfig:
    """The sizes and special tokens of a Transformer.

    Attributes:
        source_vocab, target_vocab: numbers of different tokens.
        max_length: longest source, and longest target counted with its start token.
        num_layers: number of encoder layers, and of decoder layers.
        num_heads: attention heads in each; divides d_model.
        d_model: width.
        d_ff: width inside the feed-forward networks.
        padding: token that fills up short rows; no token of the row or the other side attends to
            it, and no loss counts it.
        start, end: tokens before and after every target.
        dropout: probability of dropping embeddings, attention weights and branches in training.
        activation: of the feed-forward networks; see nn.TransformerEncoderLayer.
        norm_first: normalise before each branch, and once after the last layer.
        bias: biases in layers and norms.
        positions: "sinusoidal" or "learned".
        tied: one table embeds source and target and, transposed, makes the logits (section 3.4).

    Raises:
        ShapeError: sizes or tokens that do not fit.
    """

    source_vocab: int
    target_vocab: int
    max_length: int
    num_layers: int
    num_heads: int
    d_model: int
    d_ff: int
    padding: int = 0
    start: int = 1
    end: int = 2
    dropout: float = 0.0
    activation: str = "relu"
    norm_first: bool = False
    bias: bool = True
    positions: str = "sinusoidal"
    tied: bool = False

    def __post_init__(self) -> None:
        who, source, target = type(self).__name__, self.source_vocab, self.target_vocab
        check_sizes(self)
        check_divides(self, "num_heads", "d_model")
        check_special_tokens(self)
        if self.tied and source != target:
            raise ShapeError(
                f"{who}: tied embeddings need one vocabulary, got {source} source and "
                f"{target} target tokens"
            )
        if self.positions not in POSITIONS:
            raise ShapeError(f"{who}: positions must be one of {POSITIONS}, got {self.positions!r}")
        check_activation(who, self.activation)
        probability(who, self.dropout)


class Stack(Module):
    """Layers one after the other; with norm_first a norm after the last.

    Named as in PyTorch's TransformerEncoder and TransformerDecoder: `layers.0…`, `norm`.
    """

    def __init__(
        self,
        layer: type[TransformerEncoderLayer | TransformerDecoderLayer],
        config: TransformerConfig,
        rng: np.random.Generator,
    ) -> None:
        self.layers = stacked(layer, config, rng, norm_first=config.norm_first, bias=config.bias)
        self.norm = LayerNorm(config.d_model, bias=config.bias) if config.norm_first else None

    def forward(
        self,
        x: Tensor,
        *inputs: Any,
        caches: Sequence[KVCache | None] | None = None,
        return_weights: bool = False,
    ) -> Any:
        """(B, T, D) -> (B, T, D); with return_weights also the last weights of the last layer."""
        weights = None
        for layer, cache in zip(self.layers, caches or repeat(None)):
            x = layer(x, *inputs, cache=cache, return_weights=return_weights)
            if return_weights:
                x, *_, weights = x
        out = x if self.norm is None else self.norm(x)
        return (out, weights) if return_weights else out


class Transformer(TranslationModel):
    """An encoder and a decoder of the sizes in `config`.

    Args:
        config: the sizes and special tokens.
        rng: generator for initial values and dropout; the library's own where None.

    Attributes:
        source_embedding, target_embedding: Embedding, weights (source_vocab, d_model) and
            (target_vocab, d_model) drawn from N(0, 1/d_model), so that times √d_model they are
            about as large as sinusoidal positions.
        source_positions, target_positions: SinusoidalPositions or LearnedPositions.
        dropout: of the sums of embeddings and positions.
        encoder, decoder: the layers, named as in torch.nn.Transformer.
        output: Linear, to the logits.
    """

    def __init__(
        self, config: TransformerConfig, *, rng: np.random.Generator | None = None
    ) -> None:
        self.config, self.longest = config, config.max_length
        width, rng = config.d_model, generator(rng)
        self.source_embedding = Embedding(config.source_vocab, width, rng=rng)
        self.target_embedding = Embedding(config.target_vocab, width, rng=rng)
        self.source_positions = positions(config, rng)
        self.target_positions = positions(config, rng)
        self.dropout = Dropout(config.dropout, rng=rng)
        self.encoder = Stack(TransformerEncoderLayer, config, rng)
        self.decoder = Stack(TransformerDecoderLayer, config, rng)
        self.output = Linear(width, config.target_vocab, config.bias, rng=rng)
        for table in (self.source_embedding.weight, self.target_embedding.weight):
            table.data = table.data / sqrt(width)
        if config.tied:
            self.target_embedding.weight = self.output.weight = self.source_embedding.weight

    def forward(self, source: Any, target: Any, *, return_weights: bool = False) -> Any:
        """Predict each target token, and the end, from the source and the tokens before.

        Args:
            source: tokens (B, S), filled up with padding.
            target: tokens (B, T) without start and end, filled up with padding.
            return_weights: return (logits, weights), the weights (B, heads, T + 1, S) with which
                the decoder's last layer looked at the source.

        Returns:
            Logits (B, T + 1, target_vocab).

        Raises:
            ShapeError: tokens are not (B, S) and (B, T), they are too many for max_length, or the
                start or the end is among the targets.
            DTypeError: tokens are not integers.
            IndexingError: a token is outside its vocabulary.
        """
        source = self.source(source)
        started = self.started(source, self.target(target))
        return self.write(started, *self.read(source), return_weights)

    def loss(self, source: Any, target: Any, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy, in nats, of the target tokens and the end; see `forward`.

        `label_smoothing` is `functional.cross_entropy`'s; the paper's is 0.1 (section 5.4).
        """
        return self.cross_entropy(self(source, target), target, label_smoothing)

    def generate(self, source: Any, max_steps: int, *, return_weights: bool = False) -> Any:
        """The most probable token at each step, until the end or `max_steps`; without dropout.

        Args:
            source: as in `forward`.
            max_steps: at most max_length.
            return_weights: return (tokens, weights), the weights (B, heads, max_steps, S) with
                which the decoder's last layer looked at the source, zeros after the end.

        Returns:
            Tokens (B, max_steps); the end and what follows are padding, as in a target.

        Raises:
            ShapeError: max_steps is out of range, the model's logits are NaN or infinite, or as in
                `forward`.
            DTypeError: max_steps is not an integer, or as in `forward`.
            IndexingError: as in `forward`.
        """
        self.check_steps(max_steps)
        with evaluating(self):
            memory, keep = self.read(self.source(source))
            caches = [KVCache(self.longest) for _ in self.decoder.layers]
            shape = (len(memory), self.config.num_heads, max_steps, memory.shape[1])
            weights = np.zeros(shape, memory.dtype)
            tokens = self.written(
                lambda last: self.write(last, memory, keep, True, caches), weights
            )
        return (tokens, weights) if return_weights else tokens

    def read(self, source: Array) -> tuple[Tensor, Array]:
        """Tokens (B, S) -> memory (B, S, D) and its mask (B, 1, S), True where a token stands."""
        keep = (source != self.config.padding)[:, None]
        x = self.embedded(source, self.source_embedding, self.source_positions)
        return self.encoder(x, keep), keep

    def write(
        self,
        tokens: Array,
        memory: Tensor,
        keep: Array,
        return_weights: bool = False,
        caches: Sequence[KVCache] | None = None,
    ) -> Any:
        """Tokens (B, T), the start first -> logits (B, T, V) of the token after each; weights.

        With caches, one per layer, the tokens continue those that came before.
        """
        past = caches[0].length if caches else 0
        x = self.embedded(tokens, self.target_embedding, self.target_positions, past)
        # Padding stands at the end, where no token before sees it: this needs no mask.
        found = self.decoder(x, memory, None, keep, caches=caches, return_weights=return_weights)
        out, weights = found if return_weights else (found, None)
        logits = self.output(out)
        return (logits, weights) if return_weights else logits

    def embedded(
        self, tokens: Array, embedding: Module, positions: Module, offset: int = 0
    ) -> Tensor:
        """Tokens (B, T), the first at position `offset` -> (B, T, D)."""
        x: Tensor = self.dropout(positions(embedding(tokens) * sqrt(self.config.d_model), offset))
        return x


def positions(config: TransformerConfig, rng: np.random.Generator) -> Module:
    """The positions that `config` asks for."""
    if config.positions == "learned":
        return LearnedPositions(config.max_length, config.d_model, rng=rng)
    return SinusoidalPositions(config.d_model, config.max_length)
