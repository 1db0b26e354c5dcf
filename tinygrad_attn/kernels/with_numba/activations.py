"""GELU and SiLU: read once, written once; backward computes the gate again rather than read it.

Formulas: with_numpy/activations.py; the gate of GELU's tanh form, ½(1 + tanh u), is σ(2u) here.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt

import numpy as np

from ..limits import Array
from ..with_numpy.activations import CUBIC, SCALE
from .blocks import by_rows, flat
from .compile import elementwise
from .elementary import normal, sigmoid

PEAK = 1 / sqrt(2 * pi)  # of the normal distribution's density


def gelu_forward(x: Array, *, approximate: str = "none") -> tuple[Array, None]:
    """x∘G(x)."""
    return mapped(tanh_gelu if approximate == "tanh" else normal_gelu, x), None


def gelu_backward(
    g: Array, _: None, x: Array, *, needs: tuple[bool, ...], approximate: str = "none"
) -> tuple[Array]:
    """dx."""
    return (mapped(tanh_gelu_slope if approximate == "tanh" else normal_gelu_slope, x, g),)


def silu_forward(x: Array) -> tuple[Array, None]:
    """x∘σ(x)."""
    return mapped(silu_loop, x), None


def silu_backward(g: Array, _: None, x: Array, *, needs: tuple[bool, ...]) -> tuple[Array]:
    """dx."""
    return (mapped(silu_slope_loop, x, g),)


def mapped(loop: Callable[..., object], *arrays: Array) -> Array:
    """What `loop` makes of arrays of one shape, element by element."""
    out = np.empty(arrays[0].shape, arrays[0].dtype)
    by_rows(loop, [*(flat(a) for a in arrays), out.reshape(-1)])
    return out


@elementwise
def normal_gelu(x: Array, out: Array) -> None:
    """x∘Φ(x)."""
    for i in range(x.size):
        gate, _ = normal(x[i])
        out[i] = x[i] * gate


@elementwise
def normal_gelu_slope(x: Array, g: Array, dx: Array) -> None:
    """dy∘(Φ + x∘e^(−x²/2)/√(2π))."""
    peak = x.dtype.type(PEAK)
    for i in range(x.size):
        gate, bell = normal(x[i])
        dx[i] = g[i] * (gate + x[i] * bell * peak)


@elementwise
def tanh_gelu(x: Array, out: Array) -> None:
    """x∘σ(2u)."""
    linear, cubic = x.dtype.type(2 * SCALE), x.dtype.type(2 * SCALE * CUBIC)
    for i in range(x.size):
        out[i] = x[i] * sigmoid(x[i] * (linear + cubic * (x[i] * x[i])))


@elementwise
def tanh_gelu_slope(x: Array, g: Array, dx: Array) -> None:
    """dy∘(G + x∘G(1 − G)∘2u′), 2u′ = 2√(2/π)(1 + 3·0.044715x²).

    Where x² overflows it is NaN, as in the definition.
    """
    one, three = x.dtype.type(1), x.dtype.type(3)
    linear, cubic = x.dtype.type(2 * SCALE), x.dtype.type(2 * SCALE * CUBIC)
    for i in range(x.size):
        square = cubic * (x[i] * x[i])
        gate = sigmoid(x[i] * (linear + square))
        dx[i] = g[i] * (gate + x[i] * gate * (one - gate) * (linear + three * square))


@elementwise
def silu_loop(x: Array, out: Array) -> None:
    """x∘σ(x)."""
    for i in range(x.size):
        out[i] = x[i] * sigmoid(x[i])


@elementwise
def silu_slope_loop(x: Array, g: Array, dx: Array) -> None:
    """dy∘σ∘(1 + x∘(1 − σ))."""
    one = x.dtype.type(1)
    for i in range(x.size):
        gate = sigmoid(x[i])
        dx[i] = g[i] * gate * (one + x[i] * (one - gate))
