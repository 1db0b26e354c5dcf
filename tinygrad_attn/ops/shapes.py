"""Operations that move elements: the gradient moves back the same way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, ShapeError, adapts, inner, primitive

__all__ = [
    "broadcast_to", "concat", "expand_dims", "flip", "moveaxis", "pad", "repeat",
    "reshape", "roll", "split", "squeeze", "stack", "swapaxes", "tile", "transpose", "tril",
    "triu",
]  # fmt: skip

Axes = int | tuple[int, ...] | None


@primitive
def reshape(x: Array, /, shape: int | Sequence[int]) -> Array:
    """The same elements in another shape; one length may be −1."""
    return np.reshape(x, shape)


reshape.defvjp(
    lambda g, in_shape: g.reshape(in_shape),  # dx = dy, reshaped back
)


@primitive
def transpose(x: Array, /, axes: Sequence[int] | None = None) -> Array:
    """Axes reordered (None: reversed)."""
    return np.transpose(x, axes)


transpose.defvjp(
    lambda g, axes: np.transpose(g, inverse_order(axes)),  # dx = dy, axes put back
)


def inverse_order(axes: Sequence[int] | None) -> Any:
    """The order of axes that undoes `axes`."""
    if axes is None:
        return None
    order = [0] * len(axes)
    for i, axis in enumerate(axes):
        order[axis % len(axes)] = i
    return order


@primitive
def swapaxes(x: Array, /, axis1: int, axis2: int) -> Array:
    """Two axes exchanged."""
    return np.swapaxes(x, axis1, axis2)


swapaxes.defvjp(
    lambda g, axis1, axis2: np.swapaxes(g, axis1, axis2),  # dx = dy, axes exchanged back
)


@primitive
def moveaxis(x: Array, /, source: Any, destination: Any) -> Array:
    """Axes moved to new places, the others kept in order."""
    return np.moveaxis(x, source, destination)


moveaxis.defvjp(
    lambda g, source, destination: np.moveaxis(g, destination, source),  # dx = dy, axes moved back
)


@primitive
def squeeze(x: Array, /, axis: Axes = None) -> Array:
    """Axes of length 1 removed (None: all of them)."""
    return np.squeeze(x, axis)


squeeze.defvjp(
    lambda g, in_shape: g.reshape(in_shape),  # dx = dy, with the axes again
)


@primitive
def expand_dims(x: Array, /, axis: int | tuple[int, ...]) -> Array:
    """A new axis of length 1 at each place in `axis`."""
    return np.expand_dims(x, axis)


expand_dims.defvjp(
    lambda g, in_shape: g.reshape(in_shape),  # dx = dy, without the new axes
)


@primitive
def broadcast_to(x: Array, /, shape: tuple[int, ...]) -> Array:
    """Repeated along new axes and axes of length 1, without a copy."""
    return np.broadcast_to(x, shape)


broadcast_to.defvjp(
    lambda g: g,  # dx = Σ dy over the new axes
)


@primitive
def concatenate(*arrays: Array, axis: int = 0) -> Array:
    """Arrays joined along `axis`."""
    return np.concatenate(arrays, axis=axis)


concatenate.defvjp(
    lambda g, i, in_shapes, axis: g[
        along(axis, section(i, in_shapes, axis))
    ],  # dxᵢ = the i-th section of dy
)


def along(axis: int, part: slice | int) -> Any:
    """The index that takes `part` of `axis`, which may be negative."""
    return (
        (slice(None),) * axis + (part,) if axis >= 0 else (..., part) + (slice(None),) * (-1 - axis)
    )


def section(i: int, shapes: Sequence[tuple[int, ...]], axis: int) -> slice:
    """Where the i-th of several concatenated arrays lies."""
    start = sum(shape[axis] for shape in shapes[:i])
    return slice(start, start + shapes[i][axis])


@adapts(concatenate)
def concat(arrays: Sequence[Any], axis: int | None = 0) -> Any:
    """Arrays joined along `axis` (None: flattened first); also NumPy's `concatenate`."""
    if hasattr(axis, "shape"):
        raise DTypeError("concat: expected one list of arrays: concat([a, b]), not concat(a, b)")
    if axis is None:
        return concatenate(*(reshape(x, (-1,)) for x in arrays), axis=0)
    return concatenate(*arrays, axis=axis)


