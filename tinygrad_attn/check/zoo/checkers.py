"""The gradient checks that people use, on plain arrays, to be measured beside ours.

Each says whether it passes a function `f` from a vector to a vector, with its pull-back `vjp`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...engine import Array
from ..gradcheck import Asked, quiet, reports
from ..modules import with_parameters
from ..problem import Problem, input_names
from ..report import Report
from .bug import Subject

STEP = 1e-6  # of every central difference here
SEED = 0


@dataclass(frozen=True)
class Plain:
    """A function with its gradient, as any checker can take it.

    Attributes:
        f: vector -> vector.
        vjp: upstream gradient -> gradient, both vectors.
        x: the point.
        inputs, outputs: where each array lies in its vector.
        size: length of f(x).
    """

    f: Callable[[Array], Array]
    vjp: Callable[[Array], Array]
    x: Array
    inputs: Sequence[slice]
    outputs: Sequence[slice]
    size: int


def plain(subject: Subject) -> Plain:
    """A subject of ours (function or module, and its inputs) for the checkers of others."""
    names = input_names(subject.f, subject.inputs)
    f, parameters, values = with_parameters(subject.f)
    problem = Problem(f, [*subject.inputs, *values], [*names, *parameters])
    return Plain(
        problem.value,
        lambda g: problem.pull(g[None])[0],
        problem.x,
        [problem.inputs.section(k) for k in range(len(problem.inputs.names))],
        [problem.outputs.section(k) for k in range(len(problem.outputs.names))],
        problem.outputs.size,
    )


def along(f: Callable[[Array], Array], x: Array, u: Array) -> Array:
    """The central difference of f at x along u."""
    return (f(x + STEP * u) - f(x - STEP * u)) / (2 * STEP)


# ── the checkers ─────────────────────────────────────────────────────────────────────────────────
def tutorial(case: Plain) -> bool:
    """As tutorials do it: the sum of the outputs is the loss, each number is moved by ±1e-6, and
    `np.allclose(..., rtol=1e-5)` compares.
    """

    def loss(x: Array) -> Array:
        return case.f(x).sum()

    numeric = [along(loss, case.x, u) for u in np.eye(len(case.x))]
    return np.allclose(case.vjp(np.ones(case.size)), numeric, rtol=1e-5)


def torch_like(case: Plain) -> bool:
    """`torch.autograd.gradcheck`: the whole Jacobian, |a − n| ≤ 1e-5 + 1e-3·|n|, and backward twice
    gives the same bits.
    """
    numeric = np.array([along(case.f, case.x, u) for u in np.eye(len(case.x))]).T
    first, second = (np.array([case.vjp(g) for g in np.eye(case.size)]) for _ in range(2))
    same = np.array_equal(first, second)
    return same and np.allclose(first, numeric, rtol=1e-3, atol=1e-5)


def torch_like_fast(case: Plain) -> bool:
    """Its fast mode: for each output and input one number vᵀJu, u and v random, positive and of
    length 1; the absolute tolerance is multiplied by Σu·Σv.
    """
    rng = np.random.default_rng(SEED)
    us = [random_unit(rng, len(case.x), at) for at in case.inputs]
    vs = [random_unit(rng, case.size, at) for at in case.outputs]
    slopes = [along(case.f, case.x, u) for u in us]
    for v in vs:
        gradient = case.vjp(v)
        for u, slope in zip(us, slopes, strict=True):
            atol = 1e-5 * u.sum() * v.sum()
            if not np.allclose(gradient @ u, v @ slope, rtol=1e-3, atol=atol):
                return False
    return True


def random_unit(rng: np.random.Generator, size: int, at: slice) -> Array:
    """A vector that is random in [0, 1) at one place, 0 elsewhere, and of length 1."""
    vector = np.zeros(size)
    vector[at] = rng.random(at.stop - at.start)
    return vector / np.linalg.norm(vector)


CHECKERS: dict[str, Callable[[Plain], bool]] = {
    "differences": tutorial,
    "PyTorch's": torch_like,
    "its fast mode": torch_like_fast,
}


# ── asking them ──────────────────────────────────────────────────────────────────────────────────
def passes(check: Callable[[Plain], bool], subject: Subject) -> bool:
    """Does a checker pass the gradient?  One that meets an error does not."""
    try:
        with quiet():
            return check(plain(subject))
    except Exception:  # whatever a rule raises: its author sees that something is wrong
        return False


def judged(subject: Subject, method: Asked = "auto") -> Report:
    """The report of ours."""
    (report,) = reports(subject.f, *subject.inputs, method=method)
    return report
