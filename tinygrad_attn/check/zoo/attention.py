"""Bugs in attention's gradient: dQ, dK and dV as people write them by hand, and multi-head layers.

With P = softmax(S′), S = scale·QKᵀ and dP = dC Vᵀ the right ones are

    dS = P∘(dP − Σ dP∘P)    dQ = scale·dS K    dK = scale·dSᵀ Q    dV = Pᵀ dC
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np

from ... import nn, ops
from ...engine import Array
from ...kernels import Plan
from ...nn import functional
from ...nn.functional.attention import steps
from ...nn.functional.limits import limiting
from ..causes import Cause
from ..draws import normal, spread
from .bug import Cage, Draw, Made, Size, Subject

CAGE = Cage("attention")
plants = CAGE.plants


# ── what they are seen in ────────────────────────────────────────────────────────────────────────
def attending(groups: int = 1, **options: Any) -> Made:
    """Several heads of attention with these options; `groups` query heads for each key head."""

    def made(size: Size, rng: Draw) -> Subject:
        B, H, T, S, D = size
        return Subject(
            lambda q, k, v: functional.attention(q, k, v, **options),
            (normal(rng, B, H * groups, T, D), normal(rng, B, H, S, D), normal(rng, B, H, S, D)),
        )

    return made


def attending_itself(size: Size, rng: Draw) -> Subject:
    """As many queries as keys, so that no shape complains."""
    shape = (size.B, size.H, size.T, size.D)
    return Subject(functional.attention, tuple(normal(rng, *shape) for _ in range(3)))


def masked(size: Size, rng: Draw) -> Subject:
    """A boolean mask that hides about half of the keys."""
    B, H, T, S, D = size
    mask = spread(rng, T, S)
    return Subject(
        lambda q, k, v: functional.attention(q, k, v, mask),
        (normal(rng, B, H, T, D), normal(rng, B, H, S, D), normal(rng, B, H, S, D)),
    )


def with_bias(size: Size, rng: Draw) -> Subject:
    """One bias for the scores of all heads."""
    B, H, T, S, D = size
    q, k, v = normal(rng, B, H, T, D), normal(rng, B, H, S, D), normal(rng, B, H, S, D)
    return Subject(functional.attention, (q, k, v, normal(rng, T, S)))


def multi_head(size: Size, rng: Draw) -> Subject:
    """A layer of self-attention with all its parameters."""
    width = 2 * size.H
    layer = nn.MultiHeadAttention(width, size.H, rng=rng)
    for parameter in layer.parameters():
        parameter.data = parameter.data + rng.normal(0, 0.3, parameter.shape)
    return Subject(layer, (normal(rng, size.B, size.T, width),))


def turning(size: Size, rng: Draw) -> Subject:
    """Rotary positions."""
    rotary = nn.RotaryPositions(4, base=10.0)
    return Subject(lambda x: rotary(x, 1), (normal(rng, size.B, size.T, 4),))


# ── the gradient by hand ─────────────────────────────────────────────────────────────────────────
def weights_of(q: Array, k: Array, v: Array, added: Any, plan: Plan) -> Array:
    """P, by the definition."""
    weights: Any = steps(q, k, v, added, plan).weights  # type: ignore[arg-type]  # on arrays alone
    return weights


def shared(x: Array, plan: Plan) -> Array:
    """Keys or values repeated for each query head of their group."""
    return np.repeat(x, plan.shape[-3] // x.shape[-3], -3)


def through_softmax(weights: Array, upstream: Array) -> Array:
    """dS from P and dP."""
    return weights * (upstream - (weights * upstream).sum(-1, keepdims=True))


def scores_gradient(g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan) -> Array:
    """dS."""
    return through_softmax(weights_of(q, k, v, added, plan), g @ shared(v, plan).mT)


def unlimited(plan: Plan) -> Plan:
    """The same attention without any mask."""
    limits, _ = limiting(None, plan.shape, np.dtype(np.float64), False, 0, None, "zero")
    return replace(plan, limits=limits)


def grouped(gk: Array, k: Array) -> Array:
    """A gradient for each query head as (..., key heads, group, S, D)."""
    return gk.reshape(*k.shape[:-2], -1, *k.shape[-2:])


# ── scale ────────────────────────────────────────────────────────────────────────────────────────
@plants(functional.attention, "q", attending(), Cause.FACTOR)
def attention_queries_unscaled(
    g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan
) -> Array:
    """1/√d is applied forward and forgotten in dQ: √d times too large, so queries learn as if their
    learning rate were eight times that of the values, for heads 64 wide.
    """
    return scores_gradient(g, q, k, v, added, plan) @ k


@plants(functional.attention, "k", attending(), Cause.FACTOR)
def attention_keys_unscaled(
    g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan
) -> Array:
    """The same in dK: papers print the factor once, and it belongs in both."""
    return scores_gradient(g, q, k, v, added, plan).mT @ q


@plants(functional.attention, "q", attending(), Cause.FACTOR)
def attention_scaled_twice(g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan) -> Array:
    """1/√d in dS and again in dQ: attention that hardly learns where to look."""
    return scores_gradient(g, q, k, v, added, plan) @ k * plan.scale**2


# ── softmax ──────────────────────────────────────────────────────────────────────────────────────
@plants(functional.attention, "q", attending(), Cause.DIAGONAL, Cause.DETACHED)
def attention_without_row_sum(
    g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan
) -> Array:
    """dS = P∘dP without Σ dP∘P, which FlashAttention computes in a pass of its own (D) and which is
    easily left out.
    """
    return weights_of(q, k, v, added, plan) * (g @ v.mT) @ k * plan.scale


@plants(functional.attention, "k", attending(), Cause.DIAGONAL)
def attention_diagonal(g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan) -> Array:
    """Softmax's Jacobian by its diagonal, deep inside a kernel."""
    weights = weights_of(q, k, v, added, plan)
    return (weights * (1 - weights) * (g @ v.mT)).mT @ q * plan.scale


