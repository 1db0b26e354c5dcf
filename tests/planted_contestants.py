"""Contestants with planted faults, for the tests of the benchmarks; each is built by `make`."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from benchmarks.work import Array, Work


class Planted(Work):
    """Computes 7 numbers, all equal to `value`, and does what `fault` says."""

    def __init__(self, value: float, fault: str) -> None:
        self.value, self.fault = value, fault
        if fault == "cannot be built":
            raise ValueError("there is no such work\nand more")

    def check(self) -> dict[str, Array]:
        print("what a library prints does not disturb")
        if self.fault == "threads":
            names = sorted(name for name in os.environ if name.endswith("_NUM_THREADS"))
            return {name: np.array(int(os.environ[name])) for name in names}
        return {"numbers": np.full(7, self.value)}

    def run(self) -> None:
        if self.fault == "dies":
            os._exit(3)
        if self.fault == "hangs":
            time.sleep(60)
        if self.fault == "takes memory":
            np.ones(40 << 17)  # 40 MiB

    def turn(self, times: int) -> float:
        super().turn(times)
        return self.value * times


def make(value: float = 1.0, fault: str = "", **sizes: Any) -> Work:
    return Planted(value, fault)
