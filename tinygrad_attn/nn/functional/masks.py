"""Masks that say which way round they are.

    Mask.keep(array)       True = may attend            Mask.causal()        not the future
    Mask.block(array)      True = must not attend       Mask.window(2, 0)    so far to either side
    Mask.additive(array)   added to the scores          Mask.lengths([3, 5]) the first keys only

`a & b` lets through what both let through.  Arrays broadcast to the scores (..., heads, T, S): one
of rank 3 is (heads, T, S) for functional.attention; for layers, which have a batch, (B, T, S).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import NoneType
from typing import Any

import numpy as np

from ... import ops
from ...engine import Array, DTypeError, ShapeError, Tensor
from ...engine.dispatch import plain
from ...engine.tensor import frozen, locked
from .layers import array_of, integers_of

Window = tuple[int | None, int | None]
RANKS = (1, 2, 3, 4)
LEGEND = {"■": "may attend", "·": "must not", "±": "may attend, score shifted"}
DRAWN = (12, 32)  # the largest part that is drawn: rows, columns


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Query i may attend to key j only if low ≤ j − (i + offset) ≤ high; None for no bound.

    `offset` may be an array, one for each sequence of the batch.
    """

    low: int | None
    high: int | None
    offset: int | Array = 0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Mask:
    """Which query may attend to which key; made by the functions below, combined with `&`.

    An array is (S), (T, S), (heads, T, S) or (B, heads, T, S), and each length may be 1.  A layer
    reads rank 3 as (B, T, S), for every head alike.

    Attributes:
        kept: booleans, True = may attend.
        added: what is added to the scores, arrays or Tensors.
        bands: distances within which a query may attend.
        counts: lengths, integers with one axis for each axis of the scores before the heads.
        words: how the mask was made.
    """

    kept: tuple[Array, ...] = ()
    added: tuple[Any, ...] = ()
    bands: tuple[Band, ...] = ()
    counts: tuple[Array, ...] = ()
    words: tuple[str, ...] = ()

    @classmethod
    def keep(cls, allowed: Any) -> Mask:
        """A query may attend where `allowed` is True.

        Raises:
            ShapeError: the rank is not 1 to 4.
            DTypeError: `allowed` is not boolean.
        """
        array = booleans("keep", allowed)
        return cls(kept=(array,), words=(f"Mask.keep({listed(array)})",))

    @classmethod
    def block(cls, forbidden: Any) -> Mask:
        """A query must not attend where `forbidden` is True.

        Raises:
            ShapeError: the rank is not 1 to 4.
            DTypeError: `forbidden` is not boolean.
        """
        array = booleans("block", forbidden)
        return cls(kept=(locked(~array),), words=(f"Mask.block({listed(array)})",))

    @classmethod
    def additive(cls, bias: Any) -> Mask:
        """`bias` is added to the scores; −∞ blocks.  A Tensor gets its gradient.

        Raises:
            ShapeError: the rank is not 1 to 4, or there is NaN or +∞ in it.
            DTypeError: `bias` is not floating.
        """
        values = array_of("Mask.additive", "the rows", bias)
        ranked("additive", values)
        if values.dtype.kind not in "fc":
            raise DTypeError(
                f"Mask.additive: expected a floating array, got {values.dtype}; "
                "booleans go to Mask.keep or Mask.block"
            )
        if not (values.real < np.inf).all():
            raise ShapeError("Mask.additive: NaN or +∞ would make the whole row NaN; −∞ blocks")
        bias = bias if isinstance(bias, Tensor) else frozen(values)
        return cls(added=(bias,), words=(f"Mask.additive({listed(values)})",))

    @classmethod
    def causal(cls, offset: Any = 0) -> Mask:
        """Query i may attend to key j only if j ≤ i + offset.

        Args:
            offset: number of keys before the first query: an integer, or an array with one for each
                sequence of the batch.

        Raises:
            DTypeError: offset is not an integer.
        """
        band = Band(None, 0, whole("Mask.causal", "offset", offset))
        given = listed(offset) if offset_given(offset) else ""
        return cls(bands=(band,), words=(f"Mask.causal({given})",))

    @classmethod
    def window(cls, left: int | None, right: int | None, offset: Any = 0) -> Mask:
        """Query i may attend to `left` keys before position i + offset and `right` after it.

        None stands for no limit.

        Raises:
            ShapeError: left or right is negative.
            DTypeError: left, right or offset is not an integer.
        """
        low, high = check_window("Mask.window", (left, right))
        band = Band(low, high, whole("Mask.window", "offset", offset))
        after = f", {listed(offset)}" if offset_given(offset) else ""
        return cls(bands=(band,), words=(f"Mask.window({left}, {right}{after})",))

    @classmethod
    def lengths(cls, n: Any) -> Mask:
        """Only the first n keys may be attended to: one number for each sequence of the batch.

        Raises:
            ShapeError: a length is negative; when used, beyond the sequence, or of another batch.
            DTypeError: n is not integers.
        """
        array = np.asarray(whole("Mask.lengths", "n", n))
        if array.size and array.min() < 0:
            raise ShapeError(f"Mask.lengths: expected lengths of 0 or more, got {array.min()}")
        return cls(counts=(frozen(array),), words=(f"Mask.lengths({listed(array)})",))

    def __and__(self, other: Mask) -> Mask:
        """What both let through; what is added adds up."""
        if not isinstance(other, Mask):
            raise DTypeError(
                "Mask: `&` combines masks; an array alone does not say what True "
                "means: give it to Mask.keep or Mask.block"
            )
        return Mask(
            self.kept + other.kept,
            self.added + other.added,
            self.bands + other.bands,
            self.counts + other.counts,
            self.words + other.words,
        )

    __array_ufunc__ = None  # so that `array & mask` comes here
    __rand__ = __and__

    def for_layers(self) -> Mask:
        """The same with arrays of rank 3 read as (B, T, S), for every head alike."""

        def apart(x: Any) -> Any:
            return ops.expand_dims(x, 1) if x.ndim == 3 else x

        return replace(self, kept=tuple(map(apart, self.kept)), added=tuple(map(apart, self.added)))

    def __repr__(self) -> str:
        name = " & ".join(self.words) or "Mask()"
        return f"{name}{drawn(self)}"


