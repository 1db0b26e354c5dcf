"""The gradient of a function as a function: higher orders are the same check again."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Tensor
from .layout import Layout
from .problem import Function, Problem, floating_outputs, pulled, upstream


def derivative(f: Function, problem: Problem, create_graph: bool = True) -> Function:
    """(*args, *gs) ↦ gᵀ∂f/∂x for each floating argument x of `problem`, one g for each output."""
    count = len(problem.args)

    def gradient(*given: Any) -> tuple[Tensor, ...]:
        variables = [given[slot] for slot in problem.slots]
        outs = floating_outputs(f(*given[:count]))
        totals = [Tensor(np.zeros(v.shape, v.dtype)) for v in variables]
        for out, g in zip(outs, given[count:], strict=True):
            if out.node is None:
                continue
            g = g if g.dtype == out.dtype else g.astype(out.dtype)
            parts = pulled(out, variables, g, create_graph)
            totals = [
                total if part is None else total + part
                for total, part in zip(totals, parts, strict=True)
            ]
        return tuple(totals)

    return gradient


def differentiated(problem: Problem, rng: np.random.Generator) -> Problem:
    """The gradient of a problem as a problem.

    Its inputs are the old ones and the upstream gradients, at random values: a rule is a function
    of both.  Its values are computed with the bare rules, its gradient through the recorded ones.

    Raises:
        RuleFailedError: a rule raised an error when it was recorded.
    """
    gs = [upstream(rng, shape) for shape in problem.outputs.shapes]
    of_g = [f"upstream gradient of {name}" for name in problem.outputs.names]
    new = Problem(
        derivative(problem.f, problem),
        [*problem.args, *gs],
        [*problem.names, *of_g],
        values=derivative(problem.f, problem, create_graph=False),
    )
    names = tuple(f"gradient of {name}" for name in problem.inputs.names)
    new.outputs = Layout(names, new.outputs.shapes)
    return new
