"""Measure contestants in turn (A B C A B C …) and compare them round by round.

A machine that slows down slows all of them, so the ratio within a round says more than any time.
Where a process finds its memory and its threads makes it faster or slower until it ends, so the
rounds are spread over several launches of every contestant.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from time import sleep
from typing import Any

import numpy as np

from .contestant import Contestant, ContestantError
from .work import Array

PACKAGES = (
    "tinygrad_attn",
    "numpy",
    "numba",
    "torch",
    "jax",
    "autograd",
    "mygrad",
    "scipy",
    "scikit-learn",
)
TOLERANCE = {"float64": 1e-9, "float32": 2e-4}
TURN = 0.2  # seconds that a contestant works in one round, or one run if that takes longer
MOST = 10_000  # runs in one turn
PAUSE = 0.05  # seconds between turns: threads that wait by spinning go to sleep
Numbers = dict[str, Array]


class DisagreementError(AssertionError):
    """Contestants compute different numbers; the message says which, and how far apart."""


@dataclass
class Result:
    """Figures of one point of a case: one entry a round, for each contestant.

    Attributes:
        ours: the names that are this library's.
        rounds: name -> seconds of one run (or MiB), round by round.
        launches: how many of these rounds each launch has.
        repeats: name -> how often the work was done in one round, in the last launch.
        extra: name -> MiB that the work took beyond its inputs, where that was measured.
        notes: what was left out and why.
        failed: did this library fail, or did contestants disagree?
    """

    ours: list[str]
    rounds: dict[str, list[float]] = field(default_factory=dict)
    launches: list[int] = field(default_factory=list)
    repeats: dict[str, int] = field(default_factory=dict)
    extra: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failed: bool = False

    def fail(self, note: str) -> None:
        """Remember what must not happen."""
        self.notes.append(note)
        self.failed = True

    def leave_out(self, name: str, error: ContestantError) -> None:
        """Go on without a contestant; a failure if it is ours."""
        figures: Any
        for figures in (self.rounds, self.repeats, self.extra):
            figures.pop(name, None)
        self.notes.append(f"left out: {error}")
        self.failed |= name in self.ours

    def ratios(self, ours: str, peer: str) -> list[float]:
        """Ours over the peer's, round by round."""
        return [a / b for a, b in zip(self.rounds[ours], self.rounds[peer], strict=True)]

    def row(self, ours: str, peer: str) -> dict[str, Any]:
        """Medians, and the median and quartiles of our paired ratio to `peer`."""
        low, middle, high = quantiles(self.ratios(ours, peer), n=4, method="inclusive")
        return {
            "peer": peer,
            "ours": ours,
            "peer_median": median(self.rounds[peer]),
            "ours_median": median(self.rounds[ours]),
            "ratio": middle,
            "quartiles": [low, high],
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row for each of our contestants and each peer."""
        peers = [name for name in self.rounds if name not in self.ours]
        return [self.row(ours, peer) for ours in self.ours if ours in self.rounds for peer in peers]

    def by_launch(self, name: str) -> list[list[float]]:
        """A contestant's rounds, those of a launch together."""
        rounds = iter(self.rounds[name])
        return [list(islice(rounds, count)) for count in self.launches]

    def figures(self) -> dict[str, Any]:
        """Everything, as plain JSON values."""
        contestants = {
            name: {
                "ours": name in self.ours,
                "median": median(rounds),
                "repeats": self.repeats.get(name, 1),
                **({"extra_mib": self.extra[name]} if name in self.extra else {}),
                "rounds": self.by_launch(name),
            }
            for name, rounds in self.rounds.items()
        }
        return {
            "contestants": contestants,
            "ratios": self.rows(),
            "notes": self.notes,
            "failed": self.failed,
        }


def verify(numbers: dict[str, Numbers]) -> None:
    """Refuse contestants that compute something else than the first one.

    Args:
        numbers: contestant -> name -> array; contestants without any have nothing to compare.

    Raises:
        DisagreementError: another name, shape or dtype, or a difference above TOLERANCE, relative
            to the largest value.
    """
    checked = {name: found for name, found in numbers.items() if found}
    reference = next(iter(checked), None)
    for name, found in checked.items():
        expected = checked[str(reference)]
        if found.keys() != expected.keys():
            odd = sorted(found.keys() ^ expected.keys())
            raise DisagreementError(f"{name} and {reference} do not both have {', '.join(odd)}")
        for key, array in found.items():
            agree(f"{key} of {name}", array, f"that of {reference}", expected[key])


def agree(name: str, array: Array, other: str, expected: Array) -> None:
    """Refuse `array` unless it is as `expected`."""
    if (array.shape, array.dtype) != (expected.shape, expected.dtype):
        raise DisagreementError(
            f"{name} is {array.shape} {array.dtype}, {other} is {expected.shape} {expected.dtype}"
        )
    allowed = TOLERANCE.get(array.dtype.name, 0.0) * float(np.abs(expected).max(initial=0.0))
    difference = float(np.abs(array - expected).max(initial=0.0))
    if not difference <= allowed:
        raise DisagreementError(
            f"{name} differs from {other} by {difference:.1e}; {allowed:.1e} is allowed"
        )


def measure(
    contestants: Sequence[Contestant],
    result: Result,
    rounds: int,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Add the rounds of one launch to `result`, seconds a run; all warm up in turn before.

    Who fails meanwhile is left out; the others go on.
    """
    result.launches.append(rounds)
    take_turns(contestants, result, warm_up)
    for _ in range(rounds):
        take_turns(contestants, result, turn)
        tick()


def take_turns(
    contestants: Sequence[Contestant], result: Result, work: Callable[[Contestant, Result], None]
) -> None:
    """Let everyone who has not been left out do the work."""
    for contestant in contestants:
        if contestant.name in result.rounds:
            sleep(PAUSE)
            try:
                work(contestant, result)
            except ContestantError as error:
                result.leave_out(contestant.name, error)


def warm_up(contestant: Contestant, result: Result) -> None:
    """Runs that are not counted; they tell how often to run in a turn."""
    contestant.run(1)  # takes long where it is compiled
    result.repeats[contestant.name] = repeats(contestant)


def turn(contestant: Contestant, result: Result) -> None:
    """Seconds for one run, a mean over a few."""
    times = result.repeats[contestant.name]
    result.rounds[contestant.name].append(contestant.run(times) / times)


def repeats(contestant: Contestant) -> int:
    """How often a contestant does the work in one round, so that a round takes about TURN."""
    times, seconds = 1, contestant.run(1)
    while seconds < TURN / 2 and times < MOST:  # the first runs are slower: caches, compilers
        times = min(MOST, max(2 * times, int(0.8 * TURN * times / max(seconds, 1e-9))))
        seconds = contestant.run(times)
    return max(1, min(MOST, round(TURN * times / max(seconds, 1e-9))))


def machine() -> dict[str, Any]:
    """Where and with what the figures were measured."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(), "platform": platform.platform(),
        "machine": platform.machine(), "processor": processor(), "cores": cores(),
        "versions": versions,
    }  # fmt: skip


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
