"""Attention (Vaswani et al. 2017, eq. 1), step by step as it is taught.

    R = Q Kᵀ                 raw
    S = R / √d               scores
    S′ = S + mask            masked
    P = softmax(S′)          weights
    C = P V                  context
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import sqrt
from typing import Any

import numpy as np

from ... import ops
from ...engine import Array, DTypeError, ShapeError, Tensor
from .layers import dropout_mask, probability
from .masks import Masking, Window, masking

EMPTY_ROWS = ("zero", "uniform", "nan", "error")
METHODS = ("auto", "definition")


@dataclass(frozen=True, repr=False)
class Stages:
    """The steps of one attention, each a Tensor.

    Attributes:
        q, k, v: (..., heads, time, d).
        raw: Q Kᵀ, (..., heads, T, S).
        scores: raw · scale.
        masked: scores after soft cap and masks; −∞ where a query must not attend.
        weights: softmax of masked, before dropout.
        context: weights · V, (..., heads, T, dv).
        concat: the heads side by side, (..., T, heads·dv); only from a multi-head layer.
        output: after the output projection; only from a multi-head layer.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    raw: Tensor
    scores: Tensor
    masked: Tensor
    weights: Tensor
    context: Tensor
    concat: Tensor | None = None
    output: Tensor | None = None

    def __repr__(self) -> str:
        shapes = [f"{field.name}={getattr(self, field.name).shape}" for field in fields(self)
                  if getattr(self, field.name) is not None]
        return f"Stages({', '.join(shapes)})"

    def retain(self) -> Stages:
        """Let backward write `.grad` of every stage."""
        for stage in (getattr(self, field.name) for field in fields(self)):
            if stage is not None and stage.node is not None:
                stage.retain_grad()
        return self


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Any = None, *, causal: bool = False,
              offset: int = 0, window: Window | None = None, scale: float | None = None,
              softcap: float | None = None, dropout: float = 0.0,
              rng: np.random.Generator | None = None, empty_row: str = "zero",
              method: str = "auto", return_stages: bool = False) -> Any:
    """softmax(Q Kᵀ · scale + mask) V, of shape (..., heads, T, dv).

    Args:
        q: queries (..., heads, T, d); the axes before T may be missing.
        k, v: keys (..., heads, S, d) and values (..., heads, S, dv); with fewer heads than the
            queries, each serves a group of neighbouring query heads (Ainslie et al. 2023).
        mask: boolean (True = may attend) or floating (added to the scores), broadcast to
            (..., heads, T, S).
        causal: query i may attend to key j only if j ≤ i + offset.
        offset: number of keys before the first query, e.g. the length of a cache.
        window: (left, right): so many keys before and after position i + offset; None: no limit.
        scale: factor of the scores; 1/√d where None.
        softcap: c limits the scores to c·tanh(scores/c), before the mask.
        dropout: probability of dropping a weight.
        rng: generator for dropout.
        empty_row: for a query that may attend to no key "zero" gives a zero row, "uniform" the mean
            of the values, "nan" not-a-number; "error" raises.  It gives q and k no gradient.
        method: "auto" or "definition".
        return_stages: return (context, Stages) with every step, whose gradients backward keeps.

    Raises:
        ShapeError: shapes do not fit, an option is unknown, or a row is empty under "error".
        DTypeError: q, k or v is not floating, or the mask is of a wrong kind.
    """
    stages = attend(q, k, v, mask, causal, offset, window, scale, softcap, dropout, rng, empty_row,
                    method)
    return (stages.context, stages.retain()) if return_stages else stages.context


