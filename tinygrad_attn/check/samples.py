"""One sample for every operation: a function of it and a point away from its kinks.

A function may return several results; each is checked.  An operation that is not listed is checked
on random numbers in [0.5, 2), so a new one needs a line here only if it has kinks there, or
arguments that are not floating.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .. import ops
from ..engine import PRIMITIVES, Primitive
from ..ops.indexing import scatter, untaken
from ..ops.recurrent import gru_cell, lstm_cell
from . import draws

PACKAGE = __name__.split(".")[0]
RNG = np.random.default_rng(11)
normal, positive, between, apart = (
    partial(draw, RNG) for draw in (draws.normal, draws.positive, draws.between, draws.apart)
)


@dataclass(frozen=True)
class Sample:
    """What is checked under one name.

    Attributes:
        name: of the operation or layer.
        f: takes the inputs as Tensors; a module is checked with respect to its parameters too.
        inputs: the point.
        analytic: is f analytic?  Else it has kinks, and its inputs lie apart from them.
    """

    name: str
    f: Callable[..., Any]
    inputs: tuple[Any, ...]
    analytic: bool = True


def ours(op: Primitive) -> bool:
    """Is the operation one of this package's own?"""
    return op.__module__.split(".")[0] == PACKAGE


def reduced(op: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction over everything, one axis, two axes, and with the axes kept."""
    return lambda x: (op(x), op(x, axis=1), op(x, axis=(0, -1)), op(x, axis=-1, keepdims=True))


def along(op: Callable[..., Any]) -> Callable[..., Any]:
    """An operation along the last and along another axis."""
    return lambda x: (op(x), op(x, axis=0))


MASK = RNG.random((3, 5)) < 0.5
EACH = RNG.integers(0, 3, (3, 5))
ROWS = np.array([2, 0, -1, 2])

OPERATIONS = {
    sample.name: sample
    for sample in (
        # two arguments, broadcast against each other
        Sample("add", ops.add, (normal(2, 3, 5), normal(3, 1))),
        Sample("subtract", ops.subtract, (normal(3, 1), normal(2, 3, 5))),
        Sample("multiply", ops.multiply, (normal(2, 3, 5), normal(3, 1))),
        Sample("divide", ops.divide, (normal(3, 1), positive(2, 3, 5))),
        Sample(
            "power",
            lambda a, b: (ops.power(a, b), ops.power(a, 3), ops.power(2.0, b)),
            (positive(2, 3), normal(3)),
        ),
        Sample("maximum", ops.maximum, (apart(3, 5), apart(5) + 0.1), analytic=False),
        Sample("minimum", ops.minimum, (apart(3, 5), apart(5) + 0.1), analytic=False),
        Sample("where", lambda x, y: ops.where(MASK, x, y), (normal(3, 5), normal(2, 1, 5))),
        Sample("masked_fill", lambda x: ops.masked_fill(x, MASK, -7.0), (normal(3, 5),)),
        # one argument
        Sample("negative", ops.negative, (normal(3, 5),)),
        Sample("exp", ops.exp, (normal(3, 5),)),
        Sample("expm1", ops.expm1, (normal(3, 5),)),
        Sample("log", ops.log, (positive(3, 5),)),
        Sample("log1p", ops.log1p, (positive(3, 5),)),
        Sample("sqrt", ops.sqrt, (positive(3, 5),)),
        Sample("rsqrt", ops.rsqrt, (positive(3, 5),)),
        Sample("square", ops.square, (normal(3, 5),)),
        Sample("reciprocal", ops.reciprocal, (positive(3, 5),)),
        Sample("sign", ops.sign, (apart(3, 5),), analytic=False),
        Sample("absolute", ops.absolute, (apart(3, 5),), analytic=False),
        Sample("sin", ops.sin, (normal(3, 5),)),
        Sample("cos", ops.cos, (normal(3, 5),)),
        Sample("tanh", ops.tanh, (normal(3, 5),)),
        Sample(
            "clip",
            lambda x: (ops.clip(x, -0.6, 0.7), ops.clip(x, None, 0.2)),
            (apart(3, 5),),
            analytic=False,
        ),
        Sample("astype", lambda x: ops.astype(x, x.dtype), (normal(3, 5),)),
        # nonlinearities
        Sample("sigmoid", ops.sigmoid, (normal(3, 5),)),
        Sample("relu", ops.relu, (apart(3, 5),), analytic=False),
        Sample("leaky_relu", lambda x: ops.leaky_relu(x, 0.2), (apart(3, 5),), analytic=False),
        Sample("elu", lambda x: ops.elu(x, 0.7), (apart(3, 5),), analytic=False),
        Sample("erf", ops.erf, (3 * normal(3, 5),)),
        Sample(
            "gelu", lambda x: (ops.gelu(x), ops.gelu(x, approximate="tanh")), (2 * normal(3, 5),)
        ),
        Sample("silu", ops.silu, (normal(3, 5),)),
        Sample("softplus", ops.softplus, (normal(3, 5),)),
        Sample("softmax", along(ops.softmax), (normal(3, 5),)),
        Sample("log_softmax", along(ops.log_softmax), (normal(3, 5),)),
        # reductions
        Sample("sum", reduced(ops.sum), (normal(2, 3, 5),)),
        Sample("mean", reduced(ops.mean), (normal(2, 3, 5),)),
        Sample("prod", reduced(ops.prod), (normal(2, 3, 2),)),
        Sample("var", reduced(ops.var), (normal(2, 3, 5),)),
        Sample("std", reduced(ops.std), (normal(2, 3, 5),)),
        Sample("max", reduced(ops.max), (apart(2, 3, 5),), analytic=False),
        Sample("min", reduced(ops.min), (apart(2, 3, 5),), analytic=False),
        Sample("logsumexp", reduced(ops.logsumexp), (normal(2, 3, 5),)),
        Sample("norm", reduced(ops.norm), (normal(2, 3, 5),)),
        Sample("cumsum", lambda x: (ops.cumsum(x), ops.cumsum(x, axis=1)), (normal(3, 5),)),
        # shapes
        Sample(
            "reshape", lambda x: (ops.reshape(x, (5, 6)), ops.reshape(x, -1)), (normal(2, 3, 5),)
        ),
        Sample(
            "transpose",
            lambda x: (ops.transpose(x), ops.transpose(x, (1, 2, 0))),
            (normal(2, 3, 5),),
        ),
        Sample("swapaxes", lambda x: ops.swapaxes(x, 0, -1), (normal(2, 3, 5),)),
        Sample("moveaxis", lambda x: ops.moveaxis(x, 0, -1), (normal(2, 3, 5),)),
        Sample("squeeze", lambda x: (ops.squeeze(x), ops.squeeze(x, 0)), (normal(1, 3, 1),)),
        Sample("expand_dims", lambda x: ops.expand_dims(x, (0, 2)), (normal(2, 3),)),
        Sample("broadcast_to", lambda x: ops.broadcast_to(x, (2, 3, 5)), (normal(3, 1),)),
        Sample(
            "concatenate", lambda a, b: ops.concat([a, b, a], axis=-1), (normal(2, 3), normal(2, 5))
        ),
        Sample(
            "stack",
            lambda a, b: (ops.stack([a, b]), ops.stack([a, b, a], axis=-1)),
            (normal(2, 3), normal(2, 3)),
        ),
        Sample(
            "split", lambda x: (*ops.split(x, [1, 3], axis=1), *ops.split(x, 2)), (normal(2, 5),)
        ),
        Sample("pad", lambda x: ops.pad(x, ((1, 0), (0, 2))), (normal(2, 3),)),
        Sample("flip", lambda x: (ops.flip(x), ops.flip(x, 1)), (normal(2, 3, 5),)),
        Sample("roll", lambda x: (ops.roll(x, 2), ops.roll(x, (1, -2), (0, 1))), (normal(3, 5),)),
        Sample("tile", lambda x: (ops.tile(x, 2), ops.tile(x, (3, 1))), (normal(2, 3),)),
        Sample(
            "repeat",
            lambda x: (ops.repeat(x, 2), ops.repeat(x, [1, 0, 3], axis=1)),
            (normal(2, 3),),
        ),
        Sample("tril", lambda x: (ops.tril(x), ops.tril(x, 1)), (normal(2, 3, 5),)),
        Sample("triu", lambda x: (ops.triu(x), ops.triu(x, -1)), (normal(2, 3, 5),)),
        # indexing
        Sample(
            "getitem", lambda x: (x[1:, ::-2], x[[0, 0, 2]], x[..., 1], x[MASK]), (normal(3, 5),)
        ),
        Sample("scatter", lambda g: scatter(g, ROWS, (3, 5)), (normal(4, 5),)),
        Sample(
            "scatter_add", lambda x, y: ops.scatter_add(x, EACH, y), (normal(3, 5), normal(3, 5))
        ),
        Sample("take", lambda x: (ops.take(x, ROWS, 0), ops.take(x, EACH)), (normal(3, 5),)),
        Sample("untaken", lambda g: untaken(g, ROWS, 0, (3, 5)), (normal(4, 5),)),
        Sample("take_along_axis", lambda x: ops.take_along_axis(x, EACH), (normal(3, 5),)),
        Sample("sort", along(ops.sort), (apart(3, 5),), analytic=False),
        Sample("diagonal", lambda x: ops.diagonal(x, 1), (normal(3, 5),)),
        # products
        Sample(
            "matmul",
            lambda a, b, v: (a @ b, a[0] @ b, v @ b, a @ v, v @ v),
            (normal(2, 3, 5), normal(2, 5, 2), normal(5)),
        ),
        Sample(
            "einsum",
            lambda a, b: (
                ops.einsum("bij,bjk->bik", a, b),
                ops.einsum("bij,cjk->ki", a, b),
                ops.einsum("...ij->...j", a),
            ),
            (normal(2, 3, 5), normal(2, 5, 2)),
        ),
        Sample("outer", ops.outer, (normal(3), normal(2, 2))),
        # cells of recurrent networks
        Sample("gru_cell", gru_cell, (normal(2, 9), normal(2, 9), normal(2, 3))),
        Sample("lstm_cell", lstm_cell, (normal(2, 12), normal(2, 3))),
        Sample("arccos", ops.arccos, (between(3, 5),)),
        Sample("arccosh", ops.arccosh, (0.7 + positive(3, 5),)),
        Sample("arcsin", ops.arcsin, (between(3, 5),)),
        Sample("arctan2", ops.arctan2, (normal(2, 3, 5), normal(3, 1))),
        Sample("arctanh", ops.arctanh, (between(3, 5),)),
        Sample("hypot", ops.hypot, (normal(2, 3, 5), normal(3, 1))),
        Sample("logaddexp", ops.logaddexp, (normal(2, 3, 5), normal(3, 1))),
        Sample("logaddexp2", ops.logaddexp2, (normal(2, 3, 5), normal(3, 1))),
        Sample("tan", ops.tan, (between(3, 5),)),
        # steps and choices
        Sample("floor_divide", ops.floor_divide, (normal(2, 3, 5), positive(3, 1))),
        Sample("remainder", ops.remainder, (normal(2, 3, 5), positive(3, 1))),
        Sample("fmod", ops.fmod, (normal(2, 3, 5), positive(3, 1))),
        *(
            Sample(op.name, op, (apart(3, 5) + 0.06,), analytic=False)
            for op in (ops.ceil, ops.floor, ops.round, ops.trunc, ops.nan_to_num)
        ),
        Sample("fmax", ops.fmax, (apart(3, 5), apart(5) + 0.1), analytic=False),
        Sample("fmin", ops.fmin, (apart(3, 5), apart(5) + 0.1), analytic=False),
        # nonlinearities
        *(
            Sample(op.name, op, (apart(3, 5) + 0.06,), analytic=False)
            for op in (ops.hardtanh, ops.hardsigmoid, ops.hardswish, ops.relu6, ops.selu)
        ),
        Sample("celu", lambda x: ops.celu(x, 0.7), (apart(3, 5),), analytic=False),
        Sample("prelu", ops.prelu, (apart(2, 3, 5), normal(3, 1)), analytic=False),
        Sample("threshold", lambda x: ops.threshold(x, 0.2, -7.0), (apart(3, 5),), analytic=False),
        Sample("softsign", ops.softsign, (apart(3, 5),), analytic=False),
        Sample("erfc", ops.erfc, (3 * normal(3, 5),)),
        Sample("glu", lambda x: (ops.glu(x), ops.glu(x, axis=0)), (normal(4, 6),)),
        Sample("softmin", along(ops.softmin), (normal(3, 5),)),
        *(
            Sample(op.name, op, (normal(3, 5),))
            for op in (ops.logsigmoid, ops.mish, ops.tanhshrink)
        ),
        # along an axis
        Sample("median", reduced(ops.median), (apart(2, 3, 5),), analytic=False),
        Sample("cumprod", along(lambda x, axis=1: ops.cumprod(x, axis)), (normal(3, 5),)),
        Sample("logcumsumexp", along(lambda x, axis=1: ops.logcumsumexp(x, axis)), (normal(3, 5),)),
        Sample("cummax", lambda x: ops.cummax(x, 1)[0], (apart(3, 5),), analytic=False),
        Sample("cummin", lambda x: ops.cummin(x, 1)[0], (apart(3, 5),), analytic=False),
        Sample("topk", lambda x: ops.topk(x, 2)[0], (apart(3, 5),), analytic=False),
        Sample("kthvalue", lambda x: ops.kthvalue(x, 2)[0], (apart(3, 5),), analytic=False),
        # shapes
        *(
            Sample(op.name, op, (normal(2, 3),))
            for op in (
                ops.atleast_1d,
                ops.atleast_2d,
                ops.atleast_3d,
                ops.fliplr,
                ops.flipud,
                ops.ravel,
                ops.rot90,
            )
        ),
        *(
            Sample(op.name, lambda a, b, op=op: op([a, b]), (normal(2, 3), normal(2, 3)))
            for op in (ops.column_stack, ops.dstack, ops.hstack, ops.vstack)
        ),
        Sample("array_split", lambda x: ops.array_split(x, 2, axis=1), (normal(2, 5),)),
        Sample("unstack", lambda x: ops.unstack(x, 1), (normal(2, 3),)),
        Sample("sliding_window_view", lambda x: ops.sliding_window_view(x, 2, 1), (normal(3, 5),)),
        Sample("diag", lambda x, m: (ops.diag(x, 1), ops.diag(m, -1)), (normal(3), normal(3, 5))),
        Sample("diag_embed", lambda x: ops.diag_embed(x, -1), (normal(2, 3),)),
        Sample("trace", lambda x: ops.trace(x, 1), (normal(3, 5),)),
        Sample(
            "conv",
            lambda x, w: ops.conv(x, w, stride=(1, 2), padding=1, groups=2),
            (normal(1, 4, 2, 3), normal(2, 2, 3, 2)),
        ),
        # writing
        Sample(
            "index_put",
            lambda x, v: (ops.index_put(x, ROWS, v), ops.index_put(x, ROWS, v, accumulate=True)),
            (normal(3, 5), normal(4, 5)),
        ),
        Sample(
            "put_along_axis",
            lambda x, v: ops.put_along_axis(x, EACH, v, 1),
            (normal(3, 5), normal(3, 5)),
        ),
        Sample(
            "scatter_reduce",
            lambda x, v: [
                ops.scatter_reduce(x, EACH, v, 1, how) for how in ("prod", "mean", "max")
            ],
            (apart(3, 5), apart(3, 5) + 0.1),
            analytic=False,
        ),
        # products
        Sample("dot", lambda a, b: (ops.dot(a, b), ops.dot(a[0], b)), (normal(2, 3), normal(3, 5))),
        Sample("inner", ops.inner, (normal(2, 3), normal(5, 3))),
        Sample("vdot", ops.vdot, (normal(2, 3), normal(2, 3))),
        Sample("tensordot", ops.tensordot, (normal(2, 3, 5), normal(3, 5, 2))),
        Sample("kron", ops.kron, (normal(2, 3), normal(3, 2))),
        Sample(
            "multi_dot",
            lambda a, b, c: ops.multi_dot([a, b, c]),
            (normal(2, 3), normal(3, 5), normal(5)),
        ),
    )
}


def usual(op: Primitive) -> Sample:
    """The sample of an operation that has none of its own: random numbers in [0.5, 2)."""
    return Sample(op.name, op, tuple(positive(3, 5) for _ in op.arrays))


OPERATIONS |= {
    name: usual(op)
    for name, op in PRIMITIVES.items()
    if name not in OPERATIONS and ours(op) and not op.variadic and op.simple_arity >= 0
}
