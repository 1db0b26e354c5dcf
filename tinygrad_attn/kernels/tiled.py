"""Attention in tiles of queries × keys: no array of all weights is made.

Online softmax (Milakov and Gimelshein 2018) and backward by recomputation, as in FlashAttention
(Dao et al. 2022, algorithms 2 and 4), with one division at the end, and L alone kept of m and l
(Dao 2023, algorithms 1 and 2).  For each tile (T, S), with m (T, 1) the largest score of a
query so far, l and L (T, 1), V (S, dv) and C (T, dv):

    m ← max(m, max S′)          decay = exp(m_before − m)      E = exp(S′ − m)
    l ← decay·l + rowsum(E)     C ← decay·C + (E∘F) V          at the end C / l and L = m + log l

Backward computes P = exp(S′ − L) again, tile by tile.  Only C and L are kept.

A head is worked on alone: in forward a block of its queries meets the keys, tile by tile, in
backward a tile of its keys meets the queries; several of these run at once.  A tile fits a core's
cache.  Tiles whose queries see none of their keys for distance are left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from .limits import Array, Limits, Plan, blocking, part
from .passes import Passes
from .threads import share

QUERIES = 256  # in a tile
KEYS = 512
SPLIT = 8  # parts of the work in backward, at least; each sums up a dQ of its own
PIECE = 1 << 20  # weights in a part of the work in forward, at least
PRODUCT = 1 << 19  # multiplications in a product that the BLAS does not share among its own threads

Residuals = tuple[Array, Array]


class Head(NamedTuple):
    """One query head.

    Attributes:
        place: among the heads of all sequences, (..., h).
        number: the same, counted through.
        q, k, v: Q·scale (T, d), K (S, d) and V (S, dv).
        kt: Kᵀ (d, S), in rows without gaps.
        added: what is added to the scores, which it broadcasts to; or None.
        limits: which query may attend to which key.
        plan: of all heads.
    """

    place: tuple[int, ...]
    number: int
    q: Array
    k: Array
    v: Array
    kt: Array
    added: Array | None
    limits: Limits
    plan: Plan


class Upstream(NamedTuple):
    """What comes to a head's backward beside its arrays: Vᵀ (dv, S), dC (T, dv), L and δ (T, 1)."""

    vt: Array
    g: Array
    logsum: Array
    delta: Array


class Gradients(NamedTuple):
    """Where a head's gradients are summed up; None for those that nobody wants."""

    dq: Array | None
    dk: Array | None
    dv: Array | None
    dadded: Array | None


