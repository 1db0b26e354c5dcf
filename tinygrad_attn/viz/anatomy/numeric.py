"""Numeric gradients of a call, by the complex step through a forward pass of its own.

The value is ⟨dY, Y⟩ with dY held fixed.  Nothing of the backward pass is used: where this and the
recorded gradient agree, both are right.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from ...check.numeric import complex_step
from ...engine import Array, Tensor, no_grad
from ...engine.tensor import locked
from ...nn.functional import attention
from .data import Example, Layer, Matrices, Turn
from .rotation import turned

WORK = 3_000_000_000  # multiplications for one matrix: some seconds
ROOM = 1 << 21  # complex numbers in one product: 32 MiB
Tick = Callable[[], None]


def numeric(
    layer: Layer,
    examples: tuple[Example, ...],
    parameters: Matrices,
    turn: Turn | None,
    upstream: Array,
    limit: int,
    tick: Tick,
) -> dict[str, tuple[Array, ...]]:
    """The gradients of X, M and the parameters: "dX": an array an example, "dWq": one array.

    Args:
        upstream: dY (B, T, D).
        limit: of the cells of a matrix that are computed, spread evenly; fewer where the layer is
            so large that they would take too long.  The others are NaN.
        tick: called after each matrix.
    """
    found: dict[str, tuple[Array, ...]] = {}
    for name in ("X", "M") if layer.cross else ("X",):
        found["d" + name] = tuple(
            derivatives(layer, [example], parameters, turn, g[None], name, limit)
            for example, g in zip(examples, upstream, strict=True)
        )
        tick()
    for name in parameters:
        whole = derivatives(layer, list(examples), parameters, turn, upstream, name, limit)
        found["d" + name] = (whole,)
        tick()
    return found


def derivatives(
    layer: Layer,
    examples: list[Example],
    parameters: Matrices,
    turn: Turn | None,
    upstream: Array,
    name: str,
    limit: int,
) -> Array:
    """∂ Σ ⟨dY, Y⟩ over the examples by each cell of the matrix `name`."""
    values = [{**example.values, **parameters} for example in examples]
    x = values[0][name]
    cost = multiplications(layer, values[0])
    cells = spread(x.size, min(limit, WORK // (cost * len(examples))))
    result = np.full(x.size, np.nan)
    many = max(1, ROOM // numbers(layer, values[0]))
    for few in (cells[i : i + many] for i in range(0, len(cells), many)):
        directions = np.zeros((len(few), x.size))
        directions[np.arange(len(few)), few] = 1
        directions = directions.reshape(len(few), *x.shape)
        result[few] = 0
        for example, known, g in zip(examples, values, upstream, strict=True):

            def value(z: Array, known: Matrices = known, mask: Array = example.mask) -> Array:
                return forward(layer, {**known, name: z}, mask, turn)

            y = complex_step(value, np.broadcast_to(x, directions.shape), directions)
            result[few] += np.einsum("ntd,td->n", y, g)
    return locked(result.reshape(x.shape))


def forward(layer: Layer, values: Matrices, mask: Array, turn: Turn | None) -> Array:
    """Y (..., T, D) of the layer's formula; any input may have axes before its own."""
    x = values["X"]
    source = values.get("M", x)
    q, k, v = (
        heads(projected(y, values, letter), layer.d_head)
        for y, letter in ((x, "q"), (source, "k"), (source, "v"))
    )
    if turn is not None:
        q = turned(q, turn.pair, turn.cos, turn.sin)
        k = turned(k, turn.pair, turn.keycos, turn.keysin)
    with no_grad():
        context = attention(Tensor(q), Tensor(k), Tensor(v), mask, method="definition").data
    beside = np.moveaxis(context, -3, -2)
    concat = beside.reshape(*beside.shape[:-2], layer.d_model)
    return projected(concat, values, "o")


def projected(x: Array, values: Matrices, letter: str) -> Array:
    """x Wᵀ + b."""
    product: Array = x @ values["W" + letter].swapaxes(-1, -2)
    bias = values.get("b" + letter)
    return product if bias is None else product + bias[..., None, :]


def heads(x: Array, width: int) -> Array:
    """(..., time, heads·d) -> (..., heads, time, d)."""
    return np.moveaxis(x.reshape(*x.shape[:-1], -1, width), -2, -3)


def spread(size: int, count: int) -> Array:
    """`count` of the numbers below `size`, evenly spread; all where there are no more."""
    chosen: Array = np.arange(size) if count >= size else np.arange(count) * size // max(1, count)
    return chosen


def multiplications(layer: Layer, values: Matrices) -> int:
    """How many one forward pass of an example takes."""
    t, s = len(values["X"]), len(values.get("M", values["X"]))
    query, key = (values[name].size for name in ("Wq", "Wk"))
    return 2 * t * query + 2 * s * key + 2 * t * s * layer.d_model


def numbers(layer: Layer, values: Matrices) -> int:
    """How many the largest product of a forward pass has, with its factors."""
    t, s = len(values["X"]), len(values.get("M", values["X"]))
    widest = max(prod(values[name].shape) for name in ("X", "Wq", "Wk"))
    return widest + layer.num_heads * t * s + (t + s) * layer.d_model
