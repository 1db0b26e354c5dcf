"""Gradient clipping (Pascanu et al. 2013)."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite, sqrt

import numpy as np

from ..engine import ShapeError, Tensor
from ..engine.tensor import locked, wrapped


def clip_grad_norm(params: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients so that the norm of all of them together is at most `max_norm`; the norm before.

    Gradients with a norm that is not finite are left as they are, for the caller to see.

    Raises:
        ShapeError: max_norm is not positive.
    """
    if not max_norm > 0:
        raise ShapeError(f"clip_grad_norm: max_norm must be positive, got {max_norm}")
    clipped = [(p, p.grad._data) for p in params if p.grad is not None]
    norm = sqrt(sum(float(np.vdot(g, g).real) for _, g in (( p, g.ravel("K")) for p, g in clipped)))
    if isfinite(norm) and norm > max_norm:
        factor = max_norm / (norm + 1e-6)
        for p, g in clipped:
            p.grad = wrapped(locked(g * factor), None)
    return norm
