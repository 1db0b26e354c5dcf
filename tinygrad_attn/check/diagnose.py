"""Why a gradient is wrong: the first operation whose rule is wrong, and what is wrong with it.

Every rule that the backward pass runs is checked by itself, at the values it met, against the
numeric derivative of its operation's forward function.  What is wrong with the first wrong one is
found by trying explanations (explain/).  Where every rule is right something around them is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from ..engine import Array, Primitive
from .causes import Cause
from .compare import GROSS, TOLERANCE, Comparison, chosen_method, compared
from .explain import explained
from .explain.around import astray, detached_at
from .explain.elsewhere import elsewhere_too
from .explain.evidence import Numbers, gathered, jacobian_of, lengths_of
from .explain.plain import low_precision, nothing_arrives, sign_flipped, some_factor
from .orders import differentiated
from .picture import ErrorMap
from .probes import chosen_probes, probes
from .problem import Problem, RuleFailedError, upstream
from .properties import ViolationError, check_nothing_written, check_recorded
from .report import Report
from .trace import Call, calls_of, kernel_calls, seen_through

UNSEEN = f"{Cause.DETACHED}, or a hook (no rule was found wrong)"
COARSE = "the gradient has fewer digits than the function"
SECOND = f"{Cause.SECOND_ORDER}, though the rule is right by itself"


@dataclass(frozen=True)
class Culprit:
    """A rule that is wrong by itself, what is wrong with it, and where, if that is known."""

    call: Call
    cause: str
    errors: ErrorMap | None = None


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
        return blamed(report, culprit.call, culprit.cause, culprit.errors)
    try:
        check_nothing_written(levels[-1], rng)
    except ViolationError as violation:
        return blamed(report, violation.call, str(violation))
    if found is None:
        return replace(report, cause=report.cause or Cause.UNKNOWN)
    return around(report, levels, found, rng)


def blamed(report: Report, call: Call | None, cause: str, errors: ErrorMap | None = None) -> Report:
    """The report with the cause, and the operation to blame if it is known."""
    if call is None:
        return replace(report, cause=cause)
    return replace(
        report,
        op=call.op.name,
        module=call.module,
        place=call.place,
        formula=call.formula,
        cause=cause,
        op_errors=errors,
    )


def around(
    report: Report, levels: Sequence[Problem], found: Comparison, rng: np.random.Generator
) -> Report:
    """The report on a wrong gradient though no rule is wrong by itself."""
    if not np.isfinite(found.analytic[np.isfinite(found.numeric)]).all():
        return replace(report, cause=Cause.NOT_A_NUMBER)
    if len(levels) == 1:
        lost = astray(levels[0], rng)
        if lost is not None:
            cause, node = lost
            scope = node.scope.path if node.scope else ""
            if not cause.startswith(Cause.OVERWRITTEN) or node.op is None:
                return replace(report, cause=cause, module=scope)
            return replace(
                report, op=node.op.name, module=scope, place=f"{node.label}, in a sum", cause=cause
            )
    cause = of_numbers(found)
    if cause.startswith(Cause.DETACHED) or report.max_error <= GROSS:
        return replace(report, cause=cause)
    if not all(map(seen_through, levels)):
        return replace(report, cause=cause)
    call = detached_at(levels[0], rng)
    if call is None:
        return replace(report, cause=UNSEEN)
    cause = (
        f"{Cause.DETACHED}: {call.name} of {call.label} counts as a constant, yet depends on the "
        "inputs (no rule was found wrong)"
    )
    return replace(report, cause=cause, module=call.module)


def imprecise(report: Report, problem: Problem, rng: np.random.Generator) -> Report | None:
    """The report that a rule computes with fewer digits than its operation; None if none does.

    Such errors look like rounding, so that a comparison alone cannot judge them.
    """
    calls, _ = calls_of(problem, upstream(rng, (problem.outputs.size,)))
    for call in calls:
        method, _ = chosen_method(call.problem(), rng)
        exact = method == "complex step"  # else the numeric side may be what lacks digits
        evidence = gathered(call, calls, {}) if exact else None
        cause = evidence and low_precision(evidence)
        if cause:
            return blamed(replace(report, verdict="wrong", reason=COARSE), call, cause)
    return None


# ── the first wrong rule ─────────────────────────────────────────────────────────────────────────
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
        calls = [*(kernel_calls(problem) if local == 1 else ()), *rules]
        for call in calls:
            try:
                wrong = checked(call, local, rng)
                if wrong is not None:
                    return culprit_of(call, wrong, local, problem, calls, rng)
            except RuleFailedError as failed:
                return Culprit(call, of_failure(call, failed, rng))
            except ViolationError as violation:
                return Culprit(call, str(violation))
    return None


def checked(call: Call, order: int, rng: np.random.Generator) -> Comparison | None:
    """A rule by itself, beside what it gets wrong; None if it is not found wrong.

    A few random numbers, more strictly than for a function, since what is small here may have been
    large where it was seen.

    Raises:
        RuleFailedError: the rule raised an error.
        ViolationError: it gives other numbers when it is recorded.
    """
    problem = call.problem()
    for _ in range(order - 1):
        problem = differentiated(problem, rng)
        check_recorded(problem)
    g, u = (upstream(rng, (3, size)) for size in (problem.outputs.size, problem.inputs.size))
    method, _ = chosen_method(problem, rng)
    strict = TOLERANCE[method] / 100
    found = compared(problem, probes(g, u), method, strict, rng, alone=True)
    if found.verdict == "undecided":  # one element at a kink, and every dense direction meets it
        found = compared(problem, chosen_probes(problem, rng), method, strict, rng, alone=True)
    return found if found.verdict == "wrong" else None


def culprit_of(
    call: Call,
    found: Comparison,
    order: int,
    whole: Problem,
    calls: Sequence[Call],
    rng: np.random.Generator,
) -> Culprit:
    """What is wrong with a wrong rule.

    Args:
        found: what the rule gets wrong: the operation by itself, or its derivative.
        whole, calls: the function that is checked, and every rule of its backward pass.
    """
    lengths = lengths_of(whole, calls)
    evidence = gathered(call, calls, lengths) if order == 1 else None
    if evidence is not None:
        errors = np.abs(evidence.found - evidence.right).max(axis=0).reshape(evidence.in_shape)
        title = f"d{call.name} in the rule of {call.label} alone"
        cause = explained(evidence)
        if cause == Cause.UNKNOWN and found.kinks(rng).any():  # numbers at a kink fit nothing
            moved = elsewhere_too(call)
            evidence = moved and gathered(moved, calls, lengths)
            cause = explained(evidence) if evidence else cause
        return Culprit(call, cause, ErrorMap(title, errors))
    wrong, method = found.problem, found.method
    strict = TOLERANCE[method] / 100
    found = compared(wrong, chosen_probes(wrong, rng), method, strict, rng, alone=True)
    cause = of_numbers(found)
    vague = cause.startswith((Cause.DETACHED, Cause.UNKNOWN))
    return Culprit(call, SECOND if order > 1 and vague else cause)


def of_numbers(found: Comparison) -> str:
    """A cause that shows in any numbers, or "unknown"."""
    known = np.isfinite(found.numeric)
    if not np.isfinite(found.analytic[known]).all():
        return Cause.NOT_A_NUMBER
    numbers = Numbers(np.where(known, found.analytic, 0), np.where(known, found.numeric, 0))
    for explanation in (nothing_arrives, sign_flipped, some_factor):
        cause = explanation(numbers)
        if cause is not None:
            return cause
    return Cause.UNKNOWN


def of_failure(call: Call, failed: RuleFailedError, rng: np.random.Generator) -> str:
    """Why a rule raised an error: a gradient with its axes in another order is told from others."""
    error = failed.__cause__
    plain = f"{Cause.RAISES} {error!r}"
    if not isinstance(call.op, Primitive) or isinstance(call.out, tuple):
        return plain
    g, wanted = upstream(rng, call.out.shape), np.shape(call.arrays[call.argument])
    try:
        part = call.pulled(g, {})
    except Exception:
        return plain
    if not isinstance(part, np.ndarray):
        return plain
    if part.dtype != g.dtype and part.dtype.kind in "fc":
        return f"{Cause.DTYPE}: the rule gives {part.dtype} for {g.dtype}"
    right = right_pull(call, g)
    for order in permutations(range(part.ndim)) if part.ndim <= 4 else ():
        turned = part.transpose(order)
        if part.shape == wanted or turned.shape != wanted or right is None:
            continue
        if np.allclose(turned, right):
            permuting = {"axes", "source", "axis1"} & set(call.options)
            cause = Cause.PERMUTATION if permuting else Cause.TRANSPOSED
            return f"{cause}: the rule gives the shape {part.shape}, not {wanted}"
    return plain


def right_pull(call: Call, g: Array) -> Array | None:
    """gᵀ∂f/∂x of a call by numeric derivatives."""
    jacobian = jacobian_of(call)
    if jacobian is None:
        return None
    return np.asarray((g.ravel() @ jacobian).reshape(np.shape(call.arrays[call.argument])))
