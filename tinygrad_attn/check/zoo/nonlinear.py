"""Bugs in softmax and the nonlinearities: elementwise rules, and the one famous Jacobian."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np

from ... import ops
from ...engine import Array
from ..causes import Cause
from ..draws import apart, normal, positive
from .bug import Cage, Draw, Size, Subject

CAGE = Cage("softmax and nonlinearities")
plants = CAGE.plants


# ── what they are seen in ────────────────────────────────────────────────────────────────────────
def attend(size: Size, rng: Draw) -> Subject:
    """One head of attention, from primitives."""
    scale = 1 / sqrt(size.D)
    return Subject(
        lambda q, k, v: ops.matmul(ops.softmax(ops.matmul(q, k.mT) * scale), v),
        (normal(rng, size.T, size.D), normal(rng, size.S, size.D), normal(rng, size.S, size.D)),
    )


def gated(size: Size, rng: Draw) -> Subject:
    """eˣ∘c: what comes from above is not 1."""
    return Subject(
        lambda x, c: ops.exp(x) * c, (normal(rng, size.T, size.S), normal(rng, size.T, size.S))
    )


def log_probabilities(size: Size, rng: Draw) -> Subject:
    """log softmax of a matrix."""
    return Subject(ops.log_softmax, (normal(rng, size.T, size.S),))


def layer(size: Size, rng: Draw) -> Subject:
    """tanh(x W): one dense layer."""
    return Subject(
        lambda x, w: ops.tanh(ops.matmul(x, w)),
        (normal(rng, size.T, size.D), normal(rng, size.D, size.S)),
    )


# ── softmax ──────────────────────────────────────────────────────────────────────────────────────
@plants(ops.softmax, "x", attend, Cause.DIAGONAL)
def softmax_diagonal(g: Array, out: Array) -> Array:
    """y(1 − y) is how one weight depends on its own score; that it takes from all others is lost.
    Training runs, only slower, for the sign is right: the most copied bug of all.
    """
    return g * out * (1 - out)


@plants(ops.softmax, "x", attend, Cause.DIAGONAL, Cause.DETACHED)
def softmax_constant_denominator(g: Array, out: Array) -> Array:
    """Deriving eˣ/Σ as if Σ were a number: rows of dS no longer sum to 0, so a shift of all scores,
    which changes nothing, gets a gradient and the scores drift.
    """
    return g * out


@plants(ops.softmax, "x", attend, Cause.WRONG_AXIS)
def softmax_sums_over_queries(g: Array, out: Array) -> Array:
    """The sum runs over the queries in place of the keys. With T = S no shape complains."""
    return out * (g - (g * out).sum(-2, keepdims=True))


@plants(ops.softmax, "x", attend, Cause.SIGN)
def softmax_sign(g: Array, out: Array, axis: int) -> Array:
    """Σ dy∘y − dy in place of dy − Σ dy∘y: attention learns to look away from what helps."""
    return out * ((g * out).sum(axis, keepdims=True) - g)


@plants(ops.softmax, "x", attend, Cause.WRONG_VALUE)
def softmax_from_scores(g: Array, x: Array, axis: int) -> Array:
    """The formula is in terms of the result y, and the rule is handed the input."""
    return x * (g - (g * x).sum(axis, keepdims=True))


@plants(ops.softmax, "x", attend, Cause.DTYPE)
def softmax_in_float32(g: Array, out: Array, axis: int) -> Array:
    """Cast down "to save memory" and never cast back in spirit: right to 7 digits, which a
    tolerance of 1e-5 cannot see, and a float64 experiment silently is not one.
    """
    y, dy = out.astype(np.float32), g.astype(np.float32)
    return (y * (dy - (dy * y).sum(axis, keepdims=True))).astype(g.dtype)


@plants(ops.log_softmax, "x", log_probabilities, Cause.DIAGONAL)
def log_softmax_diagonal(g: Array, out: Array) -> Array:
    """dy − p∘dy forgets that the sum of all dy stands there. With a one-hot target it is nearly
    right at the target and 0 everywhere else: wrong classes are never pushed down.
    """
    return g - np.exp(out) * g


@plants(ops.log_softmax, "x", log_probabilities, Cause.WRONG_VALUE)
def log_softmax_forgets_exp(g: Array, out: Array, axis: int) -> Array:
    """Copied from softmax, where the result is p; here it is log p, and exp is missing."""
    return g - out * g.sum(axis, keepdims=True)


# ── elementwise ──────────────────────────────────────────────────────────────────────────────────
@plants(ops.tanh, "x", layer, Cause.WRONG_VALUE)
def tanh_from_input(g: Array, x: Array) -> Array:
    """1 − x² where 1 − y² is meant. Near 0 the two agree, so small initial weights hide it."""
    return g * (1 - x * x)


@plants(ops.tanh, "x", layer, Cause.SIGN)
def tanh_sign(g: Array, out: Array) -> Array:
    """y² − 1: one lost minus, and the loss climbs from the first step."""
    return g * (out * out - 1)


@plants(ops.tanh, "x", layer, Cause.RAISES)
def tanh_of_another_shape(g: Array, out: Array) -> Array:
    """A rule that was never run: backward stops with an error far from the line to blame."""
    return g @ (1 - out * out)


@plants(
    ops.sigmoid,
    "x",
    lambda s, rng: Subject(ops.sigmoid, (normal(rng, s.T, s.S),)),
    Cause.ANOTHER_CALL,
)
def sigmoid_with_slope_of_tanh(g: Array, out: Array) -> Array:
    """1 − y², copied with the file of tanh. Four times too steep at 0 and never near 0."""
    return g * (1 - out * out)


@plants(
    ops.sigmoid,
    "x",
    lambda s, rng: Subject(ops.sigmoid, (normal(rng, s.T, s.S),)),
    Cause.WRONG_VALUE,
)
def sigmoid_from_input(g: Array, x: Array) -> Array:
    """x(1 − x) where y(1 − y) is meant: every tutorial writes sigmoid_derivative(x) this way, for
    an x that is already the output.
    """
    return g * x * (1 - x)


@plants(
    ops.softplus,
    "x",
    lambda s, rng: Subject(ops.softplus, (normal(rng, s.T, s.S),)),
    Cause.WRONG_VALUE,
)
def softplus_from_output(g: Array, out: Array) -> Array:
    """σ of the result in place of the input: off by a third at 0, hardly at all for large x."""
    return g * ops.sigmoid(out)


@plants(ops.exp, "x", gated, Cause.IGNORED)
def exp_ignores_upstream(g: Array, out: Array) -> Array:
    """The derivative instead of derivative times what comes from above. A check of exp alone,
    summed, says right: there g is 1.
    """
    return np.array(out)


@plants(
    ops.exp,
    "x",
    lambda s, rng: Subject(lambda x: x * 2 + ops.exp(x), (normal(rng, s.T, s.S),)),
    Cause.WRITES,
)
def exp_writes_into_gradient(g: Array, out: Array) -> Array:
    """`g *= out` saves an array, and spoils the gradient of whoever shares it: the other branch of
    a residual gets a factor that nobody can find in its own rule.
    """
    g *= out
    return g


@plants(ops.square, "x", lambda s, rng: Subject(ops.square, (normal(rng, s.T, s.S),)), Cause.FACTOR)
def square_forgets_two(g: Array, x: Array) -> Array:
    """x in place of 2x: only a learning rate, as long as nothing else is added to that gradient."""
    return g * x


@plants(
    ops.power, "a", lambda s, rng: Subject(lambda x: x**3, (positive(rng, s.T, s.S),)), Cause.FACTOR
)
def power_forgets_exponent(g: Array, a: Array, b: Array) -> Array:
    """aᵇ⁻¹ without the b before it: a cubic penalty that pulls a third as hard as it says."""
    return g * a ** (b - 1)


@plants(
    ops.divide,
    "b",
    lambda s, rng: Subject(ops.divide, (normal(rng, s.T, s.S), positive(rng, s.T, s.S))),
    Cause.SIGN,
)
def divide_sign(g: Array, b: Array, out: Array) -> Array:
    """The quotient rule's minus is lost: a norm that divides by its own output grows it."""
    return g * out / b


