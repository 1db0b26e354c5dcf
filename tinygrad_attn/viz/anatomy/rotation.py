"""Rotary positions as two tables, read off the module that turns."""

from __future__ import annotations

import numpy as np

from ...engine import Array, Tensor, no_grad
from ...engine.tensor import locked
from ...nn import RotaryPositions
from .data import Turn


def turn_of(positions: RotaryPositions, queries: int, keys: int, offset: int) -> Turn:
    """How so many queries, the first at position `offset`, and keys from position 0 are turned."""
    d = positions.d_head
    pair = np.arange(d) ^ 1 if positions.interleaved else (np.arange(d) + d // 2) % d
    cos, sin = tables(positions, queries, offset, pair)
    return Turn(tuple(map(int, pair)), cos, sin, *tables(positions, keys, 0, pair))


def tables(positions: RotaryPositions, count: int, offset: int, pair: Array) -> tuple[Array, Array]:
    """What each feature keeps of itself and gets from its partner, (count, d) each."""
    own = np.arange(len(pair))
    units = np.broadcast_to(np.eye(len(pair))[:, None], (len(pair), count, len(pair)))
    with no_grad():
        turned = positions(Tensor(units), offset).data  # (from, time, to)
    return locked(turned[own, :, own].T.copy()), locked(turned[pair, :, own].T.copy())


def turned(x: Array, pair: tuple[int, ...], cos: Array, sin: Array) -> Array:
    """`x` (..., time, d) turned by the tables."""
    result: Array = x * cos + x[..., list(pair)] * sin
    return result
