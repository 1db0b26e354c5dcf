"""Bugs in broadcasting, reductions and products: sums that are missing, or over another axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...engine import Array
from ...ops.linalg import operand_gradient
from ..causes import Cause
from ..draws import normal
from .bug import Cage, Draw, Size, Subject

CAGE = Cage("broadcasting, sums and products")
plants = CAGE.plants


# ── what they are seen in ────────────────────────────────────────────────────────────────────────
def biased(size: Size, rng: Draw) -> Subject:
    """2x + b with one b for all rows."""
    return Subject(lambda x, b: x * 2 + b, (normal(rng, size.T, size.S), normal(rng, size.S)))


def square_biased(size: Size, rng: Draw) -> Subject:
    """The same where there are as many rows as columns, so that no shape complains."""
    return Subject(lambda x, b: x * 2 + b, (normal(rng, size.S, size.S), normal(rng, size.S)))


def scaled(size: Size, rng: Draw) -> Subject:
    """x∘w with one w for all rows."""
    return Subject(ops.multiply, (normal(rng, size.T, size.S), normal(rng, size.S)))


def product(size: Size, rng: Draw) -> Subject:
    """A B of square matrices."""
    shape = (size.S, size.S)
    return Subject(ops.matmul, (normal(rng, *shape), normal(rng, *shape)))


def oblong_product(size: Size, rng: Draw) -> Subject:
    """A B of matrices that are not square."""
    return Subject(
        ops.matmul, (normal(rng, size.T, size.S + size.T), normal(rng, size.S + size.T, size.S))
    )


def shared_product(size: Size, rng: Draw) -> Subject:
    """A stack of matrices times one."""
    return Subject(ops.matmul, (normal(rng, size.B, size.T, size.S), normal(rng, size.S, size.D)))


# ── broadcasting ─────────────────────────────────────────────────────────────────────────────────
@plants(ops.add, "b", biased, Cause.BROADCAST)
def bias_of_first_row(g: Array, b: Array) -> Array:
    """Cut to the bias's shape instead of summed: it learns from the first example of each batch."""
    return g.reshape(-1, *b.shape)[0]


@plants(ops.add, "b", biased, Cause.FACTOR)
def bias_averaged(g: Array, b: Array) -> Array:
    """A mean over the batch where a sum belongs, beside a loss that is a mean already: biases learn
    B times slower than weights.
    """
    return g.reshape(-1, *b.shape).mean(0)


@plants(ops.add, "b", square_biased, Cause.WRONG_AXIS)
def bias_summed_over_features(g: Array) -> Array:
    """sum(axis=1) for sum(axis=0): an error as long as B ≠ D, silence when they are equal."""
    return g.sum(-1)


@plants(ops.multiply, "b", scaled, Cause.BROADCAST)
def scale_of_first_row(g: Array, a: Array) -> Array:
    """dy∘x of the first row alone: the gain of a norm written without its sum over positions."""
    return (g * a)[0]


@plants(
    ops.multiply,
    "a",
    lambda s, rng: Subject(ops.multiply, (normal(rng, s.T, s.S), normal(rng, s.T, s.S))),
    Cause.ANOTHER_ARGUMENT,
)
def multiply_swapped(g: Array, a: Array) -> Array:
    """Each factor gets the other's gradient. For x∘x, the usual test, that is right."""
    return g * a


@plants(
    ops.broadcast_to,
    "x",
    lambda s, rng: Subject(
        lambda x: ops.broadcast_to(x, (s.B, s.T, s.S)), (normal(rng, s.T, s.S),)
    ),
    Cause.BROADCAST,
)
def broadcast_gives_first_copy(g: Array) -> Array:
    """One copy's gradient stands for all: a class token that learns from one image of the batch."""
    return g[0]


@plants(
    ops.repeat,
    "x",
    lambda s, rng: Subject(lambda x: ops.repeat(x, s.B, 0), (normal(rng, s.T, s.S),)),
    Cause.BROADCAST,
)
def repeat_gives_first_copy(g: Array, repeats: int) -> Array:
    """The sum over the copies is missing: with grouped heads, keys hear one query head of each
    group.
    """
    return g[::repeats]