@plants(
    ops.subtract,
    "b",
    lambda s, rng: Subject(ops.subtract, (normal(rng, s.T, s.S), normal(rng, s.S))),
    Cause.SIGN,
)
def subtract_like_add(g: Array) -> Array:
    """Copied from add: what is taken away gets the gradient of what is put in."""
    return g


@plants(ops.sqrt, "x", lambda s, rng: Subject(ops.sqrt, (positive(rng, s.T, s.S),)), Cause.FACTOR)
def sqrt_forgets_half(g: Array, out: Array) -> Array:
    """1/y in place of 1/(2y): a standard deviation that learns twice as fast as its mean."""
    return g / out


@plants(
    ops.reciprocal,
    "x",
    lambda s, rng: Subject(ops.reciprocal, (positive(rng, s.T, s.S),)),
    Cause.ARRAY_FACTOR,
    Cause.WRONG_VALUE,
)
def reciprocal_forgets_square(g: Array, out: Array) -> Array:
    """−y in place of −y²: right where x is 1, and data are often scaled so that it nearly is."""
    return -g * out


@plants(
    ops.sign,
    "x",
    lambda s, rng: Subject(lambda x, c: ops.sign(x) * c, (apart(rng, s.T, s.S), normal(rng, s.S))),
    Cause.PASSED_ON,
)
def sign_straight_through(g: Array) -> Array:
    """The straight-through estimator: useful where it is meant, wrong where it is not."""
    return g


