"""Which numbers are bad: quick where none is, careful where one is."""

from __future__ import annotations

from cmath import isfinite
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import Array, Primitive


def finite(array: Any) -> bool:
    """Is every number finite?  One product says so at once, unless it overflows."""
    flat = array.ravel("K")
    if flat.itemsize > 2 and isfinite(flat.dot(flat)):
        return True
    return bool(np.isfinite(flat).all())


def huge(x: Any) -> Any:
    """Where a floating array or number is infinite, or as large as its dtype can hold."""
    array = np.asarray(x)
    if array.dtype.kind not in "fc":
        return np.zeros(array.shape, bool)
    return np.abs(array) >= np.finfo(array.dtype).max


def tamed(x: Any) -> Any:
    """`x` with 1 for its infinities."""
    found = huge(x) if isinstance(x, (np.ndarray, float)) else np.False_
    if not found.any():
        return x
    return np.where(found, x.dtype.type(1), x) if isinstance(x, np.ndarray) else 1.0


def unwanted(
    out: Array, slot: int, op: Primitive, raw: Sequence[Any], options: tuple[Any, ...]
) -> Array:
    """Where a result has NaN; else where it has infinities that did not come in."""
    missing, infinite = np.isnan(out), np.isinf(out)
    if missing.any():
        return missing
    if not any(huge(x).any() for x in (*raw, *options) if isinstance(x, (np.ndarray, float))):
        return infinite
    result = op.forward(*map(tamed, raw), *map(tamed, options))
    return infinite & np.isinf(result[slot] if isinstance(result, tuple) else result)
