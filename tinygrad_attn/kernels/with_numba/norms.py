"""Layer norm and RMS norm: a row is read from memory once, and stays in the cache until it is done.

Formulas: with_numpy/norms.py.  RMS norm is the same loop with 0 for the mean, for mean(h) and for
the bias.  Sums along a row are float64: what is left of a row of equal numbers, once its mean is
taken away, is multiplied with 1/√eps.  Kept: mean and r.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..limits import Array
from ..threads import share
from .blocks import by_rows, constant, flat, grain, table
from .compile import compiled

Residuals = tuple[Array, Array]
Parts = tuple[Array | None, ...]


def layer_norm_forward(
    x: Array, weight: Array | None, bias: Array | None, *, eps: float
) -> tuple[Array, Residuals]:
    """The normalised rows, and (mean, r), each (n,)."""
    return forward(x, weight, bias, eps, True)


def layer_norm_backward(
    g: Array,
    residuals: Residuals,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    *,
    needs: tuple[bool, ...],
    eps: float,
) -> Parts:
    """dx, dweight, dbias."""
    return backward(g, residuals, x, weight, needs, True)


def rms_norm_forward(x: Array, weight: Array | None, *, eps: float) -> tuple[Array, Residuals]:
    """The scaled rows, and (zeros, r)."""
    return forward(x, weight, None, eps, False)


def rms_norm_backward(
    g: Array,
    residuals: Residuals,
    x: Array,
    weight: Array | None,
    *,
    needs: tuple[bool, ...],
    eps: float,
) -> Parts:
    """dx, dweight."""
    return backward(g, residuals, x, weight, (*needs, False), False)[:2]


def forward(
    x: Array, weight: Array | None, bias: Array | None, eps: float, centre: bool
) -> tuple[Array, Residuals]:
    """The normalised rows, and (mean, r)."""
    given, out = table(x), np.empty(x.shape, x.dtype)
    mean, scale = np.empty((2, len(given)), x.dtype)
    factors, shift = row(weight, 1, given), row(bias, 0, given)
    arrays = [given, out.reshape(given.shape), mean, scale]
    by_rows(normalise, arrays, factors, shift, eps, centre)
    return out, (mean, scale)


def backward(
    g: Array,
    residuals: Residuals,
    x: Array,
    weight: Array | None,
    needs: tuple[bool, ...],
    centre: bool,
) -> Parts:
    """dx, dweight, dbias: the last two summed for each part of the rows, then over the parts."""
    given, dx = table(x), np.empty(x.shape, x.dtype)
    n, width = given.shape
    upstream, factors, (mean, scale) = table(g), row(weight, 1, given), residuals
    made, size = dx.reshape(n, width), grain(n, width)
    sums = np.zeros((-(-n // size), 2, width))

    def work(start: int, stop: int) -> None:
        part, own = slice(start, stop), sums[start // size]
        pull(given[part], upstream[part], mean[part], scale[part], made[part], own, factors, centre)

    share(work, n, size)
    dweight, dbias = sums.sum(axis=0).astype(x.dtype)
    return tuple(d if need else None for d, need in zip((dx, dweight, dbias), needs, strict=True))


def row(vector: Array | None, otherwise: float, like: Array) -> Array:
    """A weight or bias; where there is none, the number that changes nothing."""
    return constant(otherwise, like.shape[1], like.dtype) if vector is None else flat(vector)


@compiled
def normalise(
    x: Array, out: Array, mean: Array, scale: Array,
    weight: Array, bias: Array, eps: float, centre: bool,
) -> None:  # fmt: skip
    """Some rows of y, and their mean and r."""
    real: Any = x.dtype.type
    for i in range(len(x)):
        given, made, total, squares = x[i], out[i], 0.0, 0.0
        if centre:
            for j in range(given.size):
                total += given[j]
        m = real(total / given.size)
        for j in range(given.size):
            squares += (given[j] - m) * (given[j] - m)
        r = real(1 / np.sqrt(squares / given.size + eps))
        for j in range(given.size):
            made[j] = (given[j] - m) * r * weight[j] + bias[j]
        mean[i], scale[i] = m, r


@compiled
def pull(
    x: Array, g: Array, mean: Array, scale: Array, dx: Array,
    sums: Array, weight: Array, centre: bool,
) -> None:  # fmt: skip
    """Some rows of dx; what they add to dweight and dbias goes into `sums` (2, d)."""
    real: Any = x.dtype.type
    dweight, dbias = sums[0], sums[1]
    for i in range(len(x)):
        given, up, made, m, r = x[i], g[i], dx[i], mean[i], scale[i]
        sum_h, sum_hx = 0.0, 0.0
        for j in range(given.size):
            normal = (given[j] - m) * r
            dweight[j] += up[j] * normal
            dbias[j] += up[j]
            sum_h += up[j] * weight[j]
            sum_hx += up[j] * weight[j] * normal
        mean_h = real(sum_h / given.size if centre else 0.0)
        mean_hx = real(sum_hx / given.size)
        for j in range(given.size):
            normal = (given[j] - m) * r
            made[j] = r * (up[j] * weight[j] - mean_h - normal * mean_hx)
