"""Attention over blocks of keys: no array of all weights is made.

Online softmax (Milakov and Gimelshein 2018) and backward by recomputation, as in FlashAttention
(Dao et al. 2022, algorithms 2 and 4), with one division at the end, and L alone kept of m and l
(Dao 2023, algorithms 1 and 2).  For each block, with m the largest score so far:

    m ← max(m, max S′)          decay = exp(m_before − m)      E = exp(S′ − m)
    l ← decay·l + rowsum(E)     C ← decay·C + (E∘F) V          at the end C / l and L = m + log l

Backward computes P = exp(S′ − L) again, block by block.  Only C and L are kept.
"""

from __future__ import annotations

import numpy as np

from ..limits import Array, Plan, blocking, blocks_of, part

Residuals = tuple[Array, Array]


def forward(
    q: Array, k: Array, v: Array, added: Array | None, *, plan: Plan
) -> tuple[Array, Residuals]:
    """C, and (C, L).

    Args:
        q, k, v: (..., H, T, d), (..., Hk, S, d) and (..., Hk, S, dv).
        added: what is added to the scores; broadcasts to them.
    """
    rows = (*plan.shape[:-1], 1)
    largest, total = np.full(rows, -np.inf, q.dtype), np.zeros(rows, q.dtype)
    out = np.zeros((*plan.shape[:-1], v.shape[-1]), q.dtype)
    for index, keys in enumerate(blocks_of(plan.shape[-1])):
        queries = seeing(keys, plan)
        scores, _ = block_scores(q, k, added, queries, keys, plan)
        m, sums, context = (x[..., queries, :] for x in (largest, total, out))
        before, m[:] = m.copy(), np.maximum(m, scores.max(axis=-1, keepdims=True))
        shift = np.where(np.isneginf(m), 0, m)  # no key so far: ∞ − ∞ must not arise
        decay, e = np.exp(before - shift), np.exp(scores - shift)
        sums[:] = decay * sums + e.sum(axis=-1, keepdims=True)
        if plan.factors is not None:
            e *= plan.factors.block(index)[..., queries, :]
        context[:] = decay * context + e @ spread(v[..., keys, :], plan)
    return finished(out, largest, total, plan)


def finished(out: Array, largest: Array, total: Array, plan: Plan) -> tuple[Array, Residuals]:
    """C / l and L; the rows that may attend to no key by their own rule."""
    dead = plan.limits.dead(slice(None))
    if dead is not None and (plan.limits.empty_row != "uniform" or not plan.shape[-1]):
        np.copyto(total, 1, where=dead)
        np.copyto(largest, 0, where=dead)
        np.copyto(out, np.nan if plan.limits.empty_row == "nan" else 0, where=dead)
    out /= total
    return out, (out, largest + np.log(total))


def backward(
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
    """dQ, dK, dV and, if it needs one, what is added."""
    out, logsum = residuals
    delta = (g * out).sum(axis=-1, keepdims=True)  # δ = rowsum(dC∘C)
    dq = np.zeros((*plan.shape[:-1], q.shape[-1]), q.dtype)
    dk, dv = np.zeros(k.shape, k.dtype), np.zeros(v.shape, v.dtype)
    dadded = np.zeros(added.shape, added.dtype) if added is not None and needs[3] else None
    for index, keys in enumerate(blocks_of(plan.shape[-1])):
        queries = seeing(keys, plan)
        scores, slope = block_scores(q, k, added, queries, keys, plan)
        weights, dead = np.exp(scores - logsum[..., queries, :]), plan.limits.dead(queries)
        if dead is not None and plan.limits.empty_row == "nan":
            np.copyto(weights, np.nan, where=dead)
        drop = None if plan.factors is None else plan.factors.block(index)[..., queries, :]
        g_part = g[..., queries, :]
        dscores = g_part @ spread(v[..., keys, :], plan).mT
        if drop is not None:
            dscores *= drop
        dscores = weights * (dscores - delta[..., queries, :])
        if dead is not None and plan.limits.empty_row != "zero":
            np.copyto(dscores, 0, where=dead)
        if dadded is not None:
            place = part(dadded, queries, keys)
            place += summed_to(dscores, place.shape)
        if slope is not None:
            dscores *= 1 - slope * slope
        dscores *= plan.scale
        dq[..., queries, :] += dscores @ spread(k[..., keys, :], plan)
        dk[..., keys, :] += gathered(dscores.mT @ q[..., queries, :], k[..., keys, :].shape)
        weights = weights if drop is None else weights * drop
        dv[..., keys, :] += gathered(weights.mT @ g_part, v[..., keys, :].shape)
    return dq, dk, dv, dadded


def seeing(keys: slice, plan: Plan) -> slice:
    """The queries that some of these keys are within reach of."""
    low, high = plan.limits.low, plan.limits.high
    queries = plan.shape[-2]
    if plan.limits.alive is not None and plan.limits.empty_row != "zero":
        return slice(0, queries)  # empty rows get something of every key
    first = 0 if high is None else min(max(keys.start - high, 0), queries)
    stop = queries if low is None else max(min(keys.stop - low, queries), first)
    return slice(first, stop)


def block_scores(
    q: Array, k: Array, added: Array | None, queries: slice, keys: slice, plan: Plan
) -> tuple[Array, Array | None]:
    """S′ of some queries and keys, and tanh(S/softcap) if there is a soft cap."""
    limits = plan.limits
    scores = (q[..., queries, :] @ spread(k[..., keys, :], plan).mT) * plan.scale
    lead = plan.shape[:-2]
    if scores.shape[:-2] != lead:  # axes that only the values have
        scores = np.broadcast_to(scores, (*lead, *scores.shape[-2:])).copy()
    slope = None
    if plan.softcap is not None:
        slope = np.tanh(scores / plan.softcap)
        scores = slope * plan.softcap
    if added is not None:
        scores += part(added, queries, keys)
    allowed = limits.allowed(queries, keys)
    if allowed is not None:
        scores += blocking(allowed, scores.dtype)
    dead = limits.dead(queries)
    if dead is not None and limits.empty_row == "uniform":
        np.copyto(scores, 0, where=dead)
    return scores, slope


def spread(x: Array, plan: Plan) -> Array:
    """Keys or values (..., Hk, S, d), once for each query head: (..., H, S, d)."""
    if x.ndim < 3 or x.shape[-3] in (1, plan.shape[-3]):
        return x
    return np.repeat(x, plan.shape[-3] // x.shape[-3], axis=-3)


def gathered(x: Array, shape: tuple[int, ...]) -> Array:
    """The reverse of `spread` and of broadcasting: (..., H, S, d) summed to (..., Hk, S, d)."""
    if len(shape) > 2 and shape[-3] not in (1, x.shape[-3]):
        group = x.shape[-3] // shape[-3]
        x = x.reshape(*x.shape[:-3], shape[-3], group, *x.shape[-2:]).sum(axis=-3)
    return summed_to(x, shape)


def summed_to(x: Array, shape: tuple[int, ...]) -> Array:
    """`x` summed over the axes along which `shape` was broadcast to it."""
    extra = x.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1))
    summed: Array = x.sum(axis=axes).reshape(shape) if axes else x
    return summed
