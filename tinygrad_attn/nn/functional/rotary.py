"""Rotary positions (Su et al. 2021, eq. 34): pairs of features, turned by given angles."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...engine import DTypeError, ShapeError, Tensor
from .layers import flag, operand


def rotary(x: Tensor, cos: Any, sin: Any, *, interleaved: bool = False) -> Tensor:
    """(a, b) → (a cos θ − b sin θ, b cos θ + a sin θ) for every pair of features of x.

    Args:
        x: (..., T, d).
        cos, sin: (..., T, r/2) of the angles, broadcast to the rows of x; the features from r on
            stay as they are.  `nn.RotaryPositions` makes them from positions.
        interleaved: feature 2i is paired with 2i + 1, else feature i with i + r/2.

    Raises:
        ShapeError: cos and sin do not fit x or each other.
        DTypeError: x is not floating, or interleaved is neither True nor False.
    """
    x, cos, sin = operand(x), operand(cos), operand(sin)
    if x.dtype.kind not in "fc":
        raise DTypeError(f"rotary: expected floating x, got {x.dtype}")
    turned = checked_angles(x.shape, cos.shape, sin.shape)
    rest = x[..., turned:] if turned < x.shape[-1] else None
    x = x if rest is None else x[..., :turned]
    axis = -1 if flag("rotary", "interleaved", interleaved) else -2  # the axis of a and b
    cos, sin = ops.expand_dims(cos, axis), ops.expand_dims(sin, axis)
    pair = (turned // 2, 2) if interleaved else (2, turned // 2)
    a, b = ops.split(ops.reshape(x, (*x.shape[:-1], *pair)), 2, axis)
    parts = ops.concat([a * cos - b * sin, b * cos + a * sin], axis)
    out: Tensor = ops.reshape(parts, x.shape)
    return out if rest is None else ops.concat([out, rest], -1)


def checked_angles(x: tuple[int, ...], cos: tuple[int, ...], sin: tuple[int, ...]) -> int:
    """r, the number of features that turn, if the shapes fit."""
    fits = len(x) > 1 and len(cos) > 0 and cos == sin and 2 * cos[-1] <= x[-1]
    try:
        fits = fits and np.broadcast_shapes(cos[:-1], x[:-1]) == x[:-1]
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            "rotary: x (..., T, d) needs cos and sin (..., T, r/2) with r ≤ d, got x "
            f"{x}, cos {cos} and sin {sin}"
        )
    return 2 * cos[-1]