@plants(
    ops.prod,
    "x",
    lambda s, rng: Subject(
        lambda x: ops.prod(x, -1), (positive(rng, s.T, s.S) * (np.arange(s.S) != 1),)
    ),
    Cause.NOT_A_NUMBER,
)
def prod_divides_by_zero(g: Array, x: Array, out: Array) -> Array:
    """y/x is shorter than the product of the others, and not a number as soon as one x is 0: one
    such batch, and every weight is NaN.
    """
    with np.errstate(all="ignore"):
        return g[..., None] * (out[..., None] / x)


@plants(
    ops.log, "x", lambda s, rng: Subject(ops.log, (positive(rng, s.T, s.S),)), Cause.ARRAY_FACTOR
)
def log_guarded(g: Array, x: Array) -> Array:
    """1/(x + 1e-7) "against division by zero": below every usual tolerance, until an x is 1e-7."""
    return g / (x + 1e-7)


@plants(ops.erf, "x", lambda s, rng: Subject(ops.erf, (normal(rng, s.T, s.S),)), Cause.FACTOR)
def erf_rounded_constant(g: Array, x: Array) -> Array:
    """2/√π typed from memory as 1.128: off by 3 in 10,000, which a relative tolerance of 1e-3 takes
    for rounding.
    """
    return g * 1.128 * np.exp(-x * x)


# ── GELU ─────────────────────────────────────────────────────────────────────────────────────────
def bent(size: Size, rng: Draw) -> Subject:
    """The exact GELU."""
    return Subject(ops.gelu, (2 * normal(rng, size.T, size.S),))


@plants(ops.gelu, "x", bent, Cause.ANOTHER_CALL)
def gelu_with_slope_of_its_approximation(g: Array, x: Array) -> Array:
    """Forward x·Φ(x), backward the derivative of the tanh form: off by 1e-3 at most, which a
    tolerance of 1e-3 lets pass, and a perplexity that cannot be reproduced.
    """
    gate = (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2
    return g * (gate + x * gate * (1 - gate) * 2 * sqrt(2 / pi) * (1 + 0.134145 * x * x))


@plants(
    ops.silu,
    "x",
    lambda s, rng: Subject(ops.silu, (normal(rng, s.T, s.S),)),
    Cause.DETACHED,
)
def silu_constant_gate(g: Array, x: Array) -> Array:
    """x·σ(x) with the gate taken for a constant: the product rule, half of it."""
    return g * ops.sigmoid(x)
