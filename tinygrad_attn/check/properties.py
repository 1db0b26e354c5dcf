"""What must hold besides the numbers: backward repeats, is linear, writes nowhere, keeps dtypes.

Each function looks at one property and raises ViolationError where it does not hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, Tensor
from .causes import Cause
from .layout import joined
from .problem import Problem, upstream
from .trace import Call, calls_of, traced

LINEAR = 1e-6  # a sum of gradients may be off by rounding, not by more
PAIRS = 3  # pairs of inputs of one shape that are tried as f(x, x)


class ViolationError(Exception):
    """A property does not hold; `.call` is the rule to blame, where it is known."""

    def __init__(self, reason: str, calls: list[Call] | None = None) -> None:
        super().__init__(reason)
        self.call = calls[-1] if calls else None


def check_properties(problem: Problem, user_inputs: int, rng: np.random.Generator) -> None:
    """Look at all properties.

    Args:
        user_inputs: how many of the inputs the caller gave (others are parameters of a module).

    Raises:
        ViolationError: one does not hold.
    """
    check_repeatable(problem, rng)
    check_linear(problem, rng)
    check_nothing_written(problem, rng)
    check_single_precision(problem, rng)
    for i, j in list(pairs(problem, user_inputs))[:PAIRS]:
        check_same_input_twice(problem, i, j, rng)


def relative(difference: Array, reference: Array) -> float:
    """max |difference| / max(1, |reference|), 0 for empty arrays."""
    return float(np.max(np.abs(difference) / np.maximum(1, np.abs(reference)), initial=0))


def check_repeatable(problem: Problem, rng: np.random.Generator) -> None:
    """The same graph walked twice gives the same bits, in each input's shape and dtype."""
    variables = problem.tensors(problem.x)
    outs = problem.run(problem.f, variables)
    g = upstream(rng, (problem.outputs.size,))
    first, second = (problem.gradient(outs, variables, g) for _ in range(2))
    for name, x, a, b in zip(problem.inputs.names, variables, first, second, strict=True):
        if (a.shape, a.dtype) != (x.shape, x.dtype):
            raise ViolationError(
                f"{Cause.DTYPE}: the gradient of {name} is {a.dtype}{list(a.shape)}, but {name} "
                f"is {x.dtype}{list(x.shape)}"
            )
        if not np.array_equal(a, b, equal_nan=True):
            raise ViolationError(f"{Cause.NOT_REPEATABLE} of {name}, through one graph")


def check_linear(problem: Problem, rng: np.random.Generator) -> None:
    """B(a·g₁ + b·g₂) = a·B(g₁) + b·B(g₂)."""
    g1, g2 = (upstream(rng, (problem.outputs.size,)) for _ in range(2))
    a, b = rng.uniform(0.5, 1.5, 2)
    first, second, both = problem.pull(np.array([g1, g2, a * g1 + b * g2]))
    wanted = a * first + b * second
    known = np.isfinite(wanted)
    error = relative((both - wanted)[known], wanted[known])
    if error > LINEAR:
        raise ViolationError(f"{Cause.NOT_LINEAR} in the upstream gradient (error {error:.3g})")


def check_nothing_written(problem: Problem, rng: np.random.Generator) -> None:
    """No rule writes into the gradient it is given."""
    calls: list[Call] = []

    def protect(call: Call, g: Any) -> None:
        calls.append(call)
        for part in g if isinstance(g, tuple) else (g,):
            part.setflags(write=False)

    _, failed = traced(problem, upstream(rng, (problem.outputs.size,)), protect)
    if failed is not None and "read-only" in str(failed.__cause__):
        raise ViolationError(
            f"{Cause.WRITES} it is given, which other rules may share ({failed.__cause__})",
            calls,
        )


def check_untouched(given: list[tuple[Array, Array]]) -> None:
    """The arrays that the caller gave are what they were: (array, copy made before) for each."""
    for array, before in given:
        if not np.array_equal(array, before, equal_nan=array.dtype.kind in "fc"):
            raise ViolationError(str(Cause.INPUT_WRITTEN))


def check_single_precision(problem: Problem, rng: np.random.Generator) -> None:
    """Backward works in float32 too; a function that does not run in float32 is let be."""
    try:
        single = Problem(problem.f, problem.args, problem.names, dtype=np.float32)
    except Exception:
        return
    calls, failed = calls_of(single, upstream(rng, (single.outputs.size,)))
    if failed is not None:
        error = failed.__cause__
        kind = Cause.DTYPE if isinstance(error, DTypeError) else Cause.RAISES
        raise ViolationError(f"{kind}: with float32 inputs backward fails: {error}", calls)


def check_recorded(problem: Problem) -> None:
    """Of a gradient: under create_graph the rules give the numbers they give on arrays."""
    bare = problem.value(problem.x)
    outs = problem.run(problem.f, problem.tensors(problem.x))
    recorded = joined([out.data for out in outs])
    if not relative(recorded - bare, bare) <= LINEAR:
        raise ViolationError(
            f"{Cause.SECOND_ORDER}: it gives other numbers under create_graph than on bare arrays"
        )


def pairs(problem: Problem, user_inputs: int) -> Iterator[tuple[int, int]]:
    """Pairs of inputs whose places one tensor can take."""
    shapes = problem.inputs.shapes[:user_inputs]
    return ((i, j) for i, j in combinations(range(len(shapes)), 2) if shapes[i] == shapes[j])


def check_same_input_twice(problem: Problem, i: int, j: int, rng: np.random.Generator) -> None:
    """f(x, x) has the gradient of f(x, y) at y = x, its two parts added; where f is defined."""
    apart = problem.tensors(problem.x)
    apart[j] = Tensor(apart[i].data, requires_grad=True)
    once = [*apart[:j], apart[i], *apart[j + 1 :]]
    try:
        outs, together = problem.run(problem.f, apart), problem.run(problem.f, once)
    except Exception:
        return
    g = upstream(rng, (problem.outputs.size,))
    parts = problem.gradient(outs, apart, g)
    total = problem.gradient(together, apart[:j] + apart[j + 1 :], g)[i]
    wanted = parts[i] + parts[j]
    if np.isfinite(wanted).all() and relative(total - wanted, wanted) > LINEAR:
        first, second = problem.inputs.names[i], problem.inputs.names[j]
        raise ViolationError(
            f"{Cause.NOT_ADDED}: with one tensor for both {first} and {second} the gradient is not "
            "the sum of the two"
        )
