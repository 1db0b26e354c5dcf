"""Cross-entropy from logits: each row is read from memory once, and no softmax is stored.

Formulas: with_numpy/losses.py.  m and S are kept, two numbers a row; P is computed again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..limits import Array
from .blocks import by_rows, flat, table
from .compile import compiled
from .elementary import exp, maximum

Residuals = tuple[Array, Array]


def cross_entropy_forward(
    logits: Array, *, classes: Array, label_smoothing: float
) -> tuple[Array, Residuals]:
    """Losses (...), and m and S, each (n,)."""
    given, targets = table(logits), flat(classes, np.int64)
    out = np.empty(classes.shape, logits.dtype)
    largest, sums = np.empty((2, len(given)), logits.dtype)
    by_rows(surprise, [given, targets, out.reshape(-1), largest, sums], label_smoothing)
    return out, (largest, sums)


def cross_entropy_backward(
    g: Array,
    residuals: Residuals,
    logits: Array,
    *,
    classes: Array,
    label_smoothing: float,
    needs: tuple[bool, ...],
) -> tuple[Array]:
    """dx."""
    given, targets, upstream = table(logits), flat(classes, np.int64), flat(g)
    dx = np.empty(logits.shape, logits.dtype)
    by_rows(pull, [given, upstream, targets, *residuals, dx.reshape(given.shape)], label_smoothing)
    return (dx,)


@compiled
def surprise(
    x: Array, targets: Array, losses: Array, largest: Array, sums: Array, smoothing: float
) -> None:
    """Some of the losses, m and S."""
    real: Any = x.dtype.type
    width, share_of_target = real(x.shape[1]), real(1 - smoothing)
    for i in range(len(x)):
        row, m, total, shifted = x[i], x[i, 0], real(0), real(0)
        for j in range(row.size):
            m = maximum(m, row[j])
        for j in range(row.size):
            total += exp(row[j] - m)
        losses[i] = np.log(total) - share_of_target * (row[targets[i]] - m)
        if smoothing > 0:
            for j in range(row.size):
                shifted += row[j] - m
            losses[i] -= real(smoothing) * shifted / width
        largest[i], sums[i] = m, total


@compiled
def pull(
    x: Array, g: Array, targets: Array, largest: Array, sums: Array, dx: Array, smoothing: float
) -> None:
    """Some rows of dx."""
    real: Any = x.dtype.type
    for i in range(len(x)):
        row, made, m, factor = x[i], dx[i], largest[i], g[i] / sums[i]
        even = g[i] * real(smoothing / x.shape[1])
        for j in range(row.size):
            made[j] = exp(row[j] - m) * factor - even
        made[targets[i]] -= g[i] * real(1 - smoothing)
