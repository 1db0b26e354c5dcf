"""False alarms: right gradients, drawn at random, of which no checker should complain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from time import process_time

import numpy as np

from ..report import Report
from .checkers import CHECKERS, judged, passes
from .expressions import right_subject
from .matrix import OURS
from .sharing import shared

CHUNK = 100  # checks that a process is given at a time


@dataclass(frozen=True)
class Outcome:
    """One check of a right gradient.

    Attributes:
        name: what was checked.
        verdict: of ours.
        alarms: for each checker that was asked, does it not pass the gradient?
        seconds: of processor time that ours took.
        report: of ours, where it does not say right.
    """

    name: str
    verdict: str
    alarms: dict[str, bool]
    seconds: float
    report: Report | None


def outcome(number: int, seed: int, compared: int) -> Outcome:
    """The check of this number; the others are asked too if it is below `compared`."""
    name, subject = right_subject(np.random.default_rng([seed, number]))
    start = process_time()
    report = judged(subject)
    seconds = process_time() - start
    alarms = {OURS: report.verdict == "wrong"}
    if number < compared:
        alarms |= {name: not passes(check, subject) for name, check in CHECKERS.items()}
    return Outcome(name, report.verdict, alarms, seconds, None if report.ok else report)


def outcomes(checks: int, seed: int, compared: int = 0, jobs: int = 1) -> Iterator[Outcome]:
    """So many random checks; the same ones however many processes share them."""
    check = partial(outcome, seed=seed, compared=compared)
    return shared(check, range(checks), jobs, CHUNK)