def forward(
    passes: Passes, q: Array, k: Array, v: Array, added: Array | None, *, plan: Plan
) -> tuple[Array, Residuals]:
    """C (..., H, T, dv), and (C, L).

    Args:
        q, k, v: (..., H, T, d), (..., Hk, S, d) and (..., Hk, S, dv).
        added: what is added to the scores; broadcasts to them.
    """
    out = np.empty((*plan.shape[:-1], v.shape[-1]), q.dtype)
    logsum = np.empty((*plan.shape[:-1], 1), q.dtype)
    heads, blocks = heads_of(q, k, v, added, plan), tiles(0, plan.shape[-2], QUERIES)

    def work(start: int, stop: int) -> None:
        for item in range(start, stop):
            head, queries = heads[item // len(blocks)], blocks[item % len(blocks)]
            attend(passes, head, queries, out[head.place][queries], logsum[head.place][queries])

    weights = min(QUERIES, plan.shape[-2]) * plan.shape[-1]
    share(work, len(heads) * len(blocks), max(1, PIECE // max(1, weights)))
    return out, (out, logsum)


def attend(passes: Passes, head: Head, queries: slice, out: Array, logsum: Array) -> None:
    """Write C (T, dv) and L (T, 1) of some queries of a head."""
    plan, q, count = head.plan, head.q[queries], len(out)
    largest, total = np.full((count, 1), -np.inf, q.dtype), logsum
    total[:] = out[:] = 0
    buffer, context = np.empty(count * min(KEYS, len(head.k)), q.dtype), np.empty_like(out)
    for keys in tiles(*seen(queries, plan), KEYS):
        scores = shaped(buffer, (count, keys.stop - keys.start))
        product(q, head.kt[:, keys], scores)
        low, high, _ = limited(scores, head, queries, keys)
        passes.online(scores, low, high, largest, total, out)
        if plan.factors is not None:
            scores *= plan.factors.tile(head.number, queries, keys)
        product(scores, head.v[keys], context)
        out += context
    dead = head.limits.dead(queries)
    if dead is not None and (plan.limits.empty_row != "uniform" or not plan.shape[-1]):
        np.copyto(total, 1, where=dead)
        np.copyto(largest, 0, where=dead)
        np.copyto(out, np.nan if plan.limits.empty_row == "nan" else 0, where=dead)
    out /= total
    np.add(largest, np.log(total), out=logsum)


def backward(
    passes: Passes,
    g: Array,
    residuals: Residuals,
    q: Array,
    k: Array,
    v: Array,
    added: Array | None,
    *,
    needs: tuple[bool, ...],
    plan: Plan,
) -> tuple[Array | None, ...]:
    """dQ, dK, dV and that of what is added; only grouped heads are summed."""
    out, logsum = residuals
    heads, blocks = heads_of(q, k, v, added, plan), tiles(0, plan.shape[-1], KEYS)
    split = max(1, min(-(-SPLIT // max(1, len(heads))), len(blocks)))
    shapes = (split, *plan.shape[:-1], q.shape[-1]), spread(k, plan), spread(v, plan)
    dq, dk, dv = (np.zeros(shape, q.dtype) if n else None for shape, n in zip(shapes, needs))
    dadded = np.zeros(added.shape, q.dtype) if added is not None and needs[3] else None
    vt, g = np.ascontiguousarray(v.mT), np.ascontiguousarray(g)
    delta = np.vecdot(g, out)[..., None]  # δ = rowsum(dC∘C)

    def work(start: int, stop: int) -> None:
        for item in range(start, stop):
            head, first = heads[item // split], item % split
            mine = Upstream(*[of(x, head.place, plan) for x in (vt, g, logsum, delta)])
            into = Gradients(
                None if dq is None else dq[first][head.place],
                *[of(x, head.place, plan) for x in (dk, dv, dadded)],
            )
            for keys in blocks[first::split]:
                differentiate(passes, head, keys, mine, into)

    items = len(heads) * split
    share(work, items, 1 if dadded is None else max(1, items))  # all heads add to the same
    if dq is not None:
        dq = dq[0] if split == 1 else np.add.reduce(dq)
        dq *= plan.scale
    return dq, gathered(dk, k), gathered(dv, v), dadded


def differentiate(
    passes: Passes, head: Head, keys: slice, upstream: Upstream, into: Gradients
) -> None:
    """Add what a tile of keys contributes to a head's gradients."""
    size = QUERIES * (keys.stop - keys.start)
    buffers = np.empty(size, head.q.dtype), np.empty(size, head.q.dtype)
    for queries in tiles(*seeing(keys, head.plan), QUERIES):
        first, stop = seen(queries, head.plan)
        near = slice(max(keys.start, first), min(keys.stop, stop))
        if near.start < near.stop:
            differentiate_tile(passes, head, queries, near, upstream, into, buffers)


def differentiate_tile(
    passes: Passes,
    head: Head,
    queries: slice,
    keys: slice,
    upstream: Upstream,
    into: Gradients,
    buffers: tuple[Array, Array],
) -> None:
    """Add what some queries and keys contribute."""
    plan, q, g = head.plan, head.q[queries], upstream.g[queries]
    shape = len(q), keys.stop - keys.start
    scores, dscores = (shaped(buffer, shape) for buffer in buffers)
    product(q, head.kt[:, keys], scores)  # S = R·scale
    product(g, upstream.vt[:, keys], dscores)  # dA = dC Vᵀ
    low, high, squashed = limited(scores, head, queries, keys)
    factors = None
    if plan.factors is not None:
        factors = plan.factors.tile(head.number, queries, keys)
        dscores *= factors
    logsum, delta = upstream.logsum[queries], upstream.delta[queries]
    passes.again(scores, dscores, low, high, logsum, delta)  # P, and dS′ = P∘(dP − δ)
    dead = head.limits.dead(queries)
    if dead is not None and plan.limits.empty_row != "zero":
        np.copyto(dscores, 0, where=dead)
        if plan.limits.empty_row == "nan":
            np.copyto(scores, np.nan, where=dead)
    if factors is not None:
        scores *= factors
    if into.dadded is not None:
        place = part(into.dadded, queries, keys)
        place += summed_to(dscores, place.shape)
    if squashed is not None:
        dscores *= 1 - squashed * squashed
    accumulate(into.dq, queries, dscores, head.k[keys])  # dQ = dS K·scale, which comes later
    accumulate(into.dk, keys, dscores.T, q)  # dK = dSᵀ Q·scale
    accumulate(into.dv, keys, scores.T, g)  # dV = Aᵀ dC


# ── heads ────────────────────────────────────────────────────────────────────────────────────────
def heads_of(q: Array, k: Array, v: Array, added: Array | None, plan: Plan) -> list[Head]:
    """Every query head of every sequence."""
    q, kt, limits = q * plan.scale, np.ascontiguousarray(k.mT), plan.limits

    def head(number: int, place: tuple[int, ...]) -> Head:
        def own(x: Array | None) -> Any:
            return of(x, place, plan)

        mine = limits
        if limits.keep is not None or limits.alive is not None:
            mine = replace(limits, keep=own(limits.keep), alive=own(limits.alive))
        return Head(place, number, own(q), own(k), own(v), own(kt), own(added), mine, plan)

    return [head(*place) for place in enumerate(np.ndindex(*plan.shape[:-2]))]


def of(x: Array | None, place: tuple[int, ...], plan: Plan) -> Any:
    """The head at `place` of `x` (..., ·, ·), whose axes before may be missing, 1 or grouped."""
    if x is None:
        return None
    missing = len(plan.shape) - x.ndim
    axes = zip(place[missing:], x.shape, plan.shape[missing:])
    return x[tuple([i * n // full for i, n, full in axes])]


def spread(x: Array, plan: Plan) -> tuple[int, ...]:
    """The shape of keys or values (..., S, d) once every query head has its own."""
    return (*plan.shape[:-2], *x.shape[-2:])


def gathered(x: Array | None, like: Array) -> Array | None:
    """(..., H, S, d) summed to the (..., Hk, S, d) of keys or values."""
    if x is None or like.ndim < 3 or like.shape[-3] in (1, x.shape[-3]):
        return x
    heads = like.shape[-3]
    return x.reshape(*x.shape[:-3], heads, x.shape[-3] // heads, *x.shape[-2:]).sum(axis=-3)


# ── tiles ────────────────────────────────────────────────────────────────────────────────────────
def tiles(start: int, stop: int, size: int) -> list[slice]:
    """Slices of at most `size`, in order."""
    return [slice(first, min(first + size, stop)) for first in range(start, stop, size)]


def seen(queries: slice, plan: Plan) -> tuple[int, int]:
    """The first key within reach of some queries, and the one after the last."""
    limits, keys = plan.limits, plan.shape[-1]
    if limits.alive is not None and limits.empty_row != "zero":
        return 0, keys  # empty rows get something of every key
    first = 0 if limits.low is None else max(queries.start + limits.low, 0)
    return first, keys if limits.high is None else min(queries.stop + limits.high, keys)


def seeing(keys: slice, plan: Plan) -> tuple[int, int]:
    """The first query within reach of some keys, and the one after the last."""
    limits, queries = plan.limits, plan.shape[-2]
    if limits.alive is not None and limits.empty_row != "zero":
        return 0, queries
    first = 0 if limits.high is None else max(keys.start - limits.high, 0)
    return first, queries if limits.low is None else min(keys.stop - limits.low, queries)


def limited(
    scores: Array, head: Head, queries: slice, keys: slice
) -> tuple[int | None, int | None, Array | None]:
    """S′ in place of S, but for the bounds of distance, which the next pass minds.

    Returns:
        These as bounds of j − i within the tile, and tanh(S/softcap) if there is a softcap.
    """
    limits, squashed = head.limits, None
    if head.plan.softcap is not None:
        squashed = np.tanh(scores / head.plan.softcap)
        np.multiply(squashed, head.plan.softcap, out=scores)
    if head.added is not None:
        scores += part(head.added, queries, keys)
    if limits.keep is None and limits.alive is None:
        shift = queries.start - keys.start
        low, high = (None if n is None else n + shift for n in (limits.low, limits.high))
        return low, high, squashed
    allowed, dead = limits.allowed(queries, keys), limits.dead(queries)
    if allowed is not None:
        scores += blocking(allowed, scores.dtype)
    if dead is not None and limits.empty_row == "uniform":
        np.copyto(scores, 0, where=dead)
    return None, None, squashed


# ── products ─────────────────────────────────────────────────────────────────────────────────────
def product(a: Array, b: Array, out: Array) -> None:
    """a b, in pieces so small that the BLAS leaves each to this thread.

    Threads of the BLAS would wait for one another, and spin meanwhile.
    """
    rows = max(1, PRODUCT // max(1, b.size))
    whole = len(a) // rows
    if whole:
        cut = whole * rows
        pieces = out[:cut].reshape(whole, rows, out.shape[1])
        np.matmul(a[:cut].reshape(whole, rows, a.shape[1]), b, out=pieces)
        a, out = a[cut:], out[cut:]
    if len(a):
        np.matmul(a, b, out=out)


def accumulate(total: Array | None, rows: slice, a: Array, b: Array) -> None:
    """Add a b to some rows of `total`, if it is wanted."""
    if total is not None:
        added = np.empty((len(a), b.shape[1]), a.dtype)
        product(a, b, added)
        total[rows] += added


def shaped(buffer: Array, shape: tuple[int, int]) -> Array:
    """The beginning of `buffer` as an array of `shape`."""
    return buffer[: shape[0] * shape[1]].reshape(shape)


def summed_to(x: Array, shape: tuple[int, ...]) -> Array:
    """`x` summed over the axes along which `shape` was broadcast to it."""
    extra = x.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1))
    summed: Array = x.sum(axis=axes).reshape(shape) if axes else x
    return summed
