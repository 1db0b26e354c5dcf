"""HIPS autograd."""

from __future__ import annotations

from typing import Any

import autograd.numpy as anp
from autograd import make_vjp, value_and_grad

from ..formulas import Functions
from ..problems import Problem, Sizes, problem
from ..work import Array, Work
from .plain import AdamW

FUNCTIONS = Functions(anp)


class Gradients(Work):
    """Forward and backward from the problem's gradient."""

    def __init__(self, given: Problem) -> None:
        self.given = given
        self.vjp = make_vjp(lambda params: given.compute(FUNCTIONS, params))

    def both(self) -> Any:
        """The gradients by name, and the result."""
        pull, result = self.vjp(self.given.params)
        return pull(self.given.upstream), result

    def run(self) -> None:
        """Forward and backward."""
        self.both()

    def check(self) -> dict[str, Array]:
        """The result and every gradient."""
        gradients, result = self.both()
        return {"result": result, **gradients}


class Training(Work):
    """Training steps."""

    def __init__(self, given: Problem) -> None:
        self.given, self.data, self.optimizer = given, given.data(), AdamW(given.params)
        self.loss = value_and_grad(
            lambda params, batch: given.compute(FUNCTIONS, params, *batch)
        )  # fmt: skip

    def run(self) -> float:
        """One step: the loss."""
        loss, gradients = self.loss(self.given.params, next(self.data))
        self.optimizer.step(gradients)
        return float(loss)

    def check(self) -> dict[str, Array]:
        """The loss of the first batch and every gradient."""
        loss, gradients = self.loss(self.given.params, self.given.batches[0])
        return {"loss": loss, **gradients}


def make(name: str, sizes: Sizes) -> Work:
    """The work."""
    given = problem(name, sizes)
    return Training(given) if given.trains else Gradients(given)
