"""Rounding: steps, whose gradient is 0 everywhere; and what rounding leaves over."""

from __future__ import annotations

import numpy as np

from ..engine import Array, primitive

__all__ = ["ceil", "floor", "floor_divide", "fmod", "remainder", "round", "trunc"]


@primitive
def floor(x: Array, /) -> Array:
    """The largest integer ≤ x; its gradient is 0 everywhere."""
    return np.floor(x.real)


floor.defvjp(
    lambda g: np.zeros_like(g),  # dx = 0
)


@primitive
def ceil(x: Array, /) -> Array:
    """The smallest integer ≥ x; its gradient is 0 everywhere."""
    return np.ceil(x.real)


ceil.defvjp(
    lambda g: np.zeros_like(g),  # dx = 0
)


@primitive
def trunc(x: Array, /) -> Array:
    """x without its fraction; its gradient is 0 everywhere."""
    return np.trunc(x.real)


trunc.defvjp(
    lambda g: np.zeros_like(g),  # dx = 0
)


@primitive
def round(x: Array, /, decimals: int = 0) -> Array:
    """x to so many `decimals`, halves to the even neighbour; its gradient is 0 everywhere."""
    return np.round(x.real, decimals)


round.defvjp(
    lambda g: np.zeros_like(g),  # dx = 0
)


@primitive
def floor_divide(a: Array, b: Array, /) -> Array:
    """⌊a/b⌋; its gradient is 0 everywhere."""
    return np.floor_divide(a.real, b.real)


floor_divide.defvjp(
    lambda g: np.zeros_like(g),  # da = 0
    lambda g: np.zeros_like(g),  # db = 0
)


@primitive
def remainder(a: Array, b: Array, /) -> Array:
    """a − b⌊a/b⌋, with the sign of b; where a/b is whole the gradient is that of the right side."""
    if np.isrealobj(a) and np.isrealobj(b):
        return np.remainder(a, b)
    return a - b * np.floor_divide(a.real, b.real)


remainder.defvjp(
    lambda g: g,  # da = dy
    lambda g, a, b: -g * floor_divide(a, b),  # db = −dy∘⌊a/b⌋
)


@primitive
def fmod(a: Array, b: Array, /) -> Array:
    """a − b·trunc(a/b), with the sign of a.

    The quotient is found from the result, since a/b may be rounded up to a whole number: 1/0.1.
    """
    rest = np.fmod(a.real, b.real)
    if np.isrealobj(a) and np.isrealobj(b):
        return rest
    return a - b * np.round((a.real - rest) / b.real)


fmod.defvjp(
    lambda g: g,  # da = dy
    lambda g, a, b, out: -g * round((a - out) / b),  # db = −dy∘trunc(a/b)
)
