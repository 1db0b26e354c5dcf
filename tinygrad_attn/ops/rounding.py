"""Rounding: steps, whose gradient is 0 everywhere."""

from __future__ import annotations

import numpy as np

from ..engine import Array, primitive

__all__ = ["ceil", "floor", "round", "trunc"]


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
