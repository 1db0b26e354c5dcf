"""A step of Adam: value, gradient and both running means are read once, and written once."""

from __future__ import annotations

import numpy as np

from ..limits import Array
from .blocks import by_rows, flat
from .compile import elementwise


def adam_forward(
    value: Array,
    grad: Array,
    m: Array,
    v: Array,
    *,
    betas: tuple[float, float],
    width: float,
    eps: float,
    pull: float,
    keep: float,
) -> tuple[Array, None]:
    """The new value; m and v, which have no gaps, are changed (see optim/adam.py)."""
    new = np.empty(value.shape, value.dtype)
    arrays = [flat(value), flat(grad), m.reshape(-1), v.reshape(-1), new.reshape(-1)]
    by_rows(step, arrays, *betas, width, eps, pull, keep)
    return new, None


@elementwise
def step(
    value: Array, grad: Array, m: Array, v: Array, new: Array,
    beta1: float, beta2: float, width: float, eps: float, pull: float, keep: float,
) -> None:  # fmt: skip
    """g ← g + pull·w; m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; keep·w − width·m/(√v + eps)."""
    real = value.dtype.type
    rest1, rest2, beta1, beta2 = real(1 - beta1), real(1 - beta2), real(beta1), real(beta2)
    width, eps, pull, keep = real(width), real(eps), real(pull), real(keep)
    for i in range(value.size):
        g = grad[i] + pull * value[i]
        m[i] = beta1 * m[i] + rest1 * g
        v[i] = beta2 * v[i] + rest2 * (g * g)
        new[i] = keep * value[i] - width * (m[i] / (np.sqrt(v[i]) + eps))
