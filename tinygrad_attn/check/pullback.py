"""A function and its pull-back gᵀ∂f/∂x at one point, of this library or of another.

The probes in `leaks` and `dependence` ask nothing else of what they probe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import numpy as np

from ..calculus import vjp as pulling
from ..engine import Array, DTypeError, ShapeError, Tensor, TensorError
from .problem import Function, as_array

Pull = Callable[[Array], Array]
Foreign = Callable[[Array, Array], Any]

TOLERANCE = {True: 1e-9, False: 1e-5}  # of the largest number: in float64, and in less
FEW = 64  # elements of an output position that are still taken one by one
DRAWS = 8  # random upstream gradients where there are more


class ProbeError(TensorError, AssertionError):
    """Something depends on what it must not depend on, or does not on what it must.

    Attributes:
        matrix: the numbers that were judged; what they are, each assertion says.
    """

    def __init__(self, message: str, matrix: Array) -> None:
        super().__init__(message)
        self.matrix = matrix


@dataclass(frozen=True)
class Probed:
    """A function at a point.

    Attributes:
        who: the probe's name, for errors.
        x: the point.
        out: f(x); None where only a pull-back is known.
        shape: of the output.
        pull: g, shaped like the output -> gᵀ∂f/∂x, shaped like x, in float64.
        exact: is all of it float64?
    """

    who: str
    x: Array
    out: Array | None
    shape: tuple[int, ...]
    pull: Pull
    exact: bool

    def tolerance(self, given: float | None) -> float:
        """What may be left of a zero, in proportion to the largest number."""
        return TOLERANCE[self.exact] if given is None else given


def probed(who: str, f: Function | None, x: Any, vjp: Foreign | None) -> Probed:
    """`f` at `x`; with `vjp` a function of arrays, else of Tensors.

    Raises:
        DTypeError: x is not real and floating, f or vjp is no function, or f returns something else
            than one floating Tensor.
        ShapeError: x or f(x) is empty.
    """
    array = point(who, x)
    if not callable(f) and not (f is None and vjp is not None):
        raise DTypeError(f"{who}: f must be a function, got {type(f).__name__}")
    if vjp is None:
        return of_tensors(who, f, array.astype(np.float64))
    if not callable(vjp):
        raise DTypeError(
            f"{who}: vjp must be a function (x, g) -> gx of arrays, got {type(vjp).__name__}"
        )
    return of_arrays(who, f, array, vjp)


def point(who: str, x: Any) -> Array:
    """`x` as an array of its own.

    Raises:
        DTypeError, ShapeError: as in `probed`.
    """
    array = as_array(f"{who}: x", x)
    if array.dtype.kind != "f":
        raise DTypeError(
            f"{who}: expected a real floating x, got {array.dtype}; tokens have no gradient: pass "
            "their embeddings, and let f go on from there"
        )
    if not array.size:
        raise ShapeError(f"{who}: x is empty, of shape {array.shape}: there is nothing to probe")
    return array


def of_tensors(who: str, f: Any, x: Array) -> Probed:
    """A function of Tensors, by this library's own walk."""

    def single(variable: Tensor) -> Tensor:
        out = f(variable)
        if not isinstance(out, Tensor) or out.dtype.kind != "f":
            kind = f"a Tensor of {out.dtype}" if isinstance(out, Tensor) else type(out).__name__
            raise DTypeError(f"{who}: f must return one floating Tensor, got {kind}")
        return out

    y, pullback = pulling(single, x)
    checked_output(who, y.shape)

    def pull(g: Array) -> Array:
        return np.asarray(pullback(g.astype(y.dtype))[0].data, np.float64)

    return Probed(who, x, y.numpy(), y.shape, pull, y.dtype == np.float64)


def of_arrays(who: str, f: Function | None, x: Array, vjp: Foreign) -> Probed:
    """A function known by its pull-back on arrays."""
    out = None if f is None else np.asarray(f(x.copy()))
    shape = x.shape if out is None else out.shape
    checked_output(who, shape)
    dtype = x.dtype if out is None else out.dtype

    def pull(g: Array) -> Array:
        found = vjp(x.copy(), g.astype(dtype))
        gx = np.zeros(x.shape) if found is None else np.asarray(found, np.float64)
        if gx.shape != x.shape:
            raise ShapeError(f"{who}: vjp must return x's shape {x.shape}, got {gx.shape}")
        return gx

    return Probed(who, x, out, shape, pull, x.dtype == dtype == np.float64)


