"""Functions whose gradient is wrong, or not to be judged, though every rule is right."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...engine import Tensor, no_grad
from ...nn import functional
from ..causes import Cause
from ..draws import apart, normal
from .bug import Cage, Draw, Size, Subject

CAGE = Cage("around the rules")
misuses = CAGE.misuses


# ── what they are seen in ────────────────────────────────────────────────────────────────────────
def residual(size: Size, rng: Draw) -> Subject:
    """x + tanh(x W)."""
    return Subject(
        lambda x, w: x + ops.tanh(ops.matmul(x, w)),
        (normal(rng, size.T, size.D), normal(rng, size.D, size.D)),
    )


def attention(size: Size, rng: Draw) -> Subject:
    """One head, from primitives."""
    return Subject(
        lambda q, k, v: ops.matmul(ops.softmax(ops.matmul(q, k.mT)), v),
        (normal(rng, size.T, size.D), normal(rng, size.S, size.D), normal(rng, size.S, size.D)),
    )


def hidden(size: Size, rng: Draw) -> Subject:
    """tanh(2x)²."""
    return Subject(lambda x: ops.tanh(x * 2) ** 2, (normal(rng, size.T, size.D),))


def rectified(size: Size, rng: Draw) -> Subject:
    """relu away from its kink."""
    return Subject(ops.relu, (apart(rng, size.T, size.D),))


# ── wrong ────────────────────────────────────────────────────────────────────────────────────────
@misuses(residual, Cause.DETACHED)
def residual_detached(size: Size, rng: Draw) -> Subject:
    """A detach meant for a log line stands in the residual branch: deep layers stop learning, and
    since the other branch carries on, the loss does not say so.
    """
    right = residual(size, rng)
    return Subject(
        lambda x, w: x.detach() + ops.tanh(ops.matmul(x, w)),
        right.inputs,
    )


@misuses(attention, Cause.DETACHED)
def weights_through_numpy(size: Size, rng: Draw) -> Subject:
    """The weights take a detour through NumPy, where no graph follows: queries and keys keep their
    random initial values, and values learn to live with it.
    """

    def f(q: Any, k: Any, v: Any) -> Any:
        weights = ops.softmax(q.numpy() @ k.numpy().T)
        return ops.matmul(Tensor(weights), v) + 0 * (ops.sum(q) + ops.sum(k))

    return Subject(f, attention(size, rng).inputs)


@misuses(attention, Cause.DETACHED)
def keys_without_recording(size: Size, rng: Draw) -> Subject:
    """The keys come out of a cache that was filled under no_grad, during training too."""

    def f(q: Any, k: Any, v: Any) -> Any:
        with no_grad():
            cached = k * 1.0
        return ops.matmul(ops.softmax(ops.matmul(q, cached.mT)), v + 0 * k)

    return Subject(f, attention(size, rng).inputs)


@misuses(hidden, Cause.HOOK)
def hook_halves(size: Size, rng: Draw) -> Subject:
    """A hook that scales a gradient, left over from an experiment: every rule is right."""

    def f(x: Any) -> Any:
        h = ops.tanh(x * 2)
        if h.requires_grad:
            h.register_hook(lambda g: g * 0.5)
        return h**2

    return Subject(f, hidden(size, rng).inputs)


@misuses(hidden, Cause.HOOK)
def hook_clips(size: Size, rng: Draw) -> Subject:
    """Clipping each number inside the graph, not the norm behind it: the direction changes."""

    def f(x: Any) -> Any:
        h = ops.tanh(x * 2)
        if h.requires_grad:
            h.register_hook(lambda g: ops.clip(g, -0.1, 0.1))
        return h**2

    return Subject(f, hidden(size, rng).inputs)


# ── not to be judged ─────────────────────────────────────────────────────────────────────────────
@misuses(rectified, Cause.KINK, "undecided")
def relu_at_its_kink(size: Size, rng: Draw) -> Subject:
    """Zeros go into relu, from padding or an empty bias: on its kink the central difference says ½,
    the rule 0, and both are right. Not a bug: check at another point.
    """
    right = rectified(size, rng)
    x = right.inputs[0].copy()
    x[0] = 0
    return Subject(right.f, (x,))


@misuses(hidden, Cause.RANDOM, "undecided")
def dropout_left_on(size: Size, rng: Draw) -> Subject:
    """The model is in training mode, so two evaluations differ: a difference of random numbers,
    divided by 1e-6, looks like the worst of all bugs.
    """
    draws = np.random.default_rng(0)
    return Subject(
        lambda x: functional.dropout(ops.tanh(x), 0.5, rng=draws), hidden(size, rng).inputs
    )


@misuses(hidden, Cause.FLOAT32, "undecided")
def float32_inside(size: Size, rng: Draw) -> Subject:
    """Somewhere inside all is rounded to float32: with h = 1e-6 a difference of two such values has
    not one right digit.
    """
    return Subject(lambda x: ops.tanh(ops.astype(x * 2, np.float32)) ** 2, hidden(size, rng).inputs)
