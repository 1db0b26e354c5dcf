"""Products arranged as matrix products: dot, inner, tensordot; and the Kronecker product."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..engine import ShapeError, composed
from .arithmetic import multiply
from .linalg import matmul, product
from .shapes import reshape, transpose

__all__ = ["dot", "inner", "kron", "multi_dot", "tensordot", "vdot"]


@composed
def dot(a: Any, b: Any) -> Any:
    """NumPy's: Σ over the last axis of a and the second to last (or only) one of b."""
    if not np.ndim(a) or not np.ndim(b):
        return multiply(a, b)
    if np.ndim(a) <= 2 and np.ndim(b) <= 2:
        return matmul(a, b)
    return tensordot(a, b, ([np.ndim(a) - 1], [max(np.ndim(b) - 2, 0)]))


@composed
def inner(a: Any, b: Any) -> Any:
    """Σ over the last axes of both."""
    if not np.ndim(a) or not np.ndim(b):
        return multiply(a, b)
    return tensordot(a, b, ([np.ndim(a) - 1], [np.ndim(b) - 1]))


@composed
def vdot(a: Any, b: Any) -> Any:
    """Σ a∘b of the flattened arrays."""
    return matmul(reshape(a, (-1,)), reshape(b, (-1,)))


@composed
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Σ over pairs of axes: the last `axes` of a with the first of b, or two lists of axes."""
    ndim_a, ndim_b = np.ndim(a), np.ndim(b)
    if isinstance(axes, int) and not 0 <= axes <= min(ndim_a, ndim_b):
        raise ShapeError(
            f"tensordot: axes must be 0 … {min(ndim_a, ndim_b)} for shapes {np.shape(a)} and "
            f"{np.shape(b)}, got {axes}"
        )
    pair = (range(ndim_a - axes, ndim_a), range(axes)) if isinstance(axes, int) else axes
    summed_a, summed_b = (
        normalize_axis_tuple(pair[0], ndim_a),
        normalize_axis_tuple(pair[1], ndim_b),
    )
    lengths = [np.shape(a)[i] for i in summed_a]
    if lengths != [np.shape(b)[i] for i in summed_b]:
        raise ShapeError(
            f"tensordot: the axes {summed_a} of shape {np.shape(a)} must be as long as "
            f"{summed_b} of {np.shape(b)}"
        )
    kept_a = [i for i in range(ndim_a) if i not in summed_a]
    kept_b = [i for i in range(ndim_b) if i not in summed_b]
    shape = [np.shape(a)[i] for i in kept_a] + [np.shape(b)[i] for i in kept_b]
    rows, columns, n = prod(shape[: len(kept_a)]), prod(shape[len(kept_a) :]), prod(lengths)
    left = reshape(transpose(a, [*kept_a, *summed_a]), (rows, n))
    right = reshape(transpose(b, [*summed_b, *kept_b]), (n, columns))
    return reshape(product(left, right), shape)


@composed
def kron(a: Any, b: Any) -> Any:
    """The Kronecker product: each element of a times the whole of b, side by side."""
    ndim = max(np.ndim(a), np.ndim(b))
    shape_a, shape_b = ((1,) * (ndim - np.ndim(x)) + np.shape(x) for x in (a, b))
    left = reshape(a, [n for pair in zip(shape_a, (1,) * ndim) for n in pair])
    right = reshape(b, [n for pair in zip((1,) * ndim, shape_b) for n in pair])
    return reshape(left * right, [n * m for n, m in zip(shape_a, shape_b)])


@composed
def multi_dot(arrays: Sequence[Any]) -> Any:
    """The product of two or more matrices, the first and last of which may be vectors."""
    if len(arrays) < 2:
        raise ShapeError(f"multi_dot: expected two arrays or more, got {len(arrays)}")
    return reduce(matmul, arrays)
