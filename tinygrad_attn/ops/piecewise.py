"""Nonlinearities with kinks: rectified, limited, leaky, with an exponential on the left."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Array, ShapeError, composed, primitive
from .arithmetic import add, divide, multiply
from .choices import where

__all__ = [
    "celu", "elu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "prelu", "relu", "relu6",
    "selu", "threshold",
]  # fmt: skip


@primitive
def relu(x: Array, /) -> Array:
    """max(x, 0); at 0 the gradient is 0."""
    return np.maximum(x, 0)


relu.defvjp(
    lambda g, x: g * (x > 0),  # dx = dy∘[x>0]
)


@primitive
def leaky_relu(x: Array, /, negative_slope: float = 0.01) -> Array:
    """x where positive, else negative_slope·x; at 0 the gradient is negative_slope."""
    return np.where(x.real > 0, x, negative_slope * x)


leaky_relu.defvjp(
    lambda g, x, negative_slope: np.where(x > 0, g, negative_slope * g),  # dx = dy∘{1, slope}
)


@composed
def prelu(x: Any, weight: Any) -> Any:
    """x where positive, else weight∘x: leaky_relu with a learnt, broadcast slope (He et al. 2015).

    A slope for each channel in axis 1 has the shape (C, 1, …, 1).
    """
    return where(np.greater(x, 0), x, multiply(weight, x))


@primitive
def elu(x: Array, /, alpha: float = 1.0) -> Array:
    """x where positive, else alpha·(eˣ − 1) (Clevert et al. 2016)."""
    return np.where(x.real > 0, x, alpha * np.expm1(np.where(x.real > 0, 0, x)))


elu.defvjp(
    lambda g, x, out, alpha: g * np.where(x > 0, 1, out + alpha),  # dx = dy∘([x>0] + (y + α)∘[x≤0])
)


@composed
def selu(x: Any) -> Any:
    """λ·elu(x, α), with the α and λ that keep mean 0 and variance 1 (Klambauer et al. 2017)."""
    return 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717)


@composed
def celu(x: Any, alpha: float = 1.0) -> Any:
    """x where positive, else α·(e^(x/α) − 1): its slope has no jump (Barron 2017)."""
    if not alpha:
        raise ShapeError(f"celu: alpha must not be 0, got {alpha!r}")
    return alpha * elu(divide(x, alpha))


@primitive
def hardtanh(x: Array, /, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """x limited to [min_val, max_val]; at the limits the gradient is 0."""
    return np.clip(x, min_val, max_val)


hardtanh.defvjp(
    lambda g, x, min_val, max_val: g * ((x > min_val) & (x < max_val)),  # dx = dy∘[min < x < max]
)


@composed
def relu6(x: Any) -> Any:
    """min(max(x, 0), 6); at 0 and 6 the gradient is 0."""
    return hardtanh(x, 0.0, 6.0)


@composed
def hardsigmoid(x: Any) -> Any:
    """relu6(x + 3)/6, a sigmoid of three straight lines."""
    return relu6(add(x, 3)) / 6


@composed
def hardswish(x: Any) -> Any:
    """x·hardsigmoid(x) (Howard et al. 2019)."""
    return multiply(x, hardsigmoid(x))


@composed
def threshold(x: Any, threshold: float, value: float) -> Any:
    """x where it is above the threshold, else `value`; at the threshold the gradient is 0."""
    return where(np.greater(x, threshold), x, value)
