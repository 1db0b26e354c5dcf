"""Arithmetic, powers, exponentials and the like: one derivative per line.

In the formulas g is the gradient of the result y, d + a name the gradient of an argument, ∘ the
elementwise product.  Sums over broadcast axes are the engine's business.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Array, DTypeError, Tensor, adapts, composed, inner, primitive

__all__ = [
    "abs", "absolute", "add", "astype", "clip", "cos", "divide", "exp", "expm1", "log", "log1p",
    "masked_fill", "maximum", "minimum", "multiply", "negative", "power", "reciprocal", "rsqrt",
    "sign", "sin", "sqrt", "square", "subtract", "tanh", "where",
]  # fmt: skip


def floating(x: Any) -> Array:
    """`x`, integers and booleans as float64, so that nothing wraps around or is cut off."""
    array = np.asarray(x)
    return array.astype(np.float64) if array.dtype.kind in "biu" else array


# ── two arguments ─────────────────────────────────────────────────────────────────────────────────


@primitive
def add(a: Array, b: Array, /) -> Array:
    """a + b, with broadcasting."""
    return np.add(a, b)


add.defvjp(
    lambda g: g,  # da = dy
    lambda g: g,  # db = dy
)


@primitive
def subtract(a: Array, b: Array, /) -> Array:
    """a − b, with broadcasting."""
    return np.subtract(a, b)


subtract.defvjp(
    lambda g: g,  # da = dy
    lambda g: -g,  # db = −dy
)


@primitive
def multiply(a: Array, b: Array, /) -> Array:
    """a ∘ b, with broadcasting."""
    return np.multiply(a, b)


multiply.defvjp(
    lambda g, b: g * b,  # da = dy∘b
    lambda g, a: g * a,  # db = dy∘a
)


@primitive
def divide(a: Array, b: Array, /) -> Array:
    """a / b, with broadcasting."""
    return np.divide(a, b)


divide.defvjp(
    lambda g, b: g / b,  # da = dy/b
    lambda g, b, out: -g * out / b,  # db = −dy∘y/b
)


@primitive
def power(a: Array, b: Array, /) -> Array:
    """aᵇ; for a variable exponent the base must be positive.  0⁰ = 1 with gradient 0."""
    return a**b


power.defvjp(
    lambda g, a, b: g * b * a ** one_less(g, a, b),  # da = dy∘b∘aᵇ⁻¹
    lambda g, a, out: g * out * np.log(a + (a == 0)),  # db = dy∘y∘ln a
)


def one_less(g: Any, a: Any, b: Any) -> Any:
    """b − 1, but 0 where 0⁰; unsigned integers have no −1."""
    return (b.astype(g.dtype) if b.dtype.kind == "u" else b) - ((a != 0) | (b != 0))


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

# ── one argument ──────────────────────────────────────────────────────────────────────────────────


@primitive
def negative(x: Array, /) -> Array:
    """−x."""
    return np.negative(x)


negative.defvjp(
    lambda g: -g,  # dx = −dy
)


@primitive
def exp(x: Array, /) -> Array:
    """eˣ."""
    return np.exp(x)


exp.defvjp(
    lambda g, out: g * out,  # dx = dy∘y
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
def log1p(x: Array, /) -> Array:
    """ln(1 + x), accurate near 0."""
    return np.log1p(x)


log1p.defvjp(
    lambda g, x: g / (1 + x),  # dx = dy/(1 + x)
)


@primitive
def sqrt(x: Array, /) -> Array:
    """√x; at 0 the gradient is infinite (see the docs for `where` around it)."""
    return np.sqrt(x)


sqrt.defvjp(
    lambda g, out: g / (2 * out),  # dx = dy/(2y)
)


@primitive
def rsqrt(x: Array, /) -> Array:
    """1/√x."""
    return 1 / np.sqrt(x)


rsqrt.defvjp(
    lambda g, out: g * (out * out * out) / -2,  # dx = −½dy∘y³
)


@primitive
def square(x: Array, /) -> Array:
    """x²."""
    return np.square(x)


square.defvjp(
    lambda g, x: g * (2 * x),  # dx = 2dy∘x
)


@primitive
def reciprocal(x: Array, /) -> Array:
    """1/x."""
    return 1 / x


reciprocal.defvjp(
    lambda g, out: -g * out * out,  # dx = −dy∘y²
)


@primitive
def sign(x: Array, /) -> Array:
    """−1, 0 or 1; its gradient is 0 everywhere."""
    return np.sign(x.real)


sign.defvjp(
    lambda g: np.zeros_like(g),  # dx = 0
)


def magnitude(x: Array) -> Array:
    """|x|, continued to complex numbers so that the complex step sees a slope."""
    return np.abs(x) if x.dtype.kind != "c" else np.where(x.real < 0, -x, x)


@primitive
def absolute(x: Array, /) -> Array:
    """|x|; at 0 the gradient is 0."""
    return magnitude(np.asarray(x))


absolute.defvjp(
    lambda g, x: g * sign(x),  # dx = dy∘sign x
)


abs = absolute


@primitive
def sin(x: Array, /) -> Array:
    """sin x, x in radians."""
    return np.sin(x)


sin.defvjp(
    lambda g, x: g * np.cos(x),  # dx = dy∘cos x
)


@primitive
def cos(x: Array, /) -> Array:
    """cos x, x in radians."""
    return np.cos(x)


cos.defvjp(
    lambda g, x: -g * np.sin(x),  # dx = −dy∘sin x
)


@primitive
def tanh(x: Array, /) -> Array:
    """The hyperbolic tangent."""
    return np.tanh(x)


tanh.defvjp(
    lambda g, out: g * (1 - out * out),  # dx = dy∘(1 − y²)
)

# ── choices ───────────────────────────────────────────────────────────────────────────────────────


@primitive
def where(condition: Array, x: Array, y: Array, /) -> Array:
    """x where `condition` holds, else y.

    The branch not taken gets gradient 0, and 0 times an infinite slope is not a number: for a
    function with an infinite slope at the edge put a `where` inside too: where(x > 0, sqrt(where(x
    > 0, x, 1)), 0).
    """
    return np.where(condition, x, y)


where.defvjp(
    None,
    lambda g, condition: np.where(condition, g, 0),  # da = dy∘[c], c the condition
    lambda g, condition: np.where(condition, 0, g),  # db = dy∘[not c], c the condition
)


@primitive
def clip(x: Array, /, a_min: Any = None, a_max: Any = None) -> Array:
    """x limited to [a_min, a_max]; gradient 1 inside and at the limits, 0 outside."""
    return np.clip(x, a_min, a_max)


clip.defvjp(
    lambda g, x, a_min, a_max: g * within(x, a_min, a_max),  # dx = dy∘[a_min ≤ x ≤ a_max]
)


def within(x: Any, low: Any, high: Any) -> Any:
    """Where low ≤ x ≤ high, None being no limit."""
    return (True if low is None else x >= low) & (True if high is None else x <= high)


@composed
def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """x with `value` wherever `mask` is True (attention masks are the other way round)."""
    return where(mask, value, x)


@inner("astype")
def converted(x: Array, /, dtype: Any) -> Array:
    """x in another dtype."""
    return np.asarray(x).astype(dtype, copy=False)


converted.defvjp(
    lambda g: g,  # dx = dy
)


@adapts(converted)
def astype(x: Any, dtype: Any) -> Any:
    """x in another `dtype`, a floating one where gradients flow; they are converted back."""
    if isinstance(x, Tensor) and x.requires_grad and np.dtype(dtype).kind not in "fc":
        raise DTypeError(
            f"astype: a tensor that is being differentiated cannot become {np.dtype(dtype)}; "
            ".detach() it first"
        )
    return converted(x, dtype)
