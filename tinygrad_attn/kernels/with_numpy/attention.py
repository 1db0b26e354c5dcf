"""Attention in one piece: the weights are computed in place, once, and kept for backward.

With A = P∘F, the weights after dropout's factors F, and t = tanh(S/softcap):

    C = A V               dV = Aᵀ dC              dP = (dC Vᵀ)∘F
    dS′ = P∘(dP − δ)      δ = rowsum(dP∘P) = rowsum(dC∘C)     (Dao et al. 2022, appendix B.2)
    dR = dS′∘(1 − t²)·scale; without softcap dS′·scale
    dQ = dR K             dK = dRᵀ Q

A group of query heads that shares a key head is one head with more queries.
"""

from __future__ import annotations

import numpy as np

from ..limits import Array, Plan, blocking

EVERY = slice(None)
Residuals = tuple[Array, Array | None, Array | None, Array]


def forward(
    q: Array, k: Array, v: Array, added: Array | None, *, plan: Plan
) -> tuple[Array, Residuals]:
    """C (..., H, T, dv), and the residuals (P, t, F, C).

    Args:
        q, k, v: (..., H, T, d), (..., Hk, S, d) and (..., Hk, S, dv).
        added: what is added to the scores; broadcasts to them.
    """
    scores = unfolded(np.matmul(folded(q, k), k.mT), q)
    scores *= plan.scale
    if scores.shape != plan.shape:  # axes that only the values have
        scores = np.broadcast_to(scores, plan.shape).copy()
    slope = None
    if plan.softcap is not None:
        slope = np.tanh(scores / plan.softcap)
        np.multiply(slope, plan.softcap, out=scores)
    weights = softmax(limited(scores, added, plan), plan)
    drop = None if plan.factors is None else plan.factors.whole()
    out = unfolded(np.matmul(folded(dropped(weights, drop), v), v), q)
    dead = plan.limits.dead(EVERY)
    if dead is not None and plan.limits.empty_row == "nan":
        np.copyto(out, np.nan, where=dead)  # there may be no key to carry it
    return out, (weights, slope, drop, out)


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
    """dQ, dK, dV and, if it needs one, what is added; broadcast axes are not summed."""
    weights, slope, drop, out = residuals
    dscores = unfolded(np.matmul(folded(g, v), v.mT), q)
    if drop is not None:
        dscores *= drop
    dscores -= (g * out).sum(axis=-1, keepdims=True)
    dscores *= weights
    dead = plan.limits.dead(EVERY)
    if dead is not None and plan.limits.empty_row != "zero":
        np.copyto(dscores, 0, where=dead)
    dadded = dscores if needs[3] else None
    if slope is not None:
        dscores = dscores * (1 - slope * slope)
    dq = unfolded(np.matmul(folded(dscores, k), k), q)
    dk = np.matmul(folded(dscores, k).mT, folded(q, k))
    for gradient in (dq, dk):
        gradient *= plan.scale
    dv = np.matmul(folded(dropped(weights, drop), v).mT, folded(g, v))
    return dq, dk, dv, dadded


def dropped(weights: Array, drop: Array | None) -> Array:
    """A = P∘F."""
    return weights if drop is None else weights * drop


def limited(scores: Array, added: Array | None, plan: Plan) -> Array:
    """S′, in place of S: with what is added, and −∞ where a query must not attend."""
    allowed = plan.limits.allowed(*(slice(0, n) for n in plan.shape[-2:]))
    if added is not None:
        scores += added
    if allowed is not None:
        scores += blocking(allowed, scores.dtype)
    return scores


def softmax(scores: Array, plan: Plan) -> Array:
    """P, in place of S′; the rows that may attend to no key by their own rule."""
    dead, empty_row = plan.limits.dead(EVERY), plan.limits.empty_row
    if dead is not None:
        np.copyto(scores, 0, where=dead)  # else ∞ − ∞ would arise
    scores -= scores.max(axis=-1, keepdims=True, initial=-np.inf)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    if dead is not None and empty_row != "uniform":
        np.copyto(scores, 0 if empty_row == "zero" else np.nan, where=dead)
    return scores


def folded(x: Array, shared: Array) -> Array:
    """(..., H, T, d) -> (..., Hk, H/Hk·T, d), for `shared` (..., Hk, S, ·)."""
    if x.ndim < 3 or shared.ndim < 3 or x.shape[-3] == shared.shape[-3]:
        return x
    heads = shared.shape[-3]
    return x.reshape(*x.shape[:-3], heads, x.shape[-3] // heads * x.shape[-2], x.shape[-1])


def unfolded(x: Array, q: Array) -> Array:
    """(..., Hk, H/Hk·T, S) -> (..., H, T, S), for q (..., H, T, d)."""
    if q.ndim < 3 or x.shape[-3] == q.shape[-3]:
        return x
    return x.reshape(*x.shape[:-3], *q.shape[-3:-1], x.shape[-1])
