"""Kernels of nn/functional/definitions.py: each gives its definition's result and gradients.

One row in ROWS says how to draw the arguments of an operation; every test runs over all rows and
over both sets of kernels.  (Attention has a file of its own.)

float32 is judged against the definition run in float64 on the same numbers: a kernel may be 1e-6 of
the largest away from it (of the largest g where gradients cancel), or, which long sums need, twice
as far as the definition itself in float32 is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_attn as ta
from tinygrad_attn import Tensor
from tinygrad_attn.engine import Fused
from tinygrad_attn.kernels import Kernel, chosen
from tinygrad_attn.nn.functional import definitions

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Drawn = tuple[list[Array | None], dict[str, Any]]  # arrays and options
SETS = ["numpy", pytest.param("numba", marks=pytest.mark.numba)]
DTYPES = [np.float32, np.float64]
TOLERANCE = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-12}
SHAPES: list[Shape] = [(3, 5, 7), (2, 3), (5,), (1, 1), (0, 3), (2, 0, 4), (4, 1)]
LARGE = (3, 211, 419)  # several blocks, the last one short, shared among threads


class Row(NamedTuple):
    """An operation and how to draw its arguments for an input of a given shape."""

    name: str
    draw: Callable[[np.random.Generator, Shape], Drawn]
    case: str = ""


def numbers(rng: np.random.Generator, *shape: int) -> Array:
    return np.asarray(rng.standard_normal(shape) * 2)


def linear(bias: bool) -> Callable[[np.random.Generator, Shape], Drawn]:
    def draw(rng: np.random.Generator, shape: Shape) -> Drawn:
        x, weight = numbers(rng, *shape), numbers(rng, 4, shape[-1])
        return [x, weight, numbers(rng, 4) if bias else None], {}

    return draw


def embedding(count: int) -> Callable[[np.random.Generator, Shape], Drawn]:
    def draw(rng: np.random.Generator, shape: Shape) -> Drawn:
        return [numbers(rng, count, shape[-1])], {"tokens": rng.integers(0, count, shape[:-1])}

    return draw


def norm(*given: bool) -> Callable[[np.random.Generator, Shape], Drawn]:
    def draw(rng: np.random.Generator, shape: Shape) -> Drawn:
        scales = [numbers(rng, shape[-1]) if there else None for there in given]
        return [numbers(rng, *shape) + 0.7, *scales], {"eps": 1e-2}

    return draw


def activation(**options: Any) -> Callable[[np.random.Generator, Shape], Drawn]:
    return lambda rng, shape: ([numbers(rng, *shape)], options)


def cross_entropy(smoothing: float) -> Callable[[np.random.Generator, Shape], Drawn]:
    def draw(rng: np.random.Generator, shape: Shape) -> Drawn:
        classes = rng.integers(0, shape[-1], shape[:-1])
        return [numbers(rng, *shape)], {"classes": classes, "label_smoothing": smoothing}

    return draw


ROWS = [
    Row("linear", linear(True), "bias"),
    Row("linear", linear(False)),
    Row("embedding", embedding(11), "few"),
    Row("embedding", embedding(1009), "many"),
    Row("layer_norm", norm(True, True), "weight, bias"),
    Row("layer_norm", norm(True, False), "weight"),
    Row("layer_norm", norm(False, True), "bias"),
    Row("layer_norm", norm(False, False)),
    Row("rms_norm", norm(True), "weight"),
    Row("rms_norm", norm(False)),
    Row("gelu", activation()),
    Row("gelu", activation(approximate="tanh"), "tanh"),
    Row("silu", activation()),
    Row("cross_entropy", cross_entropy(0.0)),
    Row("cross_entropy", cross_entropy(0.3), "smoothed"),
]


def rows(*names: str) -> Any:
    """A parameter: the rows of these operations, or all."""
    chosen_rows = [row for row in ROWS if row.name in names or not names]
    ids = [f"{row.name} {row.case}".strip() for row in chosen_rows]
    return pytest.mark.parametrize("row", chosen_rows, ids=ids)


every_row = rows()
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


@pytest.fixture(params=SETS)
def sets(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each set of kernels, in use."""
    with ta.kernels.use(request.param):
        yield request.param


