"""Which query may attend to which key.

A boolean mask means True = may attend, everywhere.  An additive mask is added to the scores: 0 lets
through, −∞ blocks.  Masks broadcast to the scores (..., heads, T, S).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ... import ops
from ...engine import Array, DTypeError, ShapeError, Tensor
from ...engine.tensor import locked

Window = tuple[int | None, int | None]


class Masking(NamedTuple):
    """What limits the scores.

    Attributes:
        bias: array or Tensor to add, −∞ where a query must not attend; None for nothing.
        alive: (..., T, 1), False for the queries that may attend to no key; None where all may.
    """

    bias: Any
    alive: Array | None


def within_reach(queries: int, keys: int, causal: bool, offset: int,
                 window: Window | None) -> Array | None:
    """(T, S) booleans: key j is not too far from position i + offset; None without a limit."""
    left, right = (None, None) if window is None else window
    if any(reach is not None and reach < 0 for reach in (left, right)):
        raise ShapeError("attention: window must be (left, right), each 0 or more or None, got "
                         f"{window}")
    right = 0 if causal else right
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
        ShapeError: the mask does not broadcast to `shape`, or the window is negative.
        DTypeError: the mask is neither boolean nor floating.
    """
    allowed = within_reach(shape[-2], shape[-1], causal, offset, window)
    added = None
    if mask is not None:
        values = mask._data if isinstance(mask, Tensor) else np.asarray(mask)
        check_mask(values, shape)
        if values.dtype != bool:
            added = mask if values.dtype in (dtype, complex) else ops.astype(mask, dtype)
            values = ~np.isneginf(values.real)
        allowed = values if allowed is None else values & allowed
    if allowed is None:
        return Masking(None, None)
    bias = blocking(allowed, dtype)
    alive = allowed.any(axis=-1, keepdims=True)
    return Masking(bias if added is None else added + bias, None if alive.all() else locked(alive))


def check_mask(values: Array, shape: tuple[int, ...]) -> None:
    """Refuse a mask of another kind, or one that does not broadcast to `shape`."""
    if values.dtype.kind not in "bfc":
        raise DTypeError("attention: a mask is boolean (True = may attend) or floating (added to "
                         f"the scores), got {values.dtype}; for 0 and 1 pass mask.astype(bool)")
    try:
        fits = np.broadcast_shapes(values.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"attention: mask {values.shape} does not broadcast to the scores {shape}")


def blocking(allowed: Array, dtype: Any) -> Array:
    """0 where allowed, else −∞: adding it costs a quarter of what choosing by `where` costs."""
    bias = np.zeros(allowed.shape, dtype)
    bias[~allowed] = -np.inf
    return locked(bias)
