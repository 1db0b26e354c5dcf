"""Derivatives of functions: vjp, jvp, jacobian, hvp, hessian, in terms of `grad` alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .engine import DTypeError, ShapeError, Tensor, grad
from .engine.settings import changed
from .engine.tensor import as_array, locked, wrapped

Function = Callable[..., Tensor]


def variable(x: Any) -> Tensor:
    """A tensor to differentiate by: `x` itself where it has a graph, for outer derivatives."""
    return x if isinstance(x, Tensor) and x.node is not None else Tensor(x, requires_grad=True)


def vjp(f: Function, *xs: Any) -> tuple[Tensor, Callable[..., tuple[Tensor, ...]]]:
    """(f(*xs), pullback): pullback(g) = one gᵀ∂f/∂x for each x; it can be called repeatedly.

    `pullback(g, create_graph=True)` gives gradients that can be differentiated.
    """
    if not callable(f):
        raise DTypeError(
            f"vjp, jvp, jacobian, hessian, hvp: f must be a function, got {type(f).__name__}"
        )
    variables = [variable(x) for x in xs]
    with changed(recording=True):
        y = f(*variables)
    if not isinstance(y, Tensor):
        raise DTypeError(f"vjp: f must return a Tensor, got {type(y).__name__}")

    def pullback(g: Any = None, *, create_graph: bool = False) -> tuple[Tensor, ...]:
        if y.node is None:
            return tuple(zeros_like(x) for x in variables)
        parts = grad(
            y, variables, g, create_graph=create_graph, retain_graph=True, allow_unused=True
        )
        return tuple(zeros_like(x) if part is None else part for x, part in zip(variables, parts))

    return y, pullback


def zeros_like(x: Tensor) -> Tensor:
    """A constant of zeros, shaped like `x`."""
    return wrapped(locked(np.zeros(x.shape, x.dtype)), None)


def jvp(f: Function, xs: Any, us: Any) -> tuple[Tensor, Tensor]:
    """(f(*xs), Σ ∂f/∂x · u): the directional derivative along `us`, one u for each x.

    `xs` and `us` are sequences of arrays, or one array each (a list of numbers is one array).
    Two VJPs make one JVP: x̄ = gᵀJ is linear in g, so its own VJP with u is J·u.
    """
    xs, us = as_sequence(xs), as_sequence(us)
    if len(xs) != len(us):
        raise ShapeError(
            f"jvp: expected one direction for each of the {len(xs)} inputs, got {len(us)}"
        )
    y, pullback = vjp(f, *xs)
    g = Tensor(np.zeros(y.shape, y.dtype), requires_grad=True)
    dy = zeros_like(y)
    for part, u in zip(pullback(g, create_graph=True), us):
        expect_like("jvp", u, part.shape)
        if part.node is not None:
            dot = grad(part, [g], u, create_graph=True, allow_unused=True)[0]
            dy = dy if dot is None else dy + dot
    return y, dy


def jacobian(f: Function, x: Any, *, create_graph: bool = False) -> Tensor:
    """∂f/∂x of shape f(x).shape + x.shape: one walk for each element of the result."""
    y, pullback = vjp(f, x)
    rows = []
    for k in range(y.size):
        g = np.zeros(y.size, y.dtype)
        g[k] = 1
        rows.append(pullback(g.reshape(y.shape), create_graph=create_graph)[0])
    shape = y.shape + np.shape(x)
    if not rows:
        return wrapped(locked(np.zeros(shape, y.dtype)), None)
    if create_graph:
        stacked: Any = np.stack(rows)  # NumPy's protocol finds our stack
        return stacked.reshape(shape)
    return wrapped(locked(np.stack([row._data for row in rows]).reshape(shape)), None)


def as_sequence(xs: Any) -> tuple[Any, ...]:
    """A sequence of arrays as a tuple; one array as a tuple of one."""
    if isinstance(xs, list) and not any(isinstance(x, (np.ndarray, Tensor)) for x in xs):
        return (xs,)
    return tuple(xs) if isinstance(xs, (tuple, list)) else (xs,)


def gradient_of(f: Function) -> Function:
    """x ↦ ∇f(x) for a function with one element, itself differentiable."""

    def gradient(x: Tensor) -> Tensor:
        y, pullback = vjp(f, x)
        if y.size != 1:
            raise ShapeError(f"hessian, hvp: f must return a scalar, got shape {y.shape}")
        return pullback(np.ones(y.shape, y.dtype), create_graph=True)[0]

    return gradient


def hessian(f: Function, x: Any, *, create_graph: bool = False) -> Tensor:
    """∂²f/∂x² of shape x.shape + x.shape, for a function with one element."""
    return jacobian(gradient_of(f), x, create_graph=create_graph)


def hvp(f: Function, x: Any, u: Sequence[float] | Any) -> Tensor:
    """Hessian times `u` (shaped like x) without ever forming the Hessian: ∇⟨∇f(x), u⟩."""
    gradient, pullback = vjp(gradient_of(f), x)
    expect_like("hvp", u, gradient.shape)
    return pullback(u)[0]


def expect_like(who: str, u: Any, shape: tuple[int, ...]) -> None:
    """Refuse a direction of another shape than the x it belongs to."""
    got = u.shape if isinstance(u, Tensor) else as_array(u, who=who).shape
    if got != shape:
        raise ShapeError(f"{who}: u must be shaped like x {shape}, got {got}")
