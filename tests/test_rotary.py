"""`functional.rotary` and `functional.bilinear`: values against loops, wrong calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_attn import DTypeError, ShapeError, Tensor, nn
from tinygrad_attn.nn import functional


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("turned", [2, 4, 7])
def test_some_features_turn(turned: int, interleaved: bool, rng: np.random.Generator) -> None:
    x, angles = rng.standard_normal((2, 3, 5, 7)), rng.standard_normal((2, 1, 5, turned // 2))
    expected = x.copy()
    for b, h, t in np.ndindex(2, 3, 5):
        for i, angle in enumerate(angles[b, 0, t]):
            one, two = (2 * i, 2 * i + 1) if interleaved else (i, i + turned // 2)
            z = complex(x[b, h, t, one], x[b, h, t, two]) * np.exp(1j * angle)
            expected[b, h, t, one], expected[b, h, t, two] = z.real, z.imag
    out = functional.rotary(Tensor(x), np.cos(angles), np.sin(angles), interleaved=interleaved)
    np.testing.assert_allclose(out.data, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("interleaved", [False, True])
def test_positions_in_any_order(interleaved: bool, rng: np.random.Generator) -> None:
    """Rows of `RotaryPositions`, each turned by the angles of a position of its own."""
    layer = nn.RotaryPositions(4, interleaved=interleaved)
    x, positions = rng.standard_normal((3, 4)), np.array([5, 0, 2])
    angles = positions[:, None] * layer.rates
    out = functional.rotary(x, np.cos(angles), np.sin(angles), interleaved=interleaved)
    for row, position in enumerate(positions):
        expected = layer(Tensor(x[row : row + 1]), offset=int(position))
        np.testing.assert_allclose(out[row], expected.data[0], rtol=1e-13)


def test_bilinear(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((2, 1, 3)), rng.standard_normal((5, 4))
    weight, bias = rng.standard_normal((7, 3, 4)), rng.standard_normal(7)
    out = functional.bilinear(Tensor(x), y, weight, bias)
    assert out.shape == (2, 5, 7)
    for a, b, k in np.ndindex(2, 5, 7):
        np.testing.assert_allclose(out.data[a, b, k], x[a, 0] @ weight[k] @ y[b] + bias[k])


X, HALF = np.zeros((2, 3, 6)), np.zeros((3, 2))
WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: functional.rotary(X, np.zeros((3, 4)), np.zeros((3, 4))),
        ShapeError,
        r"rotary: .* r ≤ d, got x \(2, 3, 6\), cos \(3, 4\) and sin \(3, 4\)",
    ),
    (lambda: functional.rotary(X, HALF, HALF[:2]), ShapeError, r"cos \(3, 2\) and sin \(2, 2\)"),
    (lambda: functional.rotary(X, HALF[:2], HALF[:2]), ShapeError, r"cos \(2, 2\) and sin"),
    (lambda: functional.rotary(X.astype(int), HALF, HALF), DTypeError, "expected floating x, got"),
    (lambda: functional.rotary(X, HALF, HALF, interleaved=2), DTypeError, "rotary: interleaved"),
    (
        lambda: functional.bilinear(X, X, np.zeros((5, 6))),
        ShapeError,
        r"bilinear: expected weight \(d_out, d_x, d_y\), got \(5, 6\)",
    ),
    (
        lambda: functional.bilinear(X, X, np.zeros((5, 6, 4))),
        ShapeError,
        r"bilinear: expected last axis 4, got shape \(2, 3, 6\)",
    ),
    (
        lambda: functional.bilinear(X, X, np.zeros((5, 6, 6)), np.zeros(4)),
        ShapeError,
        r"bilinear: expected bias \(5\), got \(4,\)",
    ),
    (
        lambda: functional.bilinear(X, X[:, :2], np.zeros((5, 6, 6))),
        ShapeError,
        r"einsum",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[m for _, _, m in WRONG])
def test_wrong_calls(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
