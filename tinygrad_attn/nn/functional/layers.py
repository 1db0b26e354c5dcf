"""Linear maps, embeddings, norms and dropout, each as its formula."""

from __future__ import annotations

from math import prod
from numbers import Real
from typing import Any

import numpy as np

from ... import ops
from ...engine import Array, DTypeError, IndexingError, ShapeError, Tensor
from ...engine.dispatch import plain
from ...engine.tensor import locked
from ...rng import generator


def operand(x: Any) -> Any:
    """`x`, as a constant tensor where it is a list or a number."""
    return x if isinstance(x, (Tensor, np.ndarray)) else Tensor(x)


def last_axis(who: str, x: Any, width: int) -> None:
    """Refuse an `x` whose last axis is not `width` long."""
    shape = np.shape(x)
    if not shape or shape[-1] != width:
        raise ShapeError(f"{who}: expected last axis {width}, got shape {shape}")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b: (..., d_in) with weight (d_out, d_in) -> (..., d_out).

    Raises:
        ShapeError: the last axis of x is not d_in.
    """
    x = operand(x)
    last_axis("Linear", x, weight.shape[1])
    *lead, d_in = x.shape
    # One flat product: a stack of small ones costs more, and the weight's gradient many times more.
    flat = x if len(lead) == 1 else ops.reshape(x, (prod(lead), d_in))
    out: Tensor = ops.matmul(flat, ops.transpose(weight))
    out = out if bias is None else out + bias
    return out if len(lead) == 1 else out.reshape(*lead, weight.shape[0])


def embedding(tokens: Any, weight: Tensor) -> Tensor:
    """Rows of `weight` (n, d) named by integers: (...) -> (..., d).

    Raises:
        DTypeError: tokens are not integers.
        IndexingError: a token lies outside [0, n).
    """
    rows: Tensor = ops.take(weight, whole_numbers("Embedding", "tokens", tokens, len(weight)), 0)
    return rows


def whole_numbers(who: str, what: str, values: Any, limit: int) -> Array:
    """`values` as an array of integers, if they all lie in [0, limit).

    Raises:
        ShapeError: they are lists of different lengths.
        DTypeError: they are not integers.
        IndexingError: one lies outside.
    """
    try:
        array: Array = np.asarray(plain(values))
    except ValueError:
        raise ShapeError(f"{who}: {what} must all have one length; pad the shorter ones") from None
    if array.dtype.kind not in "iu":
        raise DTypeError(f"{who}: {what} must be an array of integers, got {array.dtype}")
    if array.size and not (array.min() >= 0 and array.max() < limit):
        raise IndexingError(
            f"{who}: {what} must lie in [0, {limit}), got {array.min()} … {array.max()}"
        )
    return array


def layer_norm(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(x − mean) / √(var + eps) ∘ weight + bias over the last axis (Ba et al. 2016, eq. 4).

    Raises:
        ShapeError: weight or bias do not fit the last axis of x.
    """
    x = operand(x)
    for scale in (weight, bias):
        if scale is not None:
            last_axis("LayerNorm", x, scale.size)
    centred = x - ops.mean(x, -1, True)
    out: Tensor = centred * ops.rsqrt(ops.mean(ops.square(centred), -1, True) + eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """x / √(mean x² + eps) ∘ weight over the last axis (Zhang and Sennrich 2019, eq. 4).

    Raises:
        ShapeError: weight does not fit the last axis of x.
    """
    x = operand(x)
    if weight is not None:
        last_axis("RMSNorm", x, weight.size)
    out: Tensor = x * ops.rsqrt(ops.mean(ops.square(x), -1, True) + eps)
    return out if weight is None else out * weight


def real(who: str, what: str, x: Any) -> float:
    """`x`, if it is a single real number: Python's, NumPy's or a constant tensor.

    Raises:
        DTypeError: it is something else.
    """
    value = plain(x)
    value = value[()] if isinstance(value, np.ndarray) else value
    if not isinstance(value, Real):
        raise DTypeError(f"{who}: {what} must be a number, got {x!r}")
    return float(value)


def probability(who: str, p: float) -> float:
    """`p`, if it is one that dropout can have.

    Raises:
        ShapeError: p lies outside [0, 1).
        DTypeError: p is not a number.
    """
    if not 0 <= real(who, "the probability of dropping", p) < 1:
        raise ShapeError(f"{who}: the probability of dropping must lie in [0, 1), got {p}")
    return p


def dropout_mask(
    shape: tuple[int, ...], p: float, dtype: Any, rng: np.random.Generator | None = None
) -> Array:
    """0 with probability p, else 1/(1 − p): what dropout multiplies with."""
    kept = generator(rng).random(shape, dtype=np.float32) >= p
    return locked(np.multiply(kept, np.asarray(1 / (1 - p), dtype)))


def dropout(
    x: Tensor, p: float, *, mask: Array | None = None, rng: np.random.Generator | None = None
) -> Tensor:
    """x with each element zeroed with probability p, the others divided by 1 − p.

    Args:
        mask: the factors to use instead of new ones (see dropout_mask).

    Raises:
        ShapeError: p lies outside [0, 1).
        DTypeError: p is not a number.
    """
    x = operand(x)
    if probability("dropout", p) == 0 and mask is None:
        return x
    return x * (dropout_mask(x.shape, p, x.dtype, rng) if mask is None else mask)
