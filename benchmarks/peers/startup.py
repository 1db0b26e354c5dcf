"""Importing a package in a fresh process, over importing NumPy there."""

from __future__ import annotations

import subprocess
import sys

from ..work import Work

CODE = """
from time import perf_counter
import numpy
began = perf_counter()
import {package}
print(perf_counter() - began)
"""


class Import(Work):
    """`import package`, when NumPy is imported already."""

    def __init__(self, package: str) -> None:
        self.command = [sys.executable, "-c", CODE.format(package=package)]

    def run(self) -> None:
        """One fresh process."""
        self.turn(1)

    def turn(self, times: int) -> float:
        """Seconds, as the fresh processes measured them."""
        return sum(self.once() for _ in range(times))

    def once(self) -> float:
        """One fresh process."""
        done = subprocess.run(self.command, capture_output=True, text=True, check=True)
        return float(done.stdout.split()[-1])


def make(package: str) -> Work:
    """The work."""
    return Import(package)