# ── arguments ────────────────────────────────────────────────────────────────────────────────────
class Problem(NamedTuple):
    """One call: arrays of one dtype, as tensors hold them (nobody may write), and g."""

    name: str
    arrays: list[Array | None]
    options: dict[str, Any]
    g: Array

    @property
    def needs(self) -> tuple[bool, ...]:
        return tuple(a is not None for a in self.arrays)


def problem(
    row: Row,
    shape: Shape,
    dtype: Any,
    rng: np.random.Generator,
    lay: Callable[[Array], Array] = np.array,
) -> Problem:
    arrays, options = row.draw(rng, shape)
    laid = [None if a is None else locked(lay(a.astype(dtype))) for a in arrays]
    out = defined(row.name, laid, options)
    return Problem(row.name, laid, options, lay(rng.standard_normal(out.shape).astype(dtype)))


def locked(a: Array) -> Array:
    a.setflags(write=False)
    return a


def defined(name: str, arrays: list[Any], options: dict[str, Any]) -> Any:
    """The definition's result."""
    with ta.kernels.use("off"):
        return getattr(definitions, name)(*arrays, **options)


def by_definition(p: Problem, dtype: Any) -> list[Array | None]:
    """Result and every gradient of the definition, computed in `dtype`."""
    tensors = [None if a is None else Tensor(a.astype(dtype), requires_grad=True) for a in p.arrays]
    out = defined(p.name, tensors, p.options)
    inputs = [t for t in tensors if t is not None]
    parts = iter(ta.grad(out, inputs, p.g.astype(dtype)))
    return [out.numpy(), *(None if t is None else next(parts).numpy() for t in tensors)]


def by_kernel(
    p: Problem, kernel: Kernel | None = None, needs: tuple[bool, ...] | None = None
) -> list[Array | None]:
    """Result and gradients of the kernel in use."""
    kernel = kernel or found(p)
    out, residuals = kernel.forward(*p.arrays, **p.options)
    needs = p.needs if needs is None else needs
    return [out, *kernel.backward(p.g, residuals, *p.arrays, needs=needs, **p.options)]


def found(p: Problem) -> Kernel:
    kernel = chosen(p.name, 1)
    assert kernel is not None, f"{p.name} has no kernel"
    return kernel


def check(p: Problem, kernel: Kernel | None = None) -> None:
    """The kernel's result and gradients are the definition's; new arrays; nothing is written to."""
    g = p.g.copy()
    got = by_kernel(p, kernel)
    exact, rounded = by_definition(p, np.float64), by_definition(p, p.g.dtype)
    for a, b, c in zip(got, exact, rounded, strict=True):
        if a is None or b is None or c is None:
            assert a is b is c is None
            continue
        assert (a.shape, a.dtype) == (b.shape, p.g.dtype)
        scale = max(largest(b), largest(p.g))
        allowed = max(TOLERANCE[p.g.dtype] * scale, 2 * largest(c - b))
        assert largest(a - b) <= allowed, (largest(a - b), largest(b), allowed)
    np.testing.assert_array_equal(p.g, g)
    fresh(p, got)


def fresh(p: Problem, got: list[Array | None]) -> None:
    """No result shares memory with an argument, with g or with another result."""
    results = [a for a in got if a is not None]
    held = [p.g, *(a for a in p.arrays if a is not None)]
    for i, a in enumerate(results):
        assert a.flags.writeable
        assert not any(np.may_share_memory(a, b) for b in [*held, *results[:i]])


def largest(a: Array) -> float:
    return float(np.max(np.abs(a), initial=0.0))


# ── the table ────────────────────────────────────────────────────────────────────────────────────
def without_row() -> set[str]:
    """Fused operations in definitions.py that ROWS leaves out."""
    fused = {name for name, f in vars(definitions).items() if isinstance(f, Fused)}
    return fused - {row.name for row in ROWS}


