"""Measure contestants in turn (A B C A B C …) and compare them round by round.

A machine that slows down slows all of them, so the ratio within a round says more than any time.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import numpy as np

OURS = "tinygrad_attn"


@dataclass(frozen=True)
class Case:
    """The same work by several contestants.

    Attributes:
        name: what `--only` takes.
        title: one line on the work.
        contestants: name -> a function that does the work once and returns arrays to compare.
        repeats: how often a contestant does the work within one round.
        tolerance: largest allowed difference of the results, relative to the largest value.
    """

    name: str
    title: str
    contestants: dict[str, Callable[[], list[Any]]]
    repeats: int = 1
    tolerance: float = 1e-10

    def verify(self) -> None:
        """Raise AssertionError unless all contestants compute the same numbers."""
        reference = [np.asarray(a) for a in self.contestants[OURS]()]
        for name, work in self.contestants.items():
            for ours, theirs in zip(reference, work(), strict=True):
                error = np.max(np.abs(ours - np.asarray(theirs))) / np.max(np.abs(ours))
                assert error <= self.tolerance, f"{self.name}: {name} differs by {error:.1e}"


@dataclass
class Result:
    """Seconds for one run of the work: one entry a round, for each contestant."""

    case: Case
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def ratios(self, peer: str) -> list[float]:
        """Ours over `peer`'s, round by round."""
        return [a / b for a, b in zip(self.seconds[OURS], self.seconds[peer], strict=True)]

    def row(self, peer: str) -> dict[str, Any]:
        """Median seconds, and the median and quartiles of our paired ratio to `peer`."""
        low, middle, high = quantiles(self.ratios(peer), n=4)
        return {
            "case": self.case.name, "peer": peer, "seconds": median(self.seconds[peer]),
            "ours": median(self.seconds[OURS]), "ratio": middle, "quartiles": [low, high],
        }  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        """One row a peer."""
        return [self.row(peer) for peer in self.seconds if peer != OURS]


def measure(case: Case, rounds: int, tick: Callable[[], None] = lambda: None) -> Result:
    """Run every contestant once a round, after two rounds that are not counted."""
    result = Result(case, {name: [] for name in case.contestants})
    for k in range(rounds + 2):
        for name, work in case.contestants.items():
            start = perf_counter()
            for _ in range(case.repeats):
                work()
            if k >= 2:
                result.seconds[name].append((perf_counter() - start) / case.repeats)
        tick()
    return result


def machine() -> dict[str, Any]:
    """Where and with what the figures were measured."""
    versions = {}
    for package in ("numpy", "torch", "jax", "autograd", "mygrad", "numba"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(), "platform": platform.platform(),
        "machine": platform.machine(), "cores": os.cpu_count(), "versions": versions,
    }  # fmt: skip
