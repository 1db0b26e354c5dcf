"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ..engine import Array
from .optimizer import Group, Optimizer, Params, State


class Adam(Optimizer):
    """w ← w − lr·m̂/(√v̂ + eps), m and v running means of g and g² (Kingma and Ba 2015, algorithm 1).

    Args:
        params: parameters, or groups of them.
        lr: step width.
        betas: decay of the two running means.
        eps: added to the root, so that it is never 0.
        weight_decay: factor of the L2 penalty's gradient, which is added to g.
    """

    state_names = ("step", "exp_avg", "exp_avg_sq")
    decoupled = False

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def updated(self, value: Array, grad: Array, state: State, group: Group) -> Array:
        """One step; the means' corrections (1 − βᵗ) are moved into the step width and eps."""
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        if decay and not self.decoupled:
            grad = grad + decay * value
        if not state:
            state.update(step=0, exp_avg=np.zeros_like(value), exp_avg_sq=np.zeros_like(value))
        state["step"] += 1
        m, v, root = state["exp_avg"], state["exp_avg_sq"], sqrt(1 - beta2 ** state["step"])
        buffer: Array = np.multiply(grad, 1 - beta1, out=np.empty_like(value))
        m *= beta1
        m += buffer  # m ← β₁m + (1 − β₁)g
        np.multiply(grad, grad, out=buffer)
        buffer *= 1 - beta2
        v *= beta2
        v += buffer  # v ← β₂v + (1 − β₂)g²
        np.sqrt(v, out=buffer)
        buffer += group["eps"] * root
        np.divide(m, buffer, out=buffer)
        buffer *= -lr * root / (1 - beta1 ** state["step"])
        buffer += value * (1 - lr * decay) if decay and self.decoupled else value
        return buffer


class AdamW(Adam):
    """Adam whose weight decay stays out of g: w shrinks by lr·weight_decay·w instead.

    Loshchilov and Hutter 2019, algorithm 2.  Arguments as Adam's.
    """

    decoupled = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
