"""`gradcheck`: is the gradient of a function right?

    report = gradcheck(lambda q, k: softmax(q @ k.mT), q, k, order=2)

Read in this order: problem.py (the function, from one vector to another), numeric.py (numeric
derivatives), probes.py (what is compared), compare.py (the verdict), properties.py (what must hold
besides), orders.py (higher orders), trace.py and diagnose.py (which operation is wrong, and how),
describe.py and report.py (what is said about it).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ..engine import DTypeError
from ..engine.settings import changed
from .causes import Cause
from .compare import GROSS, Method, chosen_method, compared, localised
from .describe import DIFFERS, described, unjudgeable
from .diagnose import blamed, diagnosed, imprecise
from .modules import with_parameters
from .numeric import NotAnalyticError
from .orders import differentiated
from .probes import chosen_probes
from .problem import Problem, RuleFailedError, input_names
from .properties import ViolationError, check_properties, check_recorded, check_untouched
from .pullback import positive, whole
from .report import GradientError, Report, UndecidedWarning

Asked = Literal["auto", "complex", "richardson"]
Random = np.random.Generator | int | None
METHODS: dict[Asked, Method | None] = {
    "auto": None, "complex": "complex step", "richardson": "Richardson",
}  # fmt: skip


def gradcheck(
    f: Callable[..., Any],
    *inputs: Any,
    order: int = 1,
    method: Asked = "auto",
    tolerance: float | None = None,
    rng: Random = None,
) -> Report:
    """Compare the gradient of `f` with numeric derivatives, and check what must hold besides.

    Works in float64: floating inputs (arrays, Tensors, numbers) are converted and differentiated,
    others (tokens, masks, options) passed through.  The error is |analytic − numeric| divided by
    max(1, |numeric|).  Besides: backward twice gives the same bits, backward is linear in g,
    nothing is written into, shapes and dtypes fit (in float32 too), and f(x, x) adds up.

    Args:
        f: takes Tensors, returns a Tensor or a tuple or list of them.  A module is checked with
            respect to its parameters too.
        inputs: the point; of any shape, away from kinks.
        order: 2 checks the gradient of the gradient as well (rules through rules), 3 the next.
        method: "complex" or "richardson" forces one numeric derivative; "auto" takes the complex
            step where f is analytic and runs on complex numbers, which it finds out, and Richardson
            elsewhere.
        tolerance: largest error allowed; where None 1e-12 (complex step) or 1e-10 (Richardson).
            What rounding in f explains is allowed too, up to 1e-8.
        rng: source of random directions and upstream gradients, or its seed; where None the same
            numbers every time.

    Returns:
        The report.  It is true only if every gradient is right.  When the check cannot judge (a
        kink at the point, a random function, an output that is not a number) its verdict is
        "undecided", it is false, and an UndecidedWarning is given.

    Raises:
        GradientError: a gradient is wrong; `.report` names the place, the first wrong operation
            and the cause.
        DTypeError: nothing to differentiate, complex inputs, f does not return floating Tensors,
            or an option that does not exist or is of a wrong kind.
        ShapeError: an order below 1, a tolerance that is not above 0, or an input that is a list
            of rows of different lengths.
    """
    for report in reports(f, *inputs, order=order, method=method, tolerance=tolerance, rng=rng):
        if report.verdict == "wrong":
            raise GradientError(report)
        if report.verdict == "undecided":
            warnings.warn(str(report), UndecidedWarning, stacklevel=2)
    return report  # there is one: order ≥ 1


def reports(
    f: Callable[..., Any],
    *inputs: Any,
    order: int = 1,
    method: Asked = "auto",
    tolerance: float | None = None,
    rng: Random = None,
) -> Iterator[Report]:
    """One report for each order from 1 to `order`, ending at one that is not right.

    Takes what `gradcheck` takes, but leaves what to do about a wrong gradient to the caller.
    """
    check_arguments(f, order, method, tolerance, rng)
    generator = np.random.default_rng(0 if rng is None else rng)
    check = Check(f, inputs, METHODS[method], tolerance, generator)
    for k in range(1, order + 1):
        with quiet():
            report = check.report(k)
        yield report
        if not report:
            return


def check_arguments(f: Any, order: Any, method: Any, tolerance: Any, rng: Any) -> None:
    """Refuse what `gradcheck` cannot work with."""
    if not callable(f):
        raise DTypeError(f"gradcheck: f must be a function or a module, got {f!r}")
    if method not in list(METHODS):
        raise DTypeError(f"gradcheck: method must be one of {list(METHODS)}, got {method!r}")
    whole("gradcheck", "order", order, 1)
    positive("gradcheck", tolerance)
    seeded = isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and rng >= 0
    if not (rng is None or seeded or isinstance(rng, np.random.Generator)):
        raise DTypeError(
            f"gradcheck: rng must be a numpy.random.Generator, a seed or None; got {rng!r}"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Everything is recorded, no value is kept, and steps that leave a domain give no warning."""
    with np.errstate(all="ignore"), changed(recording=True, keep_values=False, keep_grads=False):
        yield


