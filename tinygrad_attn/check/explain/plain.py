"""Explanations that change what the rule gives: its sign, its size, its order, its precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, permutations
from math import isclose
from typing import Any

import numpy as np

from ...engine import Array
from ..causes import Cause
from ..problem import upstream
from .evidence import Evidence, Numbers

AXES = 4  # of arrays whose permutations are tried
SINGLE, HALF = 4e-7, 4e-3  # relative errors that float32 and float16 explain
ROUNDING = 1e-12  # and what float64 explains
FORMS: tuple[dict[str, tuple[float, str]], ...] = (  # of a length: its power, and what that means
    {"1/{}": (-1, "a mean where a sum belongs"), "{}": (1, "a sum where a mean belongs")},
    {"√{}": (1 / 2, "√d_k forgotten"), "1/√{}": (-1 / 2, "√d_k once too often")},
)


def nothing_arrives(e: Numbers) -> str | None:
    """Zeros."""
    return f"{Cause.DETACHED} (the gradient is zero)" if e.fits(np.zeros_like(e.right)) else None


def sign_flipped(e: Numbers) -> str | None:
    """−dx."""
    return str(Cause.SIGN) if e.fits(-e.right) else None


def not_linear(e: Evidence) -> str | None:
    """The gradient of a sum is not the sum of the gradients."""
    problem = e.call.problem()
    g = upstream(np.random.default_rng(0), (problem.outputs.size,))
    once, thrice = problem.pull(np.array([g, 3 * g]))
    if np.allclose(thrice, 3 * once, rtol=1e-6, atol=1e-9) or np.array_equal(once, thrice):
        return None
    return f"{Cause.NOT_LINEAR} in the upstream gradient"


def upstream_ignored(e: Evidence) -> str | None:
    """The same gradient whatever comes in."""
    problem = e.call.problem()
    g = upstream(np.random.default_rng(0), (2, problem.outputs.size))
    same = np.array_equal(*problem.pull(g))
    return f"{Cause.IGNORED}: the rule gives the same whatever g is" if same else None


def some_factor(e: Numbers) -> str | None:
    """c·dx."""
    size = float((e.right * e.right).sum())
    factor = float((e.found * e.right).sum()) / size if size else 1.0
    return f"{Cause.FACTOR} {rounded(factor)}" if e.fits(factor * e.right) else None


def constant_factor(e: Evidence) -> str | None:
    """c·dx, and what c may be."""
    cause = some_factor(e)
    return cause and cause + meaning(float(cause.removeprefix(Cause.FACTOR)), e)


def rounded(factor: float) -> float:
    """To six digits; to twelve if it is next to 1."""
    return float(f"{factor:.{6 if abs(factor - 1) > 1e-3 else 12}g}")


def meaning(factor: float, e: Evidence) -> str:
    """What a factor may be: an operand that is a number, or made of a length; or ""."""
    told = [*operands(abs(factor), e), *made_of(abs(factor), e.lengths)]
    return f", perhaps {' or '.join(told)}" if told else ""


def operands(factor: float, e: Evidence) -> Iterator[str]:
    """Operands of the call that are single numbers, the factor or one over it."""
    for name, array in zip(e.call.names, e.call.arrays, strict=False):
        alone = isinstance(array, np.ndarray) and array.size == 1
        value = abs(complex(array.item())) if alone else 0.0
        if value and not isclose(value, 1):
            forms = {name: value, f"1/{name}": 1 / value}
            yield from (form for form, v in forms.items() if isclose(factor, v, rel_tol=1e-4))


def made_of(factor: float, lengths: Mapping[int, str]) -> Iterator[str]:
    """The first length n for which the factor is n or 1/n, the first for √n, and what it may be."""
    for forms in FORMS:
        fitting = (
            f"{form.format(n)} ({n} is the length of {lengths[n]}; {guess}?)"
            for n in lengths
            for form, (power, guess) in forms.items()
            if isclose(n**power, factor, rel_tol=1e-4)
        )
        yield from islice(fitting, 1)


def passed_on(e: Evidence) -> str | None:
    """g itself, or a multiple of it, as if the derivative were a constant."""
    if e.spread is None:
        return None
    factor = float((e.found * e.spread).sum()) / max(1.0, float(e.spread.sum()))
    if not factor or not e.fits(factor * e.spread):
        return None
    times = "" if isclose(factor, 1, rel_tol=1e-9) else f" times {rounded(factor)}"
    nothing = ~e.right.any(axis=0)
    if nothing.any() and not nothing.all():
        return f"{Cause.MASK}: {counted(nothing)} get a gradient though the result ignores them"
    return f"{Cause.PASSED_ON}{times}: the derivative of the operation is missing"


def counted(which: Any) -> str:
    """How many elements of the argument."""
    return f"{int(np.sum(which))} of {np.size(which)} elements"


def axes_permuted(e: Evidence) -> str | None:
    """The right numbers with the axes in another order, of the gradient or of g."""
    turning = permuting(e.right)
    if turning and e.fits(e.right.T):
        return f"{Cause.PERMUTATION}: the rule permutes as the operation does, not back"
    for which, shape, first in (
        ("the gradient", e.in_shape, len(e.out_shape)),
        ("g", e.out_shape, 0),
    ):
        for order in others(len(shape)):
            if tuple(shape[i] for i in order) == shape:
                axes = list(range(len(e.full_shape)))
                axes[first : first + len(order)] = [first + i for i in order]
                turned = e.right.reshape(e.full_shape).transpose(axes).reshape(e.right.shape)
                if e.fits(turned):
                    return turned_cause(e, which, order, turning)
    return None


def turned_cause(e: Evidence, which: str, order: tuple[int, ...], turning: bool) -> str:
    """The name of a fault that only permutes axes."""
    how = f"{which} has its axes in the order {order}"
    if len(e.out_shape) != len(e.in_shape):
        what = "spread" if len(e.out_shape) < len(e.in_shape) else "summed"
        return f"{Cause.WRONG_AXIS}: {what} along the wrong axis; {how}"
    if turning and e.call.op.name in ("transpose", "moveaxis", "swapaxes"):
        return f"{Cause.PERMUTATION}: {how}"
    plain = order[:-2] == tuple(range(len(order) - 2))
    return str(Cause.TRANSPOSED) + ("" if plain and which != "g" else f": {how}")


def others(axes: int) -> Iterator[tuple[int, ...]]:
    """The orders of so many axes but the first one; exchanges of the last two come first."""
    if 1 < axes <= AXES:
        orders = sorted(permutations(range(axes)), key=lambda order: order[:-2])
        yield from (order for order in orders if order != tuple(range(axes)))


def permuting(jacobian: Array) -> bool:
    """Does the operation only put its elements in another order?"""
    ones = jacobian == 1
    alone = (ones.sum(axis=0) == 1).all() and (ones.sum(axis=1) == 1).all()
    return bool(jacobian.shape[0] == jacobian.shape[1] and alone and not jacobian[~ones].any())


def another_order(e: Evidence) -> str | None:
    """The operation only moves elements, and so does the rule, but to other places."""
    if not permuting(e.right) or not permuting(e.found):
        return None
    moved = (e.right != e.found).any(axis=0)
    return f"{Cause.PERMUTATION}: {counted(moved)} get the gradient of another element"


def adjoint_missing(e: Evidence) -> str | None:
    """J g in place of Jᵀ g: the operation runs forwards once more."""
    if e.found.shape[0] != e.found.shape[1] or not e.fits(e.right.T):
        return None
    return f"{Cause.TRANSPOSED}: J g where Jᵀ g belongs; the rule runs the operation forwards"


def shifted(e: Evidence) -> str | None:
    """The right numbers some places further along an axis: an offset that is off."""
    full = e.right.reshape(e.full_shape)
    for axis, n in enumerate(e.full_shape):
        which = "g" if axis < len(e.out_shape) else "the gradient"
        at = axis if axis < len(e.out_shape) else axis - len(e.out_shape)
        for step in range(1, n):
            if e.fits(np.roll(full, step, axis).reshape(e.right.shape)):
                return f"{Cause.SHIFTED} by {step} along axis {at} of {which}"
    return None


def array_factor(e: Evidence) -> str | None:
    """Multiplied or divided by an argument, by the result, or by 1 minus it, once too often."""
    names = [*e.call.names, "out"]
    for name, array in zip(names, [*e.call.arrays, e.call.out], strict=False):
        for form, values in powers(name, np.asarray(array)):
            for shape, axes in ((e.in_shape, (1, -1)), (e.out_shape, (-1, 1))):
                try:
                    factor = np.broadcast_to(values, shape).reshape(axes)
                except ValueError:
                    continue
                if e.fits(e.right * factor):
                    return f"{Cause.ARRAY_FACTOR}: {form}"
    return None


def powers(name: str, x: Array) -> Iterator[tuple[str, Array]]:
    """What forgotten or doubled factors look like; those with a division by 0 are left out."""
    if x.dtype.kind not in "fc" or not x.size:
        return
    forms = {name: x, f"(1 − {name})": 1 - x, f"{name}²": x * x, f"(1 − {name}²)": 1 - x * x}
    for form, values in forms.items():
        yield f"{form} stands there once too often", values
        if np.abs(values).min() > 0:
            yield f"{form} is missing", 1 / values


def low_precision(e: Evidence) -> str | None:
    """Errors as large as another dtype makes them."""
    size = np.abs(e.right).max(initial=0)
    for dtype, most in ((np.float32, SINGLE), (np.float16, HALF)):
        small = ROUNDING * size < e.discrepancy <= most * size
        with np.errstate(over="ignore"):
            exact = np.isclose(e.found.astype(dtype), e.found, rtol=1e-12, atol=0).all()
        if small and exact:
            return f"{Cause.DTYPE}: the numbers are those of {np.dtype(dtype)}"
    return None
