"""Stochastic gradient descent."""

from __future__ import annotations

import numpy as np

from ..engine import Array
from .optimizer import Group, Optimizer, Params, State


class SGD(Optimizer):
    """w ← w − lr·v with v ← momentum·v + g + weight_decay·w, as PyTorch has it.

    Args:
        params: parameters, or groups of them.
        lr: step width.
        momentum: share of the last step's direction that is kept (Sutskever et al. 2013).
        weight_decay: factor of the L2 penalty's gradient.
    """

    state_names = ("momentum",)

    def __init__(
        self, params: Params, lr: float = 1e-3, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)

    def updated(self, value: Array, grad: Array, state: State, group: Group) -> Array:
        """One step."""
        if group["weight_decay"]:
            grad = grad + group["weight_decay"] * value
        if group["momentum"]:
            velocity = state.setdefault("momentum", np.zeros_like(value))
            velocity *= group["momentum"]
            velocity += grad
            grad = velocity
        new: Array = np.multiply(grad, -group["lr"], out=np.empty_like(value))
        new += value
        return new
