"""The operations: every primitive with its rules, and what is composed of them.

Read arithmetic.py first, then activations.py (softmax), linalg.py (matmul), reductions.py,
shapes.py, indexing.py; methods.py binds them to Tensor's operators and to NumPy's functions.
"""

from . import methods as _methods  # noqa: F401  (binds operators and methods to Tensor)
from .activations import (
    elu,
    erf,
    gelu,
    leaky_relu,
    log_softmax,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
)
from .arithmetic import (
    absolute,
    add,
    astype,
    clip,
    cos,
    divide,
    exp,
    expm1,
    log,
    log1p,
    masked_fill,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    reciprocal,
    rsqrt,
    sign,
    sin,
    sqrt,
    square,
    subtract,
    tanh,
    where,
)
from .indexing import diagonal, getitem, one_hot, scatter_add, sort, take, take_along_axis
from .linalg import einsum, matmul, outer
from .reductions import cumsum, logsumexp, max, mean, min, norm, prod, std, sum, var
from .shapes import (
    broadcast_to,
    concat,
    expand_dims,
    flip,
    moveaxis,
    pad,
    repeat,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    swapaxes,
    tile,
    transpose,
    tril,
    triu,
)

abs = absolute
concatenate = concat

__all__ = [
    "abs", "absolute", "add", "astype", "broadcast_to", "clip", "concat", "concatenate", "cos",
    "cumsum", "diagonal", "divide", "einsum", "elu", "erf", "exp", "expand_dims", "expm1",
    "flip", "gelu", "getitem", "leaky_relu", "log", "log1p", "log_softmax", "logsumexp",
    "masked_fill", "matmul", "max", "maximum", "mean", "min", "minimum", "moveaxis", "multiply",
    "negative", "norm", "one_hot", "outer", "pad", "power", "prod", "reciprocal", "relu",
    "repeat", "reshape", "roll", "rsqrt", "scatter_add", "sigmoid", "sign", "silu", "sin",
    "softmax", "softplus", "sort", "split", "sqrt", "square", "squeeze", "stack", "std",
    "subtract", "sum", "swapaxes", "take", "take_along_axis", "tanh", "tile", "transpose",
    "tril", "triu", "var", "where",
]  # fmt: skip
