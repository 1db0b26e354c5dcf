"""The scale of gradient norms: a few classes, each with a colour and a width.

Outside of it are a gradient of zero, one that is not finite, and one whose norm is not known, such
as that of a part that was joined from several.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite, log10

from .data import Edge

LOOKS = [("#d9a5cf", 0.8), ("#c77cbb", 1.5), ("#ab55a3", 2.3), ("#8a3088", 3.2), ("#5f1463", 4.2)]
ZERO, TROUBLE, UNKNOWN = ("#c3cad1", 0.6), ("#d55e00", 4.2), ("#a68a4c", 1.5)
WORDS = {ZERO: "norm 0", TROUBLE: "norm not finite", UNKNOWN: "norm not known"}
NARROW = 0.2  # norms that differ by less (in powers of ten) are of one class


class Scale:
    """Classes of equal ratio from the smallest to the largest norm.

    Attributes:
        looks: colour and width of each class, the smallest norms first.
        others: the looks outside of the classes that occur, each with what it means.
    """

    def __init__(self, edges: Iterable[Edge]) -> None:
        norms = [edge.norm for edge in edges if edge.kind == "vjp"]
        self.logs = sorted({log10(n) for n in norms if n is not None and n > 0 and isfinite(n)})
        span = self.logs[-1] - self.logs[0] if self.logs else 0.0
        self.looks = LOOKS if span > NARROW else LOOKS[2:3]
        found = {self.look(norm) for norm in norms}
        self.others = [(look, words) for look, words in WORDS.items() if look in found]

    def look(self, norm: float | None) -> tuple[str, float]:
        """Colour and width of an arrow along which so much flows."""
        if norm is None:
            return UNKNOWN
        if norm == 0:
            return ZERO
        if not isfinite(norm):
            return TROUBLE
        low, high = self.logs[0], self.logs[-1]
        place = (log10(norm) - low) / (high - low or 1.0) * len(self.looks)
        return self.looks[min(max(int(place), 0), len(self.looks) - 1)]

    def marks(self) -> list[float]:
        """The norms at which a class begins or ends; none where there is no norm."""
        if not self.logs:
            return []
        low, high = self.logs[0], self.logs[-1]
        count = len(self.looks)
        return [float(10 ** (low + (high - low) * i / count)) for i in range(count + 1)]