# ── masks ────────────────────────────────────────────────────────────────────────────────────────
@plants(functional.attention, "q", masked, Cause.MASK)
def attention_forgets_mask(g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan) -> Array:
    """P is recomputed for backward, the mask is not: keys that nobody sees pull at queries."""
    return scores_gradient(g, q, k, v, added, unlimited(plan)) @ k * plan.scale


@plants(functional.attention, "k", attending(causal=True, offset=1), Cause.MASK)
def attention_forgets_causal(
    g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan
) -> Array:
    """Causal forward, not backward. The loss of a language model looks right; keys are trained by
    queries that never saw them.
    """
    return scores_gradient(g, q, k, v, added, unlimited(plan)).mT @ q * plan.scale


@plants(functional.attention, "q", attending(softcap=1.5), Cause.PASSED_ON)
def attention_forgets_soft_cap(
    g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan
) -> Array:
    """The cap's slope 1 − tanh² is forgotten: the large scores it should hold back learn most."""
    return scores_gradient(g, q, k, v, added, plan) @ k * plan.scale


@plants(functional.attention, "added", with_bias, Cause.BROADCAST)
def attention_bias_of_first_head(
    g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan
) -> Array:
    """A position bias shared by all heads learns from the first head of the first sequence."""
    return scores_gradient(g, q, k, v, added, plan)[0, 0]


# ── heads ────────────────────────────────────────────────────────────────────────────────────────
@plants(functional.attention, "k", attending(groups=2), Cause.BROADCAST)
def attention_keys_of_first_in_group(
    g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan
) -> Array:
    """Grouped heads without the sum over the group: the gradient of one query head of each."""
    gk = scores_gradient(g, q, k, v, added, plan).mT @ q * plan.scale
    return grouped(gk, k)[..., 0, :, :]


@plants(functional.attention, "k", attending(groups=3), Cause.FACTOR)
def attention_keys_average_group(
    g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan
) -> Array:
    """The mean over the group where the sum belongs: shared keys learn as many times slower."""
    gk = scores_gradient(g, q, k, v, added, plan).mT @ q * plan.scale
    return grouped(gk, k).mean(-3)


@plants(functional.attention, "v", attending(groups=2), Cause.WRONG_AXIS)
def attention_values_of_other_groups(
    g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan
) -> Array:
    """Heads counted as (group, key head) in place of (key head, group): the sum runs over the wrong
    ones, since one library repeats heads and another tiles them.
    """
    gv = weights_of(q, k, v, added, plan).mT @ g
    return gv.reshape(*v.shape[:-3], -1, *v.shape[-3:]).sum(-4)


