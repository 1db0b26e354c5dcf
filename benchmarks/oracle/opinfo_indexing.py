"""PyTorch's operations that take elements out and put them in, by ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_attn as ta

Function = Callable[..., Any]


def places(dim: int, index: Any, x: Any) -> Any:
    """The index that names places along one axis."""
    return (slice(None),) * (dim % max(x.ndim, 1)) + (index,)


def corner(x: Any, dim: int, index: Any) -> Any:
    """The part of x that PyTorch's `index` is for: along the other axes it may be shorter."""
    at = dim % x.ndim
    return tuple(slice(n if k != at else None) for k, n in enumerate(index.shape))


def gather(x: Any, dim: int, index: Any) -> Any:
    """`take_along_axis` of a corner."""
    x = ta.atleast_1d(x)
    return ta.take_along_axis(x[corner(x, dim, index)], index, dim)


def scattered(op: Function) -> Function:
    """`op(x, index, src, axis)` in a corner of x; a number has one axis."""

    def called(x: Any, dim: int, index: Any, src: Any, *args: Any, **options: Any) -> Any:
        target, index, src = ta.atleast_1d(x), np.atleast_1d(index), ta.atleast_1d(src)
        inside = corner(target, dim, index)
        src = src[tuple(map(slice, index.shape))]
        part = op(target[inside], index, src, dim, *args, **options)
        return ta.index_put(target, inside, part).reshape(x.shape)

    return called


NAMES = {"amax": "max", "amin": "min"}


def reduce_into(
    x: Any, index: Any, src: Any, axis: int, reduce: str, include_self: bool = True
) -> Any:
    """The names of NumPy's reductions."""
    return ta.scatter_reduce(x, index, src, axis, NAMES.get(reduce, reduce), include_self)


def take_along_dim(x: Any, index: Any, dim: int | None = None) -> Any:
    """Without `dim` the flattened index and elements."""
    return ta.take_along_axis(x, index.reshape(-1) if dim is None else index, dim)


def index_select(x: Any, dim: int, index: Any) -> Any:
    """`take`; of a number one element."""
    return ta.take(x, index, dim) if x.ndim else ta.take(x, index).reshape(x.shape)


def index_add(x: Any, dim: int, index: Any, source: Any, alpha: float = 1) -> Any:
    """Slices added."""
    return ta.index_put(x, places(dim, index, x), alpha * source, accumulate=True)


def index_fill(x: Any, dim: int, index: Any, value: Any) -> Any:
    """Slices overwritten by a number."""
    return ta.index_put(x, places(dim, index, x), value)


def masked_scatter(x: Any, mask: Any, source: Any) -> Any:
    """The first elements of `source`, where the mask holds."""
    mask = np.broadcast_to(mask, x.shape)
    return ta.index_put(x, mask, ta.ravel(source)[: np.count_nonzero(mask)])


FUNCTIONS: dict[str, Function] = {
    "__getitem__": ta.getitem,
    "masked_select": ta.getitem,
    "take": ta.take,
    "gather": gather,
    "scatter": scattered(ta.put_along_axis),
    "scatter_add": scattered(ta.scatter_add),
    "scatter_reduce": scattered(reduce_into),
    "index_copy": lambda x, dim, index, source: index_fill(x, dim, index, source),
    "index_put": lambda x, indices, values, accumulate=False: ta.index_put(
        x, tuple(indices), values, accumulate
    ),
    **{f.__name__: f for f in (take_along_dim, index_select, index_add, index_fill)},
    "masked_scatter": masked_scatter,
}
