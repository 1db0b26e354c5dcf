"""Gradients at the inputs of ONNX's cases: ours against numeric differentiation.

The cases bring no gradients; their inputs, in float64, are points that nobody here has chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import Tensor
from tinygrad_attn.check.gradcheck import reports
from tinygrad_attn.check.report import Report

from .onnx import OPERATORS
from .operators import Unsupported, called

VERDICTS = ("right", "wrong", "undecided", "not differentiable", "unsupported")
CONSTANT = {"Clip": (1, 2), "Dropout": (1,), "OneHot": (1,), "Pad": (2,)}  # positions of options


@dataclass(frozen=True)
class Finding:
    """What came of one case.

    Attributes:
        name: of the case.
        verdict: "right", "wrong", "undecided" (at a kink, or not finite), "not differentiable" or
            "unsupported".
        reason: in one sentence.
        max_error: of the gradient, against max(1, |numeric|).
    """

    name: str
    verdict: str
    reason: str = ""
    max_error: float = 0.0


def table(cases: Iterable[Any]) -> Iterator[str]:
    """Lines of text: for each tier how many cases came out how, then those to look at."""
    found = [(case.tier, finding(case)) for case in cases]
    counts = Counter((tier, came.verdict) for tier, came in found)
    yield f"{'tier':10}" + "".join(f"{verdict:>20}" for verdict in VERDICTS)
    for tier in sorted({tier for tier, _ in found}):
        yield f"{tier:10}" + "".join(f"{counts[tier, verdict]:20}" for verdict in VERDICTS)
    worst = max((came.max_error for _, came in found if came.verdict == "right"), default=0.0)
    yield f"largest error of those that are right: {worst:.1e}"
    for _, came in found:
        if came.verdict in ("wrong", "undecided"):
            yield f"{came.verdict}: {came.name}: {came.reason}"


def finding(case: Any) -> Finding:
    """The gradient of all floating outputs, for all floating inputs, at one case."""
    if case.op_type not in OPERATORS:
        return Finding(case.name, "unsupported", case.op_type)
    places = [i for i, x in enumerate(case.inputs) if varies(x, i, case.op_type)]
    function = outputs_of(case, places)
    point = [case.inputs[i].astype(np.float64) for i in places]
    with np.errstate(all="ignore"):
        try:
            outputs = function(*[Tensor(x, requires_grad=True) for x in point])
        except Unsupported as refusal:
            return Finding(case.name, "unsupported", str(refusal))
        if not any(y.requires_grad for y in outputs):
            return Finding(case.name, "not differentiable")
        (report,) = reports(function, *point, order=1)
    return Finding(case.name, report.verdict, said(report), report.max_error)


def varies(x: Any, position: int, op_type: str) -> bool:
    """Is this input a point to differentiate at?  One with −∞, a mask, is a constant."""
    floating = isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.size > 0
    return floating and position not in CONSTANT.get(op_type, ()) and bool(np.isfinite(x).all())


def outputs_of(case: Any, places: list[int]) -> Callable[..., tuple[Tensor, ...]]:
    """The floating outputs as a function of the inputs at `places`; 0 where a mask made them −∞."""

    def function(*xs: Any) -> tuple[Tensor, ...]:
        inputs = list(case.inputs)
        for place, x in zip(places, xs):
            inputs[place] = x
        outputs = called(case.op_type, OPERATORS[case.op_type], inputs, case.attrs, case)
        floating = [y for y in outputs if isinstance(y, Tensor) and y.dtype.kind in "fc"]
        return tuple(ta.where(np.isneginf(y.numpy().real), 0.0, y) for y in floating)

    return function


def said(report: Report) -> str:
    """The reason of a report that is not right, in one line."""
    return "" if report.ok else report.reason.partition("\n")[0]
