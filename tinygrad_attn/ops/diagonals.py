"""Diagonals and triangles of matrices, taken out and put in."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..engine import Array, ShapeError, composed, primitive
from .choices import where
from .indexing import element
from .reductions import sum
from .shapes import expand_dims, moveaxis
from .windows import pad

__all__ = ["diag", "diag_embed", "diagonal", "trace", "tril", "triu"]


@primitive
def tril(x: Array, /, k: int = 0) -> Array:
    """Zeros above the k-th diagonal of the last two axes."""
    return np.tril(x, k)


tril.defvjp(
    lambda g, k: np.tril(g, k),  # dx = lower triangle of dy
)


@primitive
def triu(x: Array, /, k: int = 0) -> Array:
    """Zeros below the k-th diagonal of the last two axes."""
    return np.triu(x, k)


triu.defvjp(
    lambda g, k: np.triu(g, k),  # dx = upper triangle of dy
)


@composed
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of two axes, as a new last axis."""
    ends = moveaxis(x, (axis1, axis2), (-2, -1))
    below, right = max(-operator.index(offset), 0), max(operator.index(offset), 0)
    steps = np.arange(max(0, min(ends.shape[-2] - below, ends.shape[-1] - right)))
    return element(ends, (..., steps + below, steps + right))


@composed
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal of two axes."""
    return sum(diagonal(x, offset, axis1, axis2), -1)


@composed
def diag_embed(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Any:
    """Matrices of zeros with the rows of x on a diagonal of two new axes (as in PyTorch)."""
    above, below = max(operator.index(offset), 0), max(-operator.index(offset), 0)
    rows = pad(x, [(0, 0)] * (np.ndim(x) - 1) + [(below, above)])
    place = np.eye(rows.shape[-1], k=offset, dtype=bool)
    return moveaxis(where(place, expand_dims(rows, -1), 0), (-2, -1), (axis1, axis2))


@composed
def diag(x: Any, k: int = 0) -> Any:
    """The k-th diagonal of a matrix, or for a 1-d x the matrix with x on it."""
    if np.ndim(x) not in (1, 2):
        raise ShapeError(f"diag: expected 1 or 2 axes, got shape {np.shape(x)}")
    return diag_embed(x, k) if np.ndim(x) == 1 else diagonal(x, k)
