"""What is known of one wrong rule: what it gives, what it should give, and the call it was part of.

Both are Jacobians of (outputs, inputs): row j is the gradient that the rule makes of an upstream
gradient that is 1 at output j and 0 elsewhere.  With all of its numbers at hand one can ask of any
explanation what the rule would give if it were true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from math import prod
from typing import Any

import numpy as np

from ...engine import Array, Tensor
from ..layout import Index
from ..numeric import NotAnalyticError, complex_step, richardson
from ..problem import Problem
from ..trace import Call

EXPLAINED = 1e-3  # how much of the discrepancy an explanation may leave
ENTRIES = 1 << 18  # of a Jacobian that is worked out whole
LONGEST = 1024  # its longer side
SHORT = 7  # axes beyond this length are cut where arrays are too large


@dataclass(frozen=True, eq=False)
class Numbers:
    """Two tables of numbers that should be equal: what was found, and what is right."""

    found: Array
    right: Array

    @cached_property
    def discrepancy(self) -> float:
        """The largest difference of the two."""
        return float(np.abs(self.found - self.right).max(initial=0))

    def fits(self, candidate: Array | None) -> bool:
        """Is it this that was found, instead of what is right?"""
        return self.near(self.found, candidate)

    def mends(self, candidate: Array | None) -> bool:
        """Is this right, unlike what was found?"""
        return self.near(self.right, candidate)

    def near(self, wanted: Array, candidate: Array | None) -> bool:
        """Does the candidate leave next to nothing of the discrepancy?"""
        if candidate is None or candidate.shape != wanted.shape:
            return False
        left = np.abs(wanted - candidate).max(initial=0)
        return bool(left <= EXPLAINED * self.discrepancy)


@dataclass(frozen=True, eq=False)
class Evidence(Numbers):
    """A wrong rule beside the right one, both as Jacobians (outputs, inputs).

    Attributes:
        call: the operation and the argument in question, at the values where the rule is wrong.
        in_shape, out_shape: of the argument and of the result.
        others: all rules of the backward pass.
        lengths: lengths of axes that play a part, each with a phrase that says of what.
    """

    call: Call
    in_shape: Index
    out_shape: Index
    others: Sequence[Call] = ()
    lengths: Mapping[int, str] = field(default_factory=dict)

    @property
    def full_shape(self) -> tuple[int, ...]:
        """Shape of both Jacobians with the axes of the result and of the argument told apart."""
        return (*self.out_shape, *self.in_shape)

    @cached_property
    def spread(self) -> Array | None:
        """The Jacobian of broadcasting the argument to the result; None if it does not."""
        try:
            places = np.broadcast_to(
                np.arange(prod(self.in_shape)).reshape(self.in_shape), self.out_shape
            )
        except ValueError:
            return None
        return np.eye(prod(self.in_shape))[places.ravel()]


def gathered(call: Call, others: Sequence[Call], lengths: Mapping[int, str]) -> Evidence | None:
    """The evidence against a rule, from smaller arrays where these are too large; None without.

    It is None too where the operation raises on smaller arrays.
    """
    whole = recomputed(call)
    if whole is None:
        return None
    for one in (whole, shrunken(whole)):
        evidence = None if one is None else collected(one, others, lengths)
        if evidence is not None and evidence.discrepancy > 0:
            return evidence
    return None


def collected(call: Call, others: Sequence[Call], lengths: Mapping[int, str]) -> Evidence | None:
    """Both Jacobians of a call, unless they are too large or one is not finite."""
    problem = call.problem()
    m, n = problem.outputs.size, problem.inputs.size
    if m * n > ENTRIES or max(m, n) > LONGEST:
        return None
    found, right = problem.pull(np.eye(m)), numeric_jacobian(problem)
    if not (np.isfinite(found).all() and np.isfinite(right).all()):
        return None
    outs = problem.outputs.shapes
    out_shape = outs[0] if len(outs) == 1 else (m,)  # several results stand end to end
    return Evidence(found, right, call, problem.inputs.shapes[0], out_shape, others, lengths)


def numeric_jacobian(problem: Problem) -> Array:
    """∂f/∂x, column by column, by the complex step where f takes one."""
    columns = []
    for u in np.eye(problem.inputs.size):
        try:
            columns.append(complex_step(problem.value, problem.x, u))
        except NotAnalyticError:
            columns.append(richardson(problem.value, problem.x, u, 2.0**-13).value)
    return np.stack(columns, axis=1) if columns else np.zeros((problem.outputs.size, 0))


def jacobian_of(call: Call | None) -> Array | None:
    """The right Jacobian of a call; None where it cannot be worked out."""
    if call is None:
        return None
    try:
        return numeric_jacobian(call.problem())
    except Exception:  # the operation does not take these arguments
        return None


def found_jacobian_of(call: Call) -> Array:
    """What the rule makes of a call, right or wrong."""
    problem = call.problem()
    return problem.pull(np.eye(problem.outputs.size))


def shrunken(call: Call) -> Call | None:
    """The call on the first few elements along every long axis; None if that makes no sense.

    Equal lengths stay equal and different ones different, so that no axes can be confused.
    Integers, which may be indices, are brought into the shorter range.
    """
    given = [*call.arrays, *call.options.values()]
    lengths = {n for a in given if isinstance(a, np.ndarray) for n in a.shape}
    fresh = (n for n in count(2) if n not in lengths)
    short = {n: next(fresh) if n > SHORT else n for n in sorted(lengths)}
    least = min((short[n] for n in lengths if n > SHORT), default=0)

    def cut(a: Any) -> Any:
        if not isinstance(a, np.ndarray):
            return a
        part = a[tuple(slice(short[n]) for n in a.shape)]
        return part % least if least and a.dtype.kind in "iu" else part

    options = {name: cut(option) for name, option in call.options.items()}
    return recomputed(replace(call, arrays=tuple(map(cut, call.arrays)), options=options))


def recomputed(call: Call) -> Call | None:
    """A changed call with the result that belongs to it; None if the operation refuses it."""
    try:
        out = call(Tensor(call.arrays[call.argument]))
    except Exception:  # whatever an operation says of arguments made up here
        return None
    if isinstance(out, tuple):
        return replace(call, out=tuple(part.data for part in out))
    return replace(call, out=out.data) if isinstance(out, Tensor) else None


def lengths_of(problem: Problem, calls: Sequence[Call]) -> dict[int, str]:
    """Lengths of axes that a factor may come from, the function's own inputs first."""
    inputs: list[tuple[str, Any]] = list(
        zip(problem.inputs.names, problem.inputs.shapes, strict=True)
    )
    within = [
        (f"{name} of {call.op.name}", np.shape(array))
        for call in calls
        for name, array in zip(call.names, call.arrays, strict=False)
    ]
    told: dict[int, str] = {}
    for named in (inputs, within):
        places: dict[int, list[str]] = {}
        for name, shape in named:
            for axis, n in enumerate(shape):
                places.setdefault(n, []).append(f"axis {axis} of {name}")
        for n, found in places.items():
            if n > 1 and n not in told:
                told[n] = " and ".join(list(dict.fromkeys(found))[:2])
    return told
