"""Operations that choose: the larger, the one where a condition holds, a limit, a replacement."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Array, DTypeError, Tensor, adapts, composed, inner, primitive
from ..engine.dispatch import plain
from .arithmetic import operand

__all__ = [
    "clip", "fmax", "fmin", "masked_fill", "maximum", "minimum", "nan_to_num", "where",
]  # fmt: skip


@primitive
def maximum(a: Array, b: Array, /) -> Array:
    """The larger of a and b; where they are equal each gets half the gradient."""
    return np.maximum(a, b)


maximum.defvjp(
    lambda g, a, b: g * (a > b) + g / 2 * (a == b),  # da = dy∘[a>b] + ½dy∘[a=b]
    lambda g, a, b: g * (b > a) + g / 2 * (a == b),  # db = dy∘[b>a] + ½dy∘[a=b]
)


@primitive
def minimum(a: Array, b: Array, /) -> Array:
    """The smaller of a and b; where they are equal each gets half the gradient."""
    return np.minimum(a, b)


minimum.defvjp(
    lambda g, a, b: g * (a < b) + g / 2 * (a == b),  # da = dy∘[a<b] + ½dy∘[a=b]
    lambda g, a, b: g * (b < a) + g / 2 * (a == b),  # db = dy∘[b<a] + ½dy∘[a=b]
)


@composed
def fmax(a: Any, b: Any) -> Any:
    """The larger of a and b; where one is NaN the other, which gets the whole gradient."""
    return maximum(where(np.isnan(a), b, a), where(np.isnan(b), a, b))


@composed
def fmin(a: Any, b: Any) -> Any:
    """The smaller of a and b; where one is NaN the other, which gets the whole gradient."""
    return minimum(where(np.isnan(a), b, a), where(np.isnan(b), a, b))


@primitive
def where(condition: Array, a: Array, b: Array, /) -> Array:
    """a where `condition` holds (or is a number other than 0, NaN too), else b.

    The branch not taken gets gradient 0, and 0 times an infinite slope is not a number: for a
    function with an infinite slope at the edge put a `where` inside too:

        where(x > 0, sqrt(where(x > 0, x, 1)), 0)
    """
    if np.asarray(condition).dtype.kind not in "biuf":
        raise TypeError("the condition must be boolean or real numbers")
    return np.where(condition, a, b)


where.defvjp(
    None,
    lambda g, condition: np.where(condition, g, 0),  # da = dy∘[c], c the condition
    lambda g, condition: np.where(condition, 0, g),  # db = dy∘[not c], c the condition
)


@inner("clip")
def clipped(x: Array, /, a_min: Any = None, a_max: Any = None) -> Array:
    """x limited to [a_min, a_max]; gradient 1 inside and at the limits, 0 outside."""
    return np.clip(x, a_min, a_max)


clipped.defvjp(
    lambda g, x, a_min, a_max: g * within(x, a_min, a_max),  # dx = dy∘[a_min ≤ x ≤ a_max]
)


def within(x: Any, low: Any, high: Any) -> Any:
    """Where low ≤ x ≤ high, None being no limit."""
    return (True if low is None else x >= low) & (True if high is None else x <= high)


@adapts(clipped)
def clip(x: Any, a_min: Any = None, a_max: Any = None) -> Any:
    """x limited to [a_min, a_max]; gradient 1 inside and at the limits, 0 outside.

    A limit may be a tensor: it gets the gradient where it was taken instead of x.
    """
    if not isinstance(a_min, Tensor) and not isinstance(a_max, Tensor):
        return clipped(x, a_min, a_max)
    if a_min is not None:
        x = where(np.less(x, a_min) | np.isnan(a_min), a_min, x)
    if a_max is not None:
        x = where(np.greater(x, a_max) | np.isnan(a_max), a_max, x)
    return x


@composed
def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """x with `value` wherever `mask` is True (attention masks are the other way round).

    The mask is boolean, or integers, of which 0 is False.
    """
    kind = np.asarray(plain(mask)).dtype
    if kind.kind not in "biu":
        raise DTypeError(f"masked_fill: mask must be boolean or integers, got {kind}")
    return where(mask, value, x)


@composed
def nan_to_num(
    x: Any, *, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """x with NaN as `nan` and ±∞ as `posinf`, `neginf` (None: the largest number); gradient 0."""
    x = operand(x)
    dtype = np.result_type(x)
    if dtype.kind not in "fc":
        return x
    largest = np.finfo(dtype).max
    x = where(np.isnan(x), nan, x)
    x = where(np.equal(x, np.inf), largest if posinf is None else posinf, x)
    return where(np.equal(x, -np.inf), -largest if neginf is None else neginf, x)
