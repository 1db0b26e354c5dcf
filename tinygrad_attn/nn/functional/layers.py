"""Linear maps, embeddings, activations and dropout: what definitions.py says, checked."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from ... import ops
from ...engine import Array, DTypeError, IndexingError, ShapeError, Tensor
from ...engine.dispatch import plain
from ...engine.errors import reraised
from ...engine.tensor import locked
from ...rng import generator
from . import definitions
from .naming import named
from .operation import around


def operand(x: Any) -> Any:
    """`x`, as a constant tensor where it is a list or a number.

    Raises:
        DTypeError: it does not consist of numbers.
    """
    ready = isinstance(x, Tensor) or (isinstance(x, np.ndarray) and x.dtype.kind in "biufc")
    return x if ready else Tensor(x)


def floating(x: Any) -> Any:
    """`x`, integers and booleans as float64: their squares would wrap, 1/(1 − p) be cut off."""
    return x if x.dtype.kind in "fc" else ops.astype(x, np.float64)


def last_axis(who: str, x: Any, width: int) -> None:
    """Refuse an `x` whose last axis is not `width` long."""
    if not x.shape or x.shape[-1] != width:
        raise ShapeError(f"{who}: expected last axis {width}, got shape {x.shape}")


def parameter(who: str, name: str, x: Any, axes: str, length: int | None = None) -> Any:
    """`x`, if it has an axis for each name in `axes`, the first of them so long."""
    x = operand(x)
    shape = x.shape
    if len(shape) != axes.count(" ") + 1 or length not in (None, shape[0]):
        expected = ", ".join(axes.split()) if length is None else length
        raise ShapeError(f"{who}: expected {name} ({expected}), got {shape}")
    return x


@around(definitions.linear)
@named
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b: (..., d_in) with weight (d_out, d_in) -> (..., d_out).

    Raises:
        ShapeError: the last axis of x is not d_in, or weight and bias have other shapes.
    """
    x, weight = operand(x), parameter("linear", "weight", weight, "d_out d_in")
    last_axis("linear", x, weight.shape[1])
    bias = None if bias is None else parameter("linear", "bias", bias, "d_out", len(weight))
    out: Tensor = definitions.linear(x, weight, bias)
    return out


@named
def bilinear(x: Tensor, y: Any, weight: Tensor, bias: Any = None) -> Tensor:
    """Σᵢⱼ xᵢ Wₖᵢⱼ yⱼ + bₖ: (..., d_x) and (..., d_y) with weight (d_out, d_x, d_y) -> (..., d_out).

    Raises:
        ShapeError: the last axes are not d_x and d_y, the axes before them do not broadcast, or
            weight and bias have other shapes.
    """
    x, y, weight = operand(x), operand(y), parameter("bilinear", "weight", weight, "d_out d_x d_y")
    last_axis("bilinear", x, weight.shape[1])
    last_axis("bilinear", y, weight.shape[2])
    bias = None if bias is None else parameter("bilinear", "bias", bias, "d_out", len(weight))
    out: Tensor = ops.einsum("...kj,...j->...k", ops.einsum("...i,kij->...kj", x, weight), y)
    return out if bias is None else out + bias


@around(definitions.embedding)
@named
def embedding(tokens: Any, weight: Tensor) -> Tensor:
    """Rows of `weight` (n, d) named by integers: (...) -> (..., d).

    Raises:
        ShapeError: weight is not of that shape.
        DTypeError: tokens are not integers.
        IndexingError: a token lies outside [0, n).
    """
    weight = parameter("embedding", "weight", weight, "n d")
    tokens = whole_numbers("embedding", "tokens", tokens, len(weight))
    rows: Tensor = definitions.embedding(weight, tokens=tokens)
    return rows


def array_of(who: str, what: str, values: Any) -> Array:
    """`values` as an array.

    Raises:
        ShapeError: they are lists of different lengths.
    """
    try:
        return np.asarray(plain(values))
    except ValueError:
        raise ShapeError(f"{who}: {what} must all have one length; pad the shorter ones") from None


