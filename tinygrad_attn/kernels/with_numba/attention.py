"""Attention's passes over the scores, compiled: a row is read and written once, while it is near.

kernels/passes.py says what each does.  Keys beyond the bounds of a query are not even looked at.
"""

from __future__ import annotations

import numpy as np

from ..limits import Array
from ..passes import Passes
from .compile import compiled
from .elementary import exp, maximum

FAR = 1 << 40  # no bound


def softmax(scores: Array, scale: float, low: int | None, high: int | None) -> None:
    """P = softmax(scale·R)."""
    if scores.size:
        queries, keys = scores.shape[-2:]
        rows = scores.reshape(-1, keys)
        softmax_rows(rows, queries, scores.dtype.type(scale), *bounds(low, high))


def dsoftmax(dweights: Array, weights: Array, scale: float) -> None:
    """scale·P∘(dP − δ)."""
    if weights.size:
        width = weights.shape[-1]
        rows = dweights.reshape(-1, width), weights.reshape(-1, width)
        dsoftmax_rows(*rows, weights.dtype.type(scale))


def online(
    scores: Array, low: int | None, high: int | None, largest: Array, total: Array, out: Array
) -> None:
    """E = exp(S − m)."""
    online_rows(scores, *bounds(low, high), largest, total, out)


def again(
    scores: Array, dweights: Array, low: int | None, high: int | None, logsum: Array, delta: Array
) -> None:
    """P = exp(S − L) and P∘(dP − δ)."""
    again_rows(scores, dweights, *bounds(low, high), logsum, delta)


def bounds(low: int | None, high: int | None) -> tuple[int, int]:
    """Both as numbers."""
    return -FAR if low is None else low, FAR if high is None else high


@compiled
def within_bounds(query: int, keys: int, low: int, high: int) -> tuple[int, int]:
    """The first key within the bounds, and the one after the last."""
    first = min(max(query + low, 0), keys)
    return first, max(min(query + high + 1, keys), first)


@compiled
def clear(row: Array) -> None:
    """Zeros: a loop, which is faster than an assignment to a slice."""
    for j in range(row.size):
        row[j] = 0


@compiled
def softmax_rows(scores: Array, queries: int, scale: float, low: int, high: int) -> None:
    """(n, S) scores in place, of heads with so many queries."""
    keys, real = scores.shape[1], scores.dtype.type
    for i in range(len(scores)):
        first, stop = within_bounds(i % queries, keys, low, high)
        clear(scores[i, :first])
        clear(scores[i, stop:])
        row = scores[i, first:stop]
        largest, total = real(-np.inf), real(0)
        for j in range(row.size):
            largest = maximum(largest, row[j] * scale)
        for j in range(row.size):
            e = exp(row[j] * scale - largest)
            total += e
            row[j] = e
        factor = real(1) / total
        for j in range(row.size):
            row[j] *= factor


@compiled
def dsoftmax_rows(dweights: Array, weights: Array, scale: float) -> None:
    """(n, S) each, in place of the first."""
    for i in range(len(weights)):
        d, p = dweights[i], weights[i]
        delta = d.dtype.type(0)
        for j in range(p.size):
            delta += d[j] * p[j]
        for j in range(p.size):
            d[j] = p[j] * (d[j] - delta) * scale


@compiled
def online_rows(
    scores: Array, low: int, high: int, largest: Array, total: Array, out: Array
) -> None:
    """(T, S) scores in place; (T, 1), (T, 1) and (T, dv)."""
    real = scores.dtype.type
    for query in range(len(scores)):
        first, stop = within_bounds(query, scores.shape[1], low, high)
        clear(scores[query, :first])
        clear(scores[query, stop:])
        row, before = scores[query, first:stop], largest[query, 0]
        m = before
        for j in range(row.size):
            m = maximum(m, row[j])
        largest[query, 0] = m
        shift = real(0) if m == -np.inf else m  # no key so far: ∞ − ∞ must not arise
        decay, added = exp(before - shift), real(0)
        for j in range(row.size):
            e = exp(row[j] - shift)
            added += e
            row[j] = e
        total[query, 0] = total[query, 0] * decay + added
        if decay != 1:
            out[query] *= decay


@compiled
def again_rows(
    scores: Array, dweights: Array, low: int, high: int, logsum: Array, delta: Array
) -> None:
    """(T, S) scores and dP in place; (T, 1) and (T, 1)."""
    for query in range(len(scores)):
        first, stop = within_bounds(query, scores.shape[1], low, high)
        for x in (scores, dweights):
            clear(x[query, :first])
            clear(x[query, stop:])
        s, d = scores[query, first:stop], dweights[query, first:stop]
        logarithm, middle = logsum[query, 0], delta[query, 0]
        for j in range(s.size):
            p = exp(s[j] - logarithm)
            s[j] = p
            d[j] = p * (d[j] - middle)


PASSES = Passes(softmax, dsoftmax, online, again)
