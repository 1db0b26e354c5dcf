"""Linear maps and embeddings: one flat product for all leading axes.

    y = x Wᵀ + b        dx = dy W        dW = dyᵀ x        db = Σ_rows dy

A stack of small products costs more than one flat product, and the gradient of W many times more:
it would be one product for each, then their sum.

An embedding is the linear map of one-hot vectors H, y = H W, so dW = Hᵀ dy: row v of dW is the sum
of dy over all places where token v stands.  With few tokens in the vocabulary that product is the
fastest way to add them up.  With many, rows of dy are sorted by token instead and each run summed.
"""

from __future__ import annotations

import numpy as np

from ..limits import Array
from .blocks import rows

FEW = 128  # tokens in a vocabulary: up to here the product is faster than sorting
ONE_HOT = 1 << 13  # rows of H at a time
SKINNY, HEAVY = 16, 1 << 16  # rows of x, numbers in W: with so few and so many W xᵀ is faster


def linear_forward(x: Array, weight: Array, bias: Array | None) -> tuple[Array, None]:
    """x Wᵀ + b."""
    flat, table = packed(rows(x)), packed(weight)
    if len(flat) <= SKINNY and weight.size >= HEAVY:
        out = np.dot(table, flat.T).T
    else:
        out = np.dot(flat, table.T)  # `matmul` needs 2 us more to begin
    if bias is not None:
        out += bias
    return out.reshape(*x.shape[:-1], len(weight)), None


def linear_backward(
    g: Array,
    _: None,
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    needs: tuple[bool, ...],
) -> tuple[Array | None, ...]:
    """dx, dW, db."""
    flat = packed(rows(g))
    dx = dweight = None
    if needs[0]:
        dx = np.empty(x.shape, x.dtype)
        np.matmul(flat, packed(weight), out=rows(dx))
    if needs[1]:
        dweight = np.matmul(flat.T, packed(rows(x)))
    return dx, dweight, column_sums(flat) if needs[2] else None


def packed(x: Array) -> Array:
    """(n, m) in a form that BLAS takes: one axis without gaps; a copy if there is none."""
    flags = x.flags
    if flags.c_contiguous or flags.f_contiguous:
        return x
    near, far = sorted(x.strides)
    fits = near == x.itemsize and far >= near * x.shape[x.strides.index(near)]
    return x if fits else np.ascontiguousarray(x)


def column_sums(x: Array) -> Array:
    """Σ over the rows of (n, m): a product with ones where that is the faster way to add."""
    if x.size < 1 << 10:
        return np.add.reduce(x, 0)
    return np.ones(len(x), x.dtype) @ packed(x)


def embedding_forward(weight: Array, *, tokens: Array) -> tuple[Array, None]:
    """Rows of W."""
    return weight.take(tokens.astype(np.intp, copy=False), 0), None


def embedding_backward(
    g: Array, _: None, weight: Array, *, tokens: Array, needs: tuple[bool, ...]
) -> tuple[Array]:
    """dW."""
    flat, places = rows(g), tokens.reshape(-1)
    if len(weight) <= FEW:
        dweight = by_product(flat, places, len(weight))
        if np.isfinite(np.add.reduce(dweight, None)):  # else 0·∞ may have got into other rows
            return (dweight,)
    return (by_sorting(flat, places, len(weight)),)


def by_product(g: Array, tokens: Array, count: int) -> Array:
    """Hᵀ dy."""
    out = np.zeros((count, g.shape[1]), g.dtype)
    for start in range(0, len(g), ONE_HOT):
        part = tokens[start : start + ONE_HOT]
        hot = np.zeros((len(part), count), g.dtype)
        hot[np.arange(len(part)), part] = 1
        out += np.matmul(hot.T, packed(g[start : start + ONE_HOT]))
    return out


def by_sorting(g: Array, tokens: Array, count: int) -> Array:
    """Sums of runs of equal tokens, after sorting."""
    out = np.zeros((count, g.shape[1]), g.dtype)
    if len(tokens):
        order = np.argsort(tokens, kind="stable")
        ordered = tokens[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        out[ordered[starts]] = np.add.reduceat(g[order], starts, axis=0)
    return out
