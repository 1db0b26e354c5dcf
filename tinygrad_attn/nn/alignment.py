"""The attentions of recurrent sequence-to-sequence models: Bahdanau's and Luong's; batch first.

Three steps, as in every attention; the papers differ in the first:

    scores     how well each key answers the query: additive, dot, general or concat
    weights    softmax(scores) over the keys, the alignment
    context    weights · values
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..engine import ShapeError, Tensor
from . import functional
from .functional.attention import normalised
from .functional.layers import array_of, choice, flag, operand
from .functional.limits import masking
from .functional.masks import Mask
from .layers import Linear, positive
from .module import Module

SCORES = ("dot", "general", "concat")


class Alignment(Module):
    """What the attentions share: a subclass says how queries and keys become scores.

    Calling one gives the context; shapes are B batch, T queries, S keys.

    Attributes:
        d_query, d_key: widths of the queries and the keys.
        d_prepared: width of the prepared keys.
        prepare: keys (B, S, d_key) -> the part of the scores that depends on them alone
            (B, S, d_prepared).
        scores: queries (B, T, d_query) and prepared keys -> (B, T, S).
    """

    d_query: int
    d_key: int
    d_prepared: int
    prepare: Callable[[Tensor], Tensor]
    scores: Callable[[Tensor, Tensor], Tensor]

    def forward(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor | None = None,
        mask: Any = None,
        *,
        return_weights: bool = False,
        prepared: Tensor | None = None,
    ) -> Any:
        """What the queries collect from the values.

        Args:
            query: (B, T, d_query), or (B, d_query) for one query a sequence.
            keys: (B, S, d_key).
            values: (B, S, width); the keys where None.
            mask: (B, S) or (B, T, S), boolean (True = may attend) or floating (added to the
                scores); or an nn.Mask, which reads two axes as (T, S): for padding take
                nn.Mask.lengths(n).  A query that may attend to no key gets zeros.
            return_weights: return (context, weights), the weights (B, T, S) or (B, S).
            prepared: `self.prepare(keys)`, where it is used for several calls, as by a decoder.

        Returns:
            (B, T, width) or (B, width).

        Raises:
            ShapeError: shapes do not fit.
            DTypeError: inputs are not numbers, or the mask is of a wrong kind.
        """
        wanted = flag(type(self).__name__, "return_weights", return_weights)
        query, keys = operand(query), operand(keys)
        values = keys if values is None else operand(values)
        self.check(query, keys, values)
        prepared = self.prepare(keys) if prepared is None else operand(prepared)
        if prepared.shape != (*keys.shape[:2], self.d_prepared):
            raise ShapeError(
                f"{type(self).__name__}: expected prepared keys (B, S, {self.d_prepared}) for keys "
                f"{keys.shape}, got {prepared.shape}"
            )
        single = query.ndim == 2
        queries = ops.expand_dims(query, 1) if single else query
        weights = self.weights(self.scores(queries, prepared), mask)  # (B, T, S)
        context = ops.matmul(weights, values)  # (B, T, width)
        if single:
            context, weights = ops.squeeze(context, 1), ops.squeeze(weights, 1)
        return (context, weights) if wanted else context

    def check(self, query: Tensor, keys: Tensor, values: Tensor) -> None:
        """Refuse inputs that do not fit together."""
        who, shape = type(self).__name__, query.shape
        if len(shape) not in (2, 3) or shape[-1] != self.d_query:
            raise ShapeError(
                f"{who}: expected query (B, T, {self.d_query}) or (B, {self.d_query}), got {shape}"
            )
        if keys.ndim != 3 or keys.shape[-1] != self.d_key or len(keys) != shape[0]:
            raise ShapeError(
                f"{who}: expected keys (B, S, {self.d_key}), got {keys.shape} beside query {shape}"
            )
        if values.ndim != 3 or values.shape[:2] != keys.shape[:2]:
            raise ShapeError(
                f"{who}: expected values (B, S, width) for keys {keys.shape}, got {values.shape}"
            )

    def weights(self, scores: Tensor, mask: Any) -> Tensor:
        """softmax(scores) over the keys a query may attend to; zeros where there is none."""
        if mask is None:
            return ops.softmax(scores)
        scores = ops.expand_dims(scores, 1)  # (B, 1, T, S): masks know of heads
        limits = masking(self.spread(mask, scores.shape), scores.shape, scores.dtype)
        masked = scores if limits.bias is None else scores + limits.bias
        return ops.squeeze(normalised(masked, limits.alive, "zero"), 1)

    def spread(self, mask: Any, shape: tuple[int, ...]) -> Any:
        """A mask (B, S) or (B, T, S) as one that broadcasts to the scores (B, 1, T, S)."""
        if isinstance(mask, Mask):
            return mask.for_layers()
        who = type(self).__name__
        mask = mask if isinstance(mask, Tensor) else array_of(who, "rows of the mask", mask)
        batch, _, queries, keys = shape
        given = mask.shape
        wanted = (batch, keys) if len(given) == 2 else (batch, queries, keys)
        if len(given) != len(wanted) or any(n not in (1, m) for n, m in zip(given, wanted)):
            raise ShapeError(
                f"{who}: expected a mask (B, S) = {(batch, keys)} or (B, T, S) = "
                f"{(batch, queries, keys)}, got {given}"
            )
        return ops.expand_dims(mask, (1, 2) if len(given) == 2 else 1)


class BahdanauAttention(Alignment):
    """Additive attention: score = vᵀ tanh(W q + U k).

    D. Bahdanau, K. Cho, Y. Bengio, "Neural machine translation by jointly learning to align and
    translate", ICLR 2015, section A.1.2.

    Args:
        d_query, d_key: widths of the queries and the keys.
        d_attn: width inside the tanh.
        rng: generator for initial values.

    Attributes:
        W, U, v: linear maps without bias, from d_query and d_key to d_attn, and from there to 1.
    """

    def __init__(
        self, d_query: int, d_key: int, d_attn: int, *, rng: np.random.Generator | None = None
    ) -> None:
        positive("BahdanauAttention", d_query=d_query, d_key=d_key, d_attn=d_attn)
        self.d_query, self.d_key, self.d_prepared = d_query, d_key, d_attn
        self.W = Linear(d_query, d_attn, bias=False, rng=rng)
        self.U = Linear(d_key, d_attn, bias=False, rng=rng)
        self.v = Linear(d_attn, 1, bias=False, rng=rng)

    def prepare(self, keys: Tensor) -> Tensor:
        """U k (B, S, d_attn)."""
        out: Tensor = self.U(keys)
        return out

    def scores(self, queries: Tensor, prepared: Tensor) -> Tensor:
        """vᵀ tanh(W q + U k) (B, T, S)."""
        return additive(self.W(queries), prepared, self.v)


class LuongAttention(Alignment):
    """Multiplicative attention, with one of three scores.

        dot       qᵀ k              general    qᵀ W k              concat    vᵀ tanh(W [q; k])

    M.-T. Luong, H. Pham, C. Manning, "Effective approaches to attention-based neural machine
    translation", EMNLP 2015, section 3.1.

    Args:
        d_query, d_key: widths of the queries and the keys; equal for "dot".
        score: "dot", "general" or "concat".
        rng: generator for initial values.

    Attributes:
        W: a linear map without bias: d_key to d_query ("general"), or d_query + d_key to d_query
            ("concat").
        v: from d_query to 1, without bias ("concat").

    Raises:
        ShapeError: the score is unknown, or the widths differ under "dot".
    """

    def __init__(
        self,
        d_query: int,
        d_key: int,
        score: str = "dot",
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        positive("LuongAttention", d_query=d_query, d_key=d_key)
        choice("LuongAttention", "score", score, SCORES)
        if score == "dot" and d_query != d_key:
            raise ShapeError(
                f'LuongAttention: score "dot" needs equal widths, got d_query={d_query} and '
                f'd_key={d_key}; "general" maps between them'
            )
        self.d_query, self.d_key, self.score = d_query, d_key, score
        self.d_prepared = d_query
        if score == "general":
            self.W = Linear(d_key, d_query, bias=False, rng=rng)
        if score == "concat":
            self.W = Linear(d_query + d_key, d_query, bias=False, rng=rng)
            self.v = Linear(d_query, 1, bias=False, rng=rng)

    def prepare(self, keys: Tensor) -> Tensor:
        """The keys, W k, or the keys' share of W [q; k]."""
        if self.score == "dot":
            return keys
        out: Tensor = (
            self.W(keys) if self.score == "general" else functional.linear(keys, self.halves[1])
        )
        return out

    def scores(self, queries: Tensor, prepared: Tensor) -> Tensor:
        """(B, T, S)."""
        if self.score == "concat":
            return additive(functional.linear(queries, self.halves[0]), prepared, self.v)
        out: Tensor = ops.matmul(queries, ops.swapaxes(prepared, -1, -2))
        return out

    @property
    def halves(self) -> tuple[Tensor, Tensor]:
        """The columns of W for the query and for the key: W [q; k] = W_q q + W_k k."""
        for_query, for_key = ops.split(self.W.weight, [self.d_query], 1)
        return for_query, for_key

    def extra_repr(self) -> str:
        """d_query, d_key, score."""
        return f'{self.d_query}, {self.d_key}, score="{self.score}"'


def additive(queries: Tensor, keys: Tensor, v: Linear) -> Tensor:
    """v(tanh(q + k)) of every query (B, T, A) with every key (B, S, A): (B, T, S)."""
    hidden = ops.tanh(ops.expand_dims(queries, 2) + ops.expand_dims(keys, 1))  # (B, T, S, A)
    return ops.squeeze(v(hidden), -1)
