"""Order along an axis: sorted elements, the largest, the k-th, the middle one.

The order itself has no gradient; each element's goes to where it came from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..engine import Array, ShapeError, composed
from ..engine.dispatch import plain
from .choices import where
from .indexing import take_along_axis
from .reductions import Axis, count, mean, restored
from .shapes import length, reshape, squeeze, transpose

__all__ = ["kthvalue", "median", "sort", "topk"]


@composed
def sort(x: Any, axis: int | None = -1) -> Any:
    """Elements in ascending order along `axis` (None: all); gradients go where each came from."""
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    order = np.argsort(x, axis=axis, kind="stable")
    return take_along_axis(x, order, axis)


@composed
def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Any, Array]:
    """The k largest (smallest) elements along `axis`, best first, and their indices (PyTorch's).

    Of equal elements the first comes first.
    """
    n = length("topk", x, axis)
    if not 0 <= k <= n:
        raise ShapeError(f"topk: k must be 0 … {n}, the length of axis {axis}, got {k}")
    order = descending(x, axis) if largest else np.argsort(x, axis=axis, kind="stable")
    indices = np.take(order, np.arange(k), axis)
    return take_along_axis(x, indices, axis), indices


def descending(x: Any, axis: int) -> Array:
    """The stable order from the largest to the smallest, NaN first."""
    backwards = np.argsort(np.flip(plain(x), axis), axis=axis, kind="stable")
    return np.shape(x)[axis] - 1 - np.flip(backwards, axis)


@composed
def kthvalue(x: Any, k: int, axis: int = -1, keepdims: bool = False) -> tuple[Any, Array]:
    """The k-th smallest element along `axis`, k from 1, and its index (PyTorch's)."""
    n = length("kthvalue", x, axis)
    if not 1 <= k <= n:
        raise ShapeError(f"kthvalue: k must be 1 … {n}, the length of axis {axis}, got {k}")
    indices = np.take(np.argsort(x, axis=axis, kind="stable"), [k - 1], axis)
    values = take_along_axis(x, indices, axis)
    return (values, indices) if keepdims else (squeeze(values, axis), np.squeeze(indices, axis))


@composed
def median(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The middle element over `axis` (None: all), or the mean of the two in the middle."""
    shape = np.shape(x)
    axes = normalize_axis_tuple(range(len(shape)) if axis is None else axis, len(shape))
    kept, n = [i for i in range(len(shape)) if i not in axes], count(shape, axes)
    if not n:
        raise ShapeError(f"median: of no elements, axis {axis} of shape {shape}")
    ordered = sort(reshape(transpose(x, [*kept, *axes]), [*(shape[i] for i in kept), n]))
    middle = mean(ordered[..., (n - 1) // 2 : n // 2 + 1], -1)
    middle = where(np.isnan(ordered[..., -1]), np.nan, middle)  # NaN sorts to the end
    return restored(middle, shape, axes) if keepdims else middle
