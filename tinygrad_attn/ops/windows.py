"""Borders around arrays, and windows that slide over them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..engine import Array, DTypeError, ShapeError, adapts, composed, inner
from .indexing import take
from .shapes import moveaxis

__all__ = ["pad", "sliding_window_view"]


@inner("pad")
def padded(x: Array, /, widths: tuple[tuple[int, int], ...], value: float = 0) -> Array:
    """x with (before, after) elements of `value` around each axis."""
    return np.pad(x, widths or 0, constant_values=value)


padded.defvjp(
    lambda g, widths, in_shape: g[
        tuple([slice(w[0], w[0] + n) for w, n in zip(widths, in_shape)])
    ],  # dx = dy without the border
)


@adapts(padded)
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0) -> Any:
    """x with a border; `pad_width`: n, (before, after) or such a pair for each axis.

    mode "constant" fills it with `constant_values`; "edge", "reflect", "symmetric" and "wrap" with
    elements of x, as NumPy does.
    """
    widths = np.asarray(pad_width)
    if widths.dtype.kind not in "iu":
        raise DTypeError(f"pad: pad_width must be integers, got {pad_width!r}")
    widths = np.broadcast_to(widths, (np.ndim(x), 2))
    if mode == "constant":
        pairs = tuple([(int(before), int(after)) for before, after in widths])
        return padded(x, pairs, constant_values)
    if mode not in BORDERS:
        raise ShapeError(f'pad: mode must be "constant" or one of {BORDERS}, got {mode!r}')
    for axis, border in enumerate(widths):
        if border.any():
            x = take(x, np.pad(np.arange(np.shape(x)[axis]), border, cast(Any, mode)), axis)
    return x


BORDERS = ("edge", "reflect", "symmetric", "wrap")


@composed
def sliding_window_view(x: Any, window_shape: Any, axis: Any = None) -> Any:
    """Every window of `window_shape` over `axis` (None: over all).

    The axes of a window come last; the axes slid over keep their place: (N,) with windows of K
    gives (N − K + 1, K).  Unlike NumPy's it is a copy, and an axis cannot be named twice.
    """
    lengths = window_shape if isinstance(window_shape, (tuple, list)) else (window_shape,)
    axes = normalize_axis_tuple(range(np.ndim(x)) if axis is None else axis, np.ndim(x))
    if len(lengths) != len(axes):
        raise ShapeError(
            f"sliding_window_view: expected a window length for each of the axes {axes}, "
            f"got {window_shape}"
        )
    for length, at in zip(lengths, axes):
        x = windows("sliding_window_view", x, at, length)
    return x


def windows(who: str, x: Any, axis: int, length: int, step: int = 1, gap: int = 1) -> Any:
    """Every `step`-th window over an axis, as a new last axis; its elements are `gap` apart."""
    places = np.shape(x)[axis] - gap * (length - 1)
    if length < 0 or places < 1:
        raise ShapeError(
            f"{who}: a window of {length} elements, {gap} apart, does not fit into axis {axis} of "
            f"{np.shape(x)}"
        )
    index = np.arange(0, places, step)[:, None] + gap * np.arange(length)
    return moveaxis(take(x, index, axis), axis + 1, -1)
