"""Equations that attention's gradients obey, whatever the numbers, each with its condition.

    R = Q Kᵀ    S = R·scale    S′ = S, soft cap, mask    P = softmax(S′)    C = P V

Each is a function of what is known of one call of attention and returns a deviation: the largest
difference of the two sides, relative to the same sums taken without signs.  That is about 1e-16
where an equation holds in float64, however much cancels; a wrong gradient shows in full.  Where
the terms of those sums are not known, the size of the gradients themselves stands for them.

Axes: … any, H heads of queries, G of keys and values, T queries, S keys, D and E features.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite, nan

import numpy as np

from ..engine import Array
from .attention_arrays import Known

CANCELLED = 1 / 32  # of what terms are at most: enough for rounding, little beside a fault


# ── deviations ───────────────────────────────────────────────────────────────────────────────────
def weight_rows(m: Known) -> float:
    """Rows of P sum to 1; that of a query that may look nowhere to 0."""
    return relative(m["weights"].sum(-1) - alive(m), np.ones(1))


def score_rows(m: Known) -> float:
    """Rows of dS′ sum to 0: adding the same number to all scores of a row changes no weight."""
    terms = m.score_terms.sum(-1)
    gradients = [m["dmasked"]] if m.softcap else m.score_gradients
    return worst(relative(g.sum(-1), np.abs(g).sum(-1), terms) for g in gradients)


def masked_scores(m: Known) -> float:
    """dS′, and so dS, is 0 where a query may not look, for there P is."""
    hidden, terms = ~m["allowed"], m.score_terms
    return worst(relative(g[hidden], np.abs(g), terms) for g in m.score_gradients)


def row_means(m: Known) -> float:
    """Σ P∘dP over a row is ⟨C, dC⟩: softmax's mean needs no P (Dao et al. 2022, B.2)."""
    weighted, context = m["weights"] * m["dweights"], m["context"] * m["dcontext"]
    sizes = np.abs(weighted).sum(-1), np.abs(context).sum(-1), *m.context_terms
    return relative(weighted.sum(-1) - context.sum(-1), *sizes)


def inner_products(m: Known) -> float:
    """⟨Q, dQ⟩ = ⟨S, dS⟩ = ⟨K, dK⟩ for each head of keys and the query heads it serves.

    S is before soft cap and mask.  A rotation changes none of the three.
    """
    found = [inner(m, name) for name in ("scores", "q", "k") if m.has(name, f"d{name}")]
    first, *others = (total for total, _ in found)
    return relative(np.stack([other - first for other in others]), *inner_sizes(m, found))


def value_products(m: Known) -> float:
    """⟨V, dV⟩ = ⟨C, dC⟩ for each head of values and the query heads it serves."""
    (values, size), (context, other) = inner(m, "v"), inner(m, "context")
    terms = [grouped(m, term.sum((-1, -2))) for term in m.context_terms]
    return relative(values - context, size, other, *terms)


def key_sums(m: Known) -> float:
    """dK sums to 0 over the keys: the same change of all keys shifts every row of S alike."""
    return relative(m["dk"].sum(-2), key_terms(m))


def key_bias(m: Known) -> float:
    """dbk = 0: the key bias adds Qᵢ·bk to all scores of row i alike, and softmax ignores that."""
    return relative(m["dkey_bias"], key_terms(m).reshape(-1, m["dkey_bias"].size).sum(0))


def value_sums(m: Known) -> float:
    """ΣdV over the keys is ΣdC over the queries: the rows of P, which carry dC back, sum to 1."""
    arriving = grouped(m, m["dcontext"].sum(-2), -2)
    size = grouped(m, np.abs(m["dcontext"]).sum(-2), -2)
    return relative(m["dv"].sum(-2) - arriving, size)


def value_bias(m: Known) -> float:
    """dbv = dbo Wo, summed over each group: rows of P sum to 1, so bv goes through to Y.

    `doutput`, dY, has the terms of dbo; a recording of `viz.anatomy` knows it, `identities` is not
    given it, and takes |dbo| for their size.
    """
    width, weight, bias = m["v"].shape[-1], m["output_weight"], m["doutput_bias"]
    by_head = (bias @ weight).reshape(-1, width)
    upstream = m["doutput"] if m.has("doutput") else bias
    sizes = np.abs(upstream).reshape(-1, bias.size).sum(0) @ np.abs(weight)
    expected = grouped(m, by_head, -2).ravel()
    return relative(m["dvalue_bias"] - expected, grouped(m, sizes.reshape(-1, width), -2))


def group_sums(m: Known) -> float:
    """dK and dV of a group are the sums of dSᵀQ·scale and PᵀdC over its query heads."""
    return worst(
        relative(m[made] - grouped(m, product, -3), grouped(m, size, -3))
        for made, product, size in carried_to_keys(m)
    )