def booleans(who: str, values: Any) -> Array:
    """`values` as a read-only boolean array that nobody else writes into."""
    array = array_of(f"Mask.{who}", "the rows", values)
    ranked(who, array)
    if array.dtype != bool:
        other = "; numbers to add go to Mask.additive" if array.dtype.kind in "fc" else ""
        raise DTypeError(
            f"Mask.{who}: expected booleans, got {array.dtype}{other}; for 0 and 1 "
            "pass .astype(bool)"
        )
    return frozen(array)


def ranked(who: str, array: Array) -> None:
    """Refuse an array that is not of rank 1 to 4."""
    if array.ndim not in RANKS:
        raise ShapeError(
            f"Mask.{who}: expected an array (S), (T, S), (heads, T, S), in layers (B, T, S), or "
            f"(B, heads, T, S), got shape {array.shape}"
        )


def whole(who: str, what: str, value: Any) -> Any:
    """`value`, an integer or a read-only array of integers."""
    array = integers_of(who, f"the rows of {what}", value)
    if array.dtype.kind not in "iu" or array.ndim > 2:
        raise DTypeError(
            f"{who}: {what} must be an integer, or integers for a batch, got {value!r}"
        )
    return int(array) if array.ndim == 0 else frozen(array)


def check_window(who: str, window: Any) -> Window:
    """(left, right) as bounds of the distance, if it is a pair and none is negative."""
    wrong = f"{who}: window must be (left, right), each an integer ≥ 0 or None, got {window!r}"
    reaches = window if isinstance(window, (tuple, list)) else ()
    if len(reaches) != 2 or not all(
        isinstance(n, (int, np.integer, NoneType)) and not isinstance(n, bool) for n in reaches
    ):
        raise DTypeError(wrong)
    if any(reach is not None and reach < 0 for reach in reaches):
        raise ShapeError(wrong)
    left, right = reaches
    return (None if left is None else -left), right