def attend(q: Any, k: Any, v: Any, mask: Any = None, causal: bool = False, offset: int = 0,
           window: Window | None = None, scale: float | None = None, softcap: float | None = None,
           dropout: float = 0.0, rng: np.random.Generator | None = None, empty_row: str = "zero",
           method: str = "auto") -> Stages:
    """The steps of `attention`, which documents the arguments; no gradients are kept yet."""
    check_options(empty_row, method, softcap)
    q, k, v = (x if isinstance(x, Tensor) else Tensor(x) for x in (q, k, v))
    shape = score_shape(q, k, v)
    limits = masking(mask, shape, q.dtype, causal, offset, window)
    if limits.alive is not None and empty_row == "error":
        row = tuple(int(i) for i in np.argwhere(~limits.alive[..., 0])[0])
        raise ShapeError(f"attention: query {row} may attend to no key; unmask one, or choose "
                         f"another empty_row of {EMPTY_ROWS}")
    keep = dropout_mask(shape, dropout, q.dtype, rng) if probability("attention", dropout) else None
    scale = 1 / sqrt(q.shape[-1] or 1) if scale is None else scale
    return definition(q, k, v, limits, keep, scale, softcap, empty_row)


def definition(q: Tensor, k: Tensor, v: Tensor, limits: Masking, keep: Array | None, scale: float,
               softcap: float | None, empty_row: str) -> Stages:
    """The steps, from primitives; `keep` are dropout's factors."""
    groups = q.shape[-3] // k.shape[-3] if q.ndim > 2 and k.ndim > 2 else 1
    keys, values = (ops.repeat(x, groups, -3) if groups > 1 else x for x in (k, v))
    raw = ops.matmul(q, keys.mT)                                            # R = Q Kᵀ
    scores = raw * scale                                                    # S = R/√d
    capped = scores if softcap is None else ops.tanh(scores / softcap) * softcap
    masked = capped if limits.bias is None else capped + limits.bias        # S′
    weights = normalised(masked, limits.alive, empty_row)                   # P = softmax(S′)
    dropped = weights if keep is None else weights * keep
    context = ops.matmul(dropped, values)                                   # C = P V
    return Stages(q, k, v, raw, scores, masked, weights, context)


def normalised(masked: Tensor, alive: Array | None, empty_row: str) -> Tensor:
    """Softmax over the keys; rows without any are set aside, so that ∞ − ∞ does not arise."""
    weights: Tensor = ops.softmax(masked if alive is None else ops.where(alive, masked, 0.0))
    if alive is not None and empty_row != "uniform":
        weights = ops.where(alive, weights, 0.0 if empty_row == "zero" else np.nan)
    return weights


def score_shape(q: Tensor, k: Tensor, v: Tensor) -> tuple[int, ...]:
    """The shape (..., heads, T, S) of the scores, once everything fits."""
    for name, x in (("query", q), ("key", k), ("value", v)):
        if x.ndim < 2:
            raise ShapeError(f"attention: expected {name} (..., heads, time, width), got {x.shape}")
        if x.dtype.kind not in "fc":
            raise DTypeError(f"attention: expected a floating {name}, got {x.dtype}")
    if q.shape[-1] != k.shape[-1]:
        raise ShapeError(f"attention: query has width {q.shape[-1]} but key has width "
                         f"{k.shape[-1]}; they must match")
    if k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"attention: key has {k.shape[-2]} time steps but value has "
                         f"{v.shape[-2]}; they must match")
    heads, kv_heads, value_heads = (x.shape[-3] if x.ndim > 2 else 1 for x in (q, k, v))
    if kv_heads != value_heads or not kv_heads or heads % kv_heads:
        raise ShapeError(f"attention: query has {heads} heads, key {kv_heads} and value "
                         f"{value_heads}; key and value need equally many, a divisor of query's")
    try:
        lead = np.broadcast_shapes(q.shape[:-3], k.shape[:-3], v.shape[:-3])
    except ValueError:
        raise ShapeError(f"attention: the leading axes of query {q.shape}, key {k.shape} and value "
                         f"{v.shape} do not broadcast") from None
    return (*lead, *([heads] if max(q.ndim, k.ndim, v.ndim) > 2 else []), q.shape[-2], k.shape[-2])


def check_options(empty_row: str, method: str, softcap: float | None) -> None:
    """Refuse options that do not exist."""
    if empty_row not in EMPTY_ROWS:
        raise ShapeError(f"attention: empty_row must be one of {EMPTY_ROWS}, got {empty_row!r}")
    if method not in METHODS:
        raise ShapeError(f"attention: method must be one of {METHODS}, got {method!r}")
    if softcap is not None and not softcap > 0:
        raise ShapeError(f"attention: softcap must be positive, got {softcap}")
