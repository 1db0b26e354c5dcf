"""Gradients of functions of tensors and of modules, judged by the complex step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numeric import by_complex_step, error

from tinygrad_attn import Tensor, grad
from tinygrad_attn.nn import Module

Array = np.ndarray[Any, Any]


def worst_error(f: Callable[..., Tensor], xs: Sequence[Array], order: int = 1) -> float:
    """The largest error of the gradients of f at xs, along random upstream gradients.

    With order=2: of the gradients of Σ⟨u, ∂⟨g, f⟩/∂x⟩ for random u.
    """
    xs = [np.asarray(x, np.float64) for x in xs]
    rng = np.random.default_rng(5)
    g = rng.standard_normal(f(*map(Tensor, xs)).shape)
    if order == 2:
        f, g = slopes(f, g, [rng.standard_normal(x.shape) for x in xs]), np.ones(())
    variables = [Tensor(x, requires_grad=True) for x in xs]
    parts = grad(f(*variables), variables, g, allow_unused=True)
    numbers = [by_complex_step(lambda *zs: values(f, zs), xs, [g], at) for at in range(len(xs))]
    return max(
        error(np.zeros(x.shape) if part is None else part.data, number)
        for part, number, x in zip(parts, numbers, xs, strict=True)
    )


def values(f: Callable[..., Tensor], xs: Sequence[Array]) -> Array:
    return f(*(Tensor(x, requires_grad=True) for x in xs)).data


def slopes(f: Callable[..., Tensor], g: Array, us: Sequence[Array]) -> Callable[..., Tensor]:
    """The function Σ⟨u, ∂⟨g, f⟩/∂x⟩ of the same arguments."""

    def function(*xs: Tensor) -> Tensor:
        parts = grad(f(*xs), xs, g, create_graph=True, allow_unused=True)
        return sum((part * u).sum() for part, u in zip(parts, us, strict=True) if part is not None)

    return function


def of_parameters(
    module: Module, call: Callable[[], Tensor]
) -> tuple[Callable[..., Tensor], list[Array]]:
    """`call()` as a function of the module's parameters, and their values."""
    places = [
        (part, name)
        for part in module.modules()
        for name, value in vars(part).items()
        if isinstance(value, Tensor)
    ]

    def function(*tensors: Tensor) -> Tensor:
        before = [getattr(part, name) for part, name in places]
        for (part, name), tensor in zip(places, tensors, strict=True):
            object.__setattr__(part, name, tensor)
        try:
            return call()
        finally:
            for (part, name), tensor in zip(places, before, strict=True):
                object.__setattr__(part, name, tensor)

    return function, [getattr(part, name).numpy() for part, name in places]
