"""The table of operations: one row each, and test_ops_table.py asks the same of every row.

    row("tanh", np.tanh, S((3, 5)), S(()))

A sample `S(...)` gives the array arguments and, by name, the options.  An argument is a shape
(filled with random numbers from the row's `domain`) or an array or number (taken as it is; integers
and booleans are constants).  A new operation needs its rule in tinygrad_attn/ops and one row here.
"""

from __future__ import annotations

import numpy as np
import optable_shapes  # noqa: F401  (its rows)
from oprow import ROWS, UNARY, Array, Row, S, apart, between, fraction, positive, row
from scipy import special

import tinygrad_attn as ta

__all__ = ["ROWS", "Row", "S", "row"]

# A table: rows as long as they fit, not one argument a line.
# fmt: off

# ── arithmetic ────────────────────────────────────────────────────────────────────────────────────
BINARY = (S((3, 5), (3, 5)), S((2, 1, 5), (3, 1)), S((), (3,)), S((5,), ()), S((0, 3), (3,)),
          S((), ()), S((2, 3), 1.5), S(0.75, (3, 2)), S((3,), np.array([[1, 2, 3], [5, 7, 11]])))

row("add", np.add, *BINARY)
row("subtract", np.subtract, *BINARY)
row("multiply", np.multiply, *BINARY)
row("divide", np.divide, *BINARY, domain=positive)
row("power", np.power, *BINARY, S((2, 3), 2), S((5,), -1), S((3,), 0), S(2, (5,)),
    S((2, 3), np.array([0, 1, 3], np.uint16)), domain=positive)
row("maximum", np.maximum, *BINARY, smooth=False, domain=apart)
row("minimum", np.minimum, *BINARY, smooth=False, domain=apart)
row("negative", np.negative, *UNARY)
row("exp", np.exp, *UNARY)
row("expm1", np.expm1, *UNARY)
row("log", np.log, *UNARY, domain=positive)
row("log1p", np.log1p, *UNARY, domain=positive)
row("sqrt", np.sqrt, *UNARY, domain=positive)
row("rsqrt", lambda x: x ** -0.5, *UNARY, domain=positive)
row("square", np.square, *UNARY)
row("reciprocal", np.reciprocal, *UNARY, domain=positive)
row("sign", np.sign, *UNARY, smooth=False, domain=apart)
row("absolute", np.absolute, *UNARY, smooth=False, domain=apart)
row("exp2", np.exp2, *UNARY)
row("log2", np.log2, *UNARY, domain=positive)
row("log10", np.log10, *UNARY, domain=positive)
row("logaddexp", np.logaddexp, *BINARY)
row("logaddexp2", np.logaddexp2, *BINARY)
row("xlogy", special.xlogy, *BINARY, domain=positive)

# ── trigonometry, rounding ────────────────────────────────────────────────────────────────────────
row("sin", np.sin, *UNARY)
row("cos", np.cos, *UNARY)
row("tan", np.tan, *UNARY, domain=fraction)
row("arcsin", np.arcsin, *UNARY, domain=fraction)
row("arccos", np.arccos, *UNARY, domain=fraction)
row("arctan", np.arctan, *UNARY)
row("arctan2", np.arctan2, *BINARY)
row("hypot", np.hypot, *BINARY, domain=apart)
row("sinh", np.sinh, *UNARY)
row("cosh", np.cosh, *UNARY)
row("tanh", np.tanh, *UNARY)
row("arcsinh", np.arcsinh, *UNARY)
row("arccosh", lambda x: np.arccosh(x), *UNARY, domain=lambda *given: 0.7 + positive(*given))
row("arctanh", np.arctanh, *UNARY, domain=fraction)
row("floor", np.floor, *UNARY, smooth=False, domain=between)
row("ceil", np.ceil, *UNARY, smooth=False, domain=between)
row("trunc", np.trunc, *UNARY, smooth=False, domain=between)
row("floor_divide", np.floor_divide, *BINARY, smooth=False, domain=lambda rng, shape, i:
    2.6 + 0.001 * positive(rng, shape, i) if i else between(rng, shape, i))
