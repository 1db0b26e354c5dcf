"""Exponentials and logarithms."""

from __future__ import annotations

from math import log as ln
from typing import Any

import numpy as np

from ..engine import Array, composed, primitive
from .arithmetic import multiply

__all__ = [
    "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "logaddexp", "logaddexp2", "xlogy",
]  # fmt: skip


@primitive
def exp(x: Array, /) -> Array:
    """eˣ."""
    return np.exp(x)


exp.defvjp(
    lambda g, out: g * out,  # dx = dy∘y
)


@primitive
def exp2(x: Array, /) -> Array:
    """2ˣ."""
    return np.exp2(x)


exp2.defvjp(
    lambda g, out: g * out * ln(2),  # dx = dy∘y∘ln 2
)


@primitive
def expm1(x: Array, /) -> Array:
    """eˣ − 1, accurate near 0."""
    return np.expm1(x)


expm1.defvjp(
    lambda g, out: g * (out + 1),  # dx = dy∘(y + 1)
)


@primitive
def log(x: Array, /) -> Array:
    """ln x; at 0 the gradient is infinite."""
    return np.log(x)


log.defvjp(
    lambda g, x: g / x,  # dx = dy/x
)


@primitive
def log2(x: Array, /) -> Array:
    """The logarithm to base 2; at 0 the gradient is infinite."""
    return np.log2(x)


log2.defvjp(
    lambda g, x: g / (x * ln(2)),  # dx = dy/(x∘ln 2)
)


@primitive
def log10(x: Array, /) -> Array:
    """The logarithm to base 10; at 0 the gradient is infinite."""
    return np.log10(x)


log10.defvjp(
    lambda g, x: g / (x * ln(10)),  # dx = dy/(x∘ln 10)
)


@primitive
def log1p(x: Array, /) -> Array:
    """ln(1 + x), accurate near 0."""
    return np.log1p(x)


log1p.defvjp(
    lambda g, x: g / (1 + x),  # dx = dy/(1 + x)
)


@primitive
def xlogy(x: Array, y: Array, /) -> Array:
    """x ln y, and 0 where x is 0: −xlogy(p, p) summed is the entropy of p, zeros among them or not.

    Where both are 0 the gradient is 0.
    """
    y = np.asarray(y, np.result_type(x, y))  # a number is as weak as in x * y
    return x * np.log(np.where((x == 0) & ~np.isnan(y), 1, y))


xlogy.defvjp(
    lambda g, x, y: g * np.log(y + ((x == 0) & (y == 0))),  # dx = dz∘ln y, z the result
    lambda g, x, y: g * (x / (y + ((x == 0) & (y == 0)))),  # dy = dz∘x/y
)


@primitive
def logaddexp(a: Array, b: Array, /) -> Array:
    """ln(eᵃ + eᵇ), computed so that it cannot overflow; −∞ where both are, with gradient 0."""
    if np.isrealobj(a) and np.isrealobj(b):
        return np.logaddexp(a, b)
    top = np.maximum(a.real, b.real)
    return top + np.log(np.exp(a - top) + np.exp(b - top))


logaddexp.defvjp(
    lambda g, a, out: g * share(a, out),  # da = dy∘eᵃ⁻ʸ
    lambda g, b, out: g * share(b, out),  # db = dy∘eᵇ⁻ʸ
)


def share(x: Any, total: Any) -> Any:
    """eˣ⁻ᵗ, the share of eˣ in eᵗ; 0 where both are 0."""
    return np.exp(x - np.where(np.isfinite(total), total, 0))


@composed
def logaddexp2(a: Any, b: Any) -> Any:
    """log₂(2ᵃ + 2ᵇ), computed so that it cannot overflow."""
    return logaddexp(multiply(a, ln(2)), multiply(b, ln(2))) / ln(2)
