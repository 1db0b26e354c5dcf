"""MyGrad, with its guard of arrays' memory off, as its documentation advises for speed."""

from __future__ import annotations

from typing import Any

import mygrad as mg
from mygrad.nnet.activations import logsoftmax, softmax
from mygrad.nnet.losses import softmax_crossentropy

from ..formulas import Functions
from ..problems import Problem, Sizes, problem
from ..work import Array, Work
from .plain import AdamW


class MyGrad(Functions):
    """MyGrad's own softmax and cross-entropy."""

    softmax = staticmethod(softmax)
    log_softmax = staticmethod(logsoftmax)
    cross_entropy = staticmethod(softmax_crossentropy)


FUNCTIONS = MyGrad(mg)


class Gradients(Work):
    """Forward and backward from the problem's gradient."""

    def __init__(self, given: Problem) -> None:
        self.given = given

    def both(self) -> tuple[Any, dict[str, Array]]:
        """The result, and the gradients by name."""
        params = {name: mg.tensor(p, copy=False) for name, p in self.given.params.items()}
        result = self.given.compute(FUNCTIONS, params)
        result.backward(self.given.upstream)
        return result, {name: p.grad for name, p in params.items()}

    def run(self) -> None:
        """Forward and backward."""
        self.both()

    def check(self) -> dict[str, Array]:
        """The result and every gradient."""
        result, gradients = self.both()
        return {"result": result.data, **gradients}


class Training(Work):
    """Training steps."""

    def __init__(self, given: Problem) -> None:
        self.given, self.data, self.optimizer = given, given.data(), AdamW(given.params)

    def loss(self, batch: tuple[Array, ...]) -> tuple[Any, dict[str, Array]]:
        """The loss, and the gradients by name."""
        params = {name: mg.tensor(p, copy=False) for name, p in self.given.params.items()}
        loss = self.given.compute(FUNCTIONS, params, *batch)
        loss.backward()
        return loss, {name: p.grad for name, p in params.items()}

    def run(self) -> float:
        """One step: the loss."""
        loss, gradients = self.loss(next(self.data))
        self.optimizer.step(gradients)
        return float(loss.item())

    def check(self) -> dict[str, Array]:
        """The loss of the first batch and every gradient."""
        loss, gradients = self.loss(self.given.batches[0])
        return {"loss": loss.data, **gradients}


def make(name: str, sizes: Sizes) -> Work:
    """The work."""
    mg.turn_memory_guarding_off()
    given = problem(name, sizes)
    return Training(given) if given.trains else Gradients(given)