def query_products(m: Known) -> float:
    """dQ is dS K·scale."""
    keys = np.repeat(m["k"], m.group, -3)
    difference = m["dq"] - m["dscores"] @ keys * m.scale
    return relative(difference, np.abs(m["dscores"]) @ np.abs(keys) * abs(m.scale))


def bound_queries(m: Known) -> float:
    """dQ is 0 for a query that may look at one key only, or at none: its weights cannot change."""
    return relative(m["dq"][bound(m)], np.abs(m["dq"]))


def unseen_keys(m: Known) -> float:
    """dK and dV are 0 for a key at which no query may look."""
    rows, gradients = unseen(m), [m[name] for name in ("dk", "dv") if m.has(name)]
    return worst(relative(g[rows], np.abs(g)) for g in gradients)


# ── what they are made of ────────────────────────────────────────────────────────────────────────
def relative(difference: Array, *sizes: Array) -> float:
    """max |difference| / the largest size; the difference itself where every size is 0.

    NaN where a size is not finite: nothing can be small beside it.
    """
    largest = worst([float(np.max(size, initial=0.0)) for size in sizes])
    off = float(np.abs(difference).max(initial=0.0))
    if not isfinite(largest):
        return nan
    return off / largest if largest else off


def worst(deviations: Iterable[float]) -> float:
    """The largest; NaN if one is, which Python's `max` may pass over."""
    return float(np.max(list(deviations)))


def key_terms(m: Known) -> Array:
    """The terms of ΣdK over the keys without signs (…, G, D)."""
    if m.has("q", "weights", "dweights"):
        terms = np.swapaxes(m.score_terms, -1, -2) @ np.abs(m["q"]) * abs(m.scale)
        return grouped(m, terms.sum(-2), -2)
    size = np.abs(m["dk"]).sum(-2)
    if not m.has("q") or m.row_bound is None:
        return size
    most = (m.row_bound[..., None] * np.abs(m["q"])).sum(-2) * abs(m.scale)
    return np.maximum(size, CANCELLED * grouped(m, most, -2))


def inner(m: Known, name: str) -> tuple[Array, Array]:
    """⟨X, dX⟩ of each head of keys (…, G), and the same without signs."""
    with np.errstate(invalid="ignore"):  # a score of −∞ whose gradient is 0
        terms = np.where(m[f"d{name}"] == 0, 0.0, m[name] * m[f"d{name}"])
    total, size = terms.sum((-1, -2)), np.abs(terms).sum((-1, -2))
    if name in ("k", "v"):
        return total, size
    return grouped(m, total), grouped(m, size)


def inner_sizes(m: Known, found: list[tuple[Array, Array]]) -> list[Array]:
    """What `inner_products` is relative to: the terms of ⟨S, dS⟩ without signs, if known."""
    if not m.has("q", "k"):
        return [size for _, size in found]
    queries, keys = (np.linalg.norm(m[name], axis=-1) * abs(m.scale) ** 0.5 for name in ("q", "k"))
    if m.has("weights", "dweights"):
        products = queries[..., :, None] * np.repeat(keys, m.group, -2)[..., None, :]
        return [grouped(m, (m.score_terms * products).sum((-1, -2)))]
    sizes = [size for _, size in found]
    if m.row_bound is not None:
        most = grouped(m, (m.row_bound * queries).sum(-1)) * keys.max(-1, initial=0.0)
        sizes.append(CANCELLED * most)
    return sizes


def carried_to_keys(m: Known) -> list[tuple[str, Array, Array]]:
    """(name, dSᵀQ·scale or PᵀdC by query head, the same without signs), as far as known."""
    ways = (("dk", "dscores", "q", m.scale), ("dv", "weights", "dcontext", 1.0))
    found = []
    for made, left, right, factor in ways:
        if m.has(made, left, right) and not (m.rotary and made == "dk"):
            back = np.swapaxes(m[left], -1, -2) * factor
            found.append((made, back @ m[right], np.abs(back) @ np.abs(m[right])))
    return found


def grouped(m: Known, by_head: Array, axis: int = -1) -> Array:
    """A sum over the query heads of each group; `axis` is that of the heads."""
    axis += by_head.ndim
    shape = (*by_head.shape[:axis], -1, m.group, *by_head.shape[axis + 1 :])
    total: Array = by_head.reshape(shape).sum(axis + 1)
    return total


def alive(m: Known) -> Array:
    """Which queries may look at some key (…, H, T); all where no mask is known."""
    return np.asarray(m["allowed"].any(-1)) if m.has("allowed") else np.ones(1, bool)


def bound(m: Known) -> Array:
    """Which queries may look at one key at most (…, H, T)."""
    return np.asarray(m["allowed"].sum(-1) <= 1)


def unseen(m: Known) -> Array:
    """At which keys no query may look (…, G, S)."""
    return np.asarray(grouped(m, np.asarray(m["allowed"].any(-2)), -2) == 0)
