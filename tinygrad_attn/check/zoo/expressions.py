"""Right gradients to look for false alarms in: random expressions, and the library at new points.

An expression is a chain of one to five steps on small arrays of random shapes; a step may bring in
another variable or use its argument twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import ops
from ...engine import Array
from ...nn import functional
from ..draws import normal
from ..samples import Sample
from ..suite import LAYERS, SAMPLES
from .bug import Draw, Subject

LARGEST = 12  # elements of an intermediate result
LONGEST = 5  # steps

Step = tuple[Callable[..., Any], list[Array]]  # f(x, *others), and the other variables
Maker = Callable[[Array, Draw], Step]


def alone(f: Callable[[Any], Any]) -> Maker:
    """A step without options or other variables."""
    return lambda x, rng: (f, [])


def with_other(f: Callable[[Any, Any], Any]) -> Maker:
    """A step with a second variable that broadcasts against the first."""

    def make(x: Array, rng: Draw) -> Step:
        kept = rng.random(x.ndim) < 0.6
        shape = tuple(n if keep else 1 for n, keep in zip(x.shape, kept, strict=True))
        return f, [normal(rng, *shape[int(rng.integers(0, x.ndim + 1)) :])]

    return make


def over_axis(f: Callable[..., Any]) -> Maker:
    """A step along an axis, which it may keep."""

    def make(x: Array, rng: Draw) -> Step:
        axis, kept = int(rng.integers(x.ndim)), bool(rng.integers(2))
        return lambda x: f(x, axis=axis, keepdims=kept or x.ndim == 1), []

    return make


def along_axis(f: Callable[..., Any]) -> Maker:
    """A step along an axis that keeps the shape."""

    def make(x: Array, rng: Draw) -> Step:
        axis = int(rng.integers(x.ndim))
        return lambda x: f(x, axis=axis), []

    return make


def permuted(x: Array, rng: Draw) -> Step:
    """The axes in another order."""
    axes = tuple(int(i) for i in rng.permutation(x.ndim))
    return lambda x: ops.transpose(x, axes), []


def reshaped(x: Array, rng: Draw) -> Step:
    """The same elements in two axes."""
    divisors = [n for n in range(1, x.size + 1) if x.size % n == 0]
    shape = int(rng.choice(divisors)), -1
    return lambda x: ops.reshape(x, shape), []


def rolled(x: Array, rng: Draw) -> Step:
    """Elements moved along an axis."""
    shift, axis = int(rng.integers(-2, 3)), int(rng.integers(x.ndim))
    return lambda x: ops.roll(x, shift, axis), []


def picked(x: Array, rng: Draw) -> Step:
    """Some rows, some of them twice."""
    rows = rng.integers(0, x.shape[0], int(rng.integers(1, 4)))
    return lambda x: x[rows], []


def repeated(x: Array, rng: Draw) -> Step:
    """Each element twice along an axis, or the whole array."""
    axis = int(rng.integers(x.ndim))
    if rng.integers(2):
        return lambda x: ops.tile(x, 2), []
    return lambda x: ops.repeat(x, 2, axis), []


def padded(x: Array, rng: Draw) -> Step:
    """A border of ones."""
    before, after = (int(n) for n in rng.integers(0, 2, 2))
    return lambda x: ops.pad(x, (before, after), constant_values=1.0), []


def masked(x: Array, rng: Draw) -> Step:
    """Another variable where a mask does not hold."""
    mask = rng.random(x.shape) < 0.5
    return lambda x, y: ops.where(mask, x, y), [normal(rng, *x.shape)]


def joined(x: Array, rng: Draw) -> Step:
    """Another variable beside it."""
    axis = int(rng.integers(x.ndim))
    return lambda x, y: ops.concat([x, y], axis), [normal(rng, *x.shape)]


def multiplied(x: Array, rng: Draw) -> Step:
    """A product with a matrix."""
    width = int(rng.integers(1, 4))
    return ops.matmul, [normal(rng, x.shape[-1], width)]


def attended(x: Array, rng: Draw) -> Step:
    """Self-attention, causal or not."""
    causal = bool(rng.integers(2))
    return lambda x: functional.attention(x, x, ops.tanh(x), causal=causal), []


def normalised(x: Array, rng: Draw) -> Step:
    """Layer norm with a gain."""
    return functional.layer_norm, [normal(rng, x.shape[-1])]


def lossy(x: Array, rng: Draw) -> Step:
    """Cross-entropy."""
    targets = rng.integers(0, x.shape[-1], x.shape[:-1])
    return lambda x: functional.cross_entropy(x, targets, reduction="none") + ops.sum(x) * 0.1, []


ANY: dict[str, Maker] = {
    "tanh": alone(ops.tanh),
    "sigmoid": alone(ops.sigmoid),
    "softplus": alone(ops.softplus),
    "gelu": alone(functional.gelu),
    "silu": alone(functional.silu),
    "sin": alone(ops.sin),
    "erf": alone(ops.erf),
    "exp": alone(lambda x: ops.exp(ops.tanh(x))),
    "log": alone(lambda x: ops.log(ops.square(x) + 1)),
    "sqrt": alone(lambda x: ops.sqrt(ops.square(x) + 0.5)),
    "power": alone(lambda x: ops.sigmoid(x) ** 2.5),
    "relu": alone(ops.relu),
    "abs": alone(ops.absolute),
    "elu": alone(ops.elu),
    "clip": alone(lambda x: ops.clip(x, -0.5, 0.75)),
    "residual": alone(lambda x: x + ops.tanh(x) * x),
    "add": with_other(ops.add),
    "subtract": with_other(lambda x, y: y - x),
    "multiply": with_other(ops.multiply),
    "divide": with_other(lambda x, y: x / (ops.square(y) + 0.5)),
    "maximum": with_other(ops.maximum),
    "minimum": with_other(ops.minimum),
    "softmax": along_axis(ops.softmax),
    "log_softmax": along_axis(ops.log_softmax),
    "cumsum": along_axis(ops.cumsum),
    "sort": along_axis(ops.sort),
    "flip": along_axis(ops.flip),
    "sum": over_axis(ops.sum),
    "mean": over_axis(ops.mean),
    "max": over_axis(ops.max),
    "var": over_axis(ops.var),
    "logsumexp": over_axis(ops.logsumexp),
    "norm": over_axis(ops.norm),
    "prod": over_axis(ops.prod),
    "transpose": permuted,
    "reshape": reshaped,
    "roll": rolled,
    "getitem": picked,
    "repeat": repeated,
    "pad": padded,
    "where": masked,
    "concat": joined,
}
MATRICES: dict[str, Maker] = {
    "matmul": multiplied,
    "attention": attended,
    "layer_norm": normalised,
    "cross_entropy": lossy,
    "tril": alone(ops.tril),
}


def expression(rng: Draw) -> tuple[str, Subject]:
    """A random chain of steps, named by them."""
    shape = tuple(int(n) for n in rng.integers(1, 4, int(rng.integers(1, 4))))
    variables = [normal(rng, *shape)]
    value, chain = variables[0], list[tuple[str, Callable[..., Any], slice]]()
    for _ in range(int(rng.integers(1, LONGEST + 1))):
        makers = ANY | MATRICES if value.ndim > 1 else ANY
        name = str(rng.choice(list(makers)))
        f, others = makers[name](value, rng)
        after = np.asarray(f(value, *others))
        if after.ndim and after.size <= LARGEST:
            at = slice(len(variables), len(variables) + len(others))
            value, variables, chain = after, [*variables, *others], [*chain, (name, f, at)]

    def whole(*xs: Any) -> Any:
        out = xs[0]
        for _, f, at in chain:
            out = f(out, *xs[at])
        return out * 1.0  # a result of its own, if there is no step

    return " → ".join(name for name, _, _ in chain) or "x", Subject(whole, tuple(variables))


def elsewhere(sample: Sample, rng: Draw) -> Subject:
    """A sample at another point.

    Numbers between its own lie in the domain that it needs; but at a kink in between nothing can
    be said, so a sample that has some gets its numbers in another order, a little larger or
    smaller: what is apart stays apart.
    """

    def moved(x: Any) -> Any:
        if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
            return x
        one, two = (rng.permutation(x.reshape(-1)).reshape(x.shape) for _ in range(2))
        if not sample.analytic:
            return one * rng.uniform(0.7, 1.3)
        share = rng.random(x.shape)
        return share * one + (1 - share) * two

    return Subject(sample.f, tuple(map(moved, sample.inputs)))


def right_subject(rng: Draw) -> tuple[str, Subject]:
    """Mostly expressions; in ten one operation or function of the library, in fifty one layer."""
    kind = rng.random()
    if kind > 0.12:
        return expression(rng)
    names = list(LAYERS) if kind < 0.02 else [name for name in SAMPLES if name not in LAYERS]
    sample = SAMPLES[str(rng.choice(names))]
    return sample.name, elsewhere(sample, rng)
