"""Writing into arrays: results that differ from x in some places, x itself untouched."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Array, ShapeError, Tensor, composed
from ..engine.dispatch import plain
from .arithmetic import operand
from .choices import where
from .indexing import grid, scatter, take
from .joining import concat
from .reductions import max, min, prod, sum
from .shapes import broadcast_to, reshape

__all__ = ["index_put", "put_along_axis", "scatter_add", "scatter_reduce"]


@composed
def index_put(x: Any, index: Any, values: Any, accumulate: bool = False) -> Any:
    """x with `values`, broadcast, at x[index] (NumPy's `x[index] = values`), or added there.

    Of values for one place the last one stays; the others get the gradient 0.  Numbers and lists
    take the dtype of x; with an array the result has the common dtype, as in arithmetic, where
    NumPy would round to that of x.
    """
    x, index = operand(x), plain(index)
    shape = np.shape(x)
    taken = np.arange(np.size(x)).reshape(shape)[index]  # which elements
    if not isinstance(values, (Tensor, np.ndarray)):
        values = np.asarray(values, np.result_type(x))
    values = broadcast_to(values, np.shape(taken))
    if accumulate or not taken.size:  # nothing can be taken from no values
        return x + scatter(values, index, shape)
    owner = np.full(shape, -1)
    owner[index] = np.arange(taken.size).reshape(np.shape(taken))
    return where(owner < 0, x, take(values, owner))


@composed
def put_along_axis(x: Any, indices: Any, values: Any, axis: int | None) -> Any:
    """x with `values` written at `indices` along `axis`: NumPy's, but a new array."""
    if axis is None:
        return reshape(put_along_axis(reshape(x, (-1,)), indices, values, 0), np.shape(x))
    return index_put(x, grid("put_along_axis", indices, axis, np.shape(x)), values)


@composed
def scatter_add(x: Any, indices: Any, updates: Any, axis: int = -1) -> Any:
    """x with `updates` added at `indices` along `axis`: `np.put_along_axis`, but adding up."""
    return x + scatter(updates, places("scatter_add", x, indices, axis, updates), np.shape(x))


def places(who: str, x: Any, indices: Any, axis: int, updates: Any) -> tuple[Array, ...]:
    """The full index that `indices` are along `axis` of x, which names a place for each update."""
    index = grid(who, indices, axis, np.shape(x))
    shape = np.broadcast_shapes(*(part.shape for part in index))
    if np.shape(updates) != shape:
        raise ShapeError(
            f"{who}: updates must have the shape {shape} that indices name, got {np.shape(updates)}"
        )
    return index


@composed
def scatter_reduce(
    x: Any,
    indices: Any,
    updates: Any,
    axis: int = -1,
    reduce: str = "sum",
    include_self: bool = True,
) -> Any:
    """At each place the reduction of x (if `include_self`) and of the updates put there.

    `reduce`: "sum", "prod", "mean", "max" or "min".  A place without an update keeps x.  Each
    result is a row: the elements that meet there, filled up with what changes nothing.
    """
    if reduce not in REDUCTIONS:
        raise ShapeError(
            f"scatter_reduce: reduce must be one of {list(REDUCTIONS)}, got {reduce!r}"
        )
    x, updates = operand(x), operand(updates)
    index = places("scatter_reduce", x, indices, axis, updates)
    goals = np.arange(np.size(x)).reshape(np.shape(x))[index].reshape(-1)
    table, counts = meetings(goals, np.size(x), include_self)
    sources = concat([x, updates, neutral(reduce, np.result_type(x, updates))], None)
    rows = take(sources, np.where(table < 0, np.size(sources) - 1, table))  # (x.size, longest row)
    out = REDUCTIONS[reduce](rows, -1)
    out = out / np.maximum(counts, 1).astype(out.dtype) if reduce == "mean" else out
    return reshape(out, np.shape(x))


REDUCTIONS = {"sum": sum, "prod": prod, "mean": sum, "max": max, "min": min}


def neutral(reduce: str, dtype: np.dtype[Any]) -> Array:
    """One number of `dtype` that changes no result: 0, 1, the least or the largest there is."""
    least, largest = {"b": (False, True)}.get(dtype.kind, (-np.inf, np.inf))
    if dtype.kind in "iu":
        least, largest = np.iinfo(dtype).min, np.iinfo(dtype).max
    return np.full(1, {"prod": 1, "max": least, "min": largest}.get(reduce, 0), dtype)


def meetings(goals: Any, size: int, include_self: bool) -> tuple[Any, Any]:
    """For each of `size` places the sources that meet there (−1: none) and how many they are.

    Source i < size is x[i], source size + j the j-th update; it goes to the place goals[j].
    """
    hit = np.zeros(size, bool)
    hit[goals] = True
    own = np.flatnonzero(np.ones(size, bool) if include_self else ~hit)
    place = np.concatenate([own, goals])
    source = np.concatenate([own, size + np.arange(goals.size)])
    order = np.argsort(place, kind="stable")
    place, source = place[order], source[order]
    counts = np.bincount(place, minlength=size)
    column = np.arange(place.size) - (np.cumsum(counts) - counts)[place]
    table = np.full((size, counts.max(initial=1)), -1)
    table[place, column] = source
    return table, counts
