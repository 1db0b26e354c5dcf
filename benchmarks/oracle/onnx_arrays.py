"""ONNX's operators on whole arrays, by ours: shapes, indices and reductions."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import Tensor

from .operators import Operator, Unsupported, whole


# ── shapes ───────────────────────────────────────────────────────────────────────────────────────
def concat(*xs: Tensor, axis: int) -> Any:
    """The same."""
    return ta.concat(list(xs), axis)


def split(
    x: Tensor,
    sizes: Tensor | None = None,
    *,
    axis: int = 0,
    num_outputs: int = 0,
    outputs: tuple[str, ...] | None = None,
) -> Any:
    """Into parts of these sizes, or into parts of one size, the last one being shorter."""
    length = x.shape[axis]
    if sizes is None:
        count = num_outputs or len(outputs or ())
        step = -(-length // count)
        cuts = [step * i for i in range(1, count)]
    else:
        cuts = np.cumsum(whole(sizes))[:-1].tolist()
    return ta.split(x, cuts, axis)


def transpose(x: Tensor, *, perm: list[int] | None = None) -> Any:
    """The same."""
    return ta.transpose(x, None if perm is None else tuple(perm))


def reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Any:
    """0 stands for the length that is there, unless zero is allowed."""
    asked = whole(shape)
    if not allowzero:
        asked = tuple(n or x.shape[i] for i, n in enumerate(asked))
    if -1 in asked and 0 in asked:
        raise Unsupported(f"Reshape to {asked}")
    return ta.reshape(x, asked)


def flatten(x: Tensor, *, axis: int = 1) -> Any:
    """Two axes: those before `axis` and the others."""
    lead = x.shape[:axis]
    return ta.reshape(x, (prod(lead), prod(x.shape[len(lead) :])))


def squeeze(x: Tensor, axes: Tensor | None = None) -> Any:
    """The same."""
    return ta.squeeze(x, None if axes is None else whole(axes))


def unsqueeze(x: Tensor, axes: Tensor) -> Any:
    """The same."""
    return ta.expand_dims(x, whole(axes))


def expand(x: Tensor, shape: Tensor) -> Any:
    """Both ways: the shape may be shorter than that of x."""
    return ta.broadcast_to(x, np.broadcast_shapes(x.shape, whole(shape)))


def tile(x: Tensor, repeats: Tensor) -> Any:
    """The same."""
    return ta.tile(x, whole(repeats))


def pad(
    x: Tensor,
    pads: Tensor,
    value: Tensor | None = None,
    axes: Tensor | None = None,
    *,
    mode: str = "constant",
) -> Any:
    """Borders of all axes: all those before, then all those after."""
    if min(whole(pads), default=0) < 0:
        raise Unsupported(f"Pad with widths {whole(pads)}: borders are not cut off")
    along = range(x.ndim) if axes is None else [axis % x.ndim for axis in whole(axes)]
    widths, (before, after) = [(0, 0)] * x.ndim, np.split(np.array(whole(pads)), 2)
    for axis, pair in zip(along, zip(before, after)):
        widths[axis] = pair
    return ta.pad(x, widths, mode, 0 if value is None else value.item())


def slice_(
    x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Any = None
) -> Any:
    """Python's slices, but for the ends of negative steps."""
    every = [slice(None)] * x.ndim
    along = range(len(whole(starts))) if axes is None else whole(axes)
    strides = (1,) * len(along) if steps is None else whole(steps)
    for axis, start, end, step in zip(along, whole(starts), whole(ends), strides):
        beyond = step < 0 and end < -x.shape[axis]
        every[axis] = slice(start, None if beyond else end, step)
    return x[tuple(every)]


def shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Any:
    """A part of it."""
    return np.array(x.shape[start:end], np.int64)


# ── indices ──────────────────────────────────────────────────────────────────────────────────────
def gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Any:
    """The same."""
    return ta.take(x, indices, axis)


def gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Any:
    """The same."""
    return ta.take_along_axis(x, indices.numpy(), axis)


