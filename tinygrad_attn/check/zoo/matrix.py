"""Who catches what: every bug, at three sizes, before every checker; and the smallest errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ... import ops
from ...engine import Array
from ..report import Report
from . import BUGS
from .bug import SIZES, Bug, Subject
from .checkers import CHECKERS, judged, passes
from .sharing import shared

OURS = "ours"


@dataclass(frozen=True)
class Trial:
    """One bug at three sizes.

    Attributes:
        name: the bug's.
        reports: what ours says, one report for each size.
        caught: for each checker, at how many sizes it does not pass the gradient.
    """

    name: str
    reports: tuple[Report, ...]
    caught: dict[str, int]

    @property
    def bug(self) -> Bug:
        """The bug itself (which no process can send to another)."""
        return BUGS[self.name]

    @property
    def named(self) -> bool:
        """Does ours name operation and cause rightly, at every size?"""
        return all(names(report, self.bug) for report in self.reports)

    def everywhere(self, checker: str) -> bool:
        """Does a checker catch it at every size?"""
        return self.caught[checker] == len(self.reports)


def names(report: Report, bug: Bug) -> bool:
    """Does the report blame the right operation, for the right cause?"""
    right = report.verdict == bug.verdict and report.op == bug.op
    return right and report.kind in bug.causes


def trials(seed: int = 0, jobs: int = 1, chosen: Sequence[str] = ()) -> Iterator[Trial]:
    """Every bug, or those named, before every checker."""
    return shared(partial(tried, seed=seed), chosen or list(BUGS), jobs, chunk=4)


def tried(name: str, seed: int = 0) -> Trial:
    """One bug before every checker, at every size."""
    bug, caught, reports = BUGS[name], dict.fromkeys((OURS, *CHECKERS), 0), []
    for size in SIZES:
        with bug.plant():
            subject = bug.subject(size, seed)
            report = judged(subject)
            caught[OURS] += report.verdict == bug.verdict
            for checker, check in CHECKERS.items():
                caught[checker] += not passes(check, subject)
        reports.append(report)
    return Trial(name, tuple(reports), caught)


# ── the smallest error ───────────────────────────────────────────────────────────────────────────
ELEMENTS = (3, 4)
SHRUNK = tuple(10.0**-k for k in range(16, -1, -1))


def smallest_caught(passed: Callable[[Subject], bool]) -> float:
    """The smallest power of ten that is caught in each of 12 elements, the others being right."""
    for error in SHRUNK:
        if not any(passes_with(passed, place, error) for place in range(12)):
            return error
    return np.inf


def passes_with(passed: Callable[[Subject], bool], place: int, error: float) -> bool:
    """Does a checker pass eˣ's gradient with `error` added to the slope at one place?"""
    off = np.zeros(ELEMENTS)
    off.flat[place] = error

    def slightly_wrong(g: Array, out: Array) -> Array:
        return g * (out + off.astype(out.dtype))

    with ops.exp.replaced_vjp("x", slightly_wrong):
        return passed(Subject(ops.exp, (np.random.default_rng(place).standard_normal(ELEMENTS),)))


def right(subject: Subject, method: Any) -> bool:
    """Does ours pass it, by this method?"""
    return judged(subject, method).ok


SIGHTS: dict[str, Callable[[Subject], bool]] = {
    "ours, complex step": partial(right, method="complex"),
    "ours, Richardson": partial(right, method="richardson"),
    **{name: partial(passes, check) for name, check in CHECKERS.items()},
}


# ── exact GELU forward, tanh GELU backward ───────────────────────────────────────────────────────
@dataclass(frozen=True)
class Bend:
    """One random point: who catches the other GELU's slope, and does ours name it?"""

    caught: dict[str, bool]
    named: bool
    name: str = "GELU"


def bends(points: int, seed: int = 0, jobs: int = 1) -> Iterator[Bend]:
    """The famous pair at random points."""
    return shared(partial(bent, seed=seed), range(points), jobs, chunk=25)


def bent(number: int, seed: int = 0) -> Bend:
    """The random point of this number."""
    rng = np.random.default_rng([seed, number])
    bug, subject = (
        BUGS["gelu-with-slope-of-its-approximation"],
        Subject(ops.gelu, (rng.normal(0, 1.5, 3),)),
    )
    with bug.plant():
        report = judged(subject)
        caught = {name: not passes(check, subject) for name, check in CHECKERS.items()}
    return Bend({OURS: report.verdict == "wrong", **caught}, names(report, bug))