def test_every_fused_operation_has_a_row() -> None:
    assert not without_row()


def test_a_new_operation_without_a_row_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "planted", definitions.fused(lambda x: x), raising=False)
    assert without_row() == {"planted"}


@every_row
def test_every_operation_has_a_kernel_in_numpy(row: Row) -> None:
    with ta.kernels.use("numpy"):
        assert chosen(row.name, 1) is not None


# ── equal to the definition ──────────────────────────────────────────────────────────────────────
@every_row
@every_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_result_and_gradients(
    row: Row, shape: Shape, dtype: Any, sets: str, rng: np.random.Generator
) -> None:
    check(problem(row, shape, dtype, rng))


@rows("gelu", "silu")
@every_dtype
def test_a_number_alone(row: Row, dtype: Any, sets: str, rng: np.random.Generator) -> None:
    check(problem(row, (), dtype, rng))


@every_row
@every_dtype
def test_large_arrays(row: Row, dtype: Any, sets: str, rng: np.random.Generator) -> None:
    check(problem(row, LARGE, dtype, rng))


@rows("layer_norm", "rms_norm", "cross_entropy")
def test_one_long_row(row: Row, sets: str, rng: np.random.Generator) -> None:
    """A row longer than a block."""
    check(problem(row, (2, 100_003), np.float64, rng))


shapes = st.tuples(st.lists(st.integers(0, 5), max_size=3), st.integers(1, 9)).map(
    lambda drawn: (*drawn[0], drawn[1])
)


@pytest.mark.parametrize("kernels", SETS)
@given(shape=shapes, row=st.sampled_from(ROWS), dtype=st.sampled_from(DTYPES), seed=st.integers(0))
def test_any_shape(kernels: str, shape: Shape, row: Row, dtype: Any, seed: int) -> None:
    with ta.kernels.use(kernels):
        check(problem(row, shape, dtype, np.random.default_rng(seed)))


def test_more_tokens_than_one_product_takes(sets: str, rng: np.random.Generator) -> None:
    check(problem(ROWS[2], (3, 6001, 2), np.float64, rng))


# ── strides ──────────────────────────────────────────────────────────────────────────────────────
def transposed(a: Array) -> Array:
    return np.array(a, order="F")


def skipping(a: Array) -> Array:
    """Every second number of a larger array, backwards along the last axis."""
    if a.ndim < 2:
        return np.repeat(a, 2)[::-2] if a.ndim else a
    return np.repeat(np.repeat(a, 2, -1), 2, 0)[::2, ..., ::-2]


def part_of_wider(a: Array) -> Array:
    """The first columns of a wider array, as a part of a packed projection is."""
    return np.concatenate([a, a], -1)[..., : a.shape[-1]] if a.ndim else a


def along_first(a: Array) -> Array:
    """Stride 0 along the first axis."""
    return as_strided(a[:1], a.shape) if a.ndim else a


def along_last(a: Array) -> Array:
    """Stride 0 along the last axis."""
    return as_strided(a[..., :1], a.shape) if a.ndim else a


def as_strided(a: Array, shape: Shape) -> Array:
    """`a` broadcast to `shape`, as an array that may be made read-only or not."""
    return np.broadcast_to(a, shape).view()


LAYOUTS = [transposed, skipping, part_of_wider, along_first, along_last]


@every_row
@pytest.mark.parametrize("lay", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 5, 7), (6, 5), (7,)], ids=str)
def test_strides(
    row: Row,
    lay: Callable[[Array], Array],
    shape: Shape,
    sets: str,
    rng: np.random.Generator,
) -> None:
    check(problem(row, shape, np.float64, rng, lay))


@every_row
@pytest.mark.parametrize("lay", LAYOUTS)
def test_strides_of_large_arrays(
    row: Row, lay: Callable[[Array], Array], sets: str, rng: np.random.Generator
) -> None:
    check(problem(row, (2, 101, 1301), np.float64, rng, lay))


