"""Lengths and spreads: norms of vectors and matrices, variance and standard deviation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..engine import Array, ShapeError, adapts, composed, inner
from .arithmetic import absolute, astype, floating, operand, power, sign, square
from .choices import where
from .reductions import Axis, count, max, mean, min, restored, sum
from .shapes import squeeze

__all__ = ["norm", "std", "var"]


@inner("norm")
def euclidean_norm(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """√Σx² over `axis`; the gradient of ‖0‖ is 0."""
    x = floating(x)
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


euclidean_norm.defvjp(
    lambda g, x, out, axis: restored(g / (out + (out == 0)), x.shape, axis) * x,  # dx = dy∘x/y
)


@adapts(euclidean_norm)
def norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Any:
    """Norms of vectors and matrices, NumPy's `linalg.norm`; ‖0‖ has gradient 0.

    Over one axis (or of a 1-d x) the vector norm (Σ|x|ᵖ)^(1/p) for the number p = ord, with ±np.inf
    and 0 as its limits; over two (or of a matrix) ord "fro", ±1 or ±np.inf.  ord None is Euclidean
    and takes any axes, without `axis` all.
    """
    if ord is None:
        return euclidean_norm(x, axis, keepdims)
    x = operand(x)
    axes = normalize_axis_tuple(range(np.ndim(x)) if axis is None else axis, np.ndim(x))
    x = astype(x, np.float64) if np.result_type(x).kind in "biu" else x
    if len(axes) == 1 and not isinstance(ord, str):
        return vector_norm(x, ord, axes, keepdims)
    if len(axes) == 2 and (ord == "fro" or ord in LARGEST_SUM):
        return matrix_norm(x, ord, axes, keepdims)
    raise ShapeError(
        f'norm: ord must be a number for one axis, "fro", ±1 or ±inf for two (singular values are '
        f"not supported), got ord={ord!r} and the axes {axes} of shape {np.shape(x)}"
    )


def vector_norm(x: Any, p: float, axis: Axis, keepdims: bool) -> Any:
    """(Σ|x|ᵖ)^(1/p), and its limits."""
    size = absolute(x)
    if p in (np.inf, -np.inf):
        return (max if p > 0 else min)(size, axis, keepdims)
    if p == 0:
        return sum(sign(size), axis, keepdims)
    if p == 1:
        return sum(size, axis, keepdims)
    if p == 2:
        return euclidean_norm(x, axis, keepdims)
    return powered(sum(powered(size, p), axis, keepdims), 1 / p)


def powered(x: Any, p: float) -> Any:
    """x ≥ 0 to the power p; at 0 the gradient is 0."""
    zero = np.equal(x, 0)
    return where(zero, 0.0 if p > 0 else np.inf, power(where(zero, 1.0, x), p))


LARGEST_SUM = {1: (0, max), -1: (0, min), np.inf: (1, max), -np.inf: (1, min)}


def matrix_norm(x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The Frobenius norm, or the largest (smallest) sum of a column's or row's magnitudes."""
    if ord == "fro":
        return euclidean_norm(x, axes, keepdims)
    summed, extreme = LARGEST_SUM[ord]
    sums = sum(absolute(x), axes[summed], True)
    out = extreme(sums, axes, True)
    return out if keepdims else squeeze(out, axes)


def degrees(x: Any, axis: Axis, ddof: float) -> float:
    """n − ddof, but not below 0."""
    return float(np.maximum(count(np.shape(x), axis) - ddof, 0))


@composed
def var(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Any:
    """Σ(x − mean)² / (n − ddof) over `axis`."""
    return sum(square(x - mean(x, axis, True)), axis, keepdims) / degrees(x, axis, ddof)


@composed
def std(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Any:
    """√var, as a norm: where all elements are equal the gradient is 0."""
    return euclidean_norm(x - mean(x, axis, True), axis, keepdims) / degrees(x, axis, ddof) ** 0.5
