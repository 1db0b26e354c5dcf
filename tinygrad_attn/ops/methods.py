"""Binds operations to Tensor's operators and methods, and to NumPy's functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Tensor, register
from . import (
    arithmetic,
    choices,
    contractions,
    diagonals,
    exponentials,
    indexing,
    joining,
    linalg,
    norms,
    reductions,
    rounding,
    running,
    shapes,
    sorting,
    trigonometry,
    windows,
)


def binary(op: Any) -> tuple[Any, Any]:
    """The operator and its mirror image, for `t + 1` and `1 + t`."""
    call = op.__call__  # bound once: operators are the hottest calls
    return (lambda self, other: call(self, other)), (lambda self, other: call(other, self))


def comparison(function: Any) -> Any:
    """A comparison of elements: a plain array."""
    return lambda self, other: function(self, other)


def method(op: Any) -> Any:
    """The operation with the tensor as its first argument."""
    return lambda self, *args, **options: op(self, *args, **options)


def listed(op: Any) -> Any:
    """A method whose only option may come as several arguments: t.reshape(2, 3)."""

    def bound(self: Tensor, *given: Any) -> Any:
        one = len(given) == 1 and isinstance(given[0], (type(None), tuple, list, np.ndarray))
        return op(self, given[0] if one else given) if given else op(self)

    return bound


OPERATORS = {
    "add": arithmetic.add,
    "sub": arithmetic.subtract,
    "mul": arithmetic.multiply,
    "truediv": arithmetic.divide,
    "pow": arithmetic.power,
    "matmul": linalg.matmul,
    "floordiv": rounding.floor_divide,
    "mod": rounding.remainder,
}
COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
METHODS = {
    "__neg__": arithmetic.negative,
    "__abs__": arithmetic.absolute,
    "__getitem__": indexing.getitem,
    "sum": reductions.sum,
    "mean": reductions.mean,
    "var": norms.var,
    "std": norms.std,
    "prod": reductions.prod,
    "max": reductions.max,
    "min": reductions.min,
    "cumsum": running.cumsum,
    "cumprod": running.cumprod,
    "clip": choices.clip,
    "round": rounding.round,
    "take": indexing.take,
    "repeat": joining.repeat,
    "diagonal": diagonals.diagonal,
    "trace": diagonals.trace,
    "dot": contractions.dot,
    "ravel": shapes.ravel,
    "swapaxes": shapes.swapaxes,
    "squeeze": shapes.squeeze,
    "astype": arithmetic.astype,
    "argmax": lambda self, axis=None, keepdims=False: np.argmax(self, axis, keepdims=keepdims),
    "argmin": lambda self, axis=None, keepdims=False: np.argmin(self, axis, keepdims=keepdims),
    "argsort": lambda self, axis=-1: np.argsort(self, axis),
}

for name, op in OPERATORS.items():
    forward, mirrored = binary(op)
    setattr(Tensor, f"__{name}__", forward)
    setattr(Tensor, f"__r{name}__", mirrored)
for name, function in COMPARISONS.items():
    setattr(Tensor, f"__{name}__", comparison(function))
for name, op in METHODS.items():
    setattr(Tensor, name, method(op))

Tensor.reshape = listed(shapes.reshape)  # type: ignore[method-assign]
Tensor.transpose = listed(shapes.transpose)  # type: ignore[method-assign]
Tensor.flatten = lambda self: shapes.reshape(self, (-1,))  # type: ignore[method-assign]
Tensor.T = property(lambda self: shapes.transpose(self))  # type: ignore[assignment]
Tensor.mT = property(lambda self: shapes.swapaxes(self, -1, -2))  # type: ignore[assignment]

SUBJECTS = (
    arithmetic, exponentials, trigonometry, rounding, choices, reductions, norms, running, sorting,
    shapes, joining, windows, diagonals, indexing, linalg, contractions,
)  # fmt: skip
for module in SUBJECTS:  # scattering is left out: NumPy's put_along_axis writes in place
    for name in module.__all__:
        if callable(getattr(np, name, None)):
            register(getattr(module, name), getattr(np, name))
register(joining.concat, np.concatenate)
register(norms.norm, np.linalg.norm)
register(contractions.multi_dot, np.linalg.multi_dot)
register(rounding.round, np.around, np.rint)
register(windows.sliding_window_view, np.lib.stride_tricks.sliding_window_view)
register(reductions.max, np.amax)
register(reductions.min, np.amin)
register(arithmetic.absolute, np.fabs)
