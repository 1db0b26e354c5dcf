"""Sums, means, extremes: many elements to one, and how the gradient spreads back."""

from __future__ import annotations

from math import prod as product
from typing import Any

import numpy as np

from ..engine import Array, primitive
from .arithmetic import floating

__all__ = [
    "logsumexp", "max", "mean", "min", "prod", "sum",
]  # fmt: skip

Axis = int | tuple[int, ...] | None


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The reduced axes, none negative; of a 0-d array none, whatever NumPy let pass."""
    if axis is None or not ndim:
        return tuple(range(ndim))
    return tuple([i % ndim for i in (axis if isinstance(axis, tuple) else (axis,))])


def restored(y: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """A reduced array with its axes back, as axes of length 1 that broadcast against `shape`."""
    axes = axes_of(axis, len(shape))
    return y.reshape([1 if i in axes else n for i, n in enumerate(shape)])


def spread(g: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """`g` of a reduced array, copied to every element that was reduced."""
    return np.broadcast_to(restored(g, shape, axis), shape)


def count(shape: tuple[int, ...], axis: Axis) -> int:
    """How many elements each result is made of."""
    return product(shape[i] for i in axes_of(axis, len(shape)) if shape)


@primitive
def sum(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """Σ x over `axis` (None: all)."""
    return np.sum(x, axis=axis, keepdims=keepdims)


sum.defvjp(
    lambda g, in_shape, axis: spread(g, in_shape, axis),  # dx = dy, copied along the axis
)


@primitive
def mean(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """Σ x / n over `axis` (None: all)."""
    return np.mean(x, axis=axis, keepdims=keepdims)


mean.defvjp(
    lambda g, in_shape, axis: spread(g / count(in_shape, axis), in_shape, axis),  # dx = dy/n
)


@primitive
def prod(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """Π x over `axis` (None: all)."""
    return np.prod(x, axis=axis, keepdims=keepdims)


prod.defvjp(
    lambda g, x, axis: restored(g, x.shape, axis) * product_of_others(x, axis),  # dxᵢ = dy∘Πⱼ≠ᵢ xⱼ
)


def product_of_others(x: Any, axis: Axis) -> Any:
    """For every element the product of those it was multiplied with; y/x would fail at zeros."""
    shape = x.shape
    axes = axes_of(axis, len(shape))
    order = [i for i in range(len(shape)) if i not in axes] + list(axes)
    n = count(shape, axis)
    rows = np.transpose(x, order).reshape(
        [shape[i] for i in order if i not in axes] + [1, n]
    )  # (..., 1, n)
    others = prod(np.where(np.eye(n, dtype=bool), 1, rows), -1)  # (..., n)
    return np.transpose(others.reshape([shape[i] for i in order]), np.argsort(order))


def shared(g: Any, x: Any, extreme: Any, axis: Axis) -> Any:
    """`g` divided evenly among the elements of x that equal the extreme of their group."""
    hit = x == restored(extreme, x.shape, axis)
    ties = hit.sum(axis=axes_of(axis, x.ndim), keepdims=True).astype(g.dtype)
    return restored(g, x.shape, axis) / ties * hit


@primitive
def max(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """The largest element over `axis`; ties share the gradient evenly."""
    return np.max(x, axis=axis, keepdims=keepdims)


max.defvjp(
    lambda g, x, out, axis: shared(g, x, out, axis),  # dx = dy∘[x=y]/#[x=y]
)


@primitive
def min(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """The smallest element over `axis`; ties share the gradient evenly."""
    return np.min(x, axis=axis, keepdims=keepdims)


min.defvjp(
    lambda g, x, out, axis: shared(g, x, out, axis),  # dx = dy∘[x=y]/#[x=y]
)


def finite(y: Any) -> Any:
    """`y` with 0 where it is infinite, so that ∞ − ∞ does not arise."""
    return np.where(np.isfinite(y), y, 0)


@primitive
def logsumexp(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """ln Σ exp(x) over `axis`, shifted by the maximum; −∞ where all are −∞ (with gradient 0)."""
    x = floating(x)
    top = finite(x.real.max(axis=axis, keepdims=True, initial=-np.inf))
    total = np.exp(x - top).sum(axis=axis, keepdims=True)
    with np.errstate(divide="ignore"):
        out = np.log(total) + top
    return out if keepdims else out.reshape(np.sum(x, axis=axis).shape)


logsumexp.defvjp(
    lambda g, x, out, axis: restored(g, x.shape, axis) * shares(x, out, axis),  # dx = dy∘eˣ⁻ʸ
)


def shares(x: Any, out: Any, axis: Axis) -> Any:
    """Each element's share in Σ exp(x): the softmax of x over `axis`."""
    return np.exp(x - restored(finite(out), x.shape, axis))
