"""From a comparison to a report: the worst number, its place, and the verdict in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..engine import Array
from .causes import Cause
from .compare import Comparison
from .layout import Index, Layout, element
from .picture import ErrorMap
from .problem import Problem
from .report import Report

DIFFERS = "the gradient differs from the numeric derivative"
RANDOM = (
    "f is random: two evaluations at one point differ; switch dropout off (.eval()), or make "
    "the random numbers inside f from a fixed seed"
)


def unjudgeable(problem: Problem) -> Report | None:
    """Why the function cannot be checked at this point, if it cannot."""
    y, again = problem.value(problem.x), problem.value(problem.x)
    if y.shape != again.shape or not np.allclose(y, again, 1e-12, 1e-12, equal_nan=True):
        return Report("undecided", RANDOM, cause=Cause.RANDOM)
    broken = np.flatnonzero(~np.isfinite(y))
    if not broken.size:
        return None
    k, index = problem.outputs.locate(int(broken[0]))
    where = element(problem.outputs.names[k], index)
    reason = f"f is not finite here: {where} is {y[broken[0]]}"
    return Report("undecided", reason, cause=Cause.NOT_A_NUMBER)


def described(found: Comparison, notes: tuple[str, ...]) -> Report:
    """The report on a comparison, with the worst number compared."""
    base = Report(
        found.verdict,
        reason_of(found),
        method=found.method,
        tolerance=found.tolerance,
        entries=found.error.size,
        notes=(*notes, *casts(found.problem)),
    )
    if not found.error.size:
        return base
    k, d = found.worst
    problem, chosen = found.problem, found.probes
    output, above = named(problem.outputs, chosen.rows[k], int(chosen.outputs[k]))
    source, below = named(problem.inputs, chosen.directions[d], int(chosen.inputs[d]))
    return replace(
        base,
        cause=doubt_of(found),
        errors=errors_of(found, chosen.inputs[d]) if found.verdict == "wrong" else None,
        max_error=float(found.error[k, d]),
        output=output,
        output_index=above,
        input=source,
        index=below,
        analytic=float(found.analytic[k, d]),
        numeric=float(found.numeric[k, d]),
    )


def doubt_of(found: Comparison) -> Cause | None:
    """Why an undecided comparison cannot judge."""
    if found.verdict != "undecided":
        return None
    k, d = found.worst
    if not np.isfinite(found.analytic[k, d]) or not np.isfinite(found.numeric[k, d]):
        return Cause.NOT_A_NUMBER
    single = any(dtype != np.float64 for dtype in found.problem.dtypes)
    return Cause.FLOAT32 if single and not found.jump[k, d] > 0 else Cause.KINK


def errors_of(found: Comparison, worst: int) -> ErrorMap | None:
    """The largest error of each element of the input in question, if each was compared."""
    inputs, layout = found.probes.inputs, found.problem.inputs
    if worst < 0:
        return None
    at, _ = layout.locate(int(worst))
    errors = np.full(layout.size, np.nan)
    for d, place in enumerate(inputs):
        if place >= 0:
            errors[place] = found.error[:, d].max(initial=0)
    own = layout.split(errors)[at]
    return None if np.isnan(own).any() else ErrorMap(f"d{layout.names[at]}", own)


def named(layout: Layout, vector: Array, place: int) -> tuple[str, Index | None]:
    """The array and the index of a unit vector; the arrays that a dense vector touches."""
    if place >= 0:
        k, index = layout.locate(place)
        return layout.names[k], index
    parts = zip(layout.names, layout.split(vector), strict=True)
    return ", ".join(name for name, part in parts if part.any()), None


def casts(problem: Problem) -> Iterator[str]:
    """A remark for each output that is less precise than the inputs."""
    for name, dtype in zip(problem.outputs.names, problem.dtypes, strict=True):
        if dtype != np.float64:
            yield f"{name} is {dtype} though every input is float64: f loses precision"


def reason_of(found: Comparison) -> str:
    """The verdict in a sentence; "" when right."""
    if found.verdict == "right":
        return ""
    if found.verdict == "wrong":
        return DIFFERS
    k, d = found.worst
    analytic, numeric, jump = found.analytic[k, d], found.numeric[k, d], found.jump[k, d]
    if not np.isfinite(analytic):
        return f"the gradient is {analytic}, at a kink or at the edge of f's domain"
    if np.isinf(jump):
        return "an operation is at a kink here; at a point nearby the gradient is right"
    if jump > 0:
        return (
            f"there is a kink at this point: the derivatives on its two sides differ by "
            f"{jump:.3g}; check at another point"
        )
    if not np.isfinite(numeric):
        return "the numeric derivative is not finite: the point lies at the edge of f's domain"
    return (
        f"the numeric derivative is only known to ±{found.uncertainty[k, d]:.2g}: a kink is "
        "too near, or f is noisy (does it compute in float32?)"
    )
