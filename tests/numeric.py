"""Derivatives from values alone, to judge the rules by: the complex step and central differences.

Written for the tests and small on purpose, so that they do not rest on `tinygrad_attn.check`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Function = Callable[..., Any]  # arrays -> array, or a tuple or list of arrays


def results(out: Any) -> list[Any]:
    """One result or several, as a list."""
    return list(out) if isinstance(out, (tuple, list)) else [out]


def dot(f: Function, xs: Sequence[Array], gs: Sequence[Array]) -> complex:
    """⟨g, f(xs)⟩ over all results of f."""
    total: complex = sum(
        np.sum(g * np.asarray(out)) for g, out in zip(gs, results(f(*xs)), strict=True)
    )
    return total


def by_complex_step(f: Function, xs: Sequence[Array], gs: Sequence[Array], at: int) -> Array:
    """d⟨g, f⟩/d xs[at], exact to the last digits: Im f(x + ih)/h has no difference to cancel.

    W. Squire and G. Trapp, "Using complex variables to estimate derivatives of real functions",
    SIAM Review 40 (1998).
    """
    h = 1e-30
    slopes = np.empty(xs[at].shape)
    for k in np.ndindex(slopes.shape):
        moved = [x.astype(complex) if x.dtype.kind == "f" else x for x in xs]
        moved[at][k] += 1j * h
        slopes[k] = dot(f, moved, gs).imag / h
    return slopes


def by_differences(f: Function, xs: Sequence[Array], gs: Sequence[Array], at: int) -> Array:
    """d⟨g, f⟩/d xs[at] by central differences at h, h/2, h/4 and two Richardson steps."""
    slopes = np.empty(xs[at].shape)
    for k in np.ndindex(slopes.shape):
        h = 1e-2 * max(1.0, abs(xs[at][k]))
        wide, half, quarter = (difference(f, xs, gs, at, k, step) for step in (h, h / 2, h / 4))
        slopes[k] = (64 * quarter - 20 * half + wide) / 45
    return slopes


def difference(
    f: Function, xs: Sequence[Array], gs: Sequence[Array], at: int, k: Any, h: float
) -> float:
    """(⟨g, f(x + h)⟩ − ⟨g, f(x − h)⟩) / 2h for the element k of xs[at]."""
    up, down = ([x.copy() for x in xs] for _ in range(2))
    up[at][k] += h
    down[at][k] -= h
    return float(dot(f, up, gs) - dot(f, down, gs)) / float(up[at][k] - down[at][k])


def error(analytic: Any, numeric: Any) -> float:
    """max |analytic − numeric| / max(1, |numeric|)."""
    analytic, numeric = np.asarray(analytic), np.asarray(numeric)
    assert analytic.shape == numeric.shape, (analytic.shape, numeric.shape)
    return float(np.max(np.abs(analytic - numeric) / np.maximum(1, np.abs(numeric)), initial=0.0))
