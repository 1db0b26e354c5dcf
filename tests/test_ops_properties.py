"""Shapes, axes and broadcasting of every kind: Hypothesis draws, NumPy and derivatives judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numeric import by_complex_step, error, results

import tinygrad_attn as ta
from tinygrad_attn import Tensor

Array = np.ndarray[Any, Any]
SIDES = st.integers(0, 4)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
SEEDS = st.integers(0, 2**32 - 1)


def filled(shape: tuple[int, ...], seed: int, low: float = -2, high: float = 2) -> Array:
    return np.asarray(np.random.default_rng(seed).uniform(low, high, shape))


def agrees(op: Callable[..., Any], reference: Callable[..., Any], *xs: Array) -> None:
    """Value of `op` on tensors against NumPy, gradient against the complex step, on random g."""
    leaves = [Tensor(x, requires_grad=True) for x in xs]
    outs, expected = results(op(*leaves)), results(reference(*xs))
    rng = np.random.default_rng(0)
    gs = [rng.standard_normal(np.shape(e)) for e in expected]
    assert len(outs) == len(expected)
    for out, e in zip(outs, expected, strict=True):
        assert (out.shape, out.dtype) == (np.shape(e), np.asarray(e).dtype)
        np.testing.assert_allclose(out.numpy(), e, rtol=1e-12, atol=1e-13)
    sum((out * g).sum() for out, g in zip(outs, gs, strict=True)).backward()
    for at, leaf in enumerate(leaves):
        got = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
        assert error(got, by_complex_step(op, list(xs), gs, at)) <= 1e-12


def some_axes(draw: st.DrawFn, ndim: int) -> Any:
    """None, one axis or several, each from the front or from the back."""
    if not ndim:
        return draw(st.sampled_from([None, ()]))
    chosen = draw(
        st.one_of(
            st.none(),
            st.integers(-ndim, ndim - 1),
            st.lists(st.integers(0, ndim - 1), unique=True, max_size=ndim).map(tuple),
        )
    )
    if isinstance(chosen, tuple):
        return tuple(axis - ndim * draw(st.booleans()) for axis in chosen)
    return chosen


# ── broadcasting ────────────────────────────────────────────────────────────────────────────────
BINARY = [
    (ta.add, np.add, -2),
    (ta.subtract, np.subtract, -2),
    (ta.multiply, np.multiply, -2),
    (ta.divide, np.divide, 0.5),
    (ta.power, np.power, 0.5),
]


@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=4),
    ops=st.sampled_from(BINARY),
    seed=SEEDS,
)
def test_two_arguments_broadcast_as_in_numpy(shapes: Any, ops: Any, seed: int) -> None:
    op, reference, low = ops
    a, b = (filled(shape, seed + k, low) for k, shape in enumerate(shapes.input_shapes))
    agrees(op, reference, a, b)


@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, min_side=0, max_side=4),
    seed=SEEDS,
)
def test_where_broadcasts_its_three_arguments(shapes: Any, seed: int) -> None:
    c, a, b = (filled(shape, seed + k) for k, shape in enumerate(shapes.input_shapes))
    agrees(lambda a, b: ta.where(c > 0, a, b), lambda a, b: np.where(c > 0, a, b), a, b)


@given(shape=SHAPES, seed=SEEDS, data=st.data())
def test_broadcast_to(shape: tuple[int, ...], seed: int, data: st.DataObject) -> None:
    wider = tuple(data.draw(SIDES) if n == 1 else n for n in shape)
    target = tuple(data.draw(st.lists(SIDES, max_size=2))) + wider
    agrees(
        lambda x: ta.broadcast_to(x, target),
        lambda x: np.broadcast_to(x, target),
        filled(shape, seed),
    )


# ── reductions ──────────────────────────────────────────────────────────────────────────────────
REDUCTIONS = [
    (ta.sum, np.sum),
    (ta.mean, np.mean),
    (ta.prod, np.prod),
    (ta.var, np.var),
    (ta.logsumexp, lambda x, axis, keepdims: np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))),
    (ta.norm, lambda x, axis, keepdims: np.sqrt((x * x).sum(axis=axis, keepdims=keepdims))),
]


@st.composite
def reductions(draw: st.DrawFn) -> tuple[tuple[int, ...], Any, bool]:
    shape = draw(SHAPES)
    return shape, some_axes(draw, len(shape)), draw(st.booleans())


@given(case=reductions(), ops=st.sampled_from(REDUCTIONS), seed=SEEDS)
@settings(max_examples=150)
def test_reductions_over_any_axes(case: Any, ops: Any, seed: int) -> None:
    (shape, axis, keepdims), (op, reference) = case, ops
    if op not in (ta.sum, ta.prod):
        axes = range(len(shape)) if axis is None else np.atleast_1d(axis)
        assume(all(shape[int(i)] for i in axes))  # the mean of nothing is not a number
    agrees(
        lambda x: op(x, axis=axis, keepdims=keepdims),
        lambda x: reference(x, axis=axis, keepdims=keepdims),
        filled(shape, seed),
    )


@given(case=reductions(), largest=st.booleans(), seed=SEEDS)
def test_extremes_give_the_gradient_to_the_extreme_element(
    case: Any, largest: bool, seed: int
) -> None:
    shape, axis, keepdims = case
    assume(np.prod(shape))
    x = np.random.default_rng(seed).permutation(int(np.prod(shape))).reshape(shape).astype(float)
    op, reference = (ta.max, np.max) if largest else (ta.min, np.min)
    agrees(lambda x: op(x, axis, keepdims), lambda x: reference(x, axis=axis, keepdims=keepdims), x)


@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4),
    seed=SEEDS,
    data=st.data(),
)
def test_softmax_cumsum_and_sort_along_any_axis(shape: Any, seed: int, data: st.DataObject) -> None:
    axis, x = data.draw(st.integers(-len(shape), len(shape) - 1)), filled(shape, seed)
    agrees(
        lambda x: ta.softmax(x, axis),
        lambda x: np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True),
        x,
    )
    agrees(
        lambda x: ta.log_softmax(x, axis),
        lambda x: x - np.log(np.exp(x).sum(axis=axis, keepdims=True)),
        x,
    )
    agrees(lambda x: ta.cumsum(x, axis), lambda x: np.cumsum(x, axis), x)
    agrees(lambda x: ta.sort(x, axis), lambda x: np.sort(x, axis), x)


# ── shapes ──────────────────────────────────────────────────────────────────────────────────────
@given(shape=SHAPES, seed=SEEDS, data=st.data())
def test_reshape_and_transpose(shape: tuple[int, ...], seed: int, data: st.DataObject) -> None:
    order = tuple(
        axis - len(shape) * data.draw(st.booleans())
        for axis in data.draw(st.permutations(range(len(shape))))
    )
    new = data.draw(st.permutations(shape)) + [1] * data.draw(st.integers(0, 2))
    if all(new) and new and data.draw(st.booleans()):
        new[data.draw(st.integers(0, len(new) - 1))] = -1
    x = filled(shape, seed)
    agrees(lambda x: ta.transpose(x, order), lambda x: np.transpose(x, order), x)
    agrees(lambda x: ta.reshape(x, new), lambda x: np.reshape(x, new), x)


@given(shape=SHAPES, seed=SEEDS, data=st.data())
def test_flip_roll_expand_and_moveaxis(
    shape: tuple[int, ...], seed: int, data: st.DataObject
) -> None:
    x, axes = filled(shape, seed), some_axes(data.draw, len(shape))
    agrees(lambda x: ta.flip(x, axes), lambda x: np.flip(x, axes), x)
    shift = data.draw(st.integers(-5, 5))
    turned = axes if shape else None  # NumPy does not roll a 0-d array along no axes
    agrees(lambda x: ta.roll(x, shift, turned), lambda x: np.roll(x, shift, turned), x)
    place = data.draw(st.integers(-len(shape) - 1, len(shape)))
    agrees(lambda x: ta.expand_dims(x, place), lambda x: np.expand_dims(x, place), x)
    if shape:
        a, b = (data.draw(st.integers(-len(shape), len(shape) - 1)) for _ in range(2))
        agrees(lambda x: ta.moveaxis(x, a, b), lambda x: np.moveaxis(x, a, b), x)
        agrees(lambda x: ta.swapaxes(x, a, b), lambda x: np.swapaxes(x, a, b), x)


@given(shape=SHAPES, seed=SEEDS, data=st.data())
def test_pad_tile_and_repeat(shape: tuple[int, ...], seed: int, data: st.DataObject) -> None:
    x, few = filled(shape, seed), st.integers(0, 3)
    widths = [(data.draw(few), data.draw(few)) for _ in shape] or 2
    agrees(lambda x: ta.pad(x, widths), lambda x: np.pad(x, widths), x)
    reps = tuple(data.draw(st.lists(few, max_size=4)))
    agrees(lambda x: ta.tile(x, reps), lambda x: np.tile(x, reps), x)
    agrees(lambda x: ta.repeat(x, 2), lambda x: np.repeat(x, 2), x)
    if shape:
        axis = data.draw(st.integers(-len(shape), len(shape) - 1))
        counts = [data.draw(few) for _ in range(shape[axis])]
        agrees(
            lambda x: ta.repeat(x, counts, axis),
            lambda x: np.repeat(x, np.array(counts, int), axis),
            x,
        )


@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
    seed=SEEDS,
    data=st.data(),
)
def test_concat_stack_and_split(shape: Any, seed: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    lengths = data.draw(st.lists(SIDES, min_size=1, max_size=3))
    parts = []
    for k, length in enumerate(lengths):
        part = list(shape)
        part[axis] = length
        parts.append(filled(tuple(part), seed + k))
    agrees(lambda *xs: ta.concat(xs, axis), lambda *xs: np.concatenate(xs, axis), *parts)
    alike = [filled(shape, seed + k) for k in range(len(lengths))]
    agrees(lambda *xs: ta.stack(xs, axis), lambda *xs: np.stack(xs, axis), *alike)
    cuts = sorted(data.draw(st.lists(st.integers(0, 6), max_size=3)))
    agrees(
        lambda x: ta.split(x, cuts, axis), lambda x: np.split(x, cuts, axis), filled(shape, seed)
    )


@given(
    shape=hnp.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=4),
    seed=SEEDS,
    data=st.data(),
)
def test_triangles_and_diagonals(shape: Any, seed: int, data: st.DataObject) -> None:
    k, x = data.draw(st.integers(-5, 5)), filled(shape, seed)
    agrees(lambda x: ta.tril(x, k), lambda x: np.tril(x, k), x)
    agrees(lambda x: ta.triu(x, k), lambda x: np.triu(x, k), x)
    a, b = data.draw(st.permutations(range(len(shape))))[:2]
    agrees(lambda x: ta.diagonal(x, k, a, b), lambda x: np.diagonal(x, k, a, b), x)


# ── indexing ────────────────────────────────────────────────────────────────────────────────────
@given(shape=SHAPES, seed=SEEDS, data=st.data())
def test_basic_indexing(shape: tuple[int, ...], seed: int, data: st.DataObject) -> None:
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    agrees(lambda x: ta.getitem(x, index), lambda x: x[index], filled(shape, seed))


@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4),
    seed=SEEDS,
    data=st.data(),
)
def test_integer_arrays_as_index(shape: Any, seed: int, data: st.DataObject) -> None:
    small = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)
    index = data.draw(hnp.integer_array_indices(shape, result_shape=small))
    agrees(lambda x: ta.getitem(x, index), lambda x: x[index], filled(shape, seed))


@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4),
    seed=SEEDS,
    data=st.data(),
)
def test_mixed_indexing(shape: Any, seed: int, data: st.DataObject) -> None:
    """Integers, slices, masks, arrays that broadcast together and new axes, in any order."""
    length = data.draw(st.integers(1, 3))
    index: list[Any] = []
    for n in shape[: data.draw(st.integers(1, len(shape)))]:
        kind = data.draw(st.sampled_from(["integer", "slice", "array", "column", "mask", "new"]))
        if kind == "new":
            index.append(None)
        index.append(
            {
                "integer": data.draw(st.integers(-n, n - 1)),
                "slice": data.draw(st.slices(n)),
                "new": data.draw(st.slices(n)),
                "array": np.array(
                    data.draw(st.lists(st.integers(-n, n - 1), min_size=length, max_size=length))
                ),
                "column": np.array([[data.draw(st.integers(-n, n - 1))], [0]]),
                "mask": np.arange(n) == data.draw(st.integers(0, n - 1)),
            }[kind]
        )
    agrees(lambda x: ta.getitem(x, tuple(index)), lambda x: x[tuple(index)], filled(shape, seed))


# ── products ────────────────────────────────────────────────────────────────────────────────────
@given(
    shapes=hnp.mutually_broadcastable_shapes(
        signature=np.matmul.signature, max_dims=2, min_side=0, max_side=4
    ),
    seed=SEEDS,
)
@settings(max_examples=150)
def test_matmul_of_all_ranks(shapes: Any, seed: int) -> None:
    a, b = (filled(shape, seed + k) for k, shape in enumerate(shapes.input_shapes))
    agrees(ta.matmul, np.matmul, a, b)


@st.composite
def einsums(draw: st.DrawFn) -> tuple[str, list[tuple[int, ...]]]:
    """Subscripts with repeated letters, lone summed letters, ellipses and either form of result."""
    length = {c: draw(st.integers(1, 3)) for c in "abcd"}
    rows = draw(st.lists(st.text("abcd", max_size=3), min_size=1, max_size=3))
    hidden = draw(st.one_of(st.none(), st.lists(st.integers(1, 2), max_size=2).map(tuple)))
    dots, shapes = [], []
    for row in rows:
        at = draw(st.integers(0, len(row))) if hidden is not None else None
        seen = hidden[draw(st.integers(0, len(hidden))) :] if hidden else ()
        full = row if at is None else row[:at] + "..." + row[at:]
        dots.append(full)
        split = len(row) if at is None else at
        shapes.append((*(length[c] for c in row[:split]), *seen, *(length[c] for c in row[split:])))
    subscripts = ",".join(dots)
    if draw(st.booleans()):
        kept = draw(st.permutations(sorted(set("".join(rows)))))[: draw(st.integers(0, 3))]
        subscripts += "->" + ("..." if hidden is not None else "") + "".join(kept)
    return subscripts, shapes


@given(case=einsums(), seed=SEEDS)
@settings(max_examples=150)
def test_einsum_in_all_its_forms(case: Any, seed: int) -> None:
    subscripts, shapes = case
    xs = [filled(shape, seed + k) for k, shape in enumerate(shapes)]
    agrees(lambda *xs: ta.einsum(subscripts, *xs), lambda *xs: np.einsum(subscripts, *xs), *xs)


# ── whole expressions ───────────────────────────────────────────────────────────────────────────
STEPS: list[Callable[[list[Any]], Any]] = [
    lambda v: v[-1] * v[0],
    lambda v: v[-1] + v[len(v) // 2],
    lambda v: ta.tanh(v[-1]),
    lambda v: ta.sin(v[-1]),
    lambda v: ta.softmax(v[-1]),
    lambda v: ta.matmul(v[-1], v[0]),
    lambda v: ta.exp(-(v[-1] * v[-1])),
    lambda v: v[-1] - ta.mean(v[-1], axis=0, keepdims=True),
    lambda v: ta.swapaxes(v[-1], 0, 1),
    lambda v: v[-1] / (1 + v[0] * v[0]),
    lambda v: ta.concat([v[-1][1:], v[-1][:1]]),
    lambda v: ta.stack(list(ta.split(v[-1], 3)))[:, 0],
    lambda v: ta.cumsum(v[-1], 1),
    lambda v: ta.gelu(v[-1]),
    lambda v: ta.einsum("ij,ij,jk->ik", v[-1], v[0], v[-1]),
]


@given(steps=st.lists(st.sampled_from(range(len(STEPS))), min_size=1, max_size=8), seed=SEEDS)
def test_random_expressions_to_second_order(steps: list[int], seed: int) -> None:
    """Graphs with shared results: the gradient and, through create_graph, the gradient of it."""
    x = filled((3, 3), seed, -1, 1)
    u = filled((3, 3), seed + 1, -1, 1)

    def f(x: Any) -> Any:
        values = [x]
        for step in steps:
            values.append(STEPS[step](values))
        return values[-1]

    agrees(f, f, x)

    def slope(x: Any) -> Any:
        leaf = Tensor(x, requires_grad=True)
        return ta.grad(f(leaf).sum(), [leaf], create_graph=True)[0]

    leaf = Tensor(x, requires_grad=True)
    (first,) = ta.grad(f(leaf).sum(), [leaf], create_graph=True)
    second = np.zeros((3, 3))
    if first.requires_grad:
        (found,) = ta.grad(first, [leaf], u, allow_unused=True)
        second = second if found is None else found.numpy()
    assert error(second, by_complex_step(lambda x: slope(x).numpy(), [x], [u], 0)) <= 1e-11
