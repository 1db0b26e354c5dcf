"""Circular and hyperbolic functions, their inverses, and the two lengths of a right triangle."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Array, primitive

__all__ = [
    "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cos", "cosh",
    "hypot", "sin", "sinh", "tan", "tanh",
]  # fmt: skip


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
def tan(x: Array, /) -> Array:
    """tan x, x in radians."""
    return np.tan(x)


tan.defvjp(
    lambda g, out: g * (1 + out * out),  # dx = dy∘(1 + y²)
)


@primitive
def arcsin(x: Array, /) -> Array:
    """The angle in [−π/2, π/2] whose sine is x; at ±1 the gradient is infinite."""
    return np.arcsin(x)


arcsin.defvjp(
    lambda g, x: g / np.sqrt((1 - x) * (1 + x)),  # dx = dy/√(1 − x²)
)


@primitive
def arccos(x: Array, /) -> Array:
    """The angle in [0, π] whose cosine is x; at ±1 the gradient is infinite."""
    return np.arccos(x)


arccos.defvjp(
    lambda g, x: -g / np.sqrt((1 - x) * (1 + x)),  # dx = −dy/√(1 − x²)
)


@primitive
def arctan(x: Array, /) -> Array:
    """The angle in (−π/2, π/2) whose tangent is x."""
    return np.arctan(x)


arctan.defvjp(
    lambda g, x: g / (1 + x * x),  # dx = dy/(1 + x²)
)


@primitive
def arctan2(y: Array, x: Array, /) -> Array:
    """The angle in (−π, π] of the point (x, y); at the origin the gradient is 0."""
    angle = np.arctan2(y.real, x.real)
    if np.isrealobj(y) and np.isrealobj(x):
        return angle
    return angle + 1j * (y.imag * x.real - x.imag * y.real) / squared_radius(y.real, x.real)


arctan2.defvjp(
    lambda g, y, x: g * x / squared_radius(y, x),  # dy = dθ∘x/(x² + y²), θ the angle
    lambda g, y, x: -g * y / squared_radius(y, x),  # dx = −dθ∘y/(x² + y²)
)


def squared_radius(y: Any, x: Any) -> Any:
    """x² + y², but 1 at the origin, where it divides."""
    squared = x * x + y * y
    return squared + (squared == 0)


@primitive
def hypot(a: Array, b: Array, /) -> Array:
    """√(a² + b²), computed so that it cannot overflow; where both are 0 the gradient is 0."""
    if np.isrealobj(a) and np.isrealobj(b):
        return np.hypot(a, b)
    return np.sqrt(a * a + b * b)


hypot.defvjp(
    lambda g, a, out: g * (a / (out + (out == 0))),  # da = dy∘a/y
    lambda g, b, out: g * (b / (out + (out == 0))),  # db = dy∘b/y
)


@primitive
def sinh(x: Array, /) -> Array:
    """(eˣ − e⁻ˣ)/2."""
    return np.sinh(x)


sinh.defvjp(
    lambda g, x: g * np.cosh(x),  # dx = dy∘cosh x
)


@primitive
def cosh(x: Array, /) -> Array:
    """(eˣ + e⁻ˣ)/2."""
    return np.cosh(x)


cosh.defvjp(
    lambda g, x: g * np.sinh(x),  # dx = dy∘sinh x
)


@primitive
def tanh(x: Array, /) -> Array:
    """The hyperbolic tangent."""
    return np.tanh(x)


tanh.defvjp(
    lambda g, out: g * (1 - out * out),  # dx = dy∘(1 − y²)
)


@primitive
def arcsinh(x: Array, /) -> Array:
    """The number whose hyperbolic sine is x."""
    return np.arcsinh(x)


arcsinh.defvjp(
    lambda g, x: g / hypot(x, 1.0),  # dx = dy/√(1 + x²)
)


@primitive
def arccosh(x: Array, /) -> Array:
    """The number ≥ 0 whose hyperbolic cosine is x ≥ 1; at 1 the gradient is infinite."""
    return np.arccosh(x)


arccosh.defvjp(
    lambda g, x: g / (np.sqrt(x - 1) * np.sqrt(x + 1)),  # dx = dy/√(x² − 1)
)


@primitive
def arctanh(x: Array, /) -> Array:
    """The number whose hyperbolic tangent is x; at ±1 the gradient is infinite."""
    return np.arctanh(x)


arctanh.defvjp(
    lambda g, x: g / ((1 - x) * (1 + x)),  # dx = dy/(1 − x²)
)