row("remainder", np.remainder, *BINARY)
row("fmod", np.fmod, *BINARY)
row("round", np.round, *UNARY, S((3, 5), decimals=1), S((7,), decimals=-1), smooth=False,
    domain=lambda *given: 0.013 + apart(*given))

# ── choices ───────────────────────────────────────────────────────────────────────────────────────
row("fmax", np.fmax, *BINARY, smooth=False, domain=apart)
row("fmin", np.fmin, *BINARY, smooth=False, domain=apart)
row("nan_to_num", lambda x, **options: np.nan_to_num(x, **options), *UNARY,
    S((2, 3), nan=1.0, posinf=7.0), smooth=False)

MASK = np.array([[True, False, True], [False, False, True]])
row("where", np.where, S(MASK, (2, 3), (2, 3)), S(MASK, (3,), ()), S(MASK[0], (2, 1), (5, 1, 3)),
    S(MASK, (2, 3), 0.0), S(MASK, 1, (3,)), S(np.array(True), (3,), (3,)),
    S(MASK[:0], (0, 3), (3,)))
row("masked_fill", lambda x, mask, value: np.where(mask, value, x), S((2, 3), MASK, 7.0),
    S((3,), MASK, -1.0), S((5, 2, 3), MASK, -1e9))
row("clip", np.clip, S((3, 5), a_min=-0.7, a_max=0.9), S((7,), a_min=0.0, a_max=None),
    S((2, 3), a_min=None, a_max=0.0), S((2, 3), a_min=np.array([-1.0, 0.0, 0.05]), a_max=1.0),
    S((0,), a_min=0, a_max=1), S((), a_min=0.1, a_max=1.0), smooth=False, domain=apart)
row("clip", np.clip, S((3, 5), (3, 5), (5,)), S((2, 3), (2, 1), 1.03), S((3,), (2, 1), (3,)),
    S((), (), ()), S((3, 5), (), None), smooth=False, domain=apart)
row("astype", lambda x, dtype: x.astype(dtype), S((2, 3), dtype=np.float64),
    S((), dtype=np.float64), smooth=False)

# ── activations ───────────────────────────────────────────────────────────────────────────────────
ROWWISE = (S((3, 5)), S((2, 3, 5), axis=1), S((7,), axis=0), S((5, 2), axis=-2), S((3, 0), axis=0),
           S((1, 1)), S(()))

row("sigmoid", special.expit, *UNARY)
row("relu", lambda x: np.maximum(x, 0), *UNARY, smooth=False, domain=apart)
row("leaky_relu", lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x), *UNARY,
    S((3, 5), negative_slope=0.2), smooth=False, domain=apart)
row("elu", lambda x, alpha=1.0: np.where(x > 0, x, alpha * (np.exp(x) - 1)), *UNARY,
    S((3, 5), alpha=0.7), smooth=False, domain=apart)
row("erf", special.erf, *UNARY, S(np.linspace(-5.9, 5.9, 23)))
row("gelu", lambda x: x * special.ndtr(x), *UNARY, S(np.linspace(-7, 7, 23)))
row("gelu", lambda x,
    approximate: x / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x ** 3))),
    S((3, 5), approximate="tanh"))
row("silu", lambda x: x * special.expit(x), *UNARY)
row("softplus", lambda x: np.logaddexp(0, x), *UNARY)
row("erfc", special.erfc, *UNARY, S(np.linspace(-5.9, 9.9, 23)))
row("mish", lambda x: x * np.tanh(np.log1p(np.exp(x))), *UNARY)
row("logsigmoid", special.log_expit, *UNARY)
row("softsign", lambda x: x / (1 + np.sqrt(x * x)), *UNARY, smooth=False, domain=apart)
row("tanhshrink", lambda x: x - np.tanh(x), *UNARY)
row("glu", lambda x, axis=-1: np.multiply(*(f(part) for f, part in zip(
    (np.positive, special.expit), np.split(x, 2, axis)))),
    S((3, 4)), S((2, 3, 5), axis=0), S((2,)), S((3, 6, 2), axis=-2), S((0, 2)))
row("prelu", lambda x, w: np.maximum(x, 0) + w * np.minimum(x, 0), S((3, 5), ()),
    S((2, 3, 5), (3, 1)), S((7,), (1,)), S((3, 5), 0.25), S((0, 3), (3,)), smooth=False,
    domain=apart)
