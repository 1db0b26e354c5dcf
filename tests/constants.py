"""Operations that keep a constant beside x, and what is written into it afterwards.

name: (operation of x (2, 3) and the constant, the constant, what is written into it)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import Tensor

MASK = np.array([[True, False, True], [False, True, True]])
INDEX = np.array([0, 2, 2])
CONSTANTS: dict[str, tuple[Callable[[Any, Any], Any], Any, Any]] = {
    "multiply": (lambda x, c: x * c, np.array([1.0, 2.0, 3.0]), 9.0),
    "multiply, constant first": (lambda x, c: c * x, np.array([1.0, 2.0, 3.0]), 9.0),
    "divide": (lambda x, c: x / c, np.array([1.0, 2.0, 3.0]), 9.0),
    "power": (lambda x, c: x**c, np.array([2, 3, 2]), 9),
    "matmul": (lambda x, c: x @ c, np.arange(6.0).reshape(3, 2), 9.0),
    "einsum": (lambda x, c: ta.einsum("ij,jk->ik", x, c), np.arange(6.0).reshape(3, 2), 9.0),
    "maximum": (ta.maximum, np.array([1.5, 2.0, -3.0]), 9.0),
    "where": (lambda x, c: ta.where(c, x, 0.0), MASK, False),
    "masked_fill": (lambda x, c: ta.masked_fill(x, c, -1.0), MASK, False),
    "clip": (lambda x, c: ta.clip(x, c, None), np.array([0.0, -1.0, 1.0]), 9.0),
    "boolean index": (lambda x, c: x[c], MASK, False),
    "integer index": (lambda x, c: x[:, c], INDEX, 1),
    "list index": (lambda x, c: x[:, c], [0, 2, 2], 1),
    "take": (lambda x, c: ta.take(x, c, 1), INDEX, 1),
    "take_along_axis": (ta.take_along_axis, np.array([[0, 2], [1, 1]]), 0),
    "scatter_add": (
        lambda x, c: ta.scatter_add(x, c, x[:, :2] * 3.0),
        np.array([[0, 2], [1, 1]]),
        0,
    ),
    "repeat": (lambda x, c: ta.repeat(x, c, 1), np.array([1, 0, 2]), 1),
    "transpose": (ta.transpose, [1, 0], 0),
    "roll": (lambda x, c: ta.roll(x, c, (0, 1)), [1, 2], 0),
    "concat": (lambda x, c: ta.concat([x, c]), np.ones((1, 3)), 9.0),
    "split": (lambda x, c: ta.split(x, c, 1)[0], [1, 2], 2),
    "tile": (ta.tile, [2, 1], 3),
    "pad": (ta.pad, [[1, 0], [0, 2]], [3, 3]),
    "Tensor of it": (lambda x, c: x * Tensor(c), np.array([1.0, 2.0, 3.0]), 9.0),
}