@plants(
    ops.tile,
    "x",
    lambda s, rng: Subject(lambda x: ops.tile(x, (s.B, 1)), (normal(rng, s.T, s.S),)),
    Cause.FACTOR,
)
def tile_averages(g: Array, in_shape: tuple[int, ...]) -> Array:
    """The mean over the copies where their sum belongs."""
    return g.reshape(-1, *in_shape).mean(0)


# ── reductions ───────────────────────────────────────────────────────────────────────────────────
@plants(
    ops.sum,
    "x",
    lambda s, rng: Subject(lambda x: ops.sum(x, 0), (normal(rng, s.S, s.S, s.B),)),
    Cause.WRONG_AXIS,
)
def sum_spread_along_another_axis(g: Array, in_shape: tuple[int, ...]) -> Array:
    """The axis that was summed is put back in another place; with equal lengths nothing fails."""
    return np.broadcast_to(np.expand_dims(g, 1), in_shape)


@plants(
    ops.mean,
    "x",
    lambda s, rng: Subject(lambda x: ops.mean(x, -1), (normal(rng, s.T, s.S),)),
    Cause.FACTOR,
)
def mean_like_sum(g: Array, in_shape: tuple[int, ...]) -> Array:
    """1/n is forgotten: the learning rate that works depends on the length of the sequence."""
    return np.broadcast_to(g[..., None], in_shape)


@plants(
    ops.mean,
    "x",
    lambda s, rng: Subject(lambda x: ops.mean(x, -1), (normal(rng, s.T, s.S),)),
    Cause.FACTOR,
)
def mean_divides_by_all(g: Array, in_shape: tuple[int, ...]) -> Array:
    """x.size in place of x.shape[axis]: too small by the number of rows."""
    return np.broadcast_to(g[..., None] / np.prod(in_shape), in_shape)


@plants(
    ops.cumsum,
    "x",
    lambda s, rng: Subject(lambda x: ops.cumsum(x, -1), (normal(rng, s.T, s.S),)),
    Cause.TRANSPOSED,
)
def cumsum_not_reversed(g: Array, axis: int) -> Array:
    """J where Jᵀ belongs: the past gets credit for what came before it, instead of after."""
    return np.cumsum(g, axis)


# ── products ─────────────────────────────────────────────────────────────────────────────────────
@plants(ops.matmul, "a", product, Cause.TRANSPOSED)
def matmul_not_transposed(g: Array, b: Array) -> Array:
    """dA = dY B where Bᵀ belongs: square matrices let it pass."""
    return g @ b


@plants(ops.matmul, "b", product, Cause.TRANSPOSED)
def matmul_result_transposed(g: Array, a: Array) -> Array:
    """dYᵀA is the transpose of AᵀdY: right for a library that stores W the other way round."""
    return np.swapaxes(g, -1, -2) @ a


@plants(ops.matmul, "a", product, Cause.WRONG_VALUE)
def matmul_of_wrong_operand(g: Array, a: Array) -> Array:
    """dA = dY Aᵀ: the factor itself in place of the other one."""
    return g @ np.swapaxes(a, -1, -2)


@plants(ops.matmul, "a", oblong_product, Cause.RAISES)
def matmul_does_not_fit(g: Array, b: Array) -> Array:
    """dY B again, with matrices that are not square: an error, which is the lucky case."""
    return g @ b


@plants(ops.matmul, "b", shared_product, Cause.BROADCAST)
def matmul_of_first_in_batch(g: Array, a: Array) -> Array:
    """One weight for a whole batch, and the gradient of the first example."""
    return (np.swapaxes(a, -1, -2) @ g)[0]


@plants(ops.matmul, "b", shared_product, Cause.FACTOR)
def matmul_averages_batch(g: Array, a: Array) -> Array:
    """The mean over the batch in place of the sum: twice averaged, if the loss is a mean."""
    return (np.swapaxes(a, -1, -2) @ g).mean(0)


@plants(
    ops.einsum,
    0,
    lambda s, rng: Subject(
        lambda q, k: ops.einsum("td,sd->ts", q, k), (normal(rng, s.T, s.S), normal(rng, s.T, s.S))
    ),
    Cause.ANOTHER_ARGUMENT,
)
def einsum_swapped(g: Array, i: int, args: Any, subscripts: str) -> Array:
    """Each operand gets the other's gradient: queries learn what keys should."""
    return operand_gradient(g, 1 - i, args, subscripts)
