"""Losses: values against plain NumPy, every gradient, options, and wrong input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from derivatives import worst_error

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, IndexingError, ShapeError, Tensor
from tinygrad_attn.nn import functional

TARGETS = np.array([[0, 4, 2], [-100, 1, 4]])


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x)
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradients_of_cross_entropy(
    reduction: str, smoothing: float, order: int, rng: np.random.Generator
) -> None:
    def loss(logits: Tensor) -> Tensor:
        return functional.cross_entropy(
            logits, TARGETS, label_smoothing=smoothing, reduction=reduction
        )

    assert worst_error(loss, [rng.standard_normal((2, 3, 5))], order) < 1e-12


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_values_of_cross_entropy(smoothing: float, rng: np.random.Generator) -> None:
    logits = rng.standard_normal((2, 3, 5))
    p, expected = softmax(logits), np.zeros((2, 3))
    for row in np.ndindex(2, 3):
        if TARGETS[row] >= 0:
            q = np.full(5, smoothing / 5)
            q[TARGETS[row]] += 1 - smoothing
            expected[row] = -(q * np.log(p[row])).sum()
    values = {
        how: functional.cross_entropy(Tensor(logits), TARGETS, -100, smoothing, how)
        for how in ("none", "sum", "mean")
    }
    np.testing.assert_allclose(values["none"].data, expected, rtol=1e-14)
    np.testing.assert_allclose(values["sum"].data, expected.sum(), rtol=1e-14)
    np.testing.assert_allclose(values["mean"].data, expected.sum() / 5, rtol=1e-14)


def test_cross_entropy_of_one_row_and_of_huge_logits() -> None:
    logits = Tensor(np.array([1e4, 0, -1e4], np.float32), requires_grad=True)
    loss = functional.cross_entropy(logits, 1)
    assert loss.item() == 1e4
    assert loss.dtype == np.float32
    loss.backward()
    np.testing.assert_array_equal(logits.grad.data, [1, -1, 0])


def test_cross_entropy_where_no_target_counts() -> None:
    logits = Tensor(np.ones((2, 3)), requires_grad=True)
    loss = functional.cross_entropy(logits, [-100, -100])
    assert loss.item() == 0
    loss.backward()
    assert not logits.grad.data.any()


def test_ignored_class_can_be_any_number_or_none() -> None:
    logits = Tensor(np.zeros((2, 3)))
    per_row = functional.cross_entropy(logits, [0, 2], ignore_index=0, reduction="none")
    np.testing.assert_allclose(per_row.data, [0, np.log(3)])
    with pytest.raises(IndexingError, match=r"targets must lie in \[0, 3\), got -100 … 2"):
        functional.cross_entropy(logits, [-100, 2], ignore_index=None)


def test_wrong_input_of_cross_entropy() -> None:
    logits = np.zeros((2, 3))
    with pytest.raises(ShapeError, match=r"logits \(2, 3\) and targets \(3,\)"):
        functional.cross_entropy(logits, [0, 1, 2])
    with pytest.raises(ShapeError, match=r"logits \(2, 0\)"):
        functional.cross_entropy(np.zeros((2, 0)), [0, 0])
    with pytest.raises(DTypeError, match="targets must be an array of integers, got float64"):
        functional.cross_entropy(logits, [0.0, 1.0])
    with pytest.raises(IndexingError, match=r"targets must lie in \[0, 3\), got 0 … 3"):
        functional.cross_entropy(logits, [0, 3])
    with pytest.raises(ShapeError, match=r"label_smoothing must lie in \[0, 1\], got 2"):
        functional.cross_entropy(logits, [0, 1], label_smoothing=2)
    with pytest.raises(
        ShapeError, match=r"cross_entropy: reduction must be one of \(.*\), got 'max'"
    ):
        functional.cross_entropy(logits, [0, 1], reduction="max")


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_mse(reduction: str, order: int, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((2, 3, 5))[:2]
    squares = (x - y) ** 2
    expected = {"mean": squares.mean(), "sum": squares.sum(), "none": squares}[reduction]
    np.testing.assert_allclose(functional.mse_loss(Tensor(x), y, reduction).data, expected)
    assert worst_error(lambda a, b: functional.mse_loss(a, b, reduction), [x, y], order) < 1e-12


def test_mse_does_not_broadcast() -> None:
    with pytest.raises(ShapeError, match=r"one shape, got \(3, 1\) and \(3,\)"):
        functional.mse_loss(Tensor(np.ones((3, 1))), np.ones(3))


def test_norms_without_weights(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 5))
    for order in (1, 2):
        assert worst_error(functional.layer_norm, [x], order) < 1e-12
        assert worst_error(functional.rms_norm, [x], order) < 1e-12


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, bool])
@pytest.mark.parametrize(
    "function",
    [
        functional.softmax,
        functional.log_softmax,
        functional.sigmoid,
        functional.silu,
        functional.gelu,
        lambda x: functional.gelu(x, "tanh"),
        functional.rms_norm,
        functional.layer_norm,
        lambda x: functional.dropout(x, 0.3, rng=np.random.default_rng(0)),
        ta.erf,
        ta.softplus,
        ta.norm,
        ta.logsumexp,
        lambda x: functional.cross_entropy(x, [0, 1]),
    ],
)
def test_integers_neither_wrap_around_nor_are_cut_off(function: Any, dtype: type) -> None:
    """Differences, signs and squares of small or unsigned integers would."""
    x = np.array([[0, 3, 250], [7, 1, 130]]).astype(dtype)
    for given in (x, Tensor(x)):
        np.testing.assert_array_equal(np.asarray(function(given)), function(x.astype(np.float64)))


WEIGHT, BIAS = Tensor(np.ones((2, 3))), Tensor(np.ones(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: functional.linear(BIAS, [1.0, 2.0, 3.0]),
            r"linear: expected weight \(d_out, d_in\), got \(3,\)",
        ),
        (
            lambda: functional.linear(BIAS, WEIGHT, np.ones((5, 2))),
            r"linear: expected bias \(2\), got \(5, 2\)",
        ),
        (
            lambda: functional.layer_norm(BIAS, np.ones((3, 1))),
            r"layer_norm: expected weight and bias \(d\), got \(3, 1\)",
        ),
        (
            lambda: functional.layer_norm(BIAS, eps=np.inf),
            "layer_norm: eps must be finite, got inf",
        ),
        (lambda: functional.rms_norm(BIAS, eps=np.nan), "rms_norm: eps must be finite, got nan"),
        (
            lambda: functional.embedding([0], BIAS),
            r"embedding: expected weight \(n, d\), got \(3,\)",
        ),
        (lambda: functional.cross_entropy(WEIGHT, [[0], [1, 2]]), "targets must all have one leng"),
    ],
)
def test_wrong_arrays(call: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: functional.linear(BIAS, None), "linear: expected numbers, got NoneType"),
        (lambda: functional.linear(np.array(["a", "b", "c"]), WEIGHT), "linear: expected numbers"),
        (lambda: functional.rms_norm(np.ones(3), eps="a"), "rms_norm: eps must be a number, got"),
        (
            lambda: functional.cross_entropy(WEIGHT, [0, 1], label_smoothing=None),
            "cross_entropy: label_smoothing must be a number, got None",
        ),
        (
            lambda: functional.cross_entropy(WEIGHT, [0, 1], ignore_index=[1]),
            r"cross_entropy: ignore_index must be an integer or None, got \[1\]",
        ),
        (lambda: functional.dropout(BIAS, 0.5, mask="a"), "dropout: expected numbers"),
    ],
)
def test_arguments_of_a_wrong_kind(call: Any, message: str) -> None:
    with pytest.raises(DTypeError, match=message):
        call()
