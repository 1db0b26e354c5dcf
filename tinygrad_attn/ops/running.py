"""Running sums, products and extremes along an axis: each result is made of those before it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Array, adapts, composed, inner, primitive
from ..engine.dispatch import plain
from .arithmetic import floating, operand
from .indexing import take_along_axis
from .reductions import finite
from .shapes import atleast_1d, length, reshape

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "logcumsumexp"]


@primitive
def cumsum(x: Array, /, axis: int | None = None) -> Array:
    """Running sums along `axis` (None: of the flattened array)."""
    return np.cumsum(x, axis=axis)


cumsum.defvjp(
    lambda g, in_shape, axis: sums_from_here(g, axis).reshape(in_shape),  # dxᵢ = Σⱼ≥ᵢ dyⱼ
)


def sums_from_here(g: Any, axis: int | None) -> Any:
    """Running sums from the other end."""
    return np.flip(np.cumsum(np.flip(g, axis), axis), axis)


def weighted_from_here(g: Any, weights: Any, axis: int) -> Any:
    """rᵢ = gᵢ + wᵢ rᵢ₊₁ along `axis`, from the end (Horner's rule); one weight fewer than g."""
    g, weights = np.moveaxis(g, axis, 0), np.moveaxis(weights, axis, 0)
    rows = [g[-1]]
    for i in reversed(range(g.shape[0] - 1)):
        rows.append(g[i] + weights[i] * rows[-1])
    return np.moveaxis(np.stack(rows[::-1]), 0, axis)


def ends(x: Any, axis: int) -> tuple[Any, Any]:
    """x without its last and without its first element along `axis`."""
    rows = np.moveaxis(x, axis, 0)
    return np.moveaxis(rows[:-1], 0, axis), np.moveaxis(rows[1:], 0, axis)


@inner("cumprod")
def products(x: Array, /, axis: int) -> Array:
    """Running products along `axis`."""
    return np.cumprod(x, axis)


products.defvjp(
    lambda g, x, out, axis: cumprod_slope(g, x, out, axis),  # dxᵢ = Σⱼ≥ᵢ dyⱼ∘Πₖ≤ⱼ,ₖ≠ᵢ xₖ
)


def cumprod_slope(g: Any, x: Any, out: Any, axis: int) -> Any:
    """The gradient of `cumprod`; y/x would fail at zeros."""
    if not x.size:
        return g
    before, one = ends(out, axis)[0], np.ones_like(np.take(x, [0], axis))
    return np.concatenate([one, before], axis) * weighted_from_here(g, ends(x, axis)[1], axis)


@adapts(products)
def cumprod(x: Any, axis: int | None = None) -> Any:
    """Running products along `axis` (None: of the flattened array); exact at zeros."""
    return along(products, x, axis)


@inner("logcumsumexp")
def running_logsumexp(x: Array, /, axis: int) -> Array:
    """ln of the running sums of exp(x) along `axis`."""
    x = np.moveaxis(floating(x), axis, 0)
    if x.dtype.kind != "c":
        return np.moveaxis(np.logaddexp.accumulate(x), 0, axis)
    top = np.maximum.accumulate(x.real)
    sums = [np.exp(x[: i + 1] - top[i]).sum(0) for i in range(len(x))]
    return np.moveaxis(top + np.log(sums), 0, axis)


running_logsumexp.defvjp(
    lambda g, x, out, axis: logcumsumexp_slope(g, x, out, axis),  # dxᵢ = Σⱼ≥ᵢ dyⱼ∘e^(xᵢ−yⱼ)
)


def logcumsumexp_slope(g: Any, x: Any, out: Any, axis: int) -> Any:
    """The gradient of `logcumsumexp`; sums of dy∘e⁻ʸ alone would overflow."""
    if not x.size:
        return g
    here, following = ends(out, axis)
    falls = np.exp(here - finite(following))  # ≤ 1: the sums grow
    return np.exp(x - finite(out)) * weighted_from_here(g, falls, axis)


@adapts(running_logsumexp)
def logcumsumexp(x: Any, axis: int | None = None) -> Any:
    """ln of the running sums of exp(x) along `axis` (None: flattened), without overflow."""
    return along(running_logsumexp, x, axis)


def along(op: Any, x: Any, axis: int | None) -> Any:
    """`op` over an axis that x has: x flattened for None; a number has one element."""
    x, axis = (reshape(x, (-1,)), 0) if axis is None else (atleast_1d(x), axis)
    length(op.name, x, axis)
    return op(x, axis % np.ndim(x))


@composed
def cummax(x: Any, axis: int) -> tuple[Any, Array]:
    """Running maxima along `axis`, and where each was last found (PyTorch's); NaN stays."""
    return running_extreme("cummax", np.maximum, x, axis)


@composed
def cummin(x: Any, axis: int) -> tuple[Any, Array]:
    """Running minima along `axis`, and where each was last found (PyTorch's); NaN stays."""
    return running_extreme("cummin", np.minimum, x, axis)


def running_extreme(who: str, extreme: Any, x: Any, axis: int) -> tuple[Any, Array]:
    """Values and indices of `cummax` and `cummin`."""
    x = operand(x)
    length(who, x, axis)
    at, values = axis % np.ndim(x), plain(x)
    hit = (values == extreme.accumulate(values, at)) | np.isnan(values)
    steps = np.arange(values.shape[at]).reshape([-1 if i == at else 1 for i in range(values.ndim)])
    indices = np.maximum.accumulate(np.where(hit, steps, 0), at)
    return take_along_axis(x, indices, at), indices
