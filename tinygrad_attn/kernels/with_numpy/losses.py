"""Cross-entropy from logits: the log of the softmax is never stored.

With m = max(x) and S = Σ exp(x − m) along a row of V logits, t the target, ε the label smoothing:

    loss = log S − (1 − ε)(x_t − m) − ε·mean(x − m)
    dx = g (P − (1 − ε) onehot(t) − ε/V),     P = exp(x − m)/S

(Szegedy et al. 2016, section 7.)  m and S are kept, two numbers a row; P is computed again.
"""

from __future__ import annotations

import numpy as np

from ..limits import Array
from .blocks import ones, rows, rowwise

Residuals = tuple[Array, Array]


def cross_entropy_forward(
    logits: Array, *, classes: Array, label_smoothing: float
) -> tuple[Array, Residuals]:
    """Losses (...), and m and S, each (n, 1)."""
    flat, targets = rows(logits), classes.reshape(-1)
    n, width = flat.shape
    dtype = logits.dtype
    out, (largest, sums) = np.empty(classes.shape, dtype), np.empty((2, n, 1), dtype)
    losses, each = out.reshape(-1), ones(width, dtype)

    def work(x: Array, largest: Array, sums: Array, losses: Array) -> None:
        np.maximum.reduce(x, -1, out=largest, keepdims=True)
        e = x - largest
        if label_smoothing:
            np.vecdot(e, each, out=losses[:, 0])
        np.exp(e, out=e)
        np.vecdot(e, each, out=sums[:, 0])

    rowwise(work, flat, largest, sums, losses[:, None])
    at_target = flat[np.arange(n), targets]
    at_target -= largest[:, 0]
    if label_smoothing:
        losses *= label_smoothing / width
        at_target *= 1 - label_smoothing
        at_target += losses
    np.log(sums[:, 0], out=losses)
    losses -= at_target
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
    dx = np.empty(logits.shape, logits.dtype)
    flat, upstream, targets = rows(dx), g.reshape(-1, 1), classes.reshape(-1)

    def work(x: Array, dx: Array, g: Array, largest: Array, sums: Array) -> None:
        np.subtract(x, largest, out=dx)
        np.exp(dx, out=dx)
        dx *= g / sums
        if label_smoothing:
            dx -= g * (label_smoothing / x.shape[1])

    rowwise(work, rows(logits), flat, upstream, *residuals)
    flat[np.arange(len(flat)), targets] -= upstream[:, 0] * (1 - label_smoothing)
    return (dx,)
