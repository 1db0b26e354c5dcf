"""PyTorch's operations along an axis, by ours: `dim` is the axis, a number has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_attn as ta

from .operators import Unsupported

Function = Callable[..., Any]


def axis_of(x: Any, dim: Any) -> Any:
    """None for all axes: no `dim`, an empty one, or a number."""
    if dim is None or x.ndim == 0 or (isinstance(dim, (tuple, list)) and not dim):
        return None
    return tuple(dim) if isinstance(dim, list) else dim


def reduced(op: Function) -> Function:
    """A reduction with `dim` and `keepdim`."""

    def called(x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
        x = x if dtype is None else ta.astype(x, dtype)
        return op(x, axis=axis_of(x, dim), keepdims=keepdim)

    return called


def extreme(reduction: Function, argument: Function, of_two: Function) -> Function:
    """`max` and `min`: of all, of two tensors, or along `dim` with the indices."""

    def called(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            return reduction(x)
        if not isinstance(dim, int):
            return of_two(x, dim)
        indices = argument(x.data, axis_of(x, dim), keepdims=keepdim)
        return reduction(x, axis_of(x, dim), keepdim), np.asarray(indices)

    return called


def aminmax(x: Any, dim: Any = None, keepdim: bool = False) -> tuple[Any, Any]:
    """Both extremes."""
    return ta.min(x, axis_of(x, dim), keepdim), ta.max(x, axis_of(x, dim), keepdim)


DEFAULT = object()


def ddof_of(dim: Any, unbiased: Any, correction: Any) -> tuple[Any, Any]:
    """The dimensions and NumPy's `ddof`; a boolean in the place of `dim` is `unbiased`."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is not DEFAULT and correction is not None:
        return dim, correction
    return dim, 1 if unbiased is None else int(unbiased)


def spread(op: Function, *, with_mean: bool) -> Function:
    """`std` and `var`, alone or with the mean."""

    def called(
        x: Any,
        dim: Any = None,
        unbiased: Any = None,
        keepdim: bool = False,
        *,
        correction: Any = DEFAULT,
    ) -> Any:
        dim, ddof = ddof_of(dim, unbiased, correction)
        y = op(x, axis_of(x, dim), ddof, keepdim)
        return (y, ta.mean(x, axis_of(x, dim), keepdim)) if with_mean else y

    return called


def norm(x: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False) -> Any:
    """Without `dim` the norm of all elements as one vector."""
    if p == "nuc":
        raise Unsupported("the nuclear norm, which needs singular values")
    if p == "fro" or x.ndim == 0:
        return ta.norm(x, axis=axis_of(x, dim), keepdims=keepdim)
    return ta.norm(ta.ravel(x), p) if dim is None else ta.norm(x, p, dim, keepdim)


# ── order ────────────────────────────────────────────────────────────────────────────────────────


def in_shape(result: Any, x: Any) -> Any:
    """Values and indices in the shape of x: PyTorch lets a number have an axis."""
    return tuple(part.reshape(x.shape) for part in result) if x.ndim == 0 else result


def sort(x: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """All of the largest, or of the smallest."""
    vector = ta.atleast_1d(x)
    return in_shape(ta.topk(vector, vector.shape[dim], dim, descending), x)


def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """`dim` is the axis."""
    return in_shape(ta.topk(ta.atleast_1d(x), k, dim, largest), x)


def kthvalue(x: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """`dim` is the axis."""
    return in_shape(ta.kthvalue(ta.atleast_1d(x), k, dim, keepdim), x)


def median(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """PyTorch's is the lower of the two in the middle."""
    if dim is None:
        return kthvalue(ta.ravel(x), (x.size + 1) // 2)[0]
    return kthvalue(x, (ta.atleast_1d(x).shape[dim] + 1) // 2, dim, keepdim)


# ── running ──────────────────────────────────────────────────────────────────────────────────────


def running(op: Function) -> Function:
    """A running reduction along `dim`."""

    def called(x: Any, dim: int, dtype: Any = None) -> Any:
        y = op(ta.atleast_1d(x) if dtype is None else ta.astype(x, dtype), dim)
        return y.reshape(x.shape) if x.ndim == 0 else y

    return called


def along(op: Function) -> Function:
    """softmax and its relatives."""

    def called(x: Any, dim: int, dtype: Any = None) -> Any:
        return op(x if dtype is None else ta.astype(x, dtype), dim)

    return called


FUNCTIONS: dict[str, Function] = {
    **{name: reduced(getattr(ta, name)) for name in ("sum", "mean", "prod", "logsumexp")},
    "amax": reduced(ta.max),
    "amin": reduced(ta.min),
    "max": extreme(ta.max, np.argmax, ta.maximum),
    "min": extreme(ta.min, np.argmin, ta.minimum),
    "std": spread(ta.std, with_mean=False),
    "var": spread(ta.var, with_mean=False),
    "std_mean": spread(ta.std, with_mean=True),
    "var_mean": spread(ta.var, with_mean=True),
    **{f.__name__: f for f in (aminmax, norm, sort, topk, kthvalue, median)},
    **{name: running(getattr(ta, name)) for name in ("cumsum", "cumprod", "logcumsumexp")},
    **{name: along(getattr(ta, name)) for name in ("cummax", "cummin", "softmax", "log_softmax")},
    "nn.functional.softmin": along(ta.softmin),
}
