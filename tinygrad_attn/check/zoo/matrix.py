"""Who catches what: every bug, at three sizes, before every checker; and the smallest errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ... import ops
from ...engine import Array
from ..report import Report
from .bug import SIZES, Bug, Subject
from .checkers import CHECKERS, judged, passes
from .nonlinear import CAGE

OURS = "ours"


@dataclass(frozen=True)
class Trial:
    """One bug at three sizes.

    Attributes:
        bug: the bug.
        reports: what ours says, one report for each size.
        caught: for each checker, at how many sizes it does not pass the gradient.
    """

    bug: Bug
    reports: tuple[Report, ...]
    caught: dict[str, int]

    @property
    def name(self) -> str:
        """The bug's."""
        return self.bug.name

    @property
    def named(self) -> bool:
        """Does ours name operation and cause rightly, at every size?"""
        return all(names(report, self.bug) for report in self.reports)

    @property
    def everywhere(self) -> bool:
        """Does ours catch it at every size?"""
        return self.caught[OURS] == len(self.reports)


def names(report: Report, bug: Bug) -> bool:
    """Does the report blame the right operation, for the right cause?"""
    right = report.verdict == bug.verdict and report.op == bug.op
    return right and report.kind in bug.causes


def trials(bugs: Iterable[Bug], seed: int = 0) -> Iterator[Trial]:
    """Every bug before every checker."""
    for bug in bugs:
        found = [trial(bug, i, seed) for i in range(len(SIZES))]
        caught = {name: sum(not passed[name] for _, passed in found) for name in (OURS, *CHECKERS)}
        yield Trial(bug, tuple(report for report, _ in found), caught)


def trial(bug: Bug, i: int, seed: int) -> tuple[Report, dict[str, bool]]:
    """What ours says of a bug at the i-th size, and who passes it."""
    with bug.plant():
        subject = bug.subject(SIZES[i], seed)
        report = judged(subject)
        passed = {name: passes(check, subject) for name, check in CHECKERS.items()}
    return report, {OURS: report.verdict != bug.verdict, **passed}


# ── the smallest error ───────────────────────────────────────────────────────────────────────────
ELEMENTS = (3, 4)
SHRUNK = tuple(10.0**-k for k in range(16, 0, -1))


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


def bends(points: int, seed: int) -> Iterator[Bend]:
    """The famous pair at random points."""
    rng = np.random.default_rng(seed)
    bug = next(bug for bug in CAGE.bugs if bug.name == "gelu-with-slope-of-its-approximation")
    for _ in range(points):
        subject = Subject(ops.gelu, (rng.normal(0, 1.5, 3),))
        with bug.plant():
            report = judged(subject)
            caught = {name: not passes(check, subject) for name, check in CHECKERS.items()}
        yield Bend({OURS: report.verdict == "wrong", **caught}, names(report, bug))
