"""From a mask and options to the kernels' Limits: which query may attend to which key.

A boolean mask means True = may attend, everywhere.  An additive mask is added to the scores: 0 lets
through, −∞ blocks.  Masks broadcast to the scores (..., heads, T, S).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, reduce
from types import NoneType
from typing import Any, NamedTuple

import numpy as np

from ... import ops
from ...engine import Array, DTypeError, ShapeError, Tensor
from ...engine.dispatch import plain
from ...engine.tensor import frozen, locked
from ...kernels import Limits, blocking, reached
from .layers import array_of
from .masks import Band, Mask, Window, check_window, whole

Shape = tuple[int, ...]


class Masking(NamedTuple):
    """What limits the scores, as one array to add.

    Attributes:
        bias: array or Tensor to add, −∞ where a query must not attend; None for nothing.
        alive: (..., T, 1), False for the queries that may attend to no key; None where all may.
    """

    bias: Any
    alive: Array | None


def masking(mask: Any, shape: Shape, dtype: Any) -> Masking:
    """A mask of any kind, for scores of `shape` (..., T, S).

    Raises:
        ShapeError, DTypeError: see `limiting`.
    """
    limits, added = limiting(mask, shape, dtype)
    return Masking(total_bias(limits, added, shape, dtype), limits.alive)


def total_bias(limits: Limits, added: Any, shape: Shape, dtype: Any) -> Any:
    """What is added and −∞ where a query must not attend, in one; None for nothing."""
    allowed = limits.allowed(slice(0, shape[-2]), slice(0, shape[-1]))
    if allowed is None:
        return added
    bias = locked(blocking(allowed, dtype))
    return bias if added is None else added + bias


def limiting(
    mask: Any,
    shape: Shape,
    dtype: Any,
    causal: bool = False,
    offset: int | Array = 0,
    window: Window | None = None,
    empty_row: str = "zero",
) -> tuple[Limits, Any]:
    """What limits scores of `shape` (..., T, S), and what is added to them (None for nothing).

    Raises:
        ShapeError: the mask does not broadcast to `shape`, adds NaN or +∞, a length lies beyond the
            sequence, or the window is negative.
        DTypeError: the mask is neither a Mask nor boolean nor floating, or the window is no pair.
    """
    if mask is None and type(offset) is int and type(window) in (tuple, NoneType):
        return unmasked(shape, causal, offset, window, empty_row), None
    low, high = (None, None) if window is None else check_window("attention", window)
    bands = [Band(low, 0 if causal else high, whole("attention", "offset", offset))]
    kept: list[Array] = []
    parts: list[Any] = []
    if isinstance(mask, Mask):
        bands += mask.bands
        kept = [*mask.kept, *(counted(n, shape) for n in mask.counts)]
        parts = [*mask.added]
    elif mask is not None:
        values = array_of("attention", "the rows of the mask", mask)
        if values.dtype == bool:
            kept = [frozen(values)]
        else:
            parts = [mask if isinstance(mask, Tensor) else frozen(values)]
    for x in [*kept, *parts]:
        check_mask(x, shape)
    added = converted(reduce(lambda a, b: a + b, parts), dtype) if parts else None
    kept += [banded(band, shape) for band in bands if not isinstance(band.offset, int)]
    low, high = narrowest(bands, shape)
    keep = locked(reduce(np.logical_and, kept)) if kept else None
    limits = Limits(low, high, keep, None, empty_row)
    return replace(limits, alive=living(limits, added, shape)), added


@lru_cache(maxsize=1024)  # a layer meets the same limits again at every step
def unmasked(
    shape: Shape, causal: bool, offset: int, window: Window | None, empty_row: str
) -> Limits:
    """The limits without a mask."""
    low, high = (None, None) if window is None else check_window("attention", window)
    low, high = narrowest([Band(low, 0 if causal else high, offset)], shape)
    limits = Limits(low, high, None, None, empty_row)
    return replace(limits, alive=living(limits, None, shape))


def converted(added: Any, dtype: Any) -> Any:
    """What is added in the dtype of the scores; complex numbers, of derivative checks, stay."""
    if added.dtype == dtype or added.dtype.kind == "c":
        return added
    with np.errstate(over="ignore"):  # the least float64, a common mask, becomes −∞
        out = ops.astype(added, dtype)
    return out if isinstance(out, Tensor) else locked(out)


def living(limits: Limits, added: Any, shape: Shape) -> Array | None:
    """(..., T, 1), False for the queries that may attend to no key; None where all may."""
    keep = limits.keep
    if added is not None:
        finite = ~np.isneginf((added._data if isinstance(added, Tensor) else added).real)
        keep = finite if keep is None else keep & finite
    if keep is None and limits.low is None and (limits.high or 0) >= 0 and shape[-1]:
        return None  # each may attend to the first key, if to no other
    alive = reached(shape[-2], shape[-1], limits.low, limits.high, keep)
    return None if alive.all() else locked(alive)


def narrowest(bands: list[Band], shape: Shape) -> tuple[int | None, int | None]:
    """The bounds of j − i that keep within all bands whose offset is one for all sequences."""
    same = [(band.low, band.high, band.offset) for band in bands if isinstance(band.offset, int)]
    lows = [near(low + offset, shape) for low, _, offset in same if low is not None]
    highs = [near(high + offset, shape) for _, high, offset in same if high is not None]
    return max(lows, default=None), min(highs, default=None)


def near(bound: int, shape: Shape) -> int:
    """A bound of j − i that lets through the same, so near that no later sum overflows."""
    return max(-shape[-2], min(bound, shape[-1]))


def banded(band: Band, shape: Shape) -> Array:
    """A band whose offset differs from sequence to sequence, as booleans."""
    offsets = leading("offsets", np.asarray(band.offset), shape)

    def bounds(limit: int | None, other: int) -> Array:
        """The first or last key of each query, (..., T, 1)."""
        far = [other if limit is None else near(limit + int(n), shape) for n in offsets.flat]
        return np.arange(shape[-2])[:, None] + np.reshape(np.array(far, int), offsets.shape)

    keys = np.arange(shape[-1])  # nothing but booleans is as large as the scores
    allowed: Array = keys >= bounds(band.low, -shape[-2])
    return allowed & (keys <= bounds(band.high, shape[-1]))


def counted(lengths: Array, shape: Shape) -> Array:
    """True for the first keys of each sequence."""
    if lengths.size and lengths.max() > shape[-1]:
        raise ShapeError(
            f"attention: a length of {lengths.max()} lies beyond the sequence, which "
            f"has {shape[-1]} keys"
        )
    return np.arange(shape[-1]) < leading("lengths", lengths, shape)


def leading(what: str, numbers: Array, shape: Shape) -> Array:
    """One number for each sequence, (...), as (..., 1, 1, 1) beside the scores."""
    lead = shape[:-3]
    try:
        fits = np.broadcast_shapes(numbers.shape, lead) == lead
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"attention: expected {what} of shape {lead}, one for each sequence of "
            f"the scores {shape}, got {numbers.shape}"
        )
    return numbers.reshape(*numbers.shape, 1, 1, 1) if numbers.ndim else numbers.reshape(1, 1)


def check_mask(values: Any, shape: Shape) -> None:
    """Refuse a mask of another kind, or one that does not broadcast to `shape`."""
    if values.dtype.kind not in "bfc":
        advice = "; for 0 and 1 pass mask.astype(bool)" if values.dtype.kind in "iu" else ""
        raise DTypeError(
            "attention: a mask is boolean (True = may attend) or floating (added to "
            f"the scores), got {values.dtype}{advice}"
        )
    if not values.ndim:
        raise ShapeError(f"attention: expected a mask of rank 1 or more, got a single {values}")
    try:
        fits = np.broadcast_shapes(values.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        advice = ""
        if len(shape) > 2 and values.shape == (shape[0], shape[-1]):
            advice = "; for padding (B, S) pass nn.Mask.lengths, or mask[:, None, None]"
        raise ShapeError(
            f"attention: mask {values.shape} does not broadcast to the scores {shape}{advice}"
        )
    if values.dtype.kind != "b" and not (plain(values).real < np.inf).all():
        raise ShapeError("attention: a mask must not add NaN or +∞; −∞ blocks")
