"""Order that does not matter: permuted positions give permuted outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Array, ShapeError
from .problem import Function
from .pullback import (
    Foreign,
    Probed,
    ProbeError,
    place,
    point,
    positive,
    probed,
    refuse_constant,
    whole,
)

PERMUTATIONS = 3  # random ones, beside two that generate all


def assert_permutation_equivariant(
    f: Function | None,
    x: Any,
    *,
    axis: int = -2,
    out_axis: int | None = None,
    vjp: Foreign | None = None,
    tolerance: float | None = None,
) -> None:
    """Permuted positions give permuted outputs, f(Px) = P f(x), and permuted gradients.

    The permutations: two neighbours exchanged and all shifted by one, which generate all others,
    and three random ones.

    Args:
        f, x, axis, out_axis, vjp: as in `leak_matrix`; with `vjp` f's results are compared too, so
            it returns arrays, and where it is None the gradients alone.
        tolerance: as in `assert_causal`, in proportion to the largest number.

    Raises:
        ProbeError: they do not, or nothing depends on x; `.matrix` has the largest error for
            each permutation (rows) and position.
        DTypeError, ShapeError: as in `leak_matrix`; fewer than 2 positions, or another number in
            the output.
    """
    who = "assert_permutation_equivariant"
    positive(who, tolerance)
    array = point(who, x)
    inside = place(who, "axis", axis, array.shape)
    outside = axis if out_axis is None else whole(who, "out_axis", out_axis)
    length = array.shape[inside]
    if length < 2:
        raise ShapeError(f"{who}: needs at least 2 positions along axis {axis}, got {length}")
    at = probed(who, f, x, vjp)
    outside = place(who, "out_axis", outside, at.shape)
    if at.shape[outside] != length:
        raise ShapeError(
            f"{who}: x has {length} positions and f(x) {at.shape[outside]}; they must be the same"
        )
    orders = permutations(length)
    moved = [probed(who, f, np.take(at.x, order, inside), vjp) for order in orders]
    if at.out is not None:
        errors = [
            apart(other.out, np.take(at.out, order, outside), outside)
            for other, order in zip(moved, orders, strict=True)
        ]
        refuse_order(at, "outputs", np.array(errors), tolerance)
    g = np.random.default_rng(0).standard_normal(at.shape)
    expected = at.pull(g)
    refuse_constant(at, expected)
    errors = [
        apart(other.pull(np.take(g, order, outside)), np.take(expected, order, inside), inside)
        for other, order in zip(moved, orders, strict=True)
    ]
    refuse_order(at, "gradients", np.array(errors), tolerance)


def permutations(length: int) -> list[Array]:
    """Orders of `length` positions: an exchange, a shift, and random ones."""
    rng, start = np.random.default_rng(0), np.arange(length)
    exchange = np.concatenate([start[1::-1], start[2:]])
    return [exchange, np.roll(start, 1), *(rng.permutation(length) for _ in range(PERMUTATIONS))]


def apart(found: Any, expected: Array, axis: int) -> Array:
    """The largest difference at each position along `axis`, in units of the largest number."""
    difference = np.moveaxis(abs(found - expected), axis, 0).reshape(expected.shape[axis], -1)
    return np.asarray(difference.max(1) / (abs(expected).max() or 1), np.float64)


def refuse_order(at: Probed, what: str, errors: Array, tolerance: float | None) -> None:
    """Raises: ProbeError: an error is larger than allowed, or is not a number."""
    if (errors <= at.tolerance(tolerance)).all():
        return
    k, t = np.unravel_index(np.argmax(np.where(np.isfinite(errors), errors, np.inf)), errors.shape)
    how = ["with positions 0 and 1 exchanged", "with all positions shifted by one"]
    change = how[k] if k < 2 else "at a random permutation"
    raise ProbeError(
        f"{at.who}: {what} do not follow the inputs: {change} position {t} differs by "
        f"{errors[k, t]:.3g} of the largest number. Are positions added, is there a mask, a "
        "recurrence or a convolution along this axis, or is f random (.eval() switches dropout "
        "off)?",
        errors,
    )
