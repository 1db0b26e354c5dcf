"""Who sees whom: which output positions depend on which input positions, by the gradient.

    leak_matrix          the norm of every block ∂out_t/∂x_s
    assert_causal        it is 0 for s > t
    assert_independent   it is 0 for s ≠ t: examples of a batch do not see each other

A gradient speaks of one point: where a softmax is saturated or a ReLU is off a dependence has no
slope.  Probe at random inputs of ordinary size.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    squares_by_position,
    whole,
)

WIDEST = 32  # signs in a row or a column of a picture

CAUSES = (
    "perhaps no mask reaches the softmax, or it is applied after it",
    "perhaps softmax, a norm or a mean runs over the time axis or over the batch",
    "perhaps axes were shuffled by a reshape where a transpose was meant",
)


def leak_matrix(
    f: Function | None,
    x: Any,
    *,
    axis: int = -2,
    out_axis: int | None = None,
    vjp: Foreign | None = None,
    draws: int | None = None,
) -> Array:
    """‖∂out_t/∂x_s‖ for all output positions t and input positions s: (T_out, T_in), float64.

    The norm is Frobenius', over all other axes of the output and of x, those of the batch too.  It
    is exact, by one walk for each output element, where an output position has at most 64 of them.
    Else it is estimated by 8 random upstream gradients for each position: numbers right to about a
    third, zeros exact; they miss a block that is not 0 with probability 0.

    Args:
        f: a function of one Tensor that returns a Tensor (nn.Module too); it gets a float64 one.
        x: the point: a floating array or Tensor, by default (..., T, D).
        axis: the axis of x that s counts.
        out_axis: the axis of the output that t counts; the same as `axis` where None.
        vjp: a function of arrays (x, g) -> gᵀ∂f/∂x, of any library.  Then x keeps its dtype, and f
            is a function of arrays that only tells the output's shape and dtype; None: those of x.
            The result may be None for zeros.
        draws: number of random upstream gradients, few elements or not.

    Raises:
        DTypeError: x is not real and floating, f or vjp is no function, f does not return one
            floating Tensor, or an axis is not an integer.
        ShapeError: an axis is out of range, something is empty, or vjp returns another shape.
    """
    return matrix_of("leak_matrix", f, x, axis, out_axis, vjp, draws)[1]


def matrix_of(
    who: str,
    f: Function | None,
    x: Any,
    axis: int,
    out_axis: int | None,
    vjp: Foreign | None,
    draws: int | None,
) -> tuple[Probed, Array]:
    """What was probed, and its leak matrix."""
    inside = place(who, "axis", axis, point(who, x).shape)
    outside = axis if out_axis is None else whole(who, "out_axis", out_axis)
    if draws is not None:
        draws = whole(who, "draws", draws, 1)
    at = probed(who, f, x, vjp)
    squares = squares_by_position(at, place(who, "out_axis", outside, at.shape), draws)
    blocks = np.moveaxis(squares, inside + 1, 1)  # (T_out, T_in, ...)
    return at, np.sqrt(blocks.reshape(*blocks.shape[:2], -1).sum(-1))


def assert_causal(
    f: Function | None,
    x: Any,
    *,
    offset: int = 0,
    axis: int = -2,
    out_axis: int | None = None,
    vjp: Foreign | None = None,
    draws: int | None = None,
    tolerance: float | None = None,
) -> None:
    """Output t must not depend on input s > t + offset.

    Args:
        f, x, axis, out_axis, vjp, draws: as in `leak_matrix`.
        offset: as in attention: the number of inputs before the first output; −1: only earlier
            ones, not the same.
        tolerance: what a zero may be, in proportion to the largest number of the matrix; where
            None, 1e-9 if all is float64, else 1e-5.

    Raises:
        ProbeError: an output does, the gradient is not finite, or nothing depends on x; `.matrix`
            is the leak matrix.
        DTypeError, ShapeError: as in `leak_matrix`; there is no later input at all; or the offset
            or the tolerance is not what it should be.
    """
    who = "assert_causal"
    offset = whole(who, "offset", offset)
    positive(who, tolerance)
    at, matrix = matrix_of(who, f, x, axis, out_axis, vjp, draws)
    reach = np.arange(matrix.shape[1]) - np.arange(len(matrix))[:, None] - offset
    leaks = leaking(at, matrix, reach > 0, tolerance)
    if leaks.any():
        later = "s > t" if offset == 0 else f"s > t {'+' if offset > 0 else '−'} {abs(offset)}"
        rule = f"output t must not depend on input {later}"
        seen = matrix > smallest(at, matrix, tolerance)
        causes = likely(seen, leaks, reach)
        raise ProbeError(told(who, rule, matrix, seen, reach > 0, causes), matrix)


def assert_independent(
    f: Function | None,
    x: Any,
    *,
    axis: int = 0,
    out_axis: int | None = None,
    vjp: Foreign | None = None,
    draws: int | None = None,
    tolerance: float | None = None,
) -> None:
    """Output b must depend on no input but b: by default, examples of a batch are apart.

    Args:
        all: as in `assert_causal`; `axis` is the batch.

    Raises:
        ProbeError, DTypeError, ShapeError: as in `assert_causal`; ShapeError also where x and the
            output have different lengths.
    """
    who = "assert_independent"
    positive(who, tolerance)
    at, matrix = matrix_of(who, f, x, axis, out_axis, vjp, draws)
    if matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(
            f"{who}: x has {matrix.shape[1]} positions along the axis and f(x) has "
            f"{matrix.shape[0]}; they must be the same number"
        )
    others = ~np.eye(len(matrix), dtype=bool)
    leaks = leaking(at, matrix, others, tolerance)
    if leaks.any():
        rule = "output t must not depend on input s ≠ t"
        seen = matrix > smallest(at, matrix, tolerance)
        raise ProbeError(told(who, rule, matrix, seen, others, CAUSES[1:]), matrix)


# ── what a matrix shows ──────────────────────────────────────────────────────────────────────────
def leaking(at: Probed, matrix: Array, forbidden: Array, tolerance: float | None) -> Array:
    """The pairs that leak.

    Raises:
        ShapeError: no pair is forbidden.
        ProbeError: the matrix cannot be judged: a number is not finite, or all are 0.
    """
    if not forbidden.any():
        raise ShapeError(
            f"{at.who}: with {len(matrix)} outputs and {matrix.shape[1]} inputs along the axis "
            "there is no pair that could leak; take more positions"
        )
    if not np.isfinite(matrix).all():
        t, s = (int(i) for i in np.argwhere(~np.isfinite(matrix))[0])
        raise ProbeError(f"{at.who}: the gradient of output {t} at input {s} is not finite", matrix)
    refuse_constant(at, matrix)
    return np.asarray(forbidden & (matrix > smallest(at, matrix, tolerance)))


def smallest(at: Probed, matrix: Array, tolerance: float | None) -> float:
    """The largest number that counts as zero."""
    return float(at.tolerance(tolerance) * matrix.max())


def likely(seen: Array, leaks: Array, reach: Array) -> tuple[str, ...]:
    """Reasons by the pattern of the leaks; `reach` (T_out, T_in) is how far past the limit."""
    furthest, past = int(reach[leaks].max()), reach < 0
    if past.any() and not seen[past].any():
        return (
            "the past is not seen and the future is: the mask has the other polarity (here True = "
            "may attend),",
            "or something runs from the end to the beginning",
        )
    if furthest < reach.max():
        layers = "" if furthest == 1 else f", or by less in each of at most {furthest} layers"
        return (
            f"leaks end {furthest} past the limit: the mask is off by {furthest}{layers},",
            "or a convolution is padded on both sides, or a target is not shifted",
        )
    return CAUSES


def told(
    who: str, rule: str, matrix: Array, seen: Array, forbidden: Array, causes: Sequence[str]
) -> str:
    """The message: the rule, the worst pair, the picture, and what may be the reason."""
    leaks = seen & forbidden
    t, s = np.unravel_index(np.argmax(np.where(leaks, matrix, 0)), matrix.shape)
    return "\n".join(
        [
            f"{who}: {rule}; {leaks.sum()} of {forbidden.sum()} pairs leak",
            f"  worst: output {t} depends on input {s}: ‖∂out/∂x‖ = {matrix[t, s]:.3g} "
            f"(the largest of all is {matrix.max():.3g})",
            "  rows are outputs, columns inputs; · zero, ▪ dependence, × leak",
            *("    " + line for line in picture(seen, leaks)),
            *("  " + cause for cause in causes),
        ]
    )


def picture(seen: Array, wrong: Array) -> list[str]:
    """One sign for each pair; in a large matrix a sign stands for a block of pairs."""
    signs = np.where(coarse(wrong), "×", np.where(coarse(seen), "▪", "·"))
    return ["".join(row) for row in signs]


def coarse(flags: Array) -> Array:
    """(rows, columns) -> at most WIDEST of each: true where a flag of the block is."""
    for axis, length in enumerate(flags.shape):
        step = -(-length // WIDEST)
        flags = np.logical_or.reduceat(flags, np.arange(0, length, step), axis=axis)
    return flags
