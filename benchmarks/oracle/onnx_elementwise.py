"""ONNX's operators on single elements, by ours: of one argument and of two."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import Tensor

from .operators import Operator


# ── one argument ─────────────────────────────────────────────────────────────────────────────────
def celu(x: Tensor, *, alpha: float = 1.0) -> Any:
    """The same."""
    return ta.celu(x, alpha)


def elu(x: Tensor, *, alpha: float = 1.0) -> Any:
    """The same."""
    return ta.elu(x, alpha)


def selu(x: Tensor, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Any:
    """γ elu(x, α)."""
    return ta.elu(x, alpha) * gamma


def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Any:
    """The same."""
    return ta.leaky_relu(x, alpha)


def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Any:
    """αx + β, within [0, 1]."""
    return ta.clip(x * alpha + beta, 0.0, 1.0)


def swish(x: Tensor, *, alpha: float = 1.0) -> Any:
    """x σ(αx)."""
    return ta.silu(x) if alpha == 1 else x * ta.sigmoid(x * alpha)


def swiglu(a: Tensor, b: Tensor, *, alpha: float = 1.0) -> Any:
    """swish(a) b."""
    return swish(a, alpha=alpha) * b


def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Any:
    """x nearer to 0 by `bias`, 0 within ±λ."""
    return ta.where(x < -lambd, x + bias, ta.where(x > lambd, x - bias, 0.0))


def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Any:
    """x where it is greater than α."""
    return ta.threshold(x, alpha, 0.0)


def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    """Of either sign or of one."""
    wanted = (x < 0) & bool(detect_negative) | (x > 0) & bool(detect_positive)
    return np.isinf(x) & wanted


# ── two arguments ────────────────────────────────────────────────────────────────────────────────
def div(a: Tensor, b: Tensor) -> Any:
    """A quotient of integers is cut off: rounded up where it is negative."""
    if a.dtype.kind not in "iu":
        return a / b
    down = np.floor_divide(a, b)
    return down + ((down < 0) & (a != down * b))


def mod(a: Tensor, b: Tensor, *, fmod: int = 0) -> Any:
    """With the sign of the divisor, or with `fmod` of the dividend."""
    return ta.fmod(a, b) if fmod else ta.remainder(a, b)


def power(a: Tensor, b: Tensor) -> Any:
    """In the dtype of the base, cut off where that is an integer."""
    result = ta.power(a, b)
    if result.dtype.kind == "c":  # of a derivative check
        return result
    return ta.astype(result if a.dtype.kind == "f" else result.detach(), a.dtype)


def most(*xs: Tensor) -> Any:
    """Of any number of arguments."""
    return reduce(ta.maximum, xs)


def least(*xs: Tensor) -> Any:
    """Of any number of arguments."""
    return reduce(ta.minimum, xs)


def total(*xs: Tensor) -> Any:
    """Of any number of arguments."""
    return reduce(ta.add, xs)


def clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Any:
    """Limits are constants; without any nothing changes."""
    limits = [None if limit is None else limit.numpy() for limit in (low, high)]
    return x if limits == [None, None] else ta.clip(x, *limits)


OPERATORS: dict[str, Operator] = {
    "Abs": lambda x: ta.absolute(x),
    "Acos": lambda x: ta.arccos(x),
    "Acosh": lambda x: ta.arccosh(x),
    "Add": lambda a, b: a + b,
    "And": lambda a, b: np.logical_and(a, b),
    "Asin": lambda x: ta.arcsin(x),
    "Asinh": lambda x: ta.arcsinh(x),
    "Atan": lambda x: ta.arctan(x),
    "Atanh": lambda x: ta.arctanh(x),
    "Ceil": lambda x: ta.ceil(x),
    "Celu": celu,
    "Clip": clip,
    "Cos": lambda x: ta.cos(x),
    "Cosh": lambda x: ta.cosh(x),
    "Div": div,
    "Elu": elu,
    "Equal": lambda a, b: a == b,
    "Erf": lambda x: ta.erf(x),
    "Exp": lambda x: ta.exp(x),
    "Floor": lambda x: ta.floor(x),
    "Greater": lambda a, b: a > b,
    "GreaterOrEqual": lambda a, b: a >= b,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": lambda x: ta.hardswish(x),
    "IsInf": is_inf,
    "IsNaN": lambda x: np.isnan(x),
    "LeakyRelu": leaky_relu,
    "Less": lambda a, b: a < b,
    "LessOrEqual": lambda a, b: a <= b,
    "Log": lambda x: ta.log(x),
    "Max": most,
    "Mean": lambda *xs: total(*xs) / len(xs),
    "Min": least,
    "Mish": lambda x: ta.mish(x),
    "Mod": mod,
    "Mul": lambda a, b: a * b,
    "Neg": lambda x: -x,
    "Not": lambda x: np.logical_not(x),
    "Or": lambda a, b: np.logical_or(a, b),
    "PRelu": lambda x, slope: ta.prelu(x, slope),
    "Pow": power,
    "Reciprocal": lambda x: ta.reciprocal(x),
    "Relu": lambda x: ta.relu(x),
    "Round": lambda x: ta.round(x),
    "Selu": selu,
    "Shrink": shrink,
    "Sigmoid": lambda x: ta.sigmoid(x),
    "Sign": lambda x: ta.sign(x),
    "Sin": lambda x: ta.sin(x),
    "Sinh": lambda x: ta.sinh(x),
    "Softplus": lambda x: ta.softplus(x),
    "Softsign": lambda x: ta.softsign(x),
    "Sqrt": lambda x: ta.sqrt(x),
    "Sub": lambda a, b: a - b,
    "Sum": total,
    "SwiGLU": swiglu,
    "Swish": swish,
    "Tan": lambda x: ta.tan(x),
    "Tanh": lambda x: ta.tanh(x),
    "ThresholdedRelu": thresholded_relu,
    "Xor": lambda a, b: a != b,
}
