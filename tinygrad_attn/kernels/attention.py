"""Attention in one piece: the weights are computed in place, once, and kept for backward.

With S = scale·R, A = P∘F the weights after dropout's factors F, and t = tanh(S/softcap); for a head
Q is (T, d), K (S, d), V (S, dv), all of R, S, P, F and A (T, S), C (T, dv), δ (T, 1):

    C = A V               dV = Aᵀ dC              dP = (dC Vᵀ)∘F
    dS′ = P∘(dP − δ)      δ = rowsum(dP∘P)
    dR = dS′∘(1 − t²)·scale; without softcap dS′·scale
    dQ = dR K             dK = dRᵀ Q

The products are NumPy's; what goes over the scores is a set's own (passes.py).  A group of query
heads that shares a key head is one head with more queries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .limits import Array, Plan, blocking
from .passes import Passes
from .threads import share

PIECE = 1 << 17  # weights in a part of the work: they fit a core's cache
SMALL = 1 << 12  # numbers: products with fewer are not worth a transposed copy


class Kept(NamedTuple):
    """What backward needs of some sequences.

    Attributes:
        q, k, v: (..., H, T, d), (..., Hk, S, d) and (..., Hk, S, dv).
        dead: (..., T, 1), True for queries that may attend to no key; None where all may.
        weights, squashed, factors: P, t and F, (..., H, T, S); t only with softcap,
            F only with dropout.
    """

    q: Array
    k: Array
    v: Array
    dead: Array | None
    weights: Array
    squashed: Array | None
    factors: Array | None


def forward(
    passes: Passes, q: Array, k: Array, v: Array, added: Array | None, *, plan: Plan
) -> tuple[Array, Kept]:
    """C (..., H, T, dv), and what is kept.

    Args:
        q, k, v: (..., H, T, d), (..., Hk, S, d) and (..., Hk, S, dv).
        added: what is added to the scores; broadcasts to them.
    """
    out = np.empty((*plan.shape[:-1], v.shape[-1]), q.dtype)
    return out, attend(passes, q, k, v, added, plan, out)


def backward(
    passes: Passes,
    g: Array,
    kept: Kept,
    q: Array,
    k: Array,
    v: Array,
    added: Array | None,
    *,
    needs: tuple[bool, ...],
    plan: Plan,
) -> tuple[Array | None, ...]:
    """dQ, dK, dV and that of what is added; broadcast axes are not summed."""
    dq = np.empty((*plan.shape[:-1], q.shape[-1]), q.dtype) if needs[0] else None
    dk = np.empty(spread(k, plan), q.dtype) if needs[1] else None
    dv = np.empty(spread(v, plan), q.dtype) if needs[2] else None
    dadded = np.empty(plan.shape, q.dtype) if needs[3] else None
    differentiate(passes, g, kept, plan, dq, dk, dv, dadded)
    return dq, dk, dv, dadded


def attend(
    passes: Passes, q: Array, k: Array, v: Array, added: Array | None, plan: Plan, out: Array
) -> Kept:
    """Write C into `out`, which may have any strides where heads are not grouped."""
    limits, weights = plan.limits, np.empty(plan.shape, q.dtype)
    squashed = None if plan.softcap is None else np.empty_like(weights)
    factors = None if plan.factors is None else plan.factors.whole()
    dead, allowed = None if limits.alive is None else ~limits.alive, limits.keep
    if dead is not None:  # the passes know nothing of empty rows: here are the bounds too
        allowed = limits.allowed(*(slice(0, n) for n in plan.shape[-2:]))
    blocked = None if allowed is None else blocking(allowed, q.dtype)
    kept = Kept(q, k, v, dead, weights, squashed, factors)
    in_parts(attend_part, passes, plan, kept, added, blocked, out)
    return kept


def attend_part(
    passes: Passes, plan: Plan, kept: Kept, added: Array | None, blocked: Array | None, out: Array
) -> None:
    """C = A V of some sequences."""
    q, k, v, dead, weights, squashed, factors = kept
    limits = plan.limits
    np.matmul(folded(q, k), turned(k, q), out=folded(weights, k))  # R = Q Kᵀ
    scale = limited(weights, squashed, added, blocked, dead, plan)
    if dead is None:
        passes.softmax(weights, scale, limits.low, limits.high)  # P = softmax(S′)
    else:
        passes.softmax(weights, scale, None, None)
        if limits.empty_row != "uniform":
            np.copyto(weights, 0 if limits.empty_row == "zero" else np.nan, where=dead)
    np.matmul(folded(dropped(weights, factors), v), v, out=folded(out, v))
    if dead is not None and limits.empty_row == "nan":
        np.copyto(out, np.nan, where=dead)  # there may be no key to carry it


def limited(
    scores: Array,
    squashed: Array | None,
    added: Array | None,
    blocked: Array | None,
    dead: Array | None,
    plan: Plan,
) -> float:
    """S′ in place of R, but for a factor, which is returned: the next pass takes it along."""
    if squashed is None and added is None and blocked is None and dead is None:
        return plan.scale
    scores *= plan.scale
    if squashed is not None and plan.softcap is not None:
        np.tanh(scores / plan.softcap, out=squashed)
        np.multiply(squashed, plan.softcap, out=scores)
    if added is not None:
        scores += added
    if blocked is not None:
        scores += blocked
    if dead is not None:
        np.copyto(scores, 0, where=dead)  # else ∞ − ∞ would arise
    return 1.0


def differentiate(
    passes: Passes,
    g: Array,
    kept: Kept,
    plan: Plan,
    dq: Array | None,
    dk: Array | None,
    dv: Array | None,
    dadded: Array | None,
) -> None:
    """Write the gradients that are not None; any strides will do where heads are not grouped."""
    in_parts(differentiate_part, passes, plan, kept, g, dq, dk, dv, dadded)


def differentiate_part(
    passes: Passes,
    plan: Plan,
    kept: Kept,
    g: Array,
    dq: Array | None,
    dk: Array | None,
    dv: Array | None,
    dadded: Array | None,
) -> None:
    """The gradients of some sequences."""
    q, k, v, dead, weights, squashed, factors = kept
    g_folded = folded(g, v)
    if dv is not None:
        np.matmul(folded(dropped(weights, factors), v).mT, g_folded, out=dv)  # dV = Aᵀ dC
    if dq is None and dk is None and dadded is None:
        return
    dscores = np.empty_like(weights) if dadded is None else dadded
    np.matmul(g_folded, turned(v, g_folded), out=folded(dscores, v))  # dP = dC Vᵀ
    if factors is not None:
        dscores *= factors
    passes.dsoftmax(dscores, weights, plan.scale if dadded is None else 1.0)
    if dead is not None and plan.limits.empty_row != "zero":
        np.copyto(dscores, 0, where=dead)
    if dadded is not None:
        dscores = dscores * plan.scale
    if squashed is not None:
        dscores *= 1 - squashed * squashed
    if dq is not None:
        np.matmul(folded(dscores, k), k, out=folded(dq, k))  # dQ = dR K
    if dk is not None:
        np.matmul(folded(dscores, k).mT, folded(q, k), out=dk)  # dK = dRᵀ Q


def in_parts(
    work: Callable[..., None], passes: Passes, plan: Plan, kept: Kept, *arrays: Array | None
) -> None:
    """`work` with all of these; much of it is cut along the first axis into parts run at once."""
    weights = kept.weights
    # One sequence is one part: its heads may share keys, and "tiled" is for long ones.
    if weights.size <= PIECE or weights.ndim < 4:
        return work(passes, plan, kept, *arrays)

    def cut(start: int, stop: int) -> None:
        def some(x: Array | None) -> Any:
            return x if x is None or x.ndim < weights.ndim or len(x) == 1 else x[start:stop]

        work(passes, plan, Kept(*map(some, kept)), *map(some, arrays))

    parts = -(-weights.size // PIECE)
    return share(cut, len(weights), -(-len(weights) // parts))


def turned(x: Array, other: Array) -> Array:
    """Xᵀ to multiply `other` with; a copy, which pays in a large product."""
    return x.mT if min(x.size, other.size) < SMALL else np.ascontiguousarray(x.mT)


def dropped(weights: Array, factors: Array | None) -> Array:
    """A = P∘F."""
    return weights if factors is None else weights * factors


def folded(x: Array, shared: Array) -> Array:
    """(..., H, T, d) -> (..., Hk, H/Hk·T, d), for `shared` (..., Hk, S, ·)."""
    if x.shape[-3:-2] == shared.shape[-3:-2] or x.ndim < 3 or shared.ndim < 3:
        return x
    heads = shared.shape[-3]
    return x.reshape(*x.shape[:-3], heads, x.shape[-3] // heads * x.shape[-2], x.shape[-1])


def spread(x: Array, plan: Plan) -> tuple[int, ...]:
    """The shape of keys or values `x` once every sequence has its own."""
    heads = x.shape[-3:] if x.ndim > 2 else (*plan.shape[-3:-2], *x.shape)
    return (*plan.shape[:-3], *heads)
