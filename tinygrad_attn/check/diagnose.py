"""Why a gradient is wrong: the first operation whose rule is wrong, and what is wrong with it.

Every rule that the backward pass runs is checked by itself, at the values it met, against the
numeric derivative of its operation's forward function.  What is wrong with it is found by trying
simple explanations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..engine import Array
from .compare import TOLERANCE, Comparison, chosen_method, compared
from .orders import differentiated
from .probes import chosen_probes, probes
from .problem import Problem, RuleFailedError, upstream
from .properties import ViolationError, check_nothing_written
from .report import Report
from .trace import Call, calls_of, seen_through

UNKNOWN = "unknown"
ZERO = "zero (detached branch)"
NOT_A_NUMBER = "not a number"
DETACHED = "a detached branch, or a hook (every rule that ran is right)"
LEAVES = "the rule gives the right numbers but leaves the graph, so it cannot be differentiated"
GROSS = 1e-6            # an error that no rounding explains
EXPLAINED = 1e-3        # how much of the discrepancy an explanation may leave


@dataclass(frozen=True)
class Culprit:
    """A rule that is wrong by itself, at some order: what was found, or the error it raised."""

    call: Call
    order: int
    found: Comparison | None = None
    failed: RuleFailedError | None = None

    @property
    def cause(self) -> str:
        """What is wrong with it."""
        if self.found is None:
            error = self.failed and self.failed.__cause__
            return f"the rule raises {type(error).__name__}: {error}"
        cause = cause_of(self.found)
        return LEAVES if self.order > 1 and cause in (ZERO, UNKNOWN) else cause


def diagnosed(report: Report, levels: Sequence[Problem], found: Comparison | None,
              rng: np.random.Generator) -> Report:
    """The report with operation and cause filled in, as far as they can be found.

    Args:
        levels: the function, its gradient, ... up to the one that is wrong.
        found: the comparison that failed; None where a rule raised an error.
    """
    culprit = first_wrong_rule(levels, rng)
    if culprit is not None:
        return blamed(report, culprit.call, culprit.cause)
    try:
        check_nothing_written(levels[-1], rng)
    except ViolationError as violation:
        return blamed(report, violation.call, str(violation))
    cause = UNKNOWN if found is None else cause_of(found)
    final = cause in (ZERO, NOT_A_NUMBER) or report.max_error <= GROSS
    return replace(report, cause=cause if final or not all(map(seen_through, levels)) else DETACHED)


def blamed(report: Report, call: Call | None, cause: str) -> Report:
    """The report with the cause, and the operation to blame if it is known."""
    if call is None:
        return replace(report, cause=cause)
    return replace(report, op=call.op.name, place=call.place, formula=call.formula, cause=cause)


def first_wrong_rule(levels: Sequence[Problem], rng: np.random.Generator) -> Culprit | None:
    """The first rule of the backward pass that is wrong by itself.

    In a higher order the rules that differentiate the rules come first, then the higher derivatives
    of each operation.
    """
    stages = [(levels[-1], 1)] if len(levels) == 1 else [(levels[-1], 1), (levels[0], len(levels))]
    for problem, order in stages:
        calls, _ = calls_of(problem, upstream(rng, (problem.outputs.size,)))
        culprits = (checked(call, order, rng) for call in calls)
        first = next((culprit for culprit in culprits if culprit is not None), None)
        if first is not None:
            return first
    return None


def checked(call: Call, order: int, rng: np.random.Generator) -> Culprit | None:
    """A rule by itself: first one random number; if that is wrong, as much as for a function.

    More strictly than a function, since what is small here may have been large where it was seen.
    """
    try:
        problem = call.problem()
        for _ in range(order - 1):
            problem = differentiated(problem, rng)
        method, _ = chosen_method(problem, rng)
        strict = TOLERANCE[method] / 100
        g, u = (upstream(rng, (1, size)) for size in (problem.outputs.size, problem.inputs.size))
        if compared(problem, probes(g, u), method, strict, rng).verdict != "wrong":
            return None
        found = compared(problem, chosen_probes(problem, rng), method, strict, rng)
        return Culprit(call, order, found)
    except RuleFailedError as failed:
        return Culprit(call, order, failed=failed)


def explanations(found: Comparison) -> Iterator[tuple[str, Array]]:
    """For each fault that is known, what the analytic values would be if the rule had it."""
    analytic, numeric = found.analytic, found.numeric
    yield ZERO, np.zeros_like(numeric)
    yield "sign flipped", -numeric
    size = float((numeric * numeric).sum())
    factor = float((analytic * numeric).sum()) / size if size else 0.0
    yield f"constant factor {float(f'{factor:.6g}')}", factor * numeric
    shape = found.problem.inputs.shapes[0]
    full = analytic.shape[1] == found.problem.inputs.size == int(np.prod(shape))
    if full and len(shape) > 1 and shape[-1] == shape[-2]:
        stacked = numeric.reshape(-1, *shape)
        yield "transposed", np.swapaxes(stacked, -1, -2).reshape(numeric.shape)


def cause_of(found: Comparison) -> str:
    """The first explanation that leaves next to nothing of the discrepancy, else "unknown"."""
    if not np.isfinite(found.analytic[np.isfinite(found.numeric)]).all():
        return NOT_A_NUMBER
    discrepancy = np.abs(found.analytic - found.numeric).max()
    for cause, values in explanations(found):
        if np.abs(found.analytic - values).max() <= EXPLAINED * discrepancy:
            return cause
    return UNKNOWN
