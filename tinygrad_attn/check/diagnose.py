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
from .compare import GROSS, TOLERANCE, Comparison, chosen_method, compared
from .orders import differentiated
from .probes import chosen_probes, probes
from .problem import Problem, RuleFailedError, upstream
from .properties import ViolationError, check_nothing_written, check_recorded
from .report import Report
from .trace import Call, calls_of, kernel_calls, seen_through

UNKNOWN = "unknown"
ZERO = "zero (detached branch)"
NOT_A_NUMBER = "not a number"
DETACHED = "a detached branch, or a hook (every rule that ran is right)"
SECOND = "right by itself, but its own derivative is wrong (does the rule leave the graph?)"
EXPLAINED = 1e-3  # how much of the discrepancy an explanation may leave


@dataclass(frozen=True)
class Culprit:
    """A rule that is wrong by itself, and what is wrong with it."""

    call: Call
    cause: str


def diagnosed(
    report: Report,
    levels: Sequence[Problem],
    order: int,
    found: Comparison | None,
    rng: np.random.Generator,
) -> Report:
    """The report with operation and cause filled in, as far as they can be found.

    Args:
        levels: the function, its gradient, ... as far as they could be made.
        order: which derivative is wrong.
        found: the comparison that failed; None where a rule raised an error.
    """
    culprit = first_wrong_rule(levels, order, rng)
    if culprit is not None:
        return blamed(report, culprit.call, culprit.cause)
    try:
        check_nothing_written(levels[-1], rng)
    except ViolationError as violation:
        return blamed(report, violation.call, str(violation))
    if found is None:
        return replace(report, cause=report.cause or UNKNOWN)
    cause = cause_of(found)
    final = cause in (ZERO, NOT_A_NUMBER) or report.max_error <= GROSS
    return replace(report, cause=cause if final or not all(map(seen_through, levels)) else DETACHED)


def blamed(report: Report, call: Call | None, cause: str) -> Report:
    """The report with the cause, and the operation to blame if it is known."""
    if call is None:
        return replace(report, cause=cause)
    return replace(report, op=call.op.name, place=call.place, formula=call.formula, cause=cause)


def first_wrong_rule(
    levels: Sequence[Problem], order: int, rng: np.random.Generator
) -> Culprit | None:
    """The first rule of the backward pass that is wrong by itself.

    In a higher order the rules that differentiate the rules come first, then the higher derivatives
    of each operation.
    """
    lowest = order - len(levels) + 1
    for local, problem in enumerate(reversed(levels), lowest):
        rules, _ = calls_of(problem, upstream(rng, (problem.outputs.size,)))
        for call in [*(kernel_calls(problem) if local == 1 else ()), *rules]:
            culprit = checked(call, local, rng)
            if culprit is not None:
                return culprit
    return None


def checked(call: Call, order: int, rng: np.random.Generator) -> Culprit | None:
    """A rule by itself: first a few random numbers; if they are wrong, as much as for a function.

    More strictly than a function, since what is small here may have been large where it was seen.
    """
    try:
        problem = call.problem()
        for _ in range(order - 1):
            problem = differentiated(problem, rng)
            check_recorded(problem)
        return numerically_wrong(call, problem, order, rng)
    except RuleFailedError as failed:
        return Culprit(call, f"the rule raises {failed.__cause__!r}")
    except ViolationError as violation:
        return Culprit(call, str(violation))


def numerically_wrong(
    call: Call, problem: Problem, order: int, rng: np.random.Generator
) -> Culprit | None:
    """The culprit if the problem of a call differs from its numeric derivative."""
    method, _ = chosen_method(problem, rng)
    strict = TOLERANCE[method] / 100
    g, u = (upstream(rng, (3, size)) for size in (problem.outputs.size, problem.inputs.size))
    if compared(problem, probes(g, u), method, strict, rng, alone=True).verdict != "wrong":
        return None
    found = compared(problem, chosen_probes(problem, rng), method, strict, rng, alone=True)
    cause = cause_of(found)
    return Culprit(call, SECOND if order > 1 and cause in (ZERO, UNKNOWN) else cause)


def explanations(found: Comparison) -> Iterator[tuple[str, Array]]:
    """For each fault that is known, what the analytic values would be if the rule had it."""
    analytic, numeric = found.analytic, found.numeric
    yield ZERO, np.zeros_like(numeric)
    yield "sign flipped", -numeric
    size = float((numeric * numeric).sum())
    factor = float((analytic * numeric).sum()) / size if size else 0.0
    digits = 6 if abs(factor - 1) > 1e-3 else 12
    yield f"constant factor {float(f'{factor:.{digits}g}')}", factor * numeric
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
