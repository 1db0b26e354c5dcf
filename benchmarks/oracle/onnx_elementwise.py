"""ONNX's operators on single elements, by ours: of one argument and of two."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import Tensor

from .operators import Operator

SAME = {
    "Abs": "absolute", "Acos": "arccos", "Acosh": "arccosh", "Add": "add", "Asin": "arcsin",
    "Asinh": "arcsinh", "Atan": "arctan", "Atanh": "arctanh", "Cos": "cos", "Cosh": "cosh",
    "Erf": "erf", "Exp": "exp", "Log": "log", "Mul": "multiply", "Neg": "negative",
    "Reciprocal": "reciprocal", "Relu": "relu", "Sigmoid": "sigmoid", "Sign": "sign",
    "Sin": "sin", "Sinh": "sinh", "Softplus": "softplus", "Sqrt": "sqrt", "Sub": "subtract",
    "Tan": "tan", "Tanh": "tanh",
}  # fmt: skip


# ── one argument ─────────────────────────────────────────────────────────────────────────────────
def celu(x: Tensor, *, alpha: float = 1.0) -> Any:
    """α elu(x/α)."""
    return ta.elu(x / alpha) * alpha


def elu(x: Tensor, *, alpha: float = 1.0) -> Any:
    """The same."""
    return ta.elu(x, alpha)


def selu(x: Tensor, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Any:
    """γ elu(x, α)."""
    return ta.elu(x, alpha) * gamma


def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Any:
    """The same."""
    return ta.leaky_relu(x, alpha)


def prelu(x: Tensor, slope: Tensor) -> Any:
    """x, times the slope where it is negative."""
    return ta.where(x < 0, x * slope, x)


def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Any:
    """αx + β, within [0, 1]."""
    return ta.clip(x * alpha + beta, 0.0, 1.0)


def hard_swish(x: Tensor) -> Any:
    """x times a hard sigmoid of slope 1/6."""
    return x * hard_sigmoid(x, alpha=1 / 6)


def mish(x: Tensor) -> Any:
    """x tanh(softplus x)."""
    return x * ta.tanh(ta.softplus(x))


def softsign(x: Tensor) -> Any:
    """x / (1 + |x|)."""
    return x / (1 + ta.absolute(x))


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
    return ta.where(x > alpha, x, 0.0)


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
    "And": lambda a, b: np.logical_and(a, b),
    "Ceil": lambda x: np.ceil(x),
    "Celu": celu,
    "Clip": clip,
    "Div": div,
    "Elu": elu,
    "Equal": lambda a, b: a == b,
    "Floor": lambda x: np.floor(x),
    "Greater": lambda a, b: a > b,
    "GreaterOrEqual": lambda a, b: a >= b,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "IsInf": is_inf,
    "IsNaN": lambda x: np.isnan(x),
    "LeakyRelu": leaky_relu,
    "Less": lambda a, b: a < b,
    "LessOrEqual": lambda a, b: a <= b,
    "Max": most,
    "Mean": lambda *xs: total(*xs) / len(xs),
    "Min": least,
    "Mish": mish,
    "Not": lambda x: np.logical_not(x),
    "Or": lambda a, b: np.logical_or(a, b),
    "PRelu": prelu,
    "Pow": power,
    "Round": lambda x: np.rint(x),
    "Selu": selu,
    "Shrink": shrink,
    "Softsign": softsign,
    "Sum": total,
    "SwiGLU": swiglu,
    "Swish": swish,
    "ThresholdedRelu": thresholded_relu,
    "Xor": lambda a, b: a != b,
}


def renamed(name: str) -> Operator:
    """Our operation of that name, without options."""
    operation = getattr(ta, name)
    return lambda *xs: operation(*xs)


OPERATORS |= {onnx: renamed(ours) for onnx, ours in SAME.items() if hasattr(ta, ours)}
