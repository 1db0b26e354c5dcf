"""What random programs (machine.py) are made of: operations beside functions of complex numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import Tensor
from tinygrad_attn.nn import functional

Array = np.ndarray[Any, Any]
MASK = np.array([[True, False, True], [False, True, True]])


@dataclass(frozen=True)
class Map:
    """An operation with one argument, its second opinion, and which arrays it takes."""

    name: str
    call: Callable[[Tensor], Tensor]
    run: Callable[[Array], Any]
    suits: Callable[[Array], bool] = lambda x: True

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Join:
    """The same with two."""

    name: str
    call: Callable[[Any, Any], Tensor]
    run: Callable[[Array, Array], Any]
    suits: Callable[[Array, Array], bool]

    def __repr__(self) -> str:
        return self.name


def axes(least: int) -> Callable[[Array], bool]:
    """At least so many axes."""
    return lambda x: x.ndim >= least


def wide(x: Array) -> bool:
    """Is there a last axis of more than one?"""
    return x.ndim > 0 and x.shape[-1] > 1


def far_from_kinks(x: Array) -> bool:
    """Is no element near 0, where relu has no derivative?"""
    return bool(np.all(np.abs(x) > 0.05))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.real.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def logistic(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def standardised(x: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + 0.1)


def attended(q: Array, kv: Array) -> Array:
    keys = np.swapaxes(kv, -1, -2)
    return softmax(q @ keys / np.sqrt(q.shape[-1])) @ kv


def broadcast(a: Array, b: Array) -> bool:
    """Do the shapes broadcast?"""
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return False
    return True


def alike(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.ndim > 0


def chained(a: Array, b: Array) -> bool:
    """Can they be multiplied as matrices?"""
    return a.ndim == 2 and b.ndim == 2 and a.shape[1] == b.shape[0]


def kernels(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """`call` with a set of kernels."""

    def inner(*args: Any) -> Any:
        with ta.kernels.use(name):
            return call(*args)

    return inner


ROWS = [0, 0, 1]  # one of them twice

MAPS = [
    Map("tanh", ta.tanh, np.tanh),
    Map("sin", ta.sin, np.sin),
    Map("exp of sin", lambda x: ta.exp(ta.sin(x)), lambda x: np.exp(np.sin(x))),
    Map("sigmoid", ta.sigmoid, logistic),
    Map("square", ta.square, np.square),
    Map("x · x", lambda x: x * x, lambda x: x * x),
    Map("negative", lambda x: -x, np.negative),
    Map("relu", ta.relu, lambda x: np.where(x.real > 0, x, 0), far_from_kinks),
    Map("softmax", ta.softmax, softmax, axes(1)),
    Map("log_softmax", ta.log_softmax, lambda x: np.log(softmax(x)), axes(1)),
    Map("silu", kernels("numpy", functional.silu), lambda x: x * logistic(x), axes(1)),
    Map(
        "layer_norm",
        kernels("numpy", lambda x: functional.layer_norm(x, None, None, 0.1)),
        standardised,
        wide,
    ),
    Map("sum", ta.sum, np.sum),
    Map("sum 0", lambda x: x.sum(0), lambda x: x.sum(0), axes(1)),
    Map("mean -1", lambda x: x.mean(-1, keepdims=True), lambda x: x.mean(-1, keepdims=True), wide),
    Map("logsumexp", ta.logsumexp, lambda x: np.log(np.exp(x).sum())),
    Map("cumsum", lambda x: ta.cumsum(x, -1), lambda x: np.cumsum(x, -1), axes(1)),
    Map("T", lambda x: x.T, lambda x: x.T),
    Map("swapaxes", lambda x: x.swapaxes(0, -1), lambda x: np.swapaxes(x, 0, -1), axes(2)),
    Map("flatten", lambda x: x.reshape(-1), lambda x: x.reshape(-1)),
    Map("new axis", lambda x: x[None], lambda x: x[None], lambda x: x.ndim < 3),
    Map("row", lambda x: x[0], lambda x: x[0], axes(1)),
    Map("backwards", lambda x: x[..., ::-1], lambda x: x[..., ::-1], axes(1)),
    Map("all but one", lambda x: x[..., 1:], lambda x: x[..., 1:], wide),
    Map(
        "rows twice",
        lambda x: x[ROWS],
        lambda x: x[ROWS],
        lambda x: x.ndim > 0 and len(x) > 1,
    ),
    Map("masked", lambda x: x[MASK], lambda x: x[MASK], lambda x: x.shape == MASK.shape),
    Map(
        "where",
        lambda x: ta.where(MASK, x, 0.5),
        lambda x: np.where(MASK, x, 0.5),
        lambda x: x.shape in ((), (3,), MASK.shape),
    ),
    Map(
        "broadcast_to",
        lambda x: ta.broadcast_to(x, (2, *x.shape)),
        lambda x: np.broadcast_to(x, (2, *x.shape)),
        lambda x: x.ndim < 3,
    ),
]

JOINS = [
    Join("add", lambda a, b: a + b, np.add, broadcast),
    Join("subtract", lambda a, b: a - b, np.subtract, broadcast),
    Join("multiply", lambda a, b: a * b, np.multiply, broadcast),
    Join("divide", lambda a, b: a / (b * b + 1.0), lambda a, b: a / (b * b + 1), broadcast),
    Join("matmul", ta.matmul, np.matmul, chained),
    Join(
        "einsum",
        lambda a, b: ta.einsum("ij,ij->i", a, b),
        lambda a, b: np.einsum("ij,ij->i", a, b),
        lambda a, b: a.ndim == 2 and a.shape == b.shape,
    ),
    Join(
        "concat",
        lambda a, b: ta.concat([a, b, a], 0),
        lambda a, b: np.concatenate([a, b, a]),
        alike,
    ),
    Join("stack", lambda a, b: ta.stack([a, b], -1), lambda a, b: np.stack([a, b], -1), alike),
    Join(
        "attention",
        kernels("numpy", lambda q, kv: functional.attention(q, kv, kv)),
        attended,
        lambda a, b: a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1],
    ),
    Join(
        "attention, definition",
        kernels("off", lambda q, kv: functional.attention(q, kv, kv)),
        attended,
        lambda a, b: a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1],
    ),
]
