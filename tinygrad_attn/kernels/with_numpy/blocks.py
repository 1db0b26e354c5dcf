"""Many passes over a block at a time: a block stays in the cache, memory is read and written once.

A NumPy pass over a large array waits for memory: a formula of ten passes waits ten times.  Over
blocks that fit the cache next to each core the same ten passes wait once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..limits import Array
from ..threads import share

BLOCK = 1 << 15  # elements: four float32 arrays of it fill half of a common L2 cache of 1 MB
SHARED = 1 << 18  # elements: from here on handing blocks to other threads pays


def elementwise(work: Callable[..., object], *arrays: Array) -> None:
    """Call `work` on blocks of `arrays`, all of one shape, each flattened; small ones as they are.

    What `work` writes into must be contiguous: reshaping copies what is not.
    """
    if arrays[0].size <= BLOCK:
        work(*arrays)
    else:
        cut(work, [a.reshape(-1) for a in arrays], BLOCK, arrays[0].size)


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
    """`work` on every `grain` rows; results in order, whichever thread they come from."""
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
    width = x.shape[-1]
    return x.reshape(-1, width) if x.size else x.reshape(lead_size(x), width)


def lead_size(x: Array) -> int:
    """How many rows there are, where the size cannot tell."""
    n = 1
    for length in x.shape[:-1]:
        n *= length
    return n
