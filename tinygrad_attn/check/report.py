"""What a check found, as data and as text."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan

from ..engine import TensorError
from .compare import Verdict
from .layout import Index


@dataclass(frozen=True)
class Report:
    """The outcome of `gradcheck`; true (in `if` and `assert`) only when every gradient is right.

    Attributes:
        verdict: "right", "wrong", or "undecided" where the check cannot judge: a kink at the
            point, a random function, an output that is not a number.
        reason: in one sentence, what was found; "" when right.
        order: which order of derivatives this is about.
        method: how the numeric derivative was made: "complex step" or "Richardson".
        tolerance: the error that was allowed.
        max_error: |analytic − numeric| / max(1, |numeric|) at the place named below, the worst.
        output, output_index, input, index: names of the output and the input, and the element in
            each; an index is None for a random combination of elements.
        analytic, numeric: the two values there.
        op: the first wrong operation, in the order of the backward pass, if it could be found.
        place: that operation with its scope and argument.
        formula: its rule, as written beside it in the source.
        cause: what is wrong with it, e.g. "sign flipped" or "constant factor 2.0"; "unknown" if
            nothing fits.
        evaluations, walks, entries: how many forward passes, backward passes and comparisons.
        notes: remarks, such as why no complex step was possible.
    """

    verdict: Verdict
    reason: str = ""
    order: int = 1
    method: str = ""
    tolerance: float = 0.0
    max_error: float = 0.0
    output: str = ""
    output_index: Index | None = None
    input: str = ""
    index: Index | None = None
    analytic: float = nan
    numeric: float = nan
    op: str | None = None
    place: str = ""
    formula: str = ""
    cause: str | None = None
    evaluations: int = 0
    walks: int = 0
    entries: int = 0
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Is every gradient right?"""
        return self.verdict == "right"

    @property
    def ratio(self) -> float:
        """analytic / numeric."""
        if self.numeric == 0:
            return inf if self.analytic else nan
        return self.analytic / self.numeric

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        below, above = element(self.input, self.index), element(self.output, self.output_index)
        parts = {
            f"gradcheck: {self.verdict} ({ordinal(self.order)} order)": True,
            f"  {self.reason}": self.reason,
            f"  ∂ {above} / ∂ {below}": self.input,
            f"  analytic {self.analytic:.12g}   numeric {self.numeric:.12g}   "
            f"ratio {self.ratio:.6g}": self.input,
            f"  error {self.max_error:.3g}, allowed {self.tolerance:.3g} "
            f"({self.method})": self.input,
            f"  first wrong operation: {self.place}": self.op,
            f"  its rule: {self.formula}": self.formula,
            f"  cause: {self.cause}": self.cause,
            f"  {self.entries} numbers compared, {self.evaluations} forward and {self.walks} "
            "backward passes": True,
        }
        return "\n".join(
            [
                *(line for line, said in parts.items() if said),
                *(f"  note: {note}" for note in self.notes),
            ]
        )


def ordinal(order: int) -> str:
    """1 as "first", and so on."""
    return {1: "first", 2: "second", 3: "third"}.get(order, f"{order}th")


def element(name: str, index: Index | None) -> str:
    """A name with its index, `x[1, 2]`; without one it stands for a random combination."""
    if index is None:
        return f"{name} (random combination)"
    return f"{name}[{', '.join(map(str, index))}]" if index else name


class GradientError(TensorError, AssertionError):
    """A gradient is wrong; `.report` says where, by how much and, where it can tell, why."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


class UndecidedWarning(UserWarning):
    """A gradient could neither be confirmed nor refuted; the report says why."""
