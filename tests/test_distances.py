"""Losses of differences, and directions: values against loops over elements, bends, wrong calls.

Their gradients are rows of tinygrad_attn/check/functions.py, at first and second order.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, Tensor
from tinygrad_attn.nn import functional


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_of_differences(reduction: str, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((2, 3, 5))
    far = abs(x - y)
    huber = [z * z / 2 if z <= 0.7 else 0.7 * (z - 0.35) for z in far.flat]
    reduced = {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction]
    for value, losses in (
        (functional.l1_loss(x, y, reduction), far),
        (functional.huber_loss(x, y, reduction, delta=0.7), np.reshape(huber, (3, 5))),
        (functional.smooth_l1_loss(x, y, reduction, beta=0.7), np.reshape(huber, (3, 5)) / 0.7),
        (functional.smooth_l1_loss(x, y, reduction, beta=0), far),
    ):
        np.testing.assert_allclose(value, reduced(losses), rtol=1e-13)


def test_gradients_at_the_bends() -> None:
    """At 0 the gradient is 0; at ±δ both pieces have the same."""
    x = Tensor([0.0, 2.0, -2.0, 5.0], requires_grad=True, dtype=np.float64)
    for loss, expected in (
        (functional.l1_loss(x, np.zeros(4), "sum"), [0, 1, -1, 1]),
        (functional.huber_loss(x, np.zeros(4), "sum", delta=2), [0, 2, -2, 2]),
        (functional.smooth_l1_loss(x, np.zeros(4), "sum", beta=2), [0, 1, -1, 1]),
    ):
        (g,) = ta.grad(loss, [x])
        np.testing.assert_array_equal(g.data, expected)


def test_unsigned_integers_do_not_wrap() -> None:
    x, y = np.array([3, 250], np.uint8), np.array([5, 1], np.uint8)
    assert functional.l1_loss(x, y, "sum") == 251
    assert functional.mse_loss(x, y, "sum") == 4 + 249**2


def test_cosine_similarity(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((2, 5, 1)), rng.standard_normal((5, 3))
    expected = np.zeros((2, 3))
    for i, j in np.ndindex(2, 3):
        u, v = a[i, :, 0], b[:, j]
        expected[i, j] = sum(u * v) / sqrt(sum(u * u)) / sqrt(sum(v * v))
    np.testing.assert_allclose(functional.cosine_similarity(a, b, 1), expected, rtol=1e-13)
    assert functional.cosine_similarity(np.zeros(3), np.ones(3)) == 0
    np.testing.assert_allclose(  # no norm is less than eps
        functional.cosine_similarity(np.full(4, 0.1), np.ones(4), eps=0.5), 0.4 / 0.5 / 2
    )


def test_normalize(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 5))
    x[1] = 0
    lengths = {
        1: abs(x).sum(1),
        3: (abs(x) ** 3).sum(1) ** (1 / 3),
        2: np.sqrt((x * x).sum(1)),
        np.inf: abs(x).max(1),
    }
    for order, length in lengths.items():
        length[1] = 1
        np.testing.assert_allclose(
            functional.normalize(x, ord=order), x / length[:, None], rtol=1e-14
        )
    np.testing.assert_allclose(functional.normalize(x.T, 0).T, functional.normalize(x))


# ── wrong calls ──────────────────────────────────────────────────────────────────────────────────
X = np.zeros((2, 3))
WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: functional.l1_loss(X, X[0]), ShapeError, r"l1_loss: .* got \(2, 3\) and \(3,\)"),
    (lambda: functional.huber_loss(X, X, delta=0), ShapeError, "huber_loss: delta must be posit"),
    (lambda: functional.smooth_l1_loss(X, X, beta=-1), ShapeError, "smooth_l1_loss: beta must be"),
    (lambda: functional.smooth_l1_loss(X, X, beta="1"), DTypeError, "beta must be a number"),
    (
        lambda: functional.cosine_similarity(X, np.ones(2)),
        ShapeError,
        r"cosine_similarity: \(2, 3\) and \(2,\) do not broadcast",
    ),
    (
        lambda: functional.cosine_similarity(X, X, 2),
        ShapeError,
        r"cosine_similarity: there is no axis 2 in shape \(2, 3\)",
    ),
    (lambda: functional.normalize(X, eps=0), ShapeError, "normalize: eps must be positive"),
    (lambda: functional.normalize(X, ord="fro"), ShapeError, "ord must be"),
    (lambda: functional.normalize(X, None), ShapeError, "normalize: there is no axis None"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[m for _, _, m in WRONG])
def test_wrong_calls(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
