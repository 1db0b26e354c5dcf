"""Indexing as NumPy has it: every form, its gradient, and repeats that add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numeric import by_complex_step, error

import tinygrad_attn as ta
from tinygrad_attn import IndexingError, Tensor

A = np.random.default_rng(0).standard_normal((3, 5, 2, 7))
ROW_MASK = np.array([True, False, True])
MASK2 = np.random.default_rng(1).random((3, 5)) > 0.5
MASK4 = np.random.default_rng(2).random(A.shape) > 0.5
TAKEN, GRID = np.array([0, 2, 2, 1]), np.array([[4, -1, 0, 4], [1, 1, 1, 1]])

INDICES: dict[str, Any] = {
    "integer": 1,
    "negative integer": -1,
    "NumPy integer": np.int64(2),
    "0-d array": np.array(1),
    "slice": slice(0, 2),
    "empty slice": slice(2, 2),
    "reversed": slice(None, None, -1),
    "negative step": (slice(None), slice(-1, 0, -2)),
    "beyond the end": slice(1, 99),
    "all": slice(None),
    "ellipsis": ...,
    "ellipsis and integer": (..., 3),
    "between": (1, ..., -2),
    "empty tuple": (),
    "new axis": None,
    "new axes": (None, 1, ..., None),
    "new axis inside": (slice(None), None, 2),
    "every axis": (1, 2, 0, 3),
    "every axis and more": (1, 2, 0, 3, ...),
    "list": [0, 2],
    "list of negatives": [-1, -3, 0],
    "repeats": [1, 1, 1, 0],
    "empty list": [],
    "2-D array": np.array([[0, 1], [2, 2]]),
    "uint8 array": np.array([2, 0, 2], np.uint8),
    "empty array": np.zeros((0, 3), int),
    "boolean rows": ROW_MASK,
    "boolean list": [True, False, True],
    "two axes at once": MASK2,
    "all axes at once": MASK4,
    "nothing chosen": np.zeros(3, bool),
    "True": True,
    "False": False,
    "mask and slice": (MASK2, slice(0, 1)),
    "slice and mask": (slice(None), slice(None), np.array([False, True])),
    "paired": (TAKEN, GRID[0]),
    "broadcast together": (TAKEN, GRID),
    "columns and rows": (TAKEN[:, None], GRID[0]),
    "apart: result first": (TAKEN, slice(None), 1),
    "apart with slices": (TAKEN, slice(None), np.array([0, 1, 1, 0])),
    "integer between arrays": (TAKEN, 1, np.array([1, 0, 1, 0])),
    "array and integer": (TAKEN, 2),
    "integer and array": (2, GRID),
    "array then ellipsis": (GRID[:, :2] % 3, ...),
    "ellipsis then array": (..., TAKEN),
    "array after new axis": (None, TAKEN),
    "array, new axis, array": (TAKEN, None, GRID[0]),
    "mask and array": (ROW_MASK, np.array([0, 4])),
    "array and mask": (TAKEN[:2], slice(None), np.array([True, True])),
    "lists": ([0, 2], [1, 4]),
    "list, slice, list": ([0, 2], slice(1, 3), [1, 1]),
    "tensor": Tensor(TAKEN),
    "tensors": (Tensor(TAKEN), slice(None), Tensor(np.array([1, 0, 0, 1]))),
    "boolean tensor": Tensor(ROW_MASK),
    "comparison": A > 0,
}


def numpys(index: Any) -> Any:
    """The index with plain arrays in it."""
    if isinstance(index, tuple):
        return tuple(map(numpys, index))
    return index.numpy() if isinstance(index, Tensor) else index


@pytest.mark.parametrize("name", INDICES)
def test_value_and_gradient_of_an_index(name: str) -> None:
    """The gradient counts for every element how often, and with what g, it was taken."""
    index = INDICES[name]
    expected = A[numpys(index)]
    x = Tensor(A, requires_grad=True)
    y = x[index]
    assert y.shape == expected.shape
    np.testing.assert_array_equal(y.numpy(), expected)
    g = np.random.default_rng(3).standard_normal(y.shape)
    y.backward(g)
    places = np.arange(A.size).reshape(A.shape)[numpys(index)]
    summed = np.bincount(np.ravel(places), np.ravel(g), A.size).reshape(A.shape)
    np.testing.assert_allclose(x.grad.numpy(), summed, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", INDICES)
def test_second_order_through_an_index(name: str) -> None:
    index = INDICES[name]
    x = Tensor(A, requires_grad=True)
    y = x[index]
    g = np.random.default_rng(3).standard_normal(y.shape)
    (first,) = ta.grad((y * y * y).sum(), [x], create_graph=True)
    (second,) = ta.grad((first[index] * g).sum(), [x])
    places = np.arange(A.size).reshape(A.shape)[numpys(index)]
    often = np.bincount(np.ravel(places), minlength=A.size).reshape(A.shape)
    weight = np.bincount(np.ravel(places), np.ravel(g), A.size).reshape(A.shape)
    np.testing.assert_allclose(second.numpy(), 6 * A * often * weight, rtol=1e-13, atol=1e-13)


WRONG: list[Any] = [
    3,
    -4,
    (0, 5),
    (0, 0, 0, 0, 0),
    [3],
    [0, -4],
    np.array([0.5]),
    1.5,
    "rows",
    [0.0, 1.0],
    np.ones(4, bool),
    (slice(None), np.ones(3, bool)),
    ([0, 1], [0, 1, 2]),
    (..., ...),
    [None],
    Tensor(np.array([0.5])),
    {0: 1},
]


@pytest.mark.parametrize("index", WRONG, ids=repr)
def test_wrong_indices_raise_what_numpy_raises_with_name_and_shape(index: Any) -> None:
    with pytest.raises(IndexError):
        A[numpys(index)]
    x = Tensor(A, requires_grad=True)
    with pytest.raises(IndexingError, match=r"getitem.*float64\[3, 5, 2, 7\]"):
        x[index]


def test_0_d_tensors() -> None:
    x = Tensor(np.array(2.0), requires_grad=True)
    for index in ((), ..., None, True, (None, ...)):
        y = x[index]
        assert y.shape == np.array(2.0)[index].shape
        assert ta.grad(y, [x], np.ones(y.shape))[0].item() == 1
    with pytest.raises(IndexingError):
        x[0]


# ── take, take_along_axis, scatter_add ──────────────────────────────────────────────────────────
def test_take_adds_up_where_a_row_is_taken_often(rng: np.random.Generator) -> None:
    table, tokens = rng.standard_normal((11, 3)), rng.integers(-11, 11, (5, 7))
    x, g = Tensor(table, requires_grad=True), rng.standard_normal((5, 7, 3))
    y = ta.take(x, tokens, axis=0)
    np.testing.assert_array_equal(y.numpy(), table[tokens])
    y.backward(g)
    expected = np.zeros_like(table)
    np.add.at(expected, tokens, g)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-13)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take_equals_the_index_it_stands_for(rng: np.random.Generator, axis: int) -> None:
    x = Tensor(rng.standard_normal((3, 5, 2)), requires_grad=True)
    indices = rng.integers(0, x.shape[axis], (2, 3))
    index = (slice(None),) * (axis % 3) + (indices,)
    g = rng.standard_normal(ta.take(x, indices, axis).shape)
    (a,) = ta.grad(ta.take(x, indices, axis), [x], g)
    (b,) = ta.grad(x[index], [x], g)
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-13)


def test_scatter_add_undoes_take_along_axis(rng: np.random.Generator) -> None:
    """⟨scatter_add(0, i, u), x⟩ = ⟨u, take_along_axis(x, i)⟩: the two are adjoint."""
    x, u = rng.standard_normal((3, 5)), rng.standard_normal((3, 4))
    indices = rng.integers(-5, 5, (3, 4))
    scattered = ta.scatter_add(np.zeros((3, 5)), indices, u, -1)
    assert np.sum(scattered * x) == pytest.approx(np.sum(u * np.take_along_axis(x, indices, -1)))


def test_the_picked_log_probability_has_the_known_gradient(rng: np.random.Generator) -> None:
    """Cross-entropy by hand: softmax minus one-hot."""
    logits, targets = rng.standard_normal((5, 7)), rng.integers(0, 7, 5)
    x = Tensor(logits, requires_grad=True)
    (-ta.log_softmax(x)[np.arange(5), targets].mean()).backward()
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(x.grad.numpy(), (p - np.eye(7)[targets]) / 5, rtol=1e-13, atol=1e-16)


INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_indices_and_axes_of_every_integer_dtype(dtype: Any) -> None:
    i, one = np.array([[0, 2], [1, 1]], dtype), dtype(1)
    for f in (
        lambda x: ta.take(x, i, one),
        lambda x: ta.take(x, i),
        lambda x: ta.take_along_axis(x, i, one),
        lambda x: ta.scatter_add(x, i, x[:, :2] * 2.0, one),
        lambda x: x[:, i],
        lambda x: x @ ta.one_hot(i, 3, np.float64)[0].mT,
        lambda x: ta.diagonal(x, one),
        lambda x: ta.sum(x, one),
        lambda x: ta.softmax(x, one),
        lambda x: ta.norm(x, 1, one),
        lambda x: ta.roll(x, one, one),
        lambda x: ta.tile(x, (one, dtype(2))),
        lambda x: ta.pad(x, i[:, ::-1]),
        lambda x: x.reshape(dtype(3), dtype(2)),
        lambda x: x.reshape(np.array([3, 2], dtype)),
        lambda x: ta.transpose(x, np.array([1, 0], dtype)),
        lambda x: ta.split(x, [one], one)[1],
        lambda x: ta.stack([x, x], one),
    ):
        a = np.random.default_rng(0).standard_normal((2, 3))
        x = Tensor(a, requires_grad=True)
        y = f(x)
        g = np.random.default_rng(1).standard_normal(y.shape)
        (first,) = ta.grad(y * y, [x], g)
        assert error(first, by_complex_step(lambda a, f=f: f(a) ** 2, [a], [g], 0)) < 1e-13
