"""Norms over several axes and of channels: values against loops, statistics, wrong calls.

Their gradients are rows of tinygrad_attn/check/functions.py; the kernels' are in test_kernels.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, Tensor, nn
from tinygrad_attn.nn import functional

Array = np.ndarray[Any, Any]
EPS = 0.1


def standard(x: Array) -> Array:
    """Zero mean and unit variance, all elements together."""
    mean = sum(x.ravel()) / x.size
    return (x - mean) / (sum((x.ravel() - mean) ** 2) / x.size + EPS) ** 0.5


@pytest.mark.parametrize("kernels", ["numpy", "off"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_norms_over_the_last_axes(axes: int, kernels: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 5))
    weight, bias = rng.standard_normal((2, *x.shape[3 - axes :]))
    layer, rms = np.zeros(x.shape), np.zeros(x.shape)
    for row in np.ndindex(x.shape[: 3 - axes]):
        layer[row] = standard(x[row]) * weight + bias
        mean_square = sum(x[row].ravel() ** 2) / x[row].size
        rms[row] = x[row] / (mean_square + EPS) ** 0.5 * weight
    with ta.kernels.use(kernels):
        out = functional.layer_norm(Tensor(x), weight, Tensor(bias), EPS, axes=axes)
        np.testing.assert_allclose(out.data, layer, rtol=1e-12, atol=1e-14)
        out = functional.rms_norm(x, weight, EPS, axes=axes)
        np.testing.assert_allclose(out, rms, rtol=1e-12)


@pytest.mark.parametrize("shape", [(2, 6, 5), (3, 6), (2, 6, 3, 5)])
def test_norms_of_channels(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x, (weight, bias) = rng.standard_normal(shape), rng.standard_normal((2, 6))
    group, instance, batch = (np.zeros(shape) for _ in range(3))
    for n in range(shape[0]):
        for first in (0, 3):
            group[n, first : first + 3] = standard(x[n, first : first + 3])
    for c in range(6):
        batch[:, c] = standard(x[:, c]) * weight[c] + bias[c]
        group[:, c] = group[:, c] * weight[c] + bias[c]
        for n in range(shape[0]):
            instance[n, c] = standard(np.asarray(x[n, c])) * weight[c] + bias[c]
    for value, expected in (
        (functional.group_norm(x, 2, weight, bias, EPS), group),
        (functional.instance_norm(x, weight, bias, EPS), instance),
        (functional.group_norm(x, 6, weight, bias, EPS), instance),
        (functional.batch_norm(x, weight, bias, eps=EPS), batch),
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)


def test_batch_norm_with_averages_treats_each_sample_alone(rng: np.random.Generator) -> None:
    x, mean, var = rng.standard_normal((3, 2, 5)), rng.standard_normal(2), rng.random(2)
    out = functional.batch_norm(x, mean=mean, var=var, eps=EPS)
    for c in range(2):
        expected = (x[:, c] - mean[c]) / (var[c] + EPS) ** 0.5
        np.testing.assert_allclose(out[:, c], expected, rtol=1e-13)
    alone = functional.batch_norm(x[1:2], mean=mean, var=var, eps=EPS)
    np.testing.assert_array_equal(out[1:2], alone)
    assert functional.batch_norm(x[:0], mean=mean, var=var).shape == (0, 2, 5)


def test_layers_over_several_axes(rng: np.random.Generator) -> None:
    x, weight, bias = rng.standard_normal((2, 3, 5)), *rng.standard_normal((2, 3, 5))
    layer, rms = nn.LayerNorm((3, 5), EPS).astype(np.float64), nn.RMSNorm([3, 5], EPS)
    layer.load_state_dict({"weight": weight, "bias": bias})
    for row, out in zip(x, layer(Tensor(x)).data):
        np.testing.assert_allclose(out, standard(row) * weight + bias, rtol=1e-12, atol=1e-14)
    expected = functional.rms_norm(x, eps=EPS, axes=2)
    np.testing.assert_allclose(rms(Tensor(x)).data, expected, rtol=1e-14)
    assert "LayerNorm((3, 5), eps=0.1)" in repr(layer)
    with pytest.raises(ShapeError, match=r"layer_norm: expected weight and bias \(3, 5\), got .*"):
        functional.layer_norm(x, weight.T, axes=2)
    with pytest.raises(ShapeError, match="LayerNorm: d must be an integer of 1 or more, got 0"):
        nn.LayerNorm((3, 0))
    with pytest.raises(ShapeError, match=r"RMSNorm: d must be an integer of 1 or more, got \(\)"):
        nn.RMSNorm(())


def test_float32_stays_float32(rng: np.random.Generator) -> None:
    x = Tensor(rng.standard_normal((2, 6, 3)).astype(np.float32), requires_grad=True)
    for out in (
        functional.layer_norm(x, axes=2),
        functional.rms_norm(x, axes=3),
        functional.group_norm(x, 3),
        functional.instance_norm(x),
        functional.batch_norm(x),
    ):
        out.sum().backward()
        assert out.dtype == x.grad.dtype == np.float32


X = np.zeros((2, 6, 5))
WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: functional.layer_norm(X, np.ones(5), axes=2),
        ShapeError,
        r"layer_norm: expected weight and bias \(6, 5\), got \(5,\)",
    ),
    (
        lambda: functional.layer_norm(X, axes=4),
        ShapeError,
        r"layer_norm: axes must lie in \[1, 3\] for x \(2, 6, 5\), got 4",
    ),
    (lambda: functional.rms_norm(X, axes=0), ShapeError, r"rms_norm: axes must lie in \[1, 3\]"),
    (lambda: functional.rms_norm(X, axes=(1, 2)), DTypeError, "rms_norm: axes must be an integer"),
    (
        lambda: functional.group_norm(X, 4),
        ShapeError,
        r"group_norm: groups must divide the 6 channels of \(2, 6, 5\), got 4",
    ),
    (lambda: functional.group_norm(X, 0), ShapeError, "group_norm: groups must divide"),
    (lambda: functional.group_norm(X, 2.0), DTypeError, "group_norm: groups must be an integer"),
    (
        lambda: functional.group_norm(X, 2, np.ones(5)),
        ShapeError,
        r"group_norm: expected weight \(6\), got \(5,\)",
    ),
    (
        lambda: functional.instance_norm(np.zeros(3)),
        ShapeError,
        r"instance_norm: expected x \(B, C, ...\), got \(3,\)",
    ),
    (
        lambda: functional.batch_norm(X, mean=np.ones((6, 1))),
        ShapeError,
        r"batch_norm: expected mean \(6\), got \(6, 1\)",
    ),
    (
        lambda: functional.batch_norm(X[:0]),
        ShapeError,
        r"batch_norm: nothing in \(0, 6, 5\) to take mean and var of; pass them",
    ),
    (lambda: functional.batch_norm(X, eps=np.inf), ShapeError, "batch_norm: eps must be finite"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[m for _, _, m in WRONG])
def test_wrong_calls(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_a_layer_over_several_axes_names_itself() -> None:
    for kind in (nn.LayerNorm, nn.RMSNorm):
        with pytest.raises(ShapeError, match=rf"^{kind.__name__}: axes must lie in \[1, 1\]"):
            kind((3, 5))(Tensor(np.ones(5)))
        with pytest.raises(ShapeError, match=rf"^{kind.__name__}: expected weight.*\(5, 3\)"):
            kind((3, 5))(Tensor(np.ones((2, 5, 3))))