@every_row
def test_g_of_one_number(row: Row, sets: str, rng: np.random.Generator) -> None:
    """What the gradient of a sum is: one number, all strides 0."""
    p = problem(row, (3, 5, 7), np.float64, rng)
    check(p._replace(g=as_strided(np.array(0.3), p.g.shape)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
@rows("embedding", "cross_entropy")
def test_integers_of_any_kind(row: Row, dtype: Any, sets: str, rng: np.random.Generator) -> None:
    p = problem(row, (3, 5, 7), np.float64, rng)
    options = {
        name: (value % 200).astype(dtype) if isinstance(value, np.ndarray) else value
        for name, value in p.options.items()
    }
    check(p._replace(options=options))


# ── which gradients ──────────────────────────────────────────────────────────────────────────────
@every_row
@pytest.mark.parametrize("shape", [(3, 5, 7), LARGE], ids=str)
def test_only_the_gradients_asked_for(
    row: Row, shape: Shape, sets: str, rng: np.random.Generator
) -> None:
    p = problem(row, shape, np.float64, rng)
    _, *full = by_kernel(p)
    scale = max(largest(part) for part in full if part is not None)
    for needs in product(*[(False, True) if need else (False,) for need in p.needs]):
        _, *parts = by_kernel(p, needs=needs)
        for part, whole, need in zip(parts, full, needs, strict=True):
            if need:
                np.testing.assert_allclose(part, whole, rtol=1e-12, atol=1e-12 * scale)


# ── numbers that are none ────────────────────────────────────────────────────────────────────────
@every_row
@every_dtype
@pytest.mark.parametrize("where", ["x", "g"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_a_number_and_infinity(
    row: Row, dtype: Any, where: str, value: float, sets: str, rng: np.random.Generator
) -> None:
    """Results to the kind; gradients are finite where the definition's are: whether ∞ − ∞ arises
    elsewhere hangs on the order of their sums.
    """
    p = problem(row, (3, 5, 7), dtype, rng)
    x = p.arrays[0]
    assert x is not None
    spoilt = x.copy() if where == "x" else p.g
    spoilt.reshape(-1)[[1, 4]] = value
    if where == "x":
        p = p._replace(arrays=[locked(spoilt), *p.arrays[1:]])
    with np.errstate(all="ignore"):
        (out, *parts), (expected, *gradients) = by_kernel(p), by_definition(p, dtype)
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=1e-5)  # and NaN where NaN is
    for a, b in zip(parts, gradients, strict=True):
        if a is not None and b is not None:
            finite = np.isfinite(b)
            np.testing.assert_array_equal(np.isfinite(a), finite)
            np.testing.assert_allclose(a[finite], b[finite], rtol=2e-5, atol=1e-5)


@every_dtype
@rows("gelu", "silu")
def test_far_from_zero_activations_are_relu(row: Row, dtype: Any, sets: str) -> None:
    """Nothing overflows on the way there: warnings are errors."""
    x = locked(np.array([-1e18, -1e13, -1e4, -800, 800, 1e4, 1e13, 1e18], dtype))
    _, options = row.draw(np.random.default_rng(0), (1,))
    out, dx = by_kernel(Problem(row.name, [x], options, np.ones_like(x)))
    np.testing.assert_allclose(out, np.maximum(x, 0), rtol=1e-6)
    np.testing.assert_allclose(dx, x > 0, rtol=1e-6)


def test_logits_far_from_zero(sets: str, rng: np.random.Generator) -> None:
    p = problem(ROWS[-1], (5, 7), np.float64, rng)
    x = p.arrays[0]
    assert x is not None
    check(p._replace(arrays=[locked(x + 1e6)]))


def identical(got: list[Array | None], expected: list[Array | None]) -> None:
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        np.testing.assert_array_equal(a, b)


# ── threads ──────────────────────────────────────────────────────────────────────────────────────
@every_row
def test_the_same_bits_with_any_number_of_threads(
    row: Row, sets: str, rng: np.random.Generator
) -> None:
    p = problem(row, LARGE, np.float32, rng)
    runs = []
    for threads in (1, 2, 3):
        with ta.kernels.use(threads=threads):
            runs.append(by_kernel(p))
    for other in runs[1:]:
        identical(runs[0], other)


@every_row
def test_two_callers_at_once(row: Row, sets: str, rng: np.random.Generator) -> None:
    problems = [problem(row, LARGE, np.float32, rng) for _ in range(2)]
    alone = [by_kernel(p) for p in problems]

    def call(p: Problem) -> list[Array | None]:
        with ta.kernels.use(sets, threads=2):
            return by_kernel(p)

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(call, problems * 3))
    for got, expected in zip(together, alone * 3, strict=True):
        identical(got, expected)


# ── through tensors ──────────────────────────────────────────────────────────────────────────────
def derivatives(p: Problem) -> list[Array]:
    """First derivatives with respect to every argument, then those of their weighted sum."""
    tensors = [None if a is None else Tensor(a, requires_grad=True) for a in p.arrays]
    inputs = [t for t in tensors if t is not None]
    out = getattr(definitions, p.name)(*tensors, **p.options)
    first = ta.grad(out * out, inputs, p.g, create_graph=True)
    total = sum((t * t).sum() for t in first)
    second = ta.grad(total, inputs)
    return [t.numpy() for t in (*first, *second)]


@every_row
def test_second_derivatives_are_the_definitions(
    row: Row, sets: str, rng: np.random.Generator
) -> None:
    p = problem(row, (3, 5, 7), np.float64, rng)
    got = derivatives(p)
    with ta.kernels.use("off"):
        expected = derivatives(p)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * largest(b))


@every_row
@every_dtype
def test_tensors_get_the_kernels_numbers(
    row: Row, dtype: Any, sets: str, rng: np.random.Generator
) -> None:
    p = problem(row, (3, 5, 7), dtype, rng)
    tensors = [None if a is None else Tensor(a, requires_grad=True) for a in p.arrays]
    out = getattr(definitions, p.name)(*tensors, **p.options)
    parts = iter(ta.grad(out, [t for t in tensors if t is not None], p.g))
    got = [out.numpy(), *(None if t is None else next(parts).numpy() for t in tensors)]
    identical(got, by_kernel(p))


# ── the comparison itself ────────────────────────────────────────────────────────────────────────
@every_row
@every_dtype
def test_planted_errors_are_seen(row: Row, dtype: Any, rng: np.random.Generator) -> None:
    with ta.kernels.use("numpy"):
        p = problem(row, (3, 5, 7), dtype, rng)
        right = found(p)
        check(p, right)
        for place in [i for i, part in enumerate(by_kernel(p)) if part is not None]:
            with pytest.raises(AssertionError):
                check(p, planted(right, place))


def planted(right: Kernel, place: int) -> Kernel:
    """A kernel whose result (place 0) or one gradient has one element 1e-4 of the largest off."""

    def spoilt(part: Array) -> Array:
        part = part.copy()
        part.flat[part.size // 2] += 1e-4 * largest(part)
        return part

    def forward(*arrays: Any, **options: Any) -> Any:
        out, residuals = right.forward(*arrays, **options)
        return spoilt(out) if place == 0 else out, residuals

    def backward(*arrays: Any, **options: Any) -> Any:
        parts = right.backward(*arrays, **options)
        return tuple(spoilt(part) if i == place - 1 else part for i, part in enumerate(parts))

    return Kernel(forward, backward)


def test_views_and_writes_are_seen(rng: np.random.Generator) -> None:
    """A kernel that hands out its argument, or g, or writes into g."""
    row = Row("silu", activation())
    with ta.kernels.use("numpy"):
        p = problem(row, (3, 5), np.float64, rng)
        right = found(p)
    for a in (p.arrays[0], p.g):
        with pytest.raises(AssertionError):
            fresh(p, [a])

    def scribbling(g: Array, *arrays: Any, **options: Any) -> Any:
        parts = right.backward(g, *arrays, **options)
        g *= 2
        return parts

    with pytest.raises(AssertionError):
        check(p, Kernel(right.forward, scribbling))
