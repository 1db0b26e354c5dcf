"""What limits attention's weights: which query may attend to which key, and dropout.

Both are kept in a form that any block of keys can be worked out from, so that nothing as large as
the weights has to exist, unless the mask itself is.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
DRAWN = 128  # keys in a block of dropout's factors


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """Query i may attend to key j only if low ≤ j − i ≤ high, and `keep` says so.

    Attributes:
        low, high: bounds of j − i; None for no bound.
        keep: booleans that broadcast to the scores (..., T, S), True = may attend; None for all.
        alive: (..., T, 1), False for the queries that may attend to no key; None where all may.
        empty_row: what those get: "zero", "uniform" or "nan"; "error" only where there is no query.
    """

    low: int | None = None
    high: int | None = None
    keep: Array | None = None
    alive: Array | None = None
    empty_row: str = "zero"

    def allowed(self, queries: slice, keys: slice) -> Array | None:
        """Booleans for some queries and keys, which broadcast to their scores; None for all."""
        near = within(queries, keys, self.low, self.high)
        keep = None if self.keep is None else part(self.keep, queries, keys)
        return near if keep is None else keep if near is None else near & keep

    def dead(self, queries: slice) -> Array | None:
        """(..., T, 1), True where a query may attend to no key; None where all may attend."""
        return None if self.alive is None else ~part(self.alive, queries, slice(None))


def within(queries: slice, keys: slice, low: int | None, high: int | None) -> Array | None:
    """(T, S) booleans: low ≤ j − i ≤ high; None where every pair of these is within."""
    closest, farthest = keys.start - (queries.stop - 1), keys.stop - 1 - queries.start
    low = None if low is None or low <= closest else low
    high = None if high is None or high >= farthest else high
    if low is None and high is None:
        return None
    distance = np.arange(keys.start, keys.stop) - np.arange(queries.start, queries.stop)[:, None]
    if low is None:
        return distance <= high
    return distance >= low if high is None else (distance >= low) & (distance <= high)


def part(x: Array, queries: slice, keys: slice) -> Array:
    """Some queries and keys of `x`, which broadcasts to (..., T, S): its axes may be 1 long."""
    every = slice(None)
    columns = every if x.shape[-1] == 1 else keys
    if x.ndim == 1:
        return x[columns]
    return x[..., every if x.shape[-2] == 1 else queries, columns]


def blocking(allowed: Array, dtype: Any) -> Array:
    """0 where allowed, else −∞: adding it costs a quarter of what choosing by `where` costs."""
    bias = np.zeros(allowed.shape, dtype)
    bias[~allowed] = -np.inf
    return bias


def reached(
    queries: int, keys: int, low: int | None, high: int | None, keep: Array | None
) -> Array:
    """(..., T, 1) booleans: may the query attend to any key?

    A band alone needs memory for T numbers; beside a `keep`, counts of its size are made.
    """
    if keep is not None and low is None and high is None:
        found: Array = np.asarray(keep.any(axis=-1, keepdims=True) & (keys > 0))
        return found if keep.ndim > 1 else found[None]
    rows = np.arange(queries)
    first = np.zeros(queries, int) if low is None else np.clip(rows + low, 0, keys)
    end = np.full(queries, keys) if high is None else np.clip(rows + high + 1, 0, keys)
    if keep is None:
        return (first < end)[:, None]
    lead = keep.shape[:-2]
    counts = np.zeros((*lead, keep.shape[-2] if keep.ndim > 1 else 1, keys + 1), np.int32)
    np.cumsum(np.broadcast_to(keep, (*counts.shape[:-1], keys)), axis=-1, out=counts[..., 1:])
    counts = np.broadcast_to(counts, (*lead, queries, keys + 1))
    return (counts[..., rows, np.maximum(first, end)] > counts[..., rows, first])[..., None]


@dataclass(frozen=True, slots=True)
class Factors:
    """What dropout multiplies weights of `shape` (..., T, S) with: 0 or 1/(1 − p).

    Each block of keys has a seed of its own, and what is drawn for a row has its place in the
    block's stream, so that every method, and every backward, meets the same, in whatever pieces.
    """

    seed: int
    p: float
    shape: tuple[int, ...]
    dtype: Any

    def whole(self) -> Array:
        """All of them, (..., T, S)."""
        rows = prod(self.shape[:-1])
        return self.rows(0, rows, slice(0, self.shape[-1])).reshape(self.shape)

    def tile(self, head: int, queries: slice, keys: slice) -> Array:
        """Those of some queries and keys of the head with this number, all heads in a row."""
        before = head * self.shape[-2]
        return self.rows(before + queries.start, before + queries.stop, keys)

    def rows(self, start: int, stop: int, keys: slice) -> Array:
        """Those of some rows, all queries of all heads in a row."""
        first, end = keys.start // DRAWN, -(-keys.stop // DRAWN)
        blocks = [self.block(index, start, stop) for index in range(first, end)]
        factors = (
            np.concatenate(blocks, axis=-1) if blocks else np.ones((stop - start, 0), self.dtype)
        )
        return factors[:, keys.start - first * DRAWN : keys.stop - first * DRAWN]

    def block(self, index: int, start: int, stop: int) -> Array:
        """Those of some rows in block `index` of the keys."""
        width = min(DRAWN, self.shape[-1] - index * DRAWN)
        drawn = width + width % 2  # the stream goes on by two numbers at a time
        stream = np.random.PCG64([self.seed, index]).advance(start * drawn // 2)
        numbers = np.random.Generator(stream).random((stop - start, drawn), dtype=np.float32)
        return np.multiply(numbers[:, :width] >= self.p, np.asarray(1 / (1 - self.p), self.dtype))


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about one attention but its arrays.

    Attributes:
        shape: of the scores, (..., H, T, S).
        limits: which query may attend to which key.
        scale: factor of the scores.
        softcap: limits the scores to ±softcap, before the mask; None for no limit.
        factors: dropout's; None for none.
    """

    shape: tuple[int, ...]
    limits: Limits
    scale: float
    softcap: float | None = None
    factors: Factors | None = None
