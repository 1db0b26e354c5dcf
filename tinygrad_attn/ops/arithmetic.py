"""Arithmetic, powers and roots: one derivative per line.

In the formulas g is the gradient of the result y, d + a name the gradient of an argument, ∘ the
elementwise product.  Sums over broadcast axes are the engine's business.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Array, DTypeError, Tensor, adapts, inner, primitive
from ..engine.tensor import as_array

__all__ = [
    "abs", "absolute", "add", "astype", "divide", "multiply", "negative", "power", "reciprocal",
    "rsqrt", "sign", "sqrt", "square", "subtract",
]  # fmt: skip


def floating(x: Any) -> Array:
    """`x`, integers and booleans as float64, so that nothing wraps around or is cut off."""
    array = np.asarray(x)
    return array.astype(np.float64) if array.dtype.kind in "biu" else array


def operand(x: Any) -> Any:
    """`x`, a list as the array that it becomes in every operation."""
    return as_array(x) if isinstance(x, (list, tuple)) else x


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
def negative(x: Array, /) -> Array:
    """−x."""
    return np.negative(x)


negative.defvjp(
    lambda g: -g,  # dx = −dy
)


@primitive
def sqrt(x: Array, /) -> Array:
    """√x; at 0 the gradient is infinite (see `where` in choices.py)."""
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
