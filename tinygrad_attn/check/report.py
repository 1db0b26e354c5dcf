"""What a check found, as data and as text."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan

from ..engine import TensorError
from .causes import Cause, kind_of
from .compare import Verdict
from .layout import Index, element
from .page import page
from .picture import ErrorMap


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
        module: the path of the module in which it was recorded, "" outside all modules.
        place: that operation with its scope and argument.
        formula: its rule, as written beside it in the source.
        cause: what is wrong with it, e.g. "sign flipped" or "constant factor 2.0", beginning with
            one of the phrases of `Cause`; "unknown" if nothing fits.
        errors: of the input named above, every element's error, where all were compared.
        op_errors: of the argument of the first wrong operation, checked by itself.
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
    module: str = ""
    place: str = ""
    formula: str = ""
    cause: str | None = None
    errors: ErrorMap | None = None
    op_errors: ErrorMap | None = None
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

    @property
    def kind(self) -> Cause | None:
        """The cause without its particulars; None where there is none."""
        return kind_of(self.cause)

    @property
    def advice(self) -> str:
        """What usually makes such a gradient wrong, in one sentence, or ""."""
        return self.kind.advice if self.kind else ""

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
            f"  cause: {self.cause}": self.cause != self.reason and self.cause,
            f"  usually: {self.advice}": self.advice,
            f"  {self.entries} numbers compared, {self.evaluations} forward and {self.walks} "
            "backward passes": True,
        }
        return "\n".join(
            [
                *(line for line, said in parts.items() if said),
                *(f"  note: {note}" for note in self.notes),
                *(f"  {line}" for drawn in self.pictures for line in drawn.lines()),
            ]
        )

    @property
    def pictures(self) -> tuple[ErrorMap, ...]:
        """Where the errors are: in the function's input and in the wrong operation's argument."""
        return tuple(drawn for drawn in (self.errors, self.op_errors) if drawn is not None)

    def to_html(self) -> str:
        """One page with everything the check found; it needs nothing from outside."""
        return page(self)

    def _repr_html_(self) -> str:
        return self.to_html()


def ordinal(order: int) -> str:
    """1 as "first", and so on."""
    return {1: "first", 2: "second", 3: "third"}.get(order, f"{order}th")


class GradientError(TensorError, AssertionError):
    """A gradient is wrong; `.report` says where, by how much and, where it can tell, why."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


class UndecidedWarning(UserWarning):
    """A gradient could neither be confirmed nor refuted; the report says why."""