def gather_nd(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Any:
    """The last axis of the indices names a place; the first `batch_dims` axes go along."""
    at = indices.numpy()
    lead = at.shape[:batch_dims]
    along = np.ix_(*map(np.arange, lead)) if lead else ()
    alone = [i.reshape(i.shape + (1,) * (at.ndim - 1 - batch_dims)) for i in along]
    return x[(*alone, *np.moveaxis(at, -1, 0))]


REDUCTIONS = {"add": "sum", "mul": "prod", "max": "max", "min": "min"}


def scatter_elements(
    x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Any:
    """Written, or reduced with what is there."""
    if reduction == "none":
        return ta.put_along_axis(x, indices.numpy(), updates, axis)
    return ta.scatter_reduce(x, indices.numpy(), updates, axis, REDUCTIONS[reduction])


def scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Any:
    """The last axis of the indices names a place, which may be a whole part of x."""
    at = tuple(np.moveaxis(indices.numpy(), -1, 0))
    if reduction == "none":
        return ta.index_put(x, at, updates)
    lead, rest = x.shape[: len(at)], x.shape[len(at) :]
    rows = np.ravel_multi_index(at, lead).reshape(-1, 1)  # x as a table of places
    table, new = (ta.reshape(y, (-1, prod(rest))) for y in (x, updates))
    places = np.broadcast_to(rows, new.shape)
    return ta.scatter_reduce(table, places, new, 0, REDUCTIONS[reduction]).reshape(x.shape)


def where(condition: Tensor, x: Tensor, y: Tensor) -> Any:
    """The same."""
    return ta.where(condition, x, y)


def trilu(x: Tensor, k: Tensor | None = None, *, upper: int = 1) -> Any:
    """One of two triangles."""
    return (ta.triu if upper else ta.tril)(x, 0 if k is None else whole(k))


def compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Any:
    """Those for which the condition holds."""
    at = np.flatnonzero(condition.numpy())
    return ta.take(ta.reshape(x, -1), at, 0) if axis is None else ta.take(x, at, axis)


def extreme(name: str) -> Operator:
    """Where the largest (or smallest) element stands, the first or the last of equals."""

    def operator(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
        turned = ta.flip(x, axis) if select_last_index else x
        at = getattr(turned, name)(axis, keepdims=bool(keepdims))
        return x.shape[axis] - 1 - at if select_last_index else at

    return operator


def top_k(x: Tensor, k: Tensor, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    """The same; always in order."""
    (count,) = whole(k)
    return ta.topk(x, count, axis, bool(largest))


# ── reductions ───────────────────────────────────────────────────────────────────────────────────
def reduction(function: Callable[..., Any], *, empty: bool = True) -> Operator:
    """`function(x, axis, keepdims)` as one of ONNX's; `empty`: may it reduce no element?"""

    def operator(
        x: Tensor,
        chosen: Tensor | None = None,
        *,
        axes: Any = (),
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Any:
        along = tuple(axes) if chosen is None else whole(chosen)
        if not along:
            if noop_with_empty_axes:
                return function(x, (), True)
            along = tuple(range(x.ndim))
        if not empty and not all(x.shape[axis] for axis in along):
            raise Unsupported(f"the {function.__name__} of no element")
        return function(x, along, bool(keepdims))

    return operator


def l1(x: Tensor, axis: Any, keepdims: bool) -> Any:
    """Σ|x|."""
    return ta.sum(ta.absolute(x), axis, keepdims)


def l2(x: Tensor, axis: Any, keepdims: bool) -> Any:
    """√Σx²."""
    return ta.norm(x, None, axis, keepdims)


def log_sum(x: Tensor, axis: Any, keepdims: bool) -> Any:
    """ln Σx."""
    return ta.log(ta.sum(x, axis, keepdims))


def sum_square(x: Tensor, axis: Any, keepdims: bool) -> Any:
    """Σx²."""
    return ta.sum(ta.square(x), axis, keepdims)


def running(function: Callable[..., Any], identity: int) -> Operator:
    """Running sums or products: from either end, with or without the element itself."""

    def operator(x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Any:
        along = whole(axis)
        x = ta.flip(x, along) if reverse else x
        if exclusive:
            first, others = ta.split(x, [x.shape[along] - 1], along)
            start = np.full(others.shape, identity, x.dtype)
            x = ta.concat([start, first], along)
        out = ta.astype(function(x, along), x.dtype)
        return ta.flip(out, along) if reverse else out

    return operator


# ── constants and dtypes ─────────────────────────────────────────────────────────────────────────
DTYPES: dict[int, Any] = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64,
    9: np.bool_, 10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
}  # fmt: skip


def cast(x: Tensor, *, to: int) -> Any:
    """ONNX numbers the dtypes; 16, bfloat16, is none of NumPy's."""
    if to not in DTYPES:
        raise Unsupported(f"Cast to dtype {to}")
    return ta.astype(x, DTYPES[to])


def constant(
    *,
    value: Any = None,
    value_float: Any = None,
    value_int: Any = None,
    value_ints: Any = None,
) -> Any:
    """Whichever is given."""
    if value_float is not None:
        return np.float32(value_float)
    given = [x for x in (value, value_int, value_ints) if x is not None]
    return np.asarray(given[0])


def constant_of_shape(shape: Tensor, *, value: Any = None) -> Any:
    """Everywhere one number, 0 where none is given."""
    return np.full(whole(shape), np.float32(0) if value is None else value.item())


def arange(start: Tensor, limit: Tensor, delta: Tensor) -> Any:
    """The same."""
    return np.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


CONSTANTS: dict[str, Operator] = {
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Range": arange,
}
OPERATORS: dict[str, Operator] = {
    "ArgMax": extreme("argmax"),
    "ArgMin": extreme("argmin"),
    "Cast": cast,
    "CastLike": lambda x, like: ta.astype(x, like.dtype),
    "Compress": compress,
    "Concat": concat,
    "CumProd": running(ta.cumprod, 1),
    "CumSum": running(ta.cumsum, 0),
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "Identity": lambda x: x,
    "Pad": pad,
    "ReduceL1": reduction(l1),
    "ReduceL2": reduction(l2),
    "ReduceLogSum": reduction(log_sum),
    "ReduceLogSumExp": reduction(ta.logsumexp),
    "ReduceMax": reduction(ta.max, empty=False),
    "ReduceMean": reduction(ta.mean),
    "ReduceMin": reduction(ta.min, empty=False),
    "ReduceProd": reduction(ta.prod),
    "ReduceSum": reduction(ta.sum),
    "ReduceSumSquare": reduction(sum_square),
    "Reshape": reshape,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "Shape": shape,
    "Size": lambda x: np.array(x.size, np.int64),
    "Slice": slice_,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "TopK": top_k,
    "Transpose": transpose,
    "Trilu": trilu,
    "Unsqueeze": unsqueeze,
    "Where": where,
}
