"""What a function must not look at, what it must look at, and when order must not matter.

assert_padding_inert             padded inputs reach no real output
assert_depends_on                an argument is not ignored
assert_permutation_equivariant   f(Px) = P f(x)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Array, DTypeError, ShapeError, Tensor
from .leaks import picture
from .problem import Function, as_array, holds_floats, input_names
from .pullback import (
    Foreign,
    Probed,
    ProbeError,
    place,
    point,
    positive,
    probed,
    random_pulls,
    refuse_constant,
    squares_by_position,
    whole,
)


# ── padding ──────────────────────────────────────────────────────────────────────────────────────
def assert_padding_inert(
    f: Function | None,
    x: Any,
    real: Any,
    *,
    axis: int = 1,
    out_axis: int | None = None,
    vjp: Foreign | None = None,
    tolerance: float | None = None,
) -> None:
    """Outputs at real positions must not depend on padded inputs, nor send them a gradient.

    Args:
        f: as in `leak_matrix`; it knows the padding by itself, by the mask or lengths it is given.
            With `vjp` its results are compared as well: it returns arrays.
        x: the point, by default (B, T, D); the padding holds anything.
        real: lengths (B,), integers; or booleans (B, T), True where x is real.
        axis, out_axis, vjp: as in `leak_matrix`; axis 0 is the batch.
        tolerance: as in `assert_causal`, in proportion to the largest gradient or output.

    Where the output has as many positions along `out_axis` as x, those of the padding may hold
    anything.  Where it has not (a decoder's, or one vector for each example) all must be right.

    Raises:
        ProbeError: an output does depend on padding, a number is not finite, or the outputs depend
            on nothing; `.matrix` (B, T) has the norm of the gradient at each input position, or
            the change of each output position.
        DTypeError, ShapeError: as in `leak_matrix`; `real` is neither, or nothing is padded.
    """
    who = "assert_padding_inert"
    positive(who, tolerance)
    array = point(who, x)
    inside = place(who, "axis", axis, array.shape)
    keep = real_positions(who, real, array.shape, inside)
    at = probed(who, f, x, vjp)
    outside = axis if out_axis is None else place(who, "out_axis", out_axis, at.shape)
    counted = outputs_that_count(keep, at.shape, outside)
    gradient = by_position(random_pulls(at, counted), inside)
    refuse_padding(at, gradient, ~keep, tolerance)
    if at.out is None:
        return
    noise = np.random.default_rng(1).standard_normal(array.shape) * max(1, abs(array).max())
    filled = np.where(laid(keep, array.ndim, inside), array, noise).astype(array.dtype)
    refuse_change(at, at.out, probed(who, f, filled, vjp).out, counted, tolerance)


def real_positions(who: str, real: Any, shape: tuple[int, ...], axis: int) -> Array:
    """Lengths (B,) or booleans (B, T) as booleans (B, T).

    Raises:
        DTypeError, ShapeError: it is neither, or all is real, or nothing.
    """
    array, batch, length = np.asarray(real), shape[0], shape[axis]
    if axis == 0:
        raise ShapeError(f"{who}: axis 0 is the batch; x of shape {shape} needs one more for time")
    if array.dtype.kind not in "biu":
        raise DTypeError(f"{who}: real must be lengths or booleans, got {array.dtype}")
    expected = (batch, length) if array.dtype == bool else (batch,)
    if array.shape != expected:
        raise ShapeError(
            f"{who}: expected lengths ({batch},) or booleans ({batch}, {length}) for x of shape "
            f"{shape}, got {array.dtype}{list(array.shape)}"
        )
    if array.dtype != bool:
        if array.min() < 0 or array.max() > length:
            raise ShapeError(
                f"{who}: lengths must be 0 to {length}, got {array.min()} to {array.max()}"
            )
        array = np.arange(length) < array[:, None]
    if array.all() or not array.any():
        kind = "real" if array.all() else "padding"
        raise ShapeError(f"{who}: all of x is {kind}: there is nothing to probe")
    return array


def laid(keep: Array, ndim: int, axis: int) -> Array:
    """(B, T) as an array that broadcasts: B along axis 0, T along `axis`."""
    shape = [1] * ndim
    shape[0], shape[axis] = keep.shape
    return keep.reshape(shape)


def outputs_that_count(keep: Array, shape: tuple[int, ...], axis: int) -> Array:
    """1 at outputs that must not see padding: at real positions, or all (see above)."""
    at = axis % max(1, len(shape)) if axis < len(shape) else 0
    if at > 0 and (shape[0], shape[at]) == keep.shape:
        return laid(keep, len(shape), at)
    return np.ones((), bool)


def by_position(values: Array, axis: int) -> Array:
    """The norm over all axes but 0 and `axis`: (B, T)."""
    moved = np.moveaxis(values, axis, 1)
    return np.asarray(np.sqrt((moved.reshape(*moved.shape[:2], -1) ** 2).sum(-1)))


def refuse_padding(at: Probed, matrix: Array, padding: Array, tolerance: float | None) -> None:
    """Raises: ProbeError: the matrix is not 0 at padding, is 0 elsewhere, or is not finite."""
    if not np.isfinite(matrix).all():
        raise ProbeError(f"{at.who}: the gradient is not finite", matrix)
    refuse_constant(at, matrix)
    seen = matrix > at.tolerance(tolerance) * matrix.max()
    if (seen & padding).any():
        b, s = np.unravel_index(np.argmax(np.where(padding, matrix, 0)), matrix.shape)
        lines = [
            f"{at.who}: outputs depend on padding: a gradient reaches {(seen & padding).sum()} of "
            f"{padding.sum()} padded inputs",
            f"  worst: example {b}, position {s}: {matrix[b, s]:.3g} (the largest of all is "
            f"{matrix.max():.3g})",
            "  rows are examples, columns input positions; · zero, ▪ dependence, × padding seen",
            *("    " + line for line in picture(seen, seen & padding)),
            "  perhaps the mask is missing in one layer or has the other polarity (here True = may",
            "  attend), lengths belong to another example, or a mean or norm runs over padding too",
        ]
        raise ProbeError("\n".join(lines), matrix)


def refuse_change(
    at: Probed, out: Array, after: Any, counted: Array, tolerance: float | None
) -> None:
    """Raises: ProbeError: outputs that count are not what they were."""
    before, change = (np.where(counted, array, 0) for array in (out, out - after))
    if not abs(change).max() <= at.tolerance(tolerance) * abs(before).max():
        index = [int(i) for i in np.unravel_index(np.argmax(abs(change)), change.shape)]
        raise ProbeError(
            f"{at.who}: other numbers in the padding change output {index} by "
            f"{abs(change).max():.3g}, though no gradient goes there; does f count, round or "
            "compare them, or is it random (.eval() switches dropout off)?",
            abs(change),
        )


# ── dependence ───────────────────────────────────────────────────────────────────────────────────
def assert_depends_on(
    f: Function | None,
    *xs: Any,
    argument: int | None = None,
    each: bool = False,
    out_axis: int = -2,
    vjp: Foreign | None = None,
    tolerance: float | None = None,
) -> None:
    """The output must depend on its arguments: the decoder really looks at the encoder.

    Args:
        f: a function of Tensors that returns one; with `vjp` a function of one array, or None.
        xs: the arguments; floating ones are probed, others passed through.
        argument: the number of the only one to probe; all floating ones where None.
        each: must every position of the output along `out_axis` depend on it, or only some?
        vjp: as in `leak_matrix`; then there is one argument.
        tolerance: |∂out/∂x| counts as zero up to this many |out| / |x| (the largest of each); where
            None, 1e-9 if all is float64, else 1e-5.

    Raises:
        ProbeError: it does not, or the gradient is not finite; `.matrix` has the size of the
            gradient for each argument, or with `each` for each output position.
        DTypeError, ShapeError: as in `leak_matrix`; there is no such argument.
    """
    who = "assert_depends_on"
    positive(who, tolerance)
    whole(who, "out_axis", out_axis)
    slots = probed_arguments(who, xs, argument)
    if vjp is not None and len(xs) != 1:
        raise ShapeError(f"{who}: with vjp expected one argument, got {len(xs)}")
    names = ["x"] * len(xs) if f is None else input_names(f, xs)
    for k in slots:
        at = probed(who, f if len(xs) == 1 else with_others(who, f, xs, k), xs[k], vjp)
        refuse_ignorance(at, f"{names[k]} (argument {k})", out_axis if each else None, tolerance)


def probed_arguments(who: str, xs: tuple[Any, ...], argument: int | None) -> list[int]:
    """The numbers of the arguments to probe.

    Raises:
        DTypeError: none is floating, or `argument` is not an integer.
        ShapeError: there is no such argument.
    """
    if argument is not None:
        k = whole(who, "argument", argument, 0)
        if k >= len(xs):
            raise ShapeError(f"{who}: argument {k} of {len(xs)}: there is none; the first is 0")
        return [k]
    slots = [k for k, x in enumerate(xs) if differentiable(x)]
    if not slots:
        raise DTypeError(f"{who}: no argument is floating: tokens have no gradient")
    return slots


def differentiable(x: Any) -> bool:
    """Is it a floating Tensor, array, number or list of numbers?"""
    if isinstance(x, Tensor | np.ndarray | np.generic):
        return x.dtype.kind == "f"
    return holds_floats(x)


def with_others(who: str, f: Any, xs: tuple[Any, ...], k: int) -> Function:
    """`f` as a function of argument k; the other floating ones are constants."""
    xs = tuple(
        Tensor(as_array(f"{who}: argument {i}", x).astype(np.float64)) if differentiable(x) else x
        for i, x in enumerate(xs)
    )

    def alone(x: Any) -> Any:
        return f(*xs[:k], x, *xs[k + 1 :])

    return alone


def refuse_ignorance(at: Probed, name: str, axis: int | None, tolerance: float | None) -> None:
    """Raises: ProbeError: the output, or a position of it along `axis`, does not depend on x."""
    if axis is None:
        sizes = np.array([random_pulls(at).max()])
    else:
        squares = squares_by_position(at, place(at.who, "out_axis", axis, at.shape), None)
        sizes = np.sqrt(squares.reshape(len(squares), -1).max(1))
    if not np.isfinite(sizes).all():
        raise ProbeError(f"{at.who}: the gradient at {name} is not finite", sizes)
    largest = 1.0 if at.out is None else abs(at.out).max()
    none = sizes <= at.tolerance(tolerance) * largest / (abs(at.x).max() or 1)
    if none.any():
        rows = np.flatnonzero(none)
        which = "" if none.all() else f" at {len(rows)} of {len(none)} positions, first {rows[0]},"
        raise ProbeError(
            f"{at.who}: the output{which} does not depend on {name}: the gradient there is "
            f"{sizes[rows].max():.3g}; is it passed on, or detached, masked away, multiplied by "
            "zeros, or drowned by a saturated softmax?",
            sizes,
        )