# ── products ─────────────────────────────────────────────────────────────────────────────────────
@plants(functional.attention, "v", attending_itself, Cause.TRANSPOSED)
def attention_weights_not_transposed(
    g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan
) -> Array:
    """dV = P dC where Pᵀ belongs. In self-attention T = S, and no shape complains."""
    return weights_of(q, k, v, added, plan) @ g


@plants(functional.attention, "k", attending_itself, Cause.TRANSPOSED)
def attention_scores_not_transposed(
    g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan
) -> Array:
    """dK = dS Q where dSᵀ belongs: each key learns what the query of its position should."""
    return scores_gradient(g, q, k, v, added, plan) @ q * plan.scale


@plants(functional.attention, "v", attending(), Cause.WRONG_VALUE)
def attention_values_from_scores(
    g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan
) -> Array:
    """The buffer still holds the scores: dV = Sᵀ dC in place of Pᵀ dC."""
    return (q @ k.mT * plan.scale).mT @ g


@plants(functional.attention, "k", attending(), Cause.OVERWRITTEN, Cause.BROADCAST)
def attention_keys_of_last_query(
    g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan
) -> Array:
    """`dk = …` for `dk += …` in the loop over tiles of queries: only the last tile counts. A test
    whose queries fit into one tile passes.
    """
    return scores_gradient(g, q, k, v, added, plan)[..., -1:, :].mT @ q[..., -1:, :] * plan.scale


@plants(functional.attention, "k", attending(), Cause.ANOTHER_ARGUMENT)
def attention_keys_get_values(
    g: Array, q: Array, k: Array, v: Array, added: Any, plan: Plan
) -> Array:
    """dK and dV returned in the wrong order: they have one shape, and self-attention hides it."""
    return weights_of(q, k, v, added, plan).mT @ g


# ── multi-head layers ────────────────────────────────────────────────────────────────────────────
def only_for_heads(wrong: Callable[..., Array], g: Array, axes: Sequence[int] | None) -> Array:
    """The right rule of `transpose`, but for four axes: where heads are parted and joined."""
    return wrong(g) if g.ndim == 4 else np.transpose(g, axes and np.argsort(axes))


@plants(ops.transpose, "x", multi_head, Cause.PERMUTATION)
def heads_merged_by_reshape(
    g: Array, axes: Sequence[int] | None, in_shape: tuple[int, ...]
) -> Array:
    """(B, H, T, d) is reshaped to (B, T, H, d): heads and times are mixed, shapes are right, and
    the model still learns something.
    """
    return only_for_heads(lambda g: g.reshape(in_shape), g, axes)


@plants(ops.transpose, "x", multi_head, Cause.FACTOR)
def heads_averaged(g: Array, axes: Sequence[int] | None) -> Array:
    """Divided by the number of heads, "to average them": the heads' projections learn H times
    slower.
    """
    return only_for_heads(lambda g: np.transpose(g, axes) / 2, g, axes)


@plants(ops.split, "x", multi_head, Cause.PERMUTATION)
def projections_swapped(g: tuple[Array, ...], axis: int) -> Array:
    """dQ and dK change places on their way into the packed projection."""
    return np.concatenate([g[1], g[0], *g[2:]], axis)


@plants(ops.split, "x", multi_head, Cause.DETACHED)
def keys_never_learn(g: tuple[Array, ...], axis: int) -> Array:
    """dK is not written into the packed gradient: keys keep their initial projection, and queries
    learn to live with it.
    """
    return np.concatenate([g[0], 0 * g[1], *g[2:]], axis)


@plants(ops.subtract, "b", turning, Cause.SIGN)
def rotary_turned_on(g: Array) -> Array:
    """The gradient must be turned back by the angle; one minus is lost, and it is sheared."""
    return g


@plants(
    ops.matmul,
    "a",
    lambda s, rng: Subject(
        lambda q, k: ops.matmul(q, k.mT) / sqrt(s.D), (normal(rng, s.T, s.D), normal(rng, s.S, s.D))
    ),
    Cause.SIGN,
)
def scores_sign(g: Array, b: Array) -> Array:
    """Queries move away from the keys they should find; keys move the right way, so it learns."""
    return -(g @ np.swapaxes(b, -1, -2))
