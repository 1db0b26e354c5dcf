"""Losses beyond plain cross-entropy: values against loops over elements, conventions, wrong calls.

Their gradients are rows of tinygrad_attn/check/functions.py, at first and second order.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, log
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, IndexingError, ShapeError, Tensor
from tinygrad_attn.nn import functional

Array = np.ndarray[Any, Any]
TARGETS = np.array([[0, 4, 2], [-100, 1, 4]])
WEIGHT = np.array([0.5, 2.0, 0.0, 1.5, 3.0])


def log_softmax(row: Array) -> Array:
    return row - log(sum(exp(x) for x in row))


def reduce(losses: Array, counts: Array, reduction: str) -> Any:
    """The loss of all rows from the loss of each and how much it counts."""
    if reduction == "none":
        return losses
    return losses.sum() / (counts.sum() if reduction == "mean" else 1)


# ── classes ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("axis", [-1, 1, 0])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_weighted_cross_entropy(
    reduction: str, smoothing: float, axis: int, rng: np.random.Generator
) -> None:
    logits = rng.standard_normal((2, 3, 5))
    losses, counts = np.zeros((2, 3)), np.zeros((2, 3))
    for row in np.ndindex(2, 3):
        target = TARGETS[row]
        if target < 0:
            continue
        counts[row] = WEIGHT[target]
        for c, log_p in enumerate(log_softmax(logits[row])):
            q = (1 - smoothing) * (c == target) + smoothing / 5
            losses[row] -= q * WEIGHT[c] * log_p
    value = functional.cross_entropy(
        np.moveaxis(logits, -1, axis),
        TARGETS,
        label_smoothing=smoothing,
        reduction=reduction,
        weight=WEIGHT,
        axis=axis,
    )
    np.testing.assert_allclose(value, reduce(losses, counts, reduction), rtol=1e-13)


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_with_probabilities(
    reduction: str, smoothing: float, weight: Any, rng: np.random.Generator
) -> None:
    logits, q = rng.standard_normal((2, 3, 5)), rng.random((2, 3, 5))
    losses = np.zeros((2, 3))
    for row in np.ndindex(2, 3):
        for c, log_p in enumerate(log_softmax(logits[row])):
            share = (1 - smoothing) * q[row][c] + smoothing / 5
            losses[row] -= share * (1 if weight is None else weight[c]) * log_p
    for logits_given, q_given, axis in (
        (logits, q, -1),
        (Tensor(logits), Tensor(q), 2),
        (np.moveaxis(logits, -1, 1), np.moveaxis(q, -1, 1), 1),
    ):
        value = functional.cross_entropy(
            logits_given, q_given, -100, smoothing, reduction, weight=weight, axis=axis
        )
        expected = reduce(losses, np.ones((2, 3)), reduction)
        np.testing.assert_allclose(value, expected, rtol=1e-13)


def test_probabilities_that_are_certain_are_classes(rng: np.random.Generator) -> None:
    logits, targets = Tensor(rng.standard_normal((3, 5)), requires_grad=True), np.array([4, 0, 2])
    for smoothing in (0.0, 0.2):
        by_class = functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        certain = functional.cross_entropy(logits, np.eye(5)[targets], label_smoothing=smoothing)
        np.testing.assert_allclose(by_class.data, certain.data, rtol=1e-14)


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nll(reduction: str, weight: Any, rng: np.random.Generator) -> None:
    log_p = rng.standard_normal((2, 5, 3))
    losses, counts = np.zeros((2, 3)), np.zeros((2, 3))
    for n, t in np.ndindex(2, 3):
        if TARGETS[n, t] >= 0:
            counts[n, t] = 1 if weight is None else weight[TARGETS[n, t]]
            losses[n, t] = -counts[n, t] * log_p[n, TARGETS[n, t], t]
    value = functional.nll_loss(log_p, TARGETS, reduction=reduction, weight=weight, axis=1)
    np.testing.assert_allclose(value, reduce(losses, counts, reduction), rtol=1e-14)


def test_nll_of_log_softmax_is_cross_entropy(rng: np.random.Generator) -> None:
    logits = rng.standard_normal((2, 3, 5))
    np.testing.assert_allclose(
        functional.nll_loss(ta.log_softmax(logits), TARGETS, weight=WEIGHT),
        functional.cross_entropy(logits, TARGETS, weight=WEIGHT),
        rtol=1e-13,
    )


@pytest.mark.parametrize("loss", [functional.cross_entropy, functional.nll_loss])
def test_where_no_target_counts_the_loss_is_zero(loss: Callable[..., Tensor]) -> None:
    """All ignored, all of weight 0, or none there: 0, and no gradient."""
    for targets, weight in (([-100, -100], None), ([-100, -100], WEIGHT), ([2, 2], WEIGHT)):
        x = Tensor(np.ones((2, 5)), requires_grad=True)
        value = loss(x, targets, weight=weight)
        value.backward()
        assert value.item() == 0
        assert not x.grad.data.any()
    assert loss(Tensor(np.ones((0, 5))), np.zeros(0, int)).item() == 0


@pytest.mark.parametrize("loss", [functional.cross_entropy, functional.nll_loss])
def test_an_ignored_row_may_hold_anything(
    loss: Callable[..., Tensor], rng: np.random.Generator
) -> None:
    """Where class 0 is impossible an ignored target must not count ∞·0."""
    rows = rng.standard_normal((2, 5))
    rows[1, 0] = -inf
    for weight in (None, WEIGHT):
        x = Tensor(rows, requires_grad=True)
        value = loss(x, [4, -100], weight=weight)
        value.backward()
        np.testing.assert_allclose(value.data, loss(Tensor(rows[:1]), [4], weight=weight).data)
        assert not x.grad.data[1].any()


def test_float32_stays_float32(rng: np.random.Generator) -> None:
    logits = Tensor(rng.standard_normal((3, 5)).astype(np.float32), requires_grad=True)
    other = Tensor(rng.random((3, 5)).astype(np.float32))
    values = [
        functional.cross_entropy(logits, [0, 4, 2], weight=WEIGHT, label_smoothing=0.1),
        functional.cross_entropy(logits, rng.random((3, 5)), weight=WEIGHT).sum(),
        functional.nll_loss(logits, [0, -100, 2], weight=WEIGHT.tolist()),
        functional.binary_cross_entropy(ta.sigmoid(logits), np.ones((3, 5)), weight=WEIGHT),
        functional.binary_cross_entropy_with_logits(logits, other, pos_weight=WEIGHT),
        functional.kl_div(logits, rng.random((3, 5)), reduction="batchmean"),
        functional.huber_loss(logits, other, delta=0.3),
        functional.smooth_l1_loss(logits, other, beta=0.3),
        functional.cosine_similarity(logits, other).sum(),
        functional.normalize(logits).sum(),
    ]
    for value in values:
        assert value.dtype == np.float32
        value.backward()
        assert logits.grad.dtype == np.float32


# ── probabilities ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_binary_cross_entropy(reduction: str, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((3, 5)), rng.random((3, 5))
    w, v = rng.random((3, 1)), rng.random(5)
    losses, heavier = np.zeros((3, 5)), np.zeros((3, 5))
    for i, j in np.ndindex(3, 5):
        p = 1 / (1 + exp(-x[i, j]))
        losses[i, j] = -w[i, 0] * (y[i, j] * log(p) + (1 - y[i, j]) * log(1 - p))
        heavier[i, j] = -w[i, 0] * (v[j] * y[i, j] * log(p) + (1 - y[i, j]) * log(1 - p))
    one = np.ones((3, 5))
    np.testing.assert_allclose(
        functional.binary_cross_entropy(ta.sigmoid(x), y, weight=w, reduction=reduction),
        reduce(losses, one, reduction),
        rtol=1e-12,
    )
    for pos_weight, expected in ((None, losses), (v, heavier)):
        value = functional.binary_cross_entropy_with_logits(
            x, y, weight=w, pos_weight=pos_weight, reduction=reduction
        )
        np.testing.assert_allclose(value, reduce(expected, one, reduction), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_binary_cross_entropy_of_certainty(dtype: type) -> None:
    """Certain and wrong costs 100, not ∞; from logits it costs what they say."""
    p = Tensor(np.array([0.0, 1.0, 0.0, 1.0], dtype), requires_grad=True)
    loss = functional.binary_cross_entropy(p, [0.0, 1.0, 1.0, 0.0], reduction="none")
    np.testing.assert_allclose(loss.data, [0, 0, 100, 100], rtol=1e-6)
    loss.sum().backward()
    assert np.isfinite(p.grad.data).all()
    x = Tensor(np.array([-500.0, 500.0, 500.0], dtype), requires_grad=True)
    loss = functional.binary_cross_entropy_with_logits(x, [1.0, 0.0, 1.0], reduction="none")
    np.testing.assert_allclose(loss.data, [500, 500, 0], atol=1e-99)
    loss.sum().backward()
    np.testing.assert_allclose(x.grad.data, [-1, 1, 0], atol=1e-99)


def test_kl_div(rng: np.random.Generator) -> None:
    log_q, p = np.log(rng.random((3, 5))), rng.random((3, 5))
    p[1, 2] = 0
    losses = np.zeros((3, 5))
    for i, j in np.ndindex(3, 5):
        if p[i, j]:
            losses[i, j] = p[i, j] * (log(p[i, j]) - log_q[i, j])
    expected = {
        "none": losses,
        "sum": losses.sum(),
        "mean": losses.sum() / 15,
        "batchmean": losses.sum() / 3,
    }
    for reduction, value in expected.items():
        np.testing.assert_allclose(
            functional.kl_div(log_q, p, reduction=reduction), value, rtol=1e-13
        )
    positive = np.where(p > 0, p, 0.3)
    np.testing.assert_allclose(
        functional.kl_div(log_q, np.log(positive), log_target=True),
        functional.kl_div(log_q, positive),
        rtol=1e-13,
    )
    p = Tensor(p, requires_grad=True)
    functional.kl_div(log_q, p, reduction="sum").backward()
    assert p.grad.data[1, 2] == -log_q[1, 2]


@pytest.mark.parametrize(
    "loss",
    [
        functional.mse_loss,
        functional.l1_loss,
        functional.huber_loss,
        functional.smooth_l1_loss,
        functional.binary_cross_entropy,
        functional.binary_cross_entropy_with_logits,
        functional.kl_div,
        functional.cross_entropy,
    ],
)
def test_the_loss_of_nothing_is_zero(loss: Callable[..., Tensor]) -> None:
    x = Tensor(np.ones((0, 3)), requires_grad=True)
    for reduction in ("mean", "sum"):
        value = loss(x, np.ones((0, 3)), reduction=reduction)
        value.backward()
        assert (value.item(), x.grad.shape) == (0, (0, 3))


# ── wrong calls ──────────────────────────────────────────────────────────────────────────────────
X, P = np.zeros((2, 3)), np.full((2, 3), 0.5)
WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: functional.cross_entropy(X, [0, 1], weight=np.ones(2)),
        ShapeError,
        r"cross_entropy: expected weight \(3\), got \(2,\)",
    ),
    (
        lambda: functional.cross_entropy(X, [0, 1], axis=2),
        ShapeError,
        r"cross_entropy: there is no axis 2 for the classes in shape \(2, 3\)",
    ),
    (
        lambda: functional.cross_entropy(np.float64(1), [0]),
        ShapeError,
        r"cross_entropy: there is no axis -1 for the classes in shape \(\)",
    ),
    (
        lambda: functional.cross_entropy(X[:, :0], P[:, :0]),
        ShapeError,
        r"logits \(2, 0\) and targets \(2, 0\)",
    ),
    (lambda: functional.cross_entropy(X, [0, 1], axis=1.0), DTypeError, "axis must be an integer"),
    (
        lambda: functional.cross_entropy(X, P[:, :2]),
        ShapeError,
        r"logits \(2, 3\) and targets \(2, 2\)",
    ),
    (
        lambda: functional.nll_loss(X, [0, 1, 2]),
        ShapeError,
        r"nll_loss: log_p \(..., classes\) need targets \(...\), got log_p \(2, 3\) and targets",
    ),
    (lambda: functional.nll_loss(X, P), ShapeError, r"got log_p \(2, 3\) and targets \(2, 3\)"),
    (lambda: functional.nll_loss(X, [0, 3]), IndexingError, "nll_loss: targets must lie in"),
    (lambda: functional.nll_loss(X, [0.0, 1.0]), DTypeError, "nll_loss: targets must be an array"),
    (lambda: functional.nll_loss(X, [0, 1], reduction="max"), ShapeError, "nll_loss: reduction"),
    (
        lambda: functional.binary_cross_entropy(P, P[0]),
        ShapeError,
        r"binary_cross_entropy: probability and target must have one shape, got \(2, 3\) and \(3,",
    ),
    (
        lambda: functional.binary_cross_entropy(P * 3, P),
        ShapeError,
        r"probabilities must lie in \[0, 1\], got 1.5 … 1.5; logits go to binary_cross_entropy_wi",
    ),
    (
        lambda: functional.binary_cross_entropy(P, P, weight=np.ones((5, 2, 3))),
        ShapeError,
        r"weight \(5, 2, 3\) does not broadcast to \(2, 3\)",
    ),
    (
        lambda: functional.binary_cross_entropy_with_logits(X, P, pos_weight=np.ones(2)),
        ShapeError,
        r"_with_logits: pos_weight \(2,\) does not broadcast to \(2, 3\)",
    ),
    (lambda: functional.kl_div(X, P - 1), ShapeError, "kl_div: probabilities must not be negative"),
    (lambda: functional.kl_div(X, P, reduction="max"), ShapeError, "'batchmean'"),
    (lambda: functional.kl_div(X, P, log_target=2), DTypeError, "kl_div: log_target must be"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[m for _, _, m in WRONG])
def test_wrong_calls(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
