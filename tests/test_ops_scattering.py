"""Writing into arrays: what is written where, in which dtype, and whose gradient it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import Tensor


def leaf(values: Any) -> Tensor:
    return Tensor(np.asarray(values, float), requires_grad=True)


def test_the_last_of_several_values_for_one_place_has_the_gradient() -> None:
    x, values = leaf([1.0, 2.0, 3.0]), leaf([5.0, 7.0, 11.0])
    y = ta.index_put(x, [2, 0, 2], values)
    assert y.numpy().tolist() == [7, 2, 11]
    y.backward(np.array([1.0, 10.0, 100.0]))
    assert x.grad.numpy().tolist() == [0, 10, 0]
    assert values.grad.numpy().tolist() == [0, 1, 100]
    assert x.numpy().tolist() == [1, 2, 3]


def test_numbers_and_lists_take_the_dtype_of_what_they_are_written_into() -> None:
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    for values in (7.0, np.float64(7), [7.0], 7):
        assert ta.index_put(x, [1], values).dtype == np.float32
    assert ta.index_put(np.ones(3, int), 1, 7).dtype == int


@pytest.mark.parametrize("accumulate", [False, True])
def test_an_array_of_values_is_not_rounded(accumulate: bool) -> None:
    values = np.array([0.1])
    for dtype in (np.float32, int):
        out = ta.index_put(np.zeros(2, dtype), [1], values, accumulate)
        assert (out.tolist(), out.dtype) == ([0, 0.1], np.float64)


def test_writing_nothing_changes_nothing() -> None:
    x = leaf([1.0, 2.0])
    for y in (
        ta.index_put(x, [], np.zeros(0)),
        ta.index_put(x, np.zeros(2, bool), 7.0),
        ta.put_along_axis(x, np.zeros(0, int), np.zeros(0), 0),
        ta.scatter_reduce(x, np.zeros(0, int), np.zeros(0), 0, "prod", False),
    ):
        assert y.numpy().tolist() == [1, 2]
        assert ta.grad(y, [x], [3.0, 5.0])[0].numpy().tolist() == [3, 5]


def test_values_that_are_written_nowhere_are_in_the_graph() -> None:
    x, values = leaf([1.0, 2.0]), leaf(np.zeros(0))
    for y in (
        ta.index_put(x, np.zeros(0, int), values),
        ta.put_along_axis(x, np.zeros(0, int), values, 0),
        ta.scatter_add(x, np.zeros(0, int), values),
        ta.scatter_reduce(x, np.zeros(0, int), values, 0, "max"),
    ):
        gx, gvalues = ta.grad(y, [x, values], [3.0, 5.0])
        assert (gx.numpy().tolist(), gvalues.shape) == ([3, 5], (0,))


def test_scatter_reduce_shares_ties_and_is_exact_at_zeros() -> None:
    x, updates = leaf([3.0, 0.0]), leaf([3.0, 1.0, 2.0])
    places = np.array([0, 0, 1])
    ta.scatter_reduce(x, places, updates, 0, "max").backward(np.array([6.0, 1.0]))
    assert (x.grad.numpy().tolist(), updates.grad.numpy().tolist()) == ([3, 0], [3, 0, 1])
    y, factors = leaf([0.0, 5.0]), leaf([2.0, 0.0, 7.0])
    ta.scatter_reduce(y, places, factors, 0, "prod", False).backward(np.array([10.0, 1.0]))
    assert (y.grad.numpy().tolist(), factors.grad.numpy().tolist()) == ([0, 0], [0, 20, 1])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64, np.float32])
@pytest.mark.parametrize(("reduce", "extreme"), [("max", np.max), ("min", np.min)])
@pytest.mark.parametrize("include_self", [True, False])
def test_extremes_of_every_dtype(reduce: str, extreme: Any, dtype: Any, include_self: bool) -> None:
    """Rows of unequal lengths are filled up with what is never the extreme."""
    x, updates = np.array([0, 1, 1]).astype(dtype), np.array([0, 1, 0, 1]).astype(dtype)
    places = np.array([0, 1, 1, 1])
    out = ta.scatter_reduce(x, places, updates, 0, reduce, include_self)
    expected = x.copy()
    for place in (0, 1):
        rows = [x[[place] * include_self], updates[places == place]]
        expected[place] = extreme(np.concatenate(rows))
    np.testing.assert_array_equal(out, expected)
    assert out.dtype == dtype


def test_integers_meet_numbers_with_a_fraction() -> None:
    x, updates = np.array([5, 7, 9]), np.array([3.5, -np.inf])
    out = ta.scatter_reduce(x, np.array([0, 1]), updates, 0, "min")
    assert out.tolist() == [3.5, -np.inf, 9]
    out = ta.scatter_reduce(x, np.array([0, 0]), updates, 0, "max", include_self=False)
    assert out.tolist() == [3.5, 7, 9]
