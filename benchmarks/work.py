"""What one contestant does, as its process sees it."""

from __future__ import annotations

from time import perf_counter

import numpy as np

Array = np.ndarray


class Work:
    """One unit of work by one library; a subclass says what it is."""

    def check(self) -> dict[str, Array]:
        """Numbers that all contestants must agree on, e.g. the loss and every gradient.

        Nothing is changed by it.  Empty where there is nothing to compare.  Where there is a
        "loss", those that the first runs return must agree too.
        """
        return {}

    def run(self) -> float | None:
        """Do the work once; a training step returns its loss."""
        raise NotImplementedError

    def turn(self, times: int) -> float:
        """Seconds for doing the work so many times."""
        began = perf_counter()
        for _ in range(times):
            self.run()
        return perf_counter() - began