class Check:
    """One call of `gradcheck`: the function, its gradient, ... as problems, and the reports."""

    def __init__(
        self,
        f: Callable[..., Any],
        inputs: Sequence[Any],
        method: Method | None,
        tolerance: float | None,
        rng: np.random.Generator,
    ) -> None:
        arrays = [x for x in inputs if isinstance(x, np.ndarray)]
        self.given = [(x, x.copy()) for x in arrays]
        names = input_names(f, inputs)
        f, parameters, values = with_parameters(f)
        with quiet():
            self.levels = [Problem(f, [*inputs, *values], [*names, *parameters])]
        self.user_inputs = len(self.levels[0].slots) - len(values)
        self.method, self.tolerance, self.rng = method, tolerance, rng

    def report(self, order: int) -> Report:
        """The report on the derivative of this order; orders are asked for one after the other."""
        try:
            if order > 1:
                self.levels.append(differentiated(self.levels[-1], self.rng))
            report = self.judged(order)
        except RuleFailedError as failed:
            report = Report("wrong", f"a gradient rule raises {failed.__cause__!r}")
            report = diagnosed(report, self.levels, order, None, self.rng)
        except ViolationError as violation:
            report = blamed(Report("wrong", str(violation)), violation.call, str(violation))
            if order > 1:
                report = diagnosed(report, self.levels, order, None, self.rng)
        done = self.levels[-1]
        return replace(report, order=order, evaluations=done.evaluations, walks=done.walks)

    def judged(self, order: int) -> Report:
        """The report on the newest problem.

        Raises:
            RuleFailedError: a rule raised an error.
            ViolationError: what must hold besides the numbers does not.
        """
        problem = self.levels[-1]
        doubt = unjudgeable(problem)
        if doubt is not None:
            return doubt
        method, note = (self.method, "") if self.method else chosen_method(problem, self.rng)
        notes = (note,) if note else ()
        if order > 1:
            check_recorded(problem)
        try:
            found = compared(
                problem,
                chosen_probes(problem, self.rng),
                method,
                self.tolerance,
                self.rng,
                replacing=self.method is None,
            )
        except NotAnalyticError as error:
            reason = f"f does not run on complex numbers: {error}"
            return Report("undecided", reason, cause=Cause.NOT_ANALYTIC)
        if found.verdict == "wrong":
            report = replace(described(localised(found, self.rng), notes), entries=found.error.size)
            return diagnosed(report, self.levels, order, found, self.rng)
        if np.isinf(found.jump).any():  # right nearby: kink, or wrong rule?
            report = diagnosed(described(found, notes), self.levels, order, None, self.rng)
            if report.op:
                return replace(report, verdict="wrong", reason=DIFFERS)
        if found.verdict == "undecided" and order == 1 and found.badness.max() < GROSS:
            coarse = imprecise(described(found, notes), problem, self.rng)
            if coarse is not None:
                return coarse
        if found.verdict == "right" and order == 1:
            check_properties(problem, self.user_inputs, self.rng)
            check_untouched(self.given)
        return described(found, notes)