# ── drawing ──────────────────────────────────────────────────────────────────────────────────────


def offset_given(offset: Any) -> bool:
    """Is it another than the usual 0?"""
    return np.ndim(offset) > 0 or offset != 0


def listed(array: Any) -> str:
    """A short array as a list, a long one by its shape."""
    array = np.asarray(array)
    return str(array.tolist()) if array.ndim < 2 and array.size <= 8 else f"<shape {array.shape}>"


def drawn(mask: Mask) -> str:
    """A picture: a row for each query, a column for each key, of the first head and sequence."""
    try:
        shape = extent(mask)
    except ValueError:  # `&` cannot know yet: a layer reads rank 3 in another way
        return "\n  no picture: as masks of `attention` their shapes do not broadcast"
    rows, columns = (0 if 0 in shape else min(n, most) for n, most in zip(shape[2:], DRAWN))
    cells = pattern(mask, shape, rows, columns)
    seen = ", ".join(
        f"{cell} {text}" for cell, text in LEGEND.items() if cell != "±" or (cells == cell).any()
    )
    either = any(x.ndim == 3 for x in (*mask.kept, *mask.added))
    names = ("sequences", "heads (of a layer's sequences)" if either else "heads")
    notes = [f"the first of {n} {what}" for n, what in zip(shape, names) if n > 1]
    if (rows, columns) != shape[2:]:
        notes.append(f"the first {rows} × {columns} of {shape[2]} × {shape[3]}")
    return "\n  ".join(["", *(" ".join(row) for row in cells), "; ".join([seen, *notes])])


def pattern(mask: Mask, shape: tuple[int, ...], rows: int, columns: int) -> Array:
    """The characters of the picture, (rows, columns)."""

    def corner(x: Any) -> Array:
        return np.broadcast_to(plain(x), shape)[:1, :1, :rows, :columns].reshape(rows, columns)

    allowed = np.ones((rows, columns), bool)
    for keep in mask.kept:
        allowed &= corner(keep)
    distance = np.arange(columns) - np.arange(rows)[:, None]
    for band in mask.bands:
        away = distance - first(band.offset)
        allowed &= away >= (-np.inf if band.low is None else band.low)
        allowed &= away <= (np.inf if band.high is None else band.high)
    for n in mask.counts:
        allowed &= np.arange(columns) < first(n)
    added = sum((corner(bias).real for bias in mask.added), np.zeros((rows, columns)))
    return np.where(allowed & ~np.isneginf(added), np.where(added == 0, "■", "±"), "·")


def first(numbers: Any) -> int:
    """The first of some numbers, 0 where there are none."""
    return int(np.ravel(numbers)[0]) if np.size(numbers) else 0


def extent(mask: Mask) -> tuple[int, int, int, int]:
    """(B, heads, T, S) to draw: what the arrays say, 6 × 6 where nothing does."""
    arrays = [x.shape for x in (*mask.kept, *mask.added)]
    shape = np.broadcast_shapes((1, 1, 1, 1), *arrays)
    (batch,) = np.broadcast_shapes(
        shape[:1],
        *(c.shape[-1:] for c in mask.counts),
        *(np.shape(band.offset)[-1:] for band in mask.bands),
    )
    longest = max((int(c.max(initial=0)) for c in mask.counts), default=0)
    keys = shape[3] if shape[3] != 1 else max(longest, 6 if mask.bands else 1)
    queries = keys if mask.bands and shape[2] == 1 else shape[2]
    return batch, shape[1], queries, keys
