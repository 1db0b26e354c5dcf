"""The table of operations: one row each, and test_ops_table.py asks the same of every row.

    row("tanh", np.tanh, S((3, 5)), S(()))

A sample `S(...)` gives the array arguments and, by name, the options.  An argument is a shape
(filled with random numbers from the row's `domain`) or an array or number (taken as it is; integers
and booleans are constants).  A new operation needs its rule in tinygrad_attn/ops and one row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

import tinygrad_attn as ta
from tinygrad_attn.engine import PRIMITIVES

Array = np.ndarray[Any, Any]
Domain = Callable[[np.random.Generator, tuple[int, ...], int], Any]


def normal(rng: np.random.Generator, shape: tuple[int, ...], i: int) -> Array:
    """Any real numbers."""
    return rng.standard_normal(shape)


def positive(rng: np.random.Generator, shape: tuple[int, ...], i: int) -> Array:
    """Numbers in [0.5, 2)."""
    return rng.uniform(0.5, 2, shape)


def apart(rng: np.random.Generator, shape: tuple[int, ...], i: int) -> Array:
    """Numbers at least 0.1 from 0, from each other and the other arguments': no kink is near."""
    n = int(np.prod(shape))
    return 0.4 * (rng.permutation(n).reshape(shape) - n // 2) + 0.17 + 0.1 * i


class S:
    """One call of an operation: shapes or arrays, and options."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.arguments, self.options = arguments, options

    def __repr__(self) -> str:
        shown = [
            str(a if isinstance(a, (tuple, int, float)) else np.shape(a)) for a in self.arguments
        ]
        return ", ".join([*shown, *(f"{k}={v}" for k, v in self.options.items())]).replace("\n", "")

    def arrays(self, domain: Domain) -> list[Any]:
        """The arguments, shapes filled; the same numbers every time."""
        rng = np.random.default_rng(7)
        return [
            np.asarray(domain(rng, a, i)) if isinstance(a, tuple) else a
            for i, a in enumerate(self.arguments)
        ]


@dataclass(frozen=True)
class Row:
    """What an operation is compared with, and where."""

    name: str  # in PRIMITIVES, or of a composed operation
    reference: Callable[..., Any]  # NumPy's or SciPy's function, or an independent definition
    samples: tuple[S, ...]
    smooth: bool  # analytic: judged by the complex step, else by differences
    domain: Domain
    call: Callable[..., Any]  # the operation as the samples call it


ROWS: list[Row] = []


def row(
    name: str,
    reference: Callable[..., Any],
    *samples: S,
    smooth: bool = True,
    domain: Domain = normal,
    call: Callable[..., Any] | None = None,
) -> None:
    """Add a row; without `call` the operation is `ta.<name>` or the primitive of that name."""
    call = call or getattr(ta, name, None) or PRIMITIVES[name]
    ROWS.append(Row(name, reference, samples, smooth, domain, call))


# A table: rows as long as they fit, not one argument a line.
# fmt: off

# ── arithmetic ────────────────────────────────────────────────────────────────────────────────────
BINARY = (S((3, 5), (3, 5)), S((2, 1, 5), (3, 1)), S((), (3,)), S((5,), ()), S((0, 3), (3,)),
          S((), ()), S((2, 3), 1.5), S(0.75, (3, 2)), S((3,), np.array([[1, 2, 3], [5, 7, 11]])))
UNARY = (S((3, 5)), S((7,)), S(()), S((2, 0, 3)), S((2, 3, 5)))

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
row("sin", np.sin, *UNARY)
row("cos", np.cos, *UNARY)
row("tanh", np.tanh, *UNARY)

MASK = np.array([[True, False, True], [False, False, True]])
row("where", np.where, S(MASK, (2, 3), (2, 3)), S(MASK, (3,), ()), S(MASK[0], (2, 1), (5, 1, 3)),
    S(MASK, (2, 3), 0.0), S(MASK, 1, (3,)), S(np.array(True), (3,), (3,)),
    S(MASK[:0], (0, 3), (3,)))
row("masked_fill", lambda x, mask, value: np.where(mask, value, x), S((2, 3), MASK, 7.0),
    S((3,), MASK, -1.0), S((5, 2, 3), MASK, -1e9))
row("clip", np.clip, S((3, 5), a_min=-0.7, a_max=0.9), S((7,), a_min=0.0, a_max=None),
    S((2, 3), a_min=None, a_max=0.0), S((2, 3), a_min=np.array([-1.0, 0.0, 0.05]), a_max=1.0),
    S((0,), a_min=0, a_max=1), S((), a_min=0.1, a_max=1.0), smooth=False, domain=apart)
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
row("softmax", lambda x, axis=-1: special.softmax(x, axis), *ROWWISE)
row("log_softmax", lambda x, axis=-1: special.log_softmax(x, axis), *ROWWISE)

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
row("norm", lambda x, axis=None,
    keepdims=False: np.sqrt((x * x).sum(axis=axis, keepdims=keepdims)), *FILLED)
row("norm", np.linalg.norm, S((2, 3, 5), axis=1), S((3, 5), ord=2, axis=-1), S((7,)),
    S((7,), ord=2), S((3, 5), axis=0, keepdims=True))
row("norm", np.linalg.norm, S((3, 5), ord=1, axis=-1), S((7,), ord=1),
    S((2, 3), ord=np.inf, axis=0), S((2, 3, 5), ord=np.inf, axis=1, keepdims=True), smooth=False,
    domain=apart)
row("var", np.var, *FILLED, S((3, 5), axis=1, ddof=1),
    S((2, 3, 5), axis=(0, 1), ddof=2, keepdims=True))
row("std", np.std, S((3, 5)), S((2, 3, 5), axis=1), S((2, 3, 5), axis=-1, keepdims=True, ddof=1),
    S((2, 3, 5), axis=(0, 2)), S((7,), axis=0), S((3, 0, 2), axis=0))

# ── shapes ────────────────────────────────────────────────────────────────────────────────────────
row("reshape", lambda x, shape: np.reshape(x, shape), S((2, 3), shape=(3, 2)), S((2, 3), shape=-1),
    S((2, 3, 5), shape=(5, -1)), S((), shape=(1, 1)), S((1,), shape=()), S((0, 3), shape=(3, 0)))
row("transpose", np.transpose, S((2, 3)), S((2, 3, 5)), S((2, 3, 5), axes=(1, 2, 0)),
    S((2, 3, 5), axes=(-1, 0, 1)), S((7,)), S(()), S((0, 3)))
row("swapaxes", np.swapaxes, S((2, 3, 5), axis1=0, axis2=-1), S((2, 3), axis1=1, axis2=1))
row("moveaxis", np.moveaxis, S((2, 3, 5), source=0, destination=-1),
    S((2, 3, 5), source=(0, -1), destination=(1, 0)), S((7,), source=0, destination=0))
row("squeeze", np.squeeze, S((1, 3, 1)), S((1, 3, 1), axis=0), S((1, 3, 1), axis=(0, -1)),
    S((1, 1)), S((2, 3)))
row("expand_dims", np.expand_dims, S((2, 3), axis=0), S((2, 3), axis=-1), S((2, 3), axis=(0, 2)),
    S((), axis=0))
row("broadcast_to", np.broadcast_to, S((3,), shape=(2, 3)), S((2, 1, 5), shape=(7, 2, 3, 5)),
    S((), shape=(3, 2)), S((1, 3), shape=(0, 3)), S((2, 3), shape=(2, 3)))
row("concatenate", lambda *xs, axis=0: np.concatenate(xs, axis), S((2, 3), (5, 3)),
    S((2, 3), (2, 1), (2, 5), axis=-1), S((2, 3), (5,), axis=None), S((3,)), S((0, 3), (2, 3)),
    S((2,), np.array([1, 2, 3])), call=lambda *xs, axis=0: ta.concat(xs, axis))
row("stack", lambda *xs, axis=0: np.stack(xs, axis), S((2, 3), (2, 3)),
    S((2, 3), (2, 3), (2, 3), axis=-1), S((3,), (3,), axis=1), S((), ()), S((0,), (0,)),
    call=lambda *xs, axis=0: ta.stack(xs, axis))
row("split", np.split, S((6, 2), indices_or_sections=3),
    S((2, 7), indices_or_sections=[2, 3], axis=1),
    S((3, 5), indices_or_sections=[0, 2, 9], axis=-1), S((2, 6), indices_or_sections=2, axis=-1),
    S((5,), indices_or_sections=[]))
row("pad", np.pad, S((2, 3), pad_width=1), S((2, 3), pad_width=(1, 2)),
    S((2, 3), pad_width=((0, 1), (2, 0))), S((5,), pad_width=((2, 3),), constant_values=1.5),
    S((0, 2), pad_width=1), S((), pad_width=2))
row("flip", np.flip, S((2, 3)), S((2, 3, 5), axis=1), S((2, 3, 5), axis=(0, -1)), S((7,)), S(()),
    S((0,)))
row("roll", np.roll, S((7,), shift=2), S((2, 3), shift=-1), S((2, 3), shift=1, axis=-1),
    S((2, 3), shift=[1, -2], axis=[0, 1]), S((3, 5), shift=(1, -2), axis=(0, 1)),
    S((3, 5), shift=2, axis=(0, 1)), S((0, 3), shift=1))
row("tile", np.tile, S((2, 3), reps=2), S((2, 3), reps=(3, 1)), S((3,), reps=(2, 3)),
    S((2, 3, 5), reps=(2,)), S((), reps=(2, 3)), S((), reps=3), S((3,), reps=0),
    S((2, 3), reps=[2, 2]), S((3,), reps=np.int64(2)))
row("repeat", np.repeat, S((2, 3), repeats=2), S((2, 3), repeats=3, axis=0),
    S((2, 3), repeats=2, axis=-1), S((2, 3), repeats=np.array([1, 0, 4]), axis=1),
    S((3,), repeats=[2, 0, 1]), S((), repeats=3), S((), repeats=2, axis=0), S((2, 3), repeats=0),
    S((0, 3), repeats=2, axis=0), S((3,), repeats=[2], axis=0))
row("tril", np.tril, S((3, 5)), S((5, 3), k=1), S((2, 3, 3), k=-1), S((0, 3)), S((7, 7), k=9))
row("triu", np.triu, S((3, 5)), S((5, 3), k=1), S((2, 3, 3), k=-1), S((0, 3)), S((7, 7), k=-9))

# ── indexing ──────────────────────────────────────────────────────────────────────────────────────
def scattered(g: Array, index: Any, shape: tuple[int, ...]) -> Array:
    """Zeros with g added element by element."""
    out = np.zeros(shape)
    places = np.arange(out.size).reshape(shape)[index]
    np.add.at(out.reshape(-1), places, g)
    return out


def scattered_rows(g: Array, indices: Array, axis: int, shape: tuple[int, ...]) -> Array:
    """Zeros with the slices of g added at `indices`."""
    return scattered(g, (slice(None),) * axis + (indices,), shape)


def scatter_add(x: Array, updates: Array, indices: Array, axis: int = -1) -> Array:
    """x with each update added in a loop."""
    out = x.copy()
    for k in np.ndindex(updates.shape):
        place = list(k)
        place[axis] = indices[k]
        out[tuple(place)] += updates[k]
    return out


EACH = np.array([[0, 2, -1, 0, 2], [1, 1, 1, 0, -2], [2, 0, 1, 2, 0]])      # (3, 5)
row("getitem", lambda x, index: x[index], S((5, 7), index=2),
    S((5, 7), index=(slice(1, 4), slice(None, None, -2))), S((5, 7), index=[0, 0, -1, 3]),
    S((2, 3, 5), index=(..., None, 1)), S((2, 3), index=MASK),
    S((2, 3, 5), index=(slice(None), np.array([[0, 2], [2, 2]]), [1, -1])),
    S((2, 3, 5), index=(1, slice(None), [4, 4, 0])), S((), index=()), S((), index=None),
    S((5, 7), index=slice(3, 3)), S((2, 3, 5), index=(MASK, slice(0, 2))), S((2, 3), index=(0, 1)))
row("scatter", scattered, S((2,), index=[0, 3], shape=(5,)), S((3,), index=[1, 1, 0], shape=(2,)),
    S((3, 2), index=(slice(None), [4, 4]), shape=(3, 5)), S((3,), index=(MASK,), shape=(2, 3)),
    S((2, 3), index=slice(1, 3), shape=(5, 3)))
row("take", np.take, S((5, 3), indices=[0, -1, 0], axis=0),
    S((2, 3, 5), indices=np.array([[0, 4], [4, -5]]), axis=-1), S((2, 3), indices=4),
    S((2, 3), indices=[[0, 5], [5, 5]]), S((5, 3), indices=2, axis=0),
    S((3, 2), indices=[], axis=1), S((7,), indices=EACH))
row("untaken", scattered_rows, S((3, 2), indices=np.array([0, 4, 0]), axis=0, shape=(5, 2)),
    S((3, 2, 2), indices=np.array([[0, -1], [-1, 1]]), axis=1, shape=(3, 2)),
    S((2, 0), indices=np.array([], int), axis=1, shape=(2, 3)),
    S((3,), indices=np.array(2), axis=0, shape=(5, 3)))
row("take_along_axis", np.take_along_axis, S((3, 3), indices=EACH, axis=-1),
    S((3, 5), indices=EACH, axis=0), S((3, 3), indices=EACH[:, :2], axis=1),
    S((3, 5), indices=EACH[:1], axis=0))
row("scatter_add", scatter_add, S((3, 3), (3, 5), indices=EACH, axis=-1),
    S((3, 5), (3, 5), indices=EACH, axis=0), S((3, 4), (3, 2), indices=EACH[:, :2]), call=lambda x,
    updates, indices, axis=-1: ta.scatter_add(x, indices, updates, axis))
row("one_hot", lambda x, indices: x @ np.eye(3)[indices].swapaxes(-1, -2),
    S((2, 3), indices=[2, 0, 2, 1]), call=lambda x,
    indices: ta.matmul(x, ta.one_hot(indices, 3, np.float32).data.T))
row("sort", np.sort, S((7,)), S((3, 5)), S((2, 3, 5), axis=0), S((2, 3, 5), axis=-2),
    S((3, 5), axis=None), S((0, 3)), smooth=False, domain=apart)
row("diagonal", np.diagonal, S((3, 5)), S((5, 3), offset=-1), S((3, 5), offset=2),
    S((2, 3, 5), axis1=-1, axis2=0), S((3, 3), offset=7), S((2, 3, 5), offset=1, axis1=1, axis2=2))

# ── products ──────────────────────────────────────────────────────────────────────────────────────
row("matmul", np.matmul, S((2, 3), (3, 5)), S((3,), (3,)), S((3,), (3, 5)), S((2, 3), (3,)),
    S((3,), (2, 3, 5)), S((2, 5, 3), (3,)), S((2, 3, 5), (2, 5, 7)), S((2, 1, 3, 5), (7, 5, 2)),
    S((3, 5), (2, 5, 7)), S((2, 0), (0, 3)), S((0, 3), (3, 2)), S((0,), (0,)), S((1, 3), (3, 1)),
    S((2, 3), np.arange(6.0).reshape(3, 2)))


def of(subscripts: str, *shapes: tuple[int, ...]) -> S:
    return S(*shapes, subscripts=subscripts)


row("einsum", lambda *xs, subscripts: np.einsum(subscripts, *xs), of("ij,jk->ik", (2, 3), (3, 5)),
    of("ij,jk", (2, 3), (3, 5)), of("ba", (2, 3)), of("i,i", (3,), (3,)), of("ij->", (2, 3)),
    of("ij->j", (2, 3)), of("ii->i", (3, 3)), of("ii", (3, 3)), of("iij->j", (3, 3, 2)),
    of("iii->i", (2, 2, 2)), of("ii,ij->j", (3, 3), (3, 2)), of("ii,jj->ij", (2, 2), (3, 3)),
    of("...ij,...jk->...ik", (2, 3, 5), (5, 7)), of("...ij,jk", (7, 2, 3), (3, 5)),
    of("i...->...i", (2, 3, 5)), of("...ii->...i", (2, 3, 3)), of("...,...", (2, 3), (3,)),
    of("bhqd,bhkd->bhqk", (2, 3, 5, 2), (2, 3, 7, 2)), of("ij,jk,kl->il", (2, 3), (3, 5), (5, 2)),
    of("ij,k->i", (2, 3), (5,)), of("i,j->ij", (2,), (3,)), of("ij,ij->i", (3, 5), (3, 1)),
    of("ij,ij->ij", (3, 5), (1, 5)), of("ij,ij", (3, 1), (3, 5)),
    of("ij , jk -> k i", (2, 3), (3, 5)), of(",ij->ji", (), (2, 3)),
    of("ij,jk->ik", (2, 0), (0, 3)), call=lambda *xs, subscripts: ta.einsum(subscripts, *xs))
row("outer", np.outer, S((3,), (5,)), S((2, 3), (5,)), S((), (3,)))

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
