"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ..engine import Array
from ..engine.fused import KERNEL_DTYPES
from ..kernels import chosen
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
        (beta1, beta2), lr, decay = group["betas"], group["lr"], group["weight_decay"]
        if not state:
            m, v = (np.zeros(value.shape, value.dtype) for _ in range(2))
            state.update(step=0, exp_avg=m, exp_avg_sq=v)
        state["step"] += 1
        root = sqrt(1 - beta2 ** state["step"])
        kernel = chosen("adam", self.size) if value.dtype in KERNEL_DTYPES else None
        # A kernel returns residuals too: a step has none.
        new, _ = (moved if kernel is None else kernel.forward)(
            value,
            grad,
            state["exp_avg"],
            state["exp_avg_sq"],
            betas=(beta1, beta2),
            width=lr * root / (1 - beta1 ** state["step"]),
            eps=group["eps"] * root,
            pull=0.0 if self.decoupled else decay,
            keep=1 - lr * decay if self.decoupled else 1.0,
        )
        return new


def moved(
    value: Array,
    grad: Array,
    m: Array,
    v: Array,
    *,
    betas: tuple[float, float],
    width: float,
    eps: float,
    pull: float,
    keep: float,
) -> tuple[Array, None]:
    """keep·w − width·m/(√v + eps), once g + pull·w has entered the running means m and v."""
    if pull:
        grad = grad + pull * value
    # `out`, as NumPy would make a number of 0-d arrays, and nothing can be written into a number.
    buffer: Array = np.multiply(grad, 1 - betas[0], out=np.empty(value.shape, value.dtype))
    m *= betas[0]
    m += buffer  # m ← β₁m + (1 − β₁)g
    np.multiply(grad, grad, out=buffer)
    buffer *= 1 - betas[1]
    v *= betas[1]
    v += buffer  # v ← β₂v + (1 − β₂)g²
    np.sqrt(v, out=buffer)
    buffer += eps
    np.divide(m, buffer, out=buffer)
    buffer *= -width
    buffer += value if keep == 1 else value * keep
    return buffer, None


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
