"""GELU and SiLU: x times a gate, the derivative of both from the same few terms.

With G the gate, y = x∘G(x) and dx = dy∘(G + x∘G′):

    tanh form   G = ½(1 + tanh u), u = √(2/π)(x + 0.044715x³)       G′ = 2G(1 − G) u′
    exact       G = Φ(x) = ½(1 + erf(x/√2))                         G′ = e^(−x²/2)/√(2π)
    SiLU        G = σ(x)                                            G′ = G(1 − G)

(Hendrycks and Gimpel 2016, section 2; Elfwing et al. 2018, eq. 5.)  The gate is kept for the
backward pass: working it out is most of the cost.  Φ comes from

    erfc(a) = e^(−a²) p(1/(1 + a/2))   for a ≥ 0,

a form of Hastings (1955, "Approximations for Digital Computers").  Its polynomial p is fitted here,
once for each precision, to Python's own erfc: one formula for all a, where Cody's (ops/erf.py),
which the definition uses, computes three and chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import erfc, exp, pi, sqrt
from typing import Any

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from ..limits import Array
from .blocks import elementwise

SCALE, CUBIC = sqrt(2 / pi), 0.044715
DEGREES = {4: 6, 8: 15}  # of p, by bytes of a number: its error is that of rounding
FARTHEST = {4: 4.0, 8: 6.0}  # beyond, erfc is below the rounding of 1


def gelu_forward(x: Array, *, approximate: str = "none") -> tuple[Array, Array]:
    """x∘G and G."""
    return gated(tanh_gate if approximate == "tanh" else normal_gate, x)


def gelu_backward(
    g: Array, gate: Array, x: Array, *, needs: tuple[bool, ...], approximate: str = "none"
) -> tuple[Array]:
    """dx."""
    return sloped(tanh_slope if approximate == "tanh" else normal_slope, g, gate, x)


def silu_forward(x: Array) -> tuple[Array, Array]:
    """x∘G and G."""
    return gated(sigmoid_gate, x)


def silu_backward(g: Array, gate: Array, x: Array, *, needs: tuple[bool, ...]) -> tuple[Array]:
    """dx."""
    return sloped(sigmoid_slope, g, gate, x)


def gated(work: Callable[[Array, Array, Array], None], x: Array) -> tuple[Array, Array]:
    """x∘G and G, block by block."""
    out, gate = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    with np.errstate(over="ignore"):  # where x³ or e⁻ˣ overflows the gate is 0 or 1 all the same
        elementwise(work, x, gate, out)
    return out, gate


def sloped(
    work: Callable[[Array, Array, Array, Array], None], g: Array, gate: Array, x: Array
) -> tuple[Array]:
    """dy∘(G + x∘G′), block by block."""
    dx = np.empty(x.shape, x.dtype)
    with np.errstate(over="ignore"):
        elementwise(work, x, gate, g, dx)
    return (dx,)


def tanh_gate(x: Array, gate: Array, out: Array) -> None:
    """gate = ½(1 + tanh u), out = x∘gate."""
    np.multiply(x, x, out=gate)
    gate *= SCALE * CUBIC
    gate += SCALE
    gate *= x
    np.tanh(gate, out=gate)
    gate *= 0.5
    gate += 0.5
    np.multiply(x, gate, out=out)


def tanh_slope(x: Array, gate: Array, g: Array, dx: Array) -> None:
    """dx = dy∘(G + x∘2G(1 − G)∘u′), u′ = √(2/π)(1 + 3·0.044715x²).

    Where x² overflows it is NaN, as in the definition.
    """
    steep = x * x
    steep *= 6 * SCALE * CUBIC
    steep += 2 * SCALE
    np.subtract(1, gate, out=dx)
    dx *= gate
    dx *= x
    dx *= steep
    dx += gate
    dx *= g


def normal_gate(x: Array, gate: Array, out: Array) -> None:
    """gate = Φ(x) = |[x > 0] − ½erfc(|x|/√2)|, out = x∘gate."""
    size = np.abs(x, out=out)
    t = size * (0.5 / sqrt(2))
    t += 1
    np.divide(1, t, out=t)
    first, second, *others = erfc_polynomial(x.itemsize)
    np.multiply(t, first, out=gate)
    gate += second
    for c in others:
        gate *= t
        gate += c
    np.multiply(x, x, out=t)
    t *= -0.5
    gate *= np.exp(t, out=t)  # ½erfc
    np.greater(x, 0, out=t)
    np.subtract(t, gate, out=gate)
    np.abs(gate, out=gate)
    np.multiply(x, gate, out=out)


def normal_slope(x: Array, gate: Array, g: Array, dx: Array) -> None:
    """dx = dy∘(Φ + x∘e^(−x²/2)/√(2π))."""
    np.multiply(x, x, out=dx)
    dx *= -0.5
    np.exp(dx, out=dx)
    dx *= 1 / sqrt(2 * pi)
    dx *= x
    dx += gate
    dx *= g


def sigmoid_gate(x: Array, gate: Array, out: Array) -> None:
    """gate = 1/(1 + e⁻ˣ), out = x∘gate."""
    np.negative(x, out=gate)
    np.exp(gate, out=gate)
    gate += 1
    np.divide(1, gate, out=gate)
    np.multiply(x, gate, out=out)


def sigmoid_slope(x: Array, gate: Array, g: Array, dx: Array) -> None:
    """dx = dy∘G∘(1 + x∘(1 − G))."""
    np.subtract(1, gate, out=dx)
    dx *= x
    dx += 1
    dx *= gate
    dx *= g


@cache
def erfc_polynomial(itemsize: int) -> tuple[float, ...]:
    """½p, highest power first: least squares at Chebyshev's points, weighted by e^(−a²)."""
    low = 1 / (1 + FARTHEST[itemsize] / 2)
    points = (1 + low + (1 - low) * np.cos(np.pi * (np.arange(100) + 0.5) / 100)) / 2
    a = 2 / points - 2
    scaled = [erfc(y) * exp(y * y) for y in a]
    fit: Any = Chebyshev.fit(points, scaled, DEGREES[itemsize], [low, 1], w=np.exp(-a * a))
    return tuple(float(c) / 2 for c in fit.convert(kind=Polynomial).coef[::-1])