def checked_output(who: str, shape: tuple[int, ...]) -> None:
    """Raises: ShapeError: the output is empty."""
    if 0 in shape:
        raise ShapeError(f"{who}: f(x) is empty, of shape {shape}: there is nothing to probe")


def refuse_constant(at: Probed, gradient: Array) -> None:
    """Raises: ProbeError: every gradient is 0, so that a probe would say nothing."""
    if not gradient.any():
        raise ProbeError(
            f"{at.who}: f(x) does not depend on x at all, so nothing was probed; is x detached "
            "inside f?",
            gradient,
        )


# ── arguments ────────────────────────────────────────────────────────────────────────────────────
def whole(who: str, name: str, value: Any, least: int | None = None) -> int:
    """`value` as an integer.

    Raises:
        DTypeError: it is none.
        ShapeError: it is less than `least`.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise DTypeError(f"{who}: {name} must be an integer, got {value!r}")
    if least is not None and value < least:
        raise ShapeError(f"{who}: {name} must be at least {least}, got {value}")
    return int(value)


def finite(who: str, name: str, value: Any, *, above: float = -inf) -> float | None:
    """`value` as a number, or None.

    Raises:
        DTypeError: it is neither.
        ShapeError: it is not finite, or not above `above`.
    """
    if value is None:
        return None
    number = isinstance(value, float | int | np.floating | np.integer)
    if not number or isinstance(value, bool):
        raise DTypeError(f"{who}: {name} must be a number or None, got {value!r}")
    if not (isfinite(value) and value > above):
        kind = "finite" if above == -inf else f"above {above:g} and finite"
        raise ShapeError(f"{who}: {name} must be {kind}, got {value}")
    return float(value)


def positive(who: str, tolerance: Any) -> None:
    """Raises: DTypeError, ShapeError: the tolerance is neither None nor a positive number."""
    finite(who, "tolerance", tolerance, above=0)


def truth(who: str, name: str, value: Any) -> None:
    """Raises: DTypeError: the value is neither True nor False."""
    if not isinstance(value, bool | np.bool_):
        raise DTypeError(f"{who}: {name} must be True or False, got {value!r}")


def place(who: str, name: str, axis: Any, shape: tuple[int, ...]) -> int:
    """`axis` counted from the front.

    Raises:
        DTypeError: it is not an integer.
        ShapeError: the array has no such axis.
    """
    at = whole(who, name, axis)
    if not -len(shape) <= at < len(shape):
        raise ShapeError(f"{who}: {name}={at} is outside the shape {shape}; name another axis")
    return at % len(shape)


# ── upstream gradients ───────────────────────────────────────────────────────────────────────────
def random_pulls(at: Probed, keep: Any = True, count: int = DRAWS) -> Array:
    """Root mean square gradient for `count` random g that are 0 where not `keep`: x's shape."""
    rng = np.random.default_rng(0)
    total = np.zeros(at.x.shape)
    for _ in range(count):
        total += at.pull(rng.standard_normal(at.shape) * keep) ** 2
    return np.asarray(np.sqrt(total / count))


def squares_by_position(at: Probed, out_axis: int, draws: int | None) -> Array:
    """For each output position t the sum of squares of ∂out_t/∂x: (T_out, *x.shape).

    One walk for each element of the output position where they are few; else, and with `draws`,
    the mean over g from N(0, 1), whose expectation it is: E(gᵀJ)² = Σ J².
    """
    rng = np.random.default_rng(0)
    ahead = (at.shape[out_axis], *at.shape[:out_axis], *at.shape[out_axis + 1 :])
    length, size = ahead[0], int(np.prod(ahead[1:]))
    single = draws is None and size <= FEW
    count = size if single else draws or DRAWS
    total = np.zeros((length, *at.x.shape))
    for t in range(length):
        rows = np.eye(size) if single else rng.standard_normal((count, size)) / np.sqrt(count)
        for row in rows:
            g = np.zeros((length, size))
            g[t] = row
            total[t] += at.pull(np.moveaxis(g.reshape(ahead), 0, out_axis)) ** 2
    return total
