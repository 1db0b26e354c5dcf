"""Layer norm and RMS norm: whole rows at a time, sums by dot products.

With x̂ = (x − mean)·r, r = 1/√(var + eps), d the width and h = dy∘weight, all along a row:

    y = x̂∘weight + bias          dx = r (h − mean(h) − x̂·mean(h∘x̂))
    dweight = Σ_rows dy∘x̂        dbias = Σ_rows dy

(Ba et al. 2016, eq. 4.)  Each row of dx is h without its parts along 1 and x̂, the two directions
that the norm takes away.  RMS norm (Zhang and Sennrich 2019, eq. 4) has no mean: x̂ = x·r,
r = 1/√(mean x² + eps), dx = r (h − x̂·mean(h∘x̂)).  Kept: mean and r, two numbers a row.
Sums are in the numbers' own dtype: in float32 a row whose spread is below the rounding of its mean
comes out differently from the definition.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..limits import Array
from .blocks import dense, ones, rows, rowwise
from .products import column_sums


def layer_norm_forward(
    x: Array, weight: Array | None, bias: Array | None, *, eps: float
) -> tuple[Array, tuple[Array, Array]]:
    """The normalised rows, and (mean, r), each (n, 1)."""
    flat = dense(x)
    n, width = flat.shape
    out, (mean, scale) = np.empty(x.shape, x.dtype), np.empty((2, n, 1), x.dtype)

    def work(x: Array, out: Array, mean: Array, scale: Array) -> None:
        np.vecdot(x, ones(width, x.dtype), out=mean[:, 0])
        mean /= width
        np.subtract(x, mean, out=out)
        inverse_root(out, eps, scale)
        out *= scale
        if weight is not None:
            out *= weight
        if bias is not None:
            out += bias

    rowwise(work, flat, out, mean, scale)
    return out, (mean, scale)


def layer_norm_backward(
    g: Array,
    residuals: tuple[Array, Array],
    x: Array,
    weight: Array | None,
    bias: Array | None,
    *,
    needs: tuple[bool, ...],
    eps: float,
) -> tuple[Array | None, ...]:
    """dx, dweight, dbias."""
    width = x.shape[-1]
    factors = ones(width, x.dtype) if weight is None else weight
    dx = np.empty(x.shape, x.dtype)

    def work(x: Array, g: Array, dx: Array, mean: Array, scale: Array) -> Any:
        centred = x - mean
        np.multiply(g, centred, out=dx)
        dweight = scale[:, 0] @ dx if needs[1] else None
        if not needs[0]:
            return dweight
        along = scaled_mean(dx, factors, scale)
        centred *= along
        centred += (np.vecdot(g, factors) / width)[:, None]
        h = g if weight is None else np.multiply(g, weight, out=dx)
        np.subtract(h, centred, out=dx)
        dx *= scale
        return dweight

    parts = rowwise(work, dense(x), dense(g), dx, *residuals) if needs[0] or needs[1] else []
    dbias = column_sums(rows(g)) if needs[2] else None
    return dx if needs[0] else None, total(parts) if needs[1] else None, dbias


def rms_norm_forward(x: Array, weight: Array | None, *, eps: float) -> tuple[Array, Array]:
    """The scaled rows, and r (n, 1)."""
    flat, out = dense(x), np.empty(x.shape, x.dtype)
    scale = np.empty((len(flat), 1), x.dtype)

    def work(x: Array, out: Array, scale: Array) -> None:
        inverse_root(x, eps, scale)
        np.multiply(x, scale, out=out)
        if weight is not None:
            out *= weight

    rowwise(work, flat, out, scale)
    return out, scale


def rms_norm_backward(
    g: Array,
    scale: Array,
    x: Array,
    weight: Array | None,
    *,
    needs: tuple[bool, ...],
    eps: float,
) -> tuple[Array | None, ...]:
    """dx, dweight."""
    factors = ones(x.shape[-1], x.dtype) if weight is None else weight
    dx = np.empty(x.shape, x.dtype)

    def work(x: Array, g: Array, dx: Array, scale: Array) -> Any:
        np.multiply(g, x, out=dx)
        dweight = scale[:, 0] @ dx if needs[1] else None
        if not needs[0]:
            return dweight
        along = x * scaled_mean(dx, factors, scale)
        h = g if weight is None else np.multiply(g, weight, out=dx)
        np.subtract(h, along, out=dx)
        dx *= scale
        return dweight

    parts = rowwise(work, dense(x), dense(g), dx, scale) if needs[0] or needs[1] else []
    return dx if needs[0] else None, total(parts) if needs[1] else None


def inverse_root(x: Array, eps: float, scale: Array) -> None:
    """scale = 1/√(mean x² + eps) of each row."""
    np.vecdot(x, x, out=scale[:, 0])
    scale /= x.shape[-1]
    scale += eps
    np.sqrt(scale, out=scale)
    np.divide(1, scale, out=scale)


def scaled_mean(gx: Array, factors: Array, scale: Array) -> Array:
    """r²·mean(h∘x) of each row, (n, 1), from dy∘x: what x (or x − mean) is taken away by."""
    mean = np.vecdot(gx, factors)[:, None]
    mean /= gx.shape[-1]
    mean *= scale
    mean *= scale
    return mean


def total(parts: list[Array]) -> Array:
    """Their sum, always in the same order."""
    first, *others = parts
    for part in others:
        first += part
    return first
