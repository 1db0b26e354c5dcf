"""PyTorch's operations on single elements, by ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_attn as ta

from .operators import Unsupported

RENAMED = {
    "abs": "absolute", "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh",
    "atan": "arctan", "atan2": "arctan2", "atanh": "arctanh", "mul": "multiply", "neg": "negative",
    "pow": "power",
}  # fmt: skip
SAME = (
    "ceil", "cos", "cosh", "erf", "erfc", "exp", "exp2", "expm1", "floor", "fmax", "fmin", "hypot",
    "log", "log10", "log1p", "log2", "logaddexp", "logaddexp2", "masked_fill", "maximum",
    "minimum", "reciprocal", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "square",
    "tan", "tanh", "trunc",
)  # fmt: skip
ACTIVATIONS = (
    "celu", "elu", "gelu", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish", "relu",
    "relu6", "selu", "silu", "softsign", "tanhshrink", "threshold",
)  # fmt: skip


def add(x: Any, other: Any, alpha: float = 1) -> Any:
    """x + alpha·other."""
    return ta.add(x, alpha * other)


def sub(x: Any, other: Any, alpha: float = 1) -> Any:
    """x − alpha·other."""
    return ta.subtract(x, alpha * other)


def div(x: Any, other: Any, rounding_mode: str | None = None) -> Any:
    """x / other, rounded afterwards."""
    y = ta.divide(x, other)
    return y if rounding_mode is None else getattr(ta, rounding_mode)(y)


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    """`clip`."""
    return ta.clip(x, min, max)


def clamp_min(x: Any, min: Any) -> Any:
    """`clip` from below."""
    return ta.clip(x, min)


def clamp_max(x: Any, max: Any) -> Any:
    """`clip` from above."""
    return ta.clip(x, None, max)


def where(x: Any, condition: Any, other: Any) -> Any:
    """The samples give x first."""
    return ta.where(condition, x, other)


def lerp(start: Any, end: Any, weight: Any) -> Any:
    """A point on the line from start to end."""
    return start + weight * (end - start)


def addcmul(x: Any, a: Any, b: Any, value: float = 1) -> Any:
    """x + value·a∘b."""
    return x + value * a * b


def addcdiv(x: Any, a: Any, b: Any, value: float = 1) -> Any:
    """x + value·a/b."""
    return x + value * a / b


def nan_to_num(
    x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """By keyword."""
    return ta.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


def clone(x: Any) -> Any:
    """The same numbers."""
    return ta.reshape(x, x.shape)


def softplus(x: Any, beta: float = 1, threshold: float = 20) -> Any:
    """PyTorch's stretches it, and is the identity beyond the threshold."""
    return ta.where(beta * x > threshold, x, ta.softplus(beta * x) / beta)


def prelu(x: Any, weight: Any) -> Any:
    """One slope, or one for each channel in axis 1."""
    channels = (-1,) + (1,) * (x.ndim - 2) if np.size(weight) > 1 else ()
    return ta.prelu(x, ta.reshape(weight, channels))


def glu(x: Any, dim: int = -1) -> Any:
    """`dim` is the axis."""
    return ta.glu(x, dim)


def hardsigmoid(x: Any) -> Any:
    """PyTorch 2.13 multiplies by 1/6 as a float32 even in float64: off by 3e-8 of the value."""
    if x.size:
        raise Unsupported("hardsigmoid with a sixth that has the digits of a float32")
    return ta.hardsigmoid(x)


def inplace(function: Callable[..., Any]) -> Callable[..., Any]:
    """What PyTorch may do in place; here nothing is."""

    def called(*args: Any, inplace: bool = False, **options: Any) -> Any:
        if inplace:
            raise Unsupported("inplace=True: tensors are read-only")
        return function(*args, **options)

    return called


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(ta, ours) for name, ours in RENAMED.items()},
    **{name: getattr(ta, name) for name in SAME},
    **{f"nn.functional.{name}": inplace(getattr(ta, name)) for name in ACTIVATIONS},
    **{f.__name__: f for f in (add, sub, div, clamp, clamp_min, clamp_max, where, lerp, addcmul)},
    **{f.__name__: f for f in (addcdiv, nan_to_num, clone)},
    **{f"nn.functional.{f.__name__}": f for f in (softplus, prelu, glu, hardsigmoid)},
}
