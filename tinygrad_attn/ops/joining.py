"""Arrays joined, split and repeated: the gradient is split, joined and summed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, ShapeError, adapts, composed, inner, primitive
from .shapes import atleast_1d, atleast_2d, atleast_3d, length, reshape, squeeze

__all__ = [
    "array_split", "column_stack", "concat", "dstack", "hstack", "repeat", "split", "stack", "tile",
    "unstack", "vstack",
]  # fmt: skip


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


@composed
def hstack(arrays: Sequence[Any]) -> Any:
    """Arrays joined side by side: along axis 1, or axis 0 where they are 1-d."""
    rows = [atleast_1d(x) for x in arrays]
    return concat(rows, 0 if rows and np.ndim(rows[0]) == 1 else 1)


@composed
def vstack(arrays: Sequence[Any]) -> Any:
    """Arrays joined on top of each other, along axis 0; a 1-d one is a row."""
    return concat([atleast_2d(x) for x in arrays], 0)


@composed
def dstack(arrays: Sequence[Any]) -> Any:
    """Arrays joined behind each other, along axis 2; see `atleast_3d`."""
    return concat([atleast_3d(x) for x in arrays], 2)


@composed
def column_stack(arrays: Sequence[Any]) -> Any:
    """Arrays joined along axis 1; a 1-d one is a column."""
    return concat([reshape(x, (-1, 1)) if np.ndim(x) < 2 else x for x in arrays], 1)


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


@composed
def array_split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> Any:
    """As `split`, but a number of sections need not divide the length: the first get one more."""
    if not isinstance(indices_or_sections, (int, np.integer)):
        return split(x, indices_or_sections, axis)
    n, total = int(indices_or_sections), length("array_split", x, axis)
    if n <= 0:
        raise ShapeError(f"array_split: expected one section or more, got {indices_or_sections}")
    sizes = [total // n + (i < total % n) for i in range(n)]
    return split(x, list(accumulate(sizes))[:-1], axis)


@composed
def unstack(x: Any, axis: int = 0) -> Any:
    """A tuple of the slices along `axis`, each without it."""
    n = length("unstack", x, axis)
    return tuple([squeeze(part, axis) for part in split(x, n, axis)]) if n else ()


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
