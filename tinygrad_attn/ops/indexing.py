"""Taking elements out and adding them back: `x[index]` and `scatter` are each other's gradient."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import (
    Array,
    DTypeError,
    IndexingError,
    ShapeError,
    Tensor,
    adapts,
    composed,
    inner,
    primitive,
)
from ..engine.dispatch import plain
from ..engine.settings import SETTINGS
from .shapes import reshape

__all__ = [
    "getitem", "one_hot", "take", "take_along_axis",
]  # fmt: skip


@primitive
def scatter(g: Array, /, index: Any, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `g` added at `index`; elements named more than once add up."""
    out = np.zeros(shape, g.dtype)
    if repeats_possible(index):
        np.add.at(out, index, g)
    else:
        out[index] = g
    return out


scatter.defvjp(
    lambda g, index: g[index],  # dx = dy[index]
)


@inner("getitem")
def element(x: Array, /, index: Any) -> Array:
    """x[index] with any index NumPy takes."""
    return np.asarray(x[index])


element.defvjp(
    lambda g, index, in_shape: scatter(g, index, in_shape),  # dx = dy added where it was taken from
)


@adapts(element)
def getitem(x: Any, index: Any) -> Any:
    """x[index]: slices, integers, None, ..., integer and boolean arrays, as in NumPy."""
    return element(x, plain(index))


def repeats_possible(index: Any) -> bool:
    """Can an index name one element twice?  Only integer arrays and lists can."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(
        isinstance(part, (list, np.ndarray)) and np.asarray(part).dtype != bool for part in parts
    )


@primitive
def untaken(g: Array, /, indices: Array, axis: int, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with the slices of `g` added back where `take` found them."""
    out = np.zeros(shape, g.dtype)
    flat = np.asarray(indices).reshape(-1) % np.int64(shape[axis] or 1)
    rows = g.reshape((*shape[:axis], flat.size, *shape[axis + 1 :])).swapaxes(axis, 0)
    if flat.size:
        order = np.argsort(flat, kind="stable")  # equal indices side by side: one sum for each run
        starts = np.flatnonzero(np.diff(flat[order], prepend=-1))
        out.swapaxes(axis, 0)[flat[order][starts]] = np.add.reduceat(rows[order], starts, axis=0)
    return out


untaken.defvjp(
    lambda g, indices, axis: np.take(g, indices, axis),  # dx = dy taken again
)


@inner("take")
def taken(x: Array, /, indices: Array, axis: int) -> Array:
    """Whole slices of x along `axis`, in the order of `indices`."""
    return np.take(x, indices, axis)


taken.defvjp(
    lambda g, indices, axis, in_shape: untaken(g, indices, axis, in_shape),  # dx = Σ dy, put back
)


@adapts(taken)
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """Elements (axis None) or slices along `axis`; negative indices count from the end."""
    indices = integers("take", indices)
    if axis is None:
        return taken(reshape(x, (-1,)), indices, 0)
    if not -np.ndim(x) <= axis < np.ndim(x):
        raise ShapeError(f"take: axis {axis} is out of bounds for shape {np.shape(x)}")
    return taken(x, indices, axis % np.ndim(x))


def integers(who: str, indices: Any) -> Array:
    """`indices` as an integer array."""
    array: Array = np.asarray(plain(indices))
    if array.size == 0 and not isinstance(indices, (np.ndarray, Tensor)):
        array = array.astype(np.intp)
    if array.dtype.kind not in "iu":
        raise DTypeError(f"{who}: indices must be integers, got {array.dtype}")
    return array.astype(np.intp, copy=False)


def grid(who: str, indices: Any, axis: int, shape: tuple[int, ...]) -> tuple[Array, ...]:
    """The full index that takes `indices` along `axis` and everything along the other axes."""
    array, axis = integers(who, indices), operator.index(axis)
    if array.ndim != len(shape) or not -len(shape) <= axis < len(shape):
        raise ShapeError(
            f"{who}: indices {array.shape} and array {shape} must have equally many axes, and "
            f"axis {axis} be one of them"
        )
    at = axis % len(shape)
    ranges = [
        np.arange(n).reshape([-1 if i == k else 1 for i in range(len(shape))])
        for k, n in enumerate(shape)
    ]
    return tuple([array if k == at else ranges[k] for k in range(len(shape))])


@composed
def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Any:
    """At each position along the other axes the elements of `axis` that `indices` names."""
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    return element(x, grid("take_along_axis", indices, axis, np.shape(x)))


@composed
def one_hot(indices: Any, depth: int, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Rows of the identity: shape indices.shape + (depth,), a constant."""
    array, depth = integers("one_hot", indices), operator.index(depth)
    if array.size and (array.min() < 0 or array.max() >= depth):
        raise IndexingError(
            f"one_hot: indices must lie in [0, {depth}), got {array.min()} … {array.max()}"
        )
    dtype = SETTINGS.get().dtype if dtype is None else np.dtype(dtype)
    return Tensor(array[..., None] == np.arange(depth), dtype=dtype)