def integers_of(who: str, what: str, values: Any) -> Array:
    """`values` as an array, an empty list being one of integers."""
    array = array_of(who, what, values)
    return array if array.size or not isinstance(values, (list, tuple)) else array.astype(int)


def whole_numbers(who: str, what: str, values: Any, limit: int) -> Array:
    """`values` as an array of integers, if they all lie in [0, limit).

    Raises:
        ShapeError: they are lists of different lengths.
        DTypeError: they are not integers.
        IndexingError: one lies outside.
    """
    array = integers_of(who, what, values)
    if array.dtype.kind not in "iu":
        raise DTypeError(f"{who}: {what} must be an array of integers, got {array.dtype}")
    if array.size and not (array.min() >= 0 and array.max() < limit):
        raise IndexingError(
            f"{who}: {what} must lie in [0, {limit}), got {array.min()} … {array.max()}"
        )
    return array


@around(definitions.gelu)
@named
def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x·Φ(x), Φ the normal distribution function (Hendrycks and Gimpel 2016).

    approximate="tanh" takes the paper's ½x(1 + tanh(√(2/π)(x + 0.044715x³))), as GPT-2 does.

    Raises:
        ShapeError: `approximate` is neither "none" nor "tanh".
    """
    choice("gelu", "approximate", approximate, ("none", "tanh"))
    out: Tensor = definitions.gelu(floating(operand(x)), approximate=approximate)
    return out


@around(definitions.silu)
@named
def silu(x: Tensor) -> Tensor:
    """x·σ(x), also called swish (Elfwing et al. 2018)."""
    out: Tensor = definitions.silu(floating(operand(x)))
    return out


def flag(who: str, what: str, value: Any) -> bool:
    """`value`, if it is True or False (or 1 or 0).

    Raises:
        DTypeError: it is something else, such as an argument in a wrong place.
    """
    if not isinstance(value, (int, np.integer, np.bool_)) or value not in (0, 1):
        raise DTypeError(f"{who}: {what} must be True or False, got {value!r:.80}")
    return bool(value)


def choice(who: str, what: str, value: Any, options: Sequence[str]) -> str:
    """`value`, if it is one of `options`.

    Raises:
        ShapeError: it is not.
    """
    if not isinstance(value, str) or value not in options:
        raise ShapeError(f"{who}: {what} must be one of {options}, got {value!r:.80}")
    return value


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


@named
def dropout_mask(
    shape: tuple[int, ...], p: float, dtype: Any, rng: np.random.Generator | None = None
) -> Array:
    """0 with probability p, else 1/(1 − p): what dropout multiplies with.

    Raises:
        ShapeError: p lies outside [0, 1), or `shape` is none.
        DTypeError: p is not a number, or `dtype` no dtype.
    """
    p = probability("dropout_mask", p)
    try:
        factors = np.empty(shape, np.dtype(dtype))
        if factors.dtype.kind not in "fc":
            raise TypeError("expected a floating dtype")
    except (ValueError, TypeError, OverflowError) as error:
        raise reraised(error, f"dropout_mask({shape!r:.80}, {p}, {dtype!r:.80})") from error
    kept = generator(rng).random(factors.shape, dtype=np.float32) >= p
    return locked(np.multiply(kept, np.asarray(1 / (1 - p), dtype), out=factors))


@named
def dropout(
    x: Tensor, p: float, *, mask: Array | None = None, rng: np.random.Generator | None = None
) -> Tensor:
    """x with each element zeroed with probability p, the others divided by 1 − p.

    Args:
        mask: the factors to use instead of new ones (see dropout_mask).

    Raises:
        ShapeError: p lies outside [0, 1), or the mask has another shape than x.
        DTypeError: p is not a number.
    """
    x = floating(operand(x))
    if probability("dropout", p) == 0 and mask is None:
        return x
    factors = dropout_mask(x.shape, p, x.dtype, rng) if mask is None else operand(mask)
    if factors.shape != x.shape:
        raise ShapeError(f"dropout: expected a mask of shape {x.shape}, got {factors.shape}")
    out: Tensor = ops.multiply(x, factors)
    return out
