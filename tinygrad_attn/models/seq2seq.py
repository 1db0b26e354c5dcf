"""Sequence to sequence with attention: read with one recurrent network, write with another.

    encoder    source tokens -> embedding -> GRU in both directions -> keys, one per source position
    decoder    each target token from the one before, the decoder's state, and what attention
               collects from the keys

Two ways to write, after the two papers:

    "bahdanau"    attention asks with the state before, and the context enters the GRU
    "luong"       the GRU goes first, attention asks with its state, and both make the prediction
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..engine import Array, ShapeError, Tensor
from ..engine.dispatch import plain
from ..nn import Dropout, Embedding, Linear, Module
from ..nn.alignment import SCORES, BahdanauAttention, LuongAttention
from ..nn.functional.layers import probability
from ..nn.recurrent import GRU
from ..rng import generator
from .config import check_sizes, check_special_tokens
from .evaluation import evaluating
from .translation import TranslationModel

ATTENTIONS = ("bahdanau", "luong")


@dataclass(frozen=True)
class Seq2SeqConfig:
    """The sizes of a Seq2Seq.

    Attributes:
        source_vocab, target_vocab: numbers of different tokens.
        d_embed: width of the embeddings.
        d_hidden: width H of the decoder's state and of the keys, to which each direction of the
            encoder contributes half; even.
        attention: "bahdanau" or "luong".
        score: of Luong's attention: "dot", "general" or "concat".
        dropout: probability of dropping an embedding or a feature in training.
        padding, start, end: tokens with a meaning: fills up at the end; comes before the first
            target token; comes after the last.

    Raises:
        ShapeError: sizes or options that do not fit.
    """

    source_vocab: int
    target_vocab: int
    d_embed: int = 32
    d_hidden: int = 64
    attention: str = "bahdanau"
    score: str = "general"
    dropout: float = 0.0
    padding: int = 0
    start: int = 1
    end: int = 2

    def __post_init__(self) -> None:
        who = "Seq2SeqConfig"
        check_sizes(self, "d_embed", "d_hidden")
        if self.attention not in ATTENTIONS or self.score not in SCORES:
            raise ShapeError(
                f"{who}: attention must be one of {ATTENTIONS} and score one of {SCORES}, got "
                f"{self.attention!r} and {self.score!r}"
            )
        if self.d_hidden % 2:
            raise ShapeError(f"{who}: d_hidden must be even, got {self.d_hidden}")
        check_special_tokens(self)
        probability(who, self.dropout)


class Memory(NamedTuple):
    """A source as the decoder sees it: what attention needs for every step."""

    keys: Tensor  # (B, S, H)
    prepared: Tensor  # (B, S, ·): attention.prepare(keys)
    mask: Array  # (B, S), True where a real token stands


class Encoder(Module):
    """Embedding and a GRU in both directions (Bahdanau et al. 2015, section 3.2).

    The decoder starts from where both directions ended; in the paper from the backward one's end.
    """

    def __init__(self, config: Seq2SeqConfig, rng: np.random.Generator) -> None:
        self.embedding = Embedding(config.source_vocab, config.d_embed, rng=rng)
        self.drop = Dropout(config.dropout, rng=rng)
        self.gru = GRU(config.d_embed, config.d_hidden // 2, bidirectional=True, rng=rng)
        self.bridge = Linear(config.d_hidden, config.d_hidden, rng=rng)

    def forward(self, source: Array, lengths: Array) -> tuple[Tensor, Tensor]:
        """Tokens (B, S) -> (keys (B, S, H), the decoder's first state (1, B, H))."""
        keys, final = self.gru(self.drop(self.embedding(source)), lengths=lengths)
        both = ops.concat([final[0], final[1]], -1)  # (B, H): each direction where it ended
        return keys, ops.expand_dims(ops.tanh(self.bridge(both)), 0)


class BahdanauDecoder(Module):
    """Attend, step, predict (Bahdanau et al. 2015, section A.2.2).

    In the paper a maxout layer makes the prediction, of the state before the step; here a tanh
    does, of the state after it.
    """

    def __init__(self, config: Seq2SeqConfig, rng: np.random.Generator) -> None:
        width = config.d_hidden
        self.embedding = Embedding(config.target_vocab, config.d_embed, rng=rng)
        self.drop = Dropout(config.dropout, rng=rng)
        self.attention = BahdanauAttention(width, width, width, rng=rng)
        self.gru = GRU(config.d_embed + width, width, rng=rng)
        self.combine = Linear(config.d_embed + 2 * width, width, rng=rng)
        self.output = Linear(width, config.target_vocab, rng=rng)

    def forward(
        self, tokens: Array, state: Tensor, memory: Memory
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (B, T) -> (logits (B, T, V), the state after them, weights (B, T, S))."""
        embedded = self.drop(self.embedding(tokens))
        states, contexts, weights = [], [], []
        for word in ops.split(embedded, tokens.shape[1], 1):
            context, row = self.attention(
                ops.transpose(state, (1, 0, 2)),  # (B, 1, H)
                memory.keys,
                mask=memory.mask,
                prepared=memory.prepared,
                return_weights=True,
            )
            out, state = self.gru(ops.concat([word, context], -1), state)
            states.append(out)
            contexts.append(context)
            weights.append(row)
        seen = [ops.concat(states, 1), embedded, ops.concat(contexts, 1)]
        features = ops.tanh(self.combine(ops.concat(seen, -1)))
        return self.output(self.drop(features)), state, ops.concat(weights, 1)


class LuongDecoder(Module):
    """Step, attend, predict: all steps at once (Luong et al. 2015, equations 5 and 6).

    Without input feeding (section 3.3), which would make each step wait for the one before.
    """

    def __init__(self, config: Seq2SeqConfig, rng: np.random.Generator) -> None:
        width = config.d_hidden
        self.embedding = Embedding(config.target_vocab, config.d_embed, rng=rng)
        self.drop = Dropout(config.dropout, rng=rng)
        self.gru = GRU(config.d_embed, width, rng=rng)
        self.attention = LuongAttention(width, width, config.score, rng=rng)
        self.combine = Linear(2 * width, width, rng=rng)
        self.output = Linear(width, config.target_vocab, rng=rng)

    def forward(
        self, tokens: Array, state: Tensor, memory: Memory
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (B, T) -> (logits (B, T, V), the state after them, weights (B, T, S))."""
        states, state = self.gru(self.drop(self.embedding(tokens)), state)
        contexts, weights = self.attention(
            states, memory.keys, mask=memory.mask, prepared=memory.prepared, return_weights=True
        )
        features = ops.tanh(self.combine(ops.concat([contexts, states], -1)))
        return self.output(self.drop(features)), state, weights


class Seq2Seq(TranslationModel):
    """Encoder, attention decoder, and the way between tokens and losses.

    Args:
        config: the sizes.
        rng: generator for initial values and dropout; the library's own where None.

    Attributes:
        encoder: Encoder.
        decoder: BahdanauDecoder or LuongDecoder.
    """

    def __init__(self, config: Seq2SeqConfig, *, rng: np.random.Generator | None = None) -> None:
        self.config = config
        rng = generator(rng)
        self.encoder = Encoder(config, rng)
        decoder = BahdanauDecoder if config.attention == "bahdanau" else LuongDecoder
        self.decoder = decoder(config, rng)

    def forward(
        self,
        source: Any,
        target: Any,
        source_lengths: Any = None,
        *,
        return_weights: bool = False,
    ) -> Any:
        """Predict each target token, and the end, from the source and the tokens before.

        Args:
            source: tokens (B, S), filled up with padding.
            target: tokens (B, T) without start and end, filled up with padding.
            source_lengths: integers (B,); where None, up to the last token that is not padding.
            return_weights: return (logits, weights), the attention weights (B, T + 1, S).

        Returns:
            Logits (B, T + 1, target_vocab).

        Raises:
            ShapeError: tokens are not (B, S) and (B, T), the start or the end is among the targets,
                or a length does not fit.
            DTypeError: tokens or lengths are not integers.
            IndexingError: a token is outside its vocabulary.
        """
        source = self.source(source)
        started = self.started(source, self.target(target))
        logits, _, weights = self.decoder(started, *self.read(source, source_lengths))
        return (logits, weights) if return_weights else logits

    def loss(
        self, source: Any, target: Any, source_lengths: Any = None, *, label_smoothing: float = 0.0
    ) -> Tensor:
        """Mean cross-entropy, in nats, of the target tokens and the end; see `forward`.

        `label_smoothing` is `functional.cross_entropy`'s.
        """
        return self.cross_entropy(self(source, target, source_lengths), target, label_smoothing)

    def generate(
        self,
        source: Any,
        max_steps: int,
        source_lengths: Any = None,
        *,
        return_weights: bool = False,
    ) -> Any:
        """The most probable token at each step, until the end or `max_steps`; without dropout.

        Args:
            source, source_lengths: as in `forward`.
            return_weights: return (tokens, weights), the attention weights (B, max_steps, S), zeros
                after the end.

        Returns:
            Tokens (B, max_steps); the end and what follows are padding, as in a target.

        Raises:
            ShapeError: max_steps is negative, the model's logits are NaN or infinite, or as in
                `forward`.
            DTypeError: max_steps is not an integer, or as in `forward`.
            IndexingError: as in `forward`.
        """
        self.check_steps(max_steps)
        with evaluating(self):
            state, memory = self.read(self.source(source), source_lengths)

            def step(last: Array) -> tuple[Tensor, Tensor]:
                nonlocal state
                logits, state, row = self.decoder(last, state, memory)
                return logits, row

            batch, length = memory.mask.shape
            weights = np.zeros((batch, max_steps, length), state.dtype)
            tokens = self.written(step, weights)
        return (tokens, weights) if return_weights else tokens

    def read(self, source: Array, lengths: Any) -> tuple[Tensor, Memory]:
        """The decoder's first state, and what its attention needs."""
        lengths = self.lengths(source) if lengths is None else np.asarray(plain(lengths))
        keys, state = self.encoder(source, lengths)
        mask = np.arange(source.shape[1]) < lengths[:, None]
        return state, Memory(keys, self.decoder.attention.prepare(keys), mask)
