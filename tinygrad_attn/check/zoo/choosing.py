"""Bugs in operations that choose: at kinks, by masks, by size."""

from __future__ import annotations

import numpy as np

from ... import ops
from ...engine import Array
from ..causes import Cause
from ..draws import apart, normal, spread
from .bug import Cage, Draw, Size, Subject

CAGE = Cage("kinks and masks")
plants = CAGE.plants


# ── what they are seen in ────────────────────────────────────────────────────────────────────────
def rectified(size: Size, rng: Draw) -> Subject:
    """relu(x), away from its kink."""
    return Subject(ops.relu, (apart(rng, size.T, size.S),))


def masked(size: Size, rng: Draw) -> Subject:
    """x where a mask holds, else 0."""
    mask = spread(rng, size.T, size.S)
    return Subject(lambda x: ops.where(mask, x, 0.0), (normal(rng, size.T, size.S),))


# ── kinks ────────────────────────────────────────────────────────────────────────────────────────
@plants(ops.relu, "x", rectified, Cause.MASK)
def relu_lets_all_through(g: Array) -> Array:
    """[x > 0] is forgotten: silent units learn, and nothing they learn concerns the loss."""
    return g


@plants(ops.relu, "x", rectified, Cause.MASK_INVERTED)
def relu_mask_inverted(g: Array, x: Array) -> Array:
    """x ≤ 0 in place of x > 0: exactly the units that were silent are taught."""
    return g * (x <= 0)


@plants(ops.relu, "x", rectified, Cause.NOT_LINEAR)
def relu_guided(g: Array, x: Array) -> Array:
    """Guided backpropagation: negative gradients are cut off too. It makes clean saliency maps,
    which are no gradients: they hardly depend on the weights.
    """
    return g * (x > 0) * (g > 0)


@plants(
    ops.clip,
    "x",
    lambda s, rng: Subject(lambda x: ops.clip(x, -0.3, 0.4), (apart(rng, s.T, s.S),)),
    Cause.MASK,
)
def clip_lets_all_through(g: Array) -> Array:
    """What was clipped away gets a gradient all the same. Some do it on purpose; then say so."""
    return g


@plants(
    ops.maximum,
    "a",
    lambda s, rng: Subject(ops.maximum, (apart(rng, s.T, s.S), apart(rng, s.T, s.S) + 0.1)),
    Cause.MASK,
)
def maximum_pays_the_loser(g: Array) -> Array:
    """Both arguments get the whole gradient, the smaller too."""
    return g


@plants(
    ops.max,
    "x",
    lambda s, rng: Subject(lambda x: ops.max(x, -1), (apart(rng, s.T, s.S),)),
    Cause.MASK,
)
def max_pays_all(g: Array, in_shape: tuple[int, ...]) -> Array:
    """The gradient is copied to every element as for a sum: pooling that teaches all pixels."""
    return np.broadcast_to(g[..., None], in_shape)


# ── masks ────────────────────────────────────────────────────────────────────────────────────────
@plants(ops.where, "a", masked, Cause.MASK)
def where_lets_all_through(g: Array) -> Array:
    """The forward pass is masked, the backward pass is not: padding is trained on."""
    return g


@plants(ops.where, "a", masked, Cause.MASK_INVERTED)
def where_mask_inverted(g: Array, condition: Array) -> Array:
    """True means "may attend" here and "is masked" in another library. Half the gradients are 0."""
    return np.where(condition, 0, g)


@plants(
    ops.where,
    "b",
    lambda s, rng: Subject(
        lambda x, mask: ops.softmax(ops.masked_fill(x, mask, -20.0)),
        (normal(rng, s.T, s.S), spread(rng, s.T, s.S)),
    ),
    Cause.MASK,
)
def masked_fill_leaks(g: Array) -> Array:
    """Scores that were overwritten by −20 get a gradient all the same: e⁻²⁰ is easy to miss."""
    return g
