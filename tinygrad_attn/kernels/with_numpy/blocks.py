"""Many passes over a block at a time: a block stays in the cache, memory is read and written once.

A NumPy pass over a large array waits for memory: a formula of ten passes waits ten times.  Over
blocks that fit the cache next to each core the same ten passes wait once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from ..limits import Array
from ..threads import share

# Both in elements.  Shorter blocks would stay in nearer caches, but lose more by their calls.
BLOCK = 3 << 15
SHARED = 1 << 18  # from here on blocks are handed to other threads too


def elementwise(work: Callable[..., object], *arrays: Array) -> None:
    """Call `work` on blocks of `arrays`, all of one shape, each flattened; small ones as they are.

    What `work` writes into must be contiguous: reshaping copies what is not.
    """
    size = arrays[0].size
    if size <= BLOCK and arrays[0].ndim:
        work(*arrays)
    else:  # a number alone too: NumPy's results would be no arrays
        cut(work, [a.reshape(-1) for a in arrays], BLOCK, size)


def rowwise(work: Callable[..., Any], *arrays: Array) -> list[Any]:
    """What `work` returns for blocks of rows of `arrays` (..., width), in order.

    The first array tells the width; the others may have last axes of their own.
    """
    width = arrays[0].shape[-1]
    flat = [rows(a) for a in arrays]
    if arrays[0].size <= BLOCK:
        return [work(*flat)]
    return cut(work, flat, max(1, BLOCK // width), arrays[0].size)


def cut(work: Callable[..., Any], arrays: list[Array], grain: int, size: int) -> list[Any]:
    """`work` on every `grain` rows; results in order, whichever thread they come from.

    Parts may be many, unlike numba's: NumPy takes the interpreter's lock after every pass anyway.
    """
    n = len(arrays[0])
    results = [None] * -(-n // grain)

    def part(start: int, stop: int) -> None:
        results[start // grain] = work(*[a[start:stop] for a in arrays])

    if size >= SHARED:
        share(part, n, grain)
    else:
        for start in range(0, n, grain):
            part(start, min(start + grain, n))
    return results


def rows(x: Array) -> Array:
    """(..., d) -> (n, d), a view where the strides allow it."""
    if x.ndim == 2:
        return x
    *lead, width = x.shape
    return x.reshape(-1 if x.size else prod(lead), width)


def dense(x: Array) -> Array:
    """`rows` without gaps along a row, for dot products: others are added up one by one, badly."""
    flat = rows(x)
    return flat if flat.strides[1] == flat.itemsize else np.ascontiguousarray(flat)


@lru_cache(32)
def ones(width: int, dtype: Any) -> Array:
    """So many ones: a dot product with them is the fastest sum along a row."""
    made = np.ones(width, dtype)
    made.setflags(write=False)
    return made