@inner("stack")
def stacked(*arrays: Array, axis: int = 0) -> Array:
    """Arrays of one shape joined along a new axis."""
    return np.stack(arrays, axis=axis)


stacked.defvjp(
    lambda g, i, axis: g[along(axis, i)],  # dxᵢ = the i-th slice of dy
)


@adapts(stacked)
def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Arrays of one shape joined along a new axis."""
    return stacked(*arrays, axis=axis)


@primitive
def split(
    x: Array, /, indices_or_sections: int | Sequence[int], axis: int = 0
) -> tuple[Array, ...]:
    """A tuple of parts along `axis`: so many equal ones, or cut at the given places."""
    if np.ndim(indices_or_sections) == 0 and indices_or_sections == 0:
        raise ShapeError("split: expected one section or more, got indices_or_sections=0")
    return tuple(np.split(x, indices_or_sections, axis))


split.defvjp(
    lambda g, axis: concat(g, axis),  # dx = the parts' gradients, joined
)


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
    """x with a border of `constant_values`; `pad_width`: n, (before, after) or a pair an axis."""
    if mode != "constant":
        raise ShapeError(f'pad: mode must be "constant", got {mode!r}')
    widths = np.asarray(pad_width)
    if widths.dtype.kind not in "iu":
        raise DTypeError(f"pad: pad_width must be integers, got {pad_width!r}")
    widths = np.broadcast_to(widths, (np.ndim(x), 2))
    return padded(
        x, tuple([(int(before), int(after)) for before, after in widths]), constant_values
    )


@primitive
def flip(x: Array, /, axis: Axes = None) -> Array:
    """Elements in reverse order along `axis` (None: along every axis)."""
    return np.flip(x, axis)


flip.defvjp(
    lambda g, axis: np.flip(g, axis),  # dx = dy, reversed
)


@primitive
def roll(x: Array, /, shift: int | tuple[int, ...], axis: Axes = None) -> Array:
    """Elements moved on by `shift`, those that leave coming back at the other end."""
    return np.roll(x, shift, axis)


roll.defvjp(
    lambda g, shift, axis: np.roll(g, np.negative(shift), axis),  # dx = dy, rolled back
)


@primitive
def tile(x: Array, /, reps: int | tuple[int, ...]) -> Array:
    """The whole array repeated `reps` times along each axis."""
    return np.tile(x, reps)


tile.defvjp(
    lambda g, reps, in_shape: sum_tiles(g, reps, in_shape),  # dx = Σ dy over the copies
)


def sum_tiles(g: Any, reps: int | tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """Undo `tile` by summing the copies: each axis becomes (copies, length)."""
    copies = (1,) * g.ndim + ((reps,) if isinstance(reps, int) else tuple(reps))
    lengths = (1,) * g.ndim + shape
    pairs = zip(copies[-g.ndim :], lengths[-g.ndim :]) if g.ndim else ()
    split = g.reshape([n for pair in pairs for n in pair])
    return split.sum(axis=tuple(range(0, 2 * g.ndim, 2))).reshape(shape)


@primitive
def repeat(x: Array, /, repeats: int | Sequence[int], axis: int | None = None) -> Array:
    """Each element repeated (`repeats`: a number, or one an element) along `axis` (None: flat)."""
    return np.repeat(x, repeats, axis)


repeat.defvjp(
    lambda g, repeats, axis, in_shape: sum_runs(g, repeats, axis, in_shape),  # dxᵢ = Σ dy, copies
)


def sum_runs(g: Any, repeats: Any, axis: int | None, shape: tuple[int, ...]) -> Any:
    """Undo `repeat` by summing each run of copies."""
    if axis is None or not shape:
        g, at, n = g.reshape((-1,)), 0, int(np.prod(shape))
    else:
        at, n = axis % len(shape), shape[axis]
    runs = np.broadcast_to(repeats, (n,))
    if n and (runs == runs[0]).all():
        rows = g.reshape((*g.shape[:at], n, int(runs[0]), *g.shape[at + 1 :]))
        return rows.sum(axis=at + 1).reshape(shape)
    ends = [0, *accumulate(int(run) for run in runs)]
    parts = [g[along(at, slice(a, b))].sum(axis=at, keepdims=True) for a, b in pairwise(ends)]
    return (concat(parts, at) if parts else g).reshape(shape)


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
