"""Which query may attend to which key.

A boolean mask means True = may attend, everywhere.  An additive mask is added to the scores: 0 lets through,
−∞ blocks.  Masks broadcast to the scores (..., heads, T, S).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ... import ops
from ...engine import Array, DTypeError, ShapeError, Tensor
from ...engine.tensor import locked

Window = tuple[int | None, int | None]


class Masking(NamedTuple):
    """What is done to the scores: `bias` is added (0 and −∞), rows where `alive` is False have no key at all."""

    bias: Any               # array, Tensor or None
    alive: Array | None     # (..., T, 1), or None where every row has a key


def reach(queries: int, keys: int, causal: bool, offset: int, window: Window | None) -> Array | None:
    """(T, S) booleans: key j stands at j − (i + offset) from query i, and must not be too far on either side."""
    left, right = window if window is not None else (None, None)
    if causal:
        right = 0 if right is None else min(right, 0)
    if left is None and right is None:
        return None
    distance = np.arange(keys) - (np.arange(queries)[:, None] + offset)
    allowed = np.ones(distance.shape, bool)
    if left is not None:
        allowed &= distance >= -left
    if right is not None:
        allowed &= distance <= right
    return allowed


def masking(mask: Any, shape: tuple[int, ...], dtype: Any, causal: bool = False, offset: int = 0,
            window: Window | None = None) -> Masking:
    """Everything that limits scores of `shape` (..., T, S), as one bias.

    Raises:
        ShapeError: the mask does not broadcast to `shape`.
        DTypeError: the mask is neither boolean nor floating.
    """
    allowed = reach(shape[-2], shape[-1], causal, offset, window)
    if mask is None:
        return Masking(None if allowed is None else blocking(allowed, dtype), dead_rows(allowed))
    values = mask._data if isinstance(mask, Tensor) else np.asarray(mask)
    check_mask(values, shape)
    if values.dtype == bool:
        allowed = values if allowed is None else values & allowed
        return Masking(blocking(allowed, dtype), dead_rows(allowed))
    open_ = ~np.isneginf(values.real)
    bias = ops.astype(mask if isinstance(mask, Tensor) else values, dtype)
    if allowed is not None:
        open_, bias = open_ & allowed, bias + blocking(allowed, dtype)
    return Masking(bias, dead_rows(open_))


def check_mask(values: Array, shape: tuple[int, ...]) -> None:
    """Refuse a mask of another kind, or one that does not broadcast to `shape`."""
    if values.dtype.kind not in "bfc":
        raise DTypeError(f"attention: a mask is boolean (True = may attend) or floating (added to the scores), got "
                         f"{values.dtype}; for a mask of 0 and 1 pass mask.astype(bool)")
    try:
        fits = np.broadcast_shapes(values.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"attention: mask {values.shape} does not broadcast to the scores {shape}")


def blocking(allowed: Array, dtype: Any) -> Array:
    """0 where allowed, −∞ elsewhere; adding it costs a quarter of what choosing by `where` costs."""
    bias = np.zeros(allowed.shape, dtype)
    bias[~allowed] = -np.inf
    return locked(bias)


def dead_rows(allowed: Array | None) -> Array | None:
    """Which rows have a key (..., T, 1), or None where all have one."""
    if allowed is None:
        return None
    alive = allowed.any(axis=-1, keepdims=True)
    return None if alive.all() else locked(alive)
