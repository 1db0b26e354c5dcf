"""Gradient clipping (Pascanu et al. 2013)."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite, sqrt

import numpy as np

from ..engine import Array, DTypeError, ShapeError, Tensor
from ..engine.tensor import locked, wrapped
from ..nn.functional.layers import real
from .optimizer import listed


def clip_grad_norm(params: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients so that their common norm is at most `max_norm`; return the norm before.

    g ← g·min(1, max_norm/‖g‖), ‖g‖ over all parameters.  A norm that is not finite (squares are
    summed in the gradients' dtype: float32 overflows from |g| ≈ 2e19 on) is returned too, with the
    gradients left as they are.

    Raises:
        ShapeError: max_norm is not positive.
        DTypeError: max_norm is not a number, or there is no list of parameters.
    """
    if not real("clip_grad_norm", "max_norm", max_norm) > 0:
        raise ShapeError(f"clip_grad_norm: max_norm must be positive, got {max_norm}")
    given = listed("clip_grad_norm", params)
    for p in given:
        if not isinstance(p, Tensor):
            raise DTypeError(f"clip_grad_norm: expected parameters, got a {type(p).__name__}")
    grads = [(p, p.grad._data) for p in given if p.grad is not None]
    norm = sqrt(sum(squared_norm(g) for _, g in grads))
    if isfinite(norm) and norm > max_norm:
        factor = max_norm / (norm + 1e-6)  # PyTorch's guard
        for p, g in grads:
            p.grad = wrapped(locked(g * factor), None)
    return norm


def squared_norm(g: Array) -> float:
    """Σ|g|², in whatever order the elements lie."""
    flat = g.ravel("K")
    return float(np.vdot(flat, flat).real)
