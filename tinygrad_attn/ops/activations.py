"""The smooth nonlinearities of networks, and softmax with its relatives."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import numpy as np

from ..engine import Array, ShapeError, composed, primitive
from .arithmetic import absolute, floating, multiply
from .erf import complementary_error_function, error_function
from .joining import split
from .shapes import length
from .trigonometry import tanh

__all__ = [
    "erf", "erfc", "gelu", "glu", "log_softmax", "logsigmoid", "mish", "sigmoid", "silu", "softmax",
    "softmin", "softplus", "softsign", "tanhshrink",
]  # fmt: skip


@primitive
def sigmoid(x: Array, /) -> Array:
    """1 / (1 + e⁻ˣ), computed from e^−|x| so that it cannot overflow."""
    x = floating(x)
    e = np.exp(np.where(x.real > 0, -x, x))
    return np.where(x.real > 0, 1, e) / (1 + e)


sigmoid.defvjp(
    lambda g, out: g * out * (1 - out),  # dx = dy∘y∘(1 − y)
)


@primitive
def erf(x: Array, /) -> Array:
    """2/√π ∫₀ˣ e^−t² dt."""
    return error_function(floating(x))


erf.defvjp(
    lambda g, x: g * (2 / sqrt(pi)) * np.exp(-x * x),  # dx = dy∘2/√π∘e^−x²
)


@primitive
def erfc(x: Array, /) -> Array:
    """1 − erf(x), accurate to the last digits where that is tiny."""
    return complementary_error_function(floating(x))


erfc.defvjp(
    lambda g, x: g * (-2 / sqrt(pi)) * np.exp(-x * x),  # dx = −dy∘2/√π∘e^−x²
)


@primitive
def gelu(x: Array, /, approximate: str = "none") -> Array:
    """x·Φ(x), Φ the normal distribution function (Hendrycks and Gimpel 2016).

    approximate="tanh" takes the paper's ½x(1 + tanh(√(2/π)(x + 0.044715x³))), as GPT-2 does.
    """
    x = floating(x)
    return x * gelu_gate(x, approximate)


gelu.defvjp(
    lambda g, x, approximate: g * gelu_slope(x, approximate),  # dx = dy∘(Φ(x) + x∘Φ′(x))
)


def gelu_gate(x: Any, approximate: str) -> Any:
    """Φ(x), or its tanh approximation."""
    if approximate == "none":
        return (1 + erf(x / sqrt(2))) / 2
    if approximate == "tanh":
        return (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * (x * x * x)))) / 2
    raise ShapeError(f'gelu: approximate must be "none" or "tanh", got {approximate!r}')


def gelu_slope(x: Any, approximate: str) -> Any:
    """d(x·Φ(x))/dx for either Φ."""
    gate = gelu_gate(x, approximate)
    if approximate == "none":
        return gate + x * np.exp(x * x / -2) / sqrt(2 * pi)
    return gate + x * gate * (1 - gate) * (2 * sqrt(2 / pi)) * (1 + 3 * 0.044715 * (x * x))


@primitive
def silu(x: Array, /) -> Array:
    """x·σ(x), also called swish."""
    return x * sigmoid(x)


silu.defvjp(
    lambda g, x: g * silu_slope(x),  # dx = dy∘σ(x)∘(1 + x∘(1 − σ(x)))
)


def silu_slope(x: Any) -> Any:
    """d(x·σ(x))/dx; in the form y + σ(x)∘(1 − y) it would cancel for large x."""
    gate = sigmoid(x)
    return gate * (1 + x * (1 - gate))


@primitive
def softplus(x: Array, /) -> Array:
    """ln(1 + eˣ), computed so that it cannot overflow."""
    x = floating(x)
    return np.where(x.real > 0, x, 0) + np.log1p(np.exp(np.where(x.real > 0, -x, x)))


softplus.defvjp(
    lambda g, x: g * sigmoid(x),  # dx = dy∘σ(x)
)


@composed
def logsigmoid(x: Any) -> Any:
    """ln σ(x), computed so that it cannot overflow."""
    return -softplus(multiply(x, -1.0))  # unsigned integers have no negative


@composed
def mish(x: Any) -> Any:
    """x·tanh(softplus(x)) (Misra 2019)."""
    return x * tanh(softplus(x))


@composed
def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    return x / (1 + absolute(x))


@composed
def tanhshrink(x: Any) -> Any:
    """x − tanh x."""
    return x - tanh(x)


@composed
def glu(x: Any, axis: int = -1) -> Any:
    """a∘σ(b) for the halves a, b of x along `axis` (Dauphin et al. 2017)."""
    if length("glu", x, axis) % 2:
        raise ShapeError(f"glu: axis {axis} of {np.shape(x)} must have an even length")
    a, b = split(x, 2, axis)
    return a * sigmoid(b)


@primitive
def softmax(x: Array, /, axis: int = -1) -> Array:
    """exp(x) / Σ exp(x) along `axis`, shifted by the maximum so that it cannot overflow."""
    x = floating(x)
    e = np.exp(x - (np.maximum.reduce(x.real, axis, keepdims=True) if x.size else 0))
    return e / np.add.reduce(e, axis, keepdims=True)


softmax.defvjp(
    lambda g, out, axis: out * (g - (g * out).sum(axis, keepdims=True)),  # dx = y∘(dy − Σ dy∘y)
)


@primitive
def log_softmax(x: Array, /, axis: int = -1) -> Array:
    """ln softmax(x) along `axis`, without ever forming the softmax."""
    x = floating(x)
    if not x.size:
        return x
    shifted = x - x.real.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


log_softmax.defvjp(
    lambda g, out, axis: g - np.exp(out) * g.sum(axis=axis, keepdims=True),  # dx = dy − eʸ∘Σ dy
)


@composed
def softmin(x: Any, axis: int = -1) -> Any:
    """softmax(−x): the smallest elements have the largest shares."""
    return softmax(multiply(x, -1.0), axis)