row("selu", lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1)),
    *UNARY, smooth=False, domain=apart)
row("celu", lambda x, alpha=1.0: np.maximum(x, 0) + np.minimum(0, alpha * (np.exp(x / alpha) - 1)),
    *UNARY, S((3, 5), alpha=0.7), S((3, 5), alpha=2), smooth=False, domain=apart)
row("hardtanh", lambda x, min_val=-1.0, max_val=1.0: np.minimum(np.maximum(x, min_val), max_val),
    *UNARY, S((3, 5), min_val=-0.5, max_val=2.0), smooth=False, domain=apart)
row("relu6", lambda x: np.clip(x, 0, 6), *UNARY, smooth=False, domain=between)
row("hardsigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1), *UNARY, smooth=False, domain=between)
row("hardswish", lambda x: x * np.clip(x + 3, 0, 6) / 6, *UNARY, smooth=False, domain=between)
row("threshold", lambda x, threshold, value: np.where(x > threshold, x, value),
    S((3, 5), threshold=0.3, value=-2.0), S((), threshold=0, value=7),
    S((0,), threshold=0, value=1), smooth=False, domain=apart)
row("softmax", lambda x, axis=-1: special.softmax(x, axis), *ROWWISE)
row("log_softmax", lambda x, axis=-1: special.log_softmax(x, axis), *ROWWISE)
row("softmin", lambda x, axis=-1: special.softmax(-x, axis), *ROWWISE)

# ── reductions ────────────────────────────────────────────────────────────────────────────────────
FILLED = (S((3, 5)), S((2, 3, 5), axis=1), S((2, 3, 5), axis=-1, keepdims=True),
          S((2, 3, 5), axis=(0, 2)), S((2, 3, 5), axis=(-1, 0), keepdims=True), S((7,), axis=0),
          S(()), S((), keepdims=True), S((2, 3), axis=()), S((3, 0, 2), axis=0),
          S((1, 3, 1), axis=(0, 1)))
REDUCED = (*FILLED, S((3, 0)), S((0, 5), axis=0), S((0, 5), axis=0, keepdims=True))

row("sum", np.sum, *REDUCED, S((), axis=0))
row("mean", np.mean, *FILLED)
row("prod", np.prod, *REDUCED, S((), axis=0))
row("max", np.max, *FILLED, S((), axis=-1), smooth=False, domain=apart)
row("min", np.min, *FILLED, S((), axis=0), smooth=False, domain=apart)
row("logsumexp", lambda x, axis=None,
    keepdims=False: np.log(np.exp(x).sum(axis=axis, keepdims=keepdims)), *FILLED)
row("cumsum", np.cumsum, S((7,)), S((2, 3)), S((2, 3, 5), axis=1), S((2, 3), axis=-1), S((0,)),
    S((3, 0), axis=0), S(()), S((), axis=0))
RUNNING = (S((7,)), S((2, 3)), S((2, 3, 5), axis=1), S((2, 3), axis=-1), S((0,)), S((3, 0), axis=0),
           S((0, 3), axis=0), S(()), S((), axis=0))
row("cumprod", np.cumprod, *RUNNING, S(np.array([[2.0, 0.0, 3.0, 0.0, 5.0]]).T, axis=0))
row("logcumsumexp", lambda x, axis=None: np.log(np.cumsum(np.exp(x), axis)), *RUNNING)
ALONG = (S((7,), axis=0), S((2, 3, 5), axis=1), S((3, 5), axis=-1), S((0, 3), axis=1))
row("cummax", lambda x, axis: np.maximum.accumulate(x, axis), *ALONG, smooth=False, domain=apart,
    call=lambda x, axis: ta.cummax(x, axis)[0])
row("cummin", lambda x, axis: np.minimum.accumulate(x, axis), *ALONG, smooth=False, domain=apart,
    call=lambda x, axis: ta.cummin(x, axis)[0])
row("median", np.median, S((7,)), S((2, 3)), S((2, 3, 5), axis=1), S((2, 3, 5), axis=(0, -1)),
    S((3, 5), axis=0, keepdims=True), S((3, 5), keepdims=True), S(()), S((0, 3), axis=1),
    smooth=False, domain=apart)
row("topk", lambda x, k, axis=-1, largest=True: np.take(
    -np.sort(-x, axis) if largest else np.sort(x, axis), range(k), axis),
    S((7,), k=3), S((3, 5), k=2, axis=0), S((2, 3, 5), k=5, largest=False), S((3, 5), k=0),
    S((0, 3), k=1), smooth=False, domain=apart, call=lambda x, **options: ta.topk(x, **options)[0])
row("kthvalue", lambda x, k, axis=-1, keepdims=False: np.sort(x, axis).take(
    [k - 1] if keepdims else k - 1, axis), S((7,), k=3), S((3, 5), k=1, axis=0),
    S((2, 3, 5), k=3, axis=1, keepdims=True), S((0, 3), k=1), smooth=False, domain=apart,
    call=lambda x, **options: ta.kthvalue(x, **options)[0])
row("norm", lambda x, axis=None,
    keepdims=False: np.sqrt((x * x).sum(axis=axis, keepdims=keepdims)), *FILLED)
row("norm", np.linalg.norm, S((2, 3, 5), axis=1), S((3, 5), ord=2, axis=-1), S((7,)),
    S((7,), ord=2), S((3, 5), axis=0, keepdims=True))
row("norm", np.linalg.norm, S((3, 5), ord=1, axis=-1), S((7,), ord=1),
    S((2, 3), ord=np.inf, axis=0), S((2, 3, 5), ord=np.inf, axis=1, keepdims=True), smooth=False,
    domain=apart)
row("norm", np.linalg.norm, S((3, 5), ord=3, axis=-1), S((7,), ord=0.5), S((7,), ord=-1),
    S((2, 3), ord=-np.inf, axis=0), S((2, 3, 5), ord=1.5, axis=1, keepdims=True),
    S((3, 5), ord=1), S((3, 5), ord=-1), S((2, 3, 5), ord=np.inf, axis=(0, -1)),
    S((3, 5), ord=-np.inf, keepdims=True), S((3, 5), ord=0, axis=1), smooth=False, domain=apart)
row("norm", np.linalg.norm, S((3, 5), ord="fro"),
    S((2, 3, 5), ord="fro", axis=(0, 1), keepdims=True))
row("var", np.var, *FILLED, S((3, 5), axis=1, ddof=1),
    S((2, 3, 5), axis=(0, 1), ddof=2, keepdims=True))
row("std", np.std, S((3, 5), ddof=1.5), S((3, 5)), S((2, 3, 5), axis=1),
    S((2, 3, 5), axis=-1, keepdims=True, ddof=1),
    S((2, 3, 5), axis=(0, 2)), S((7,), axis=0), S((3, 0, 2), axis=0))

# ── recurrent cells ───────────────────────────────────────────────────────────────────────────────
def gru(gi: Array, gh: Array, h: Array) -> Array:
    """The textbook's GRU, gate by gate."""
    (ri, zi, ni), (rh, zh, nh) = np.split(gi, 3, -1), np.split(gh, 3, -1)
    z = special.expit(zi + zh)
    return (1 - z) * np.tanh(ni + special.expit(ri + rh) * nh) + z * h


def lstm(a: Array, c: Array) -> tuple[Array, Array]:
    """The textbook's LSTM, gate by gate."""
    i, f, u, o = np.split(a, 4, -1)
    new = special.expit(f) * c + special.expit(i) * np.tanh(u)
    return special.expit(o) * np.tanh(new), new


row("gru_cell", gru, S((2, 9), (2, 9), (2, 3)), S((6,), (6,), (2,)), S((5, 2, 3), (5, 2, 3),
    (5, 2, 1)), S((2, 9), (9,), (2, 3)), S((1, 6), (5, 6), (5, 2)), S((0, 9), (0, 9), (0, 3)))
row("lstm_cell", lstm, S((2, 12), (2, 3)), S((8,), (2,)), S((5, 2, 4), (5, 2, 1)),
    S((2, 12), (3,)), S((0, 12), (0, 3)))
# fmt: on
