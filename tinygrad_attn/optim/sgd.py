"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..engine import Array, Tensor
from .optimizer import Optimizer, State


class SGD(Optimizer):
    """w ← w − lr·v with v ← momentum·v + (g + weight_decay·w), PyTorch's form (Sutskever et al. 2013).

    Args:
        params: parameters, or groups of them.
        lr: step width.
        momentum: share of the last step's direction that is kept.
        weight_decay: factor of the L2 penalty's gradient.
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float = 1e-3, momentum: float = 0.0,
                 weight_decay: float = 0.0) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)

    def updated(self, value: Array, grad: Array, state: State, group: dict[str, Any]) -> Array:
        """One step."""
        if group["weight_decay"]:
            grad = grad + group["weight_decay"] * value
        if group["momentum"]:
            if "momentum" in state:
                velocity = state["momentum"]
                velocity *= group["momentum"]
                velocity += grad
            else:
                velocity = state["momentum"] = grad.copy()
            grad = velocity
        step = np.multiply(grad, -group["lr"])
        step += value
        return step
