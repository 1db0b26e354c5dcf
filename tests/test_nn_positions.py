"""Positions: values against the papers' formulas, what they are for, gradients, wrong input."""

from __future__ import annotations

from math import cos, sin

import numpy as np
import pytest
from derivatives import of_parameters, worst_error

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, Tensor
from tinygrad_attn.nn import AlibiBias, LearnedPositions, RotaryPositions, SinusoidalPositions
from tinygrad_attn.nn.functional import attention

B, H, T, D = 2, 3, 5, 6


# ── sinusoidal ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("width", [1, 2, 6, 7])
def test_sinusoids_follow_the_formula(width: int) -> None:
    table = SinusoidalPositions(width, 11).table
    for position in range(11):
        for i in range(width):
            angle = position / 10_000 ** ((i - i % 2) / width)
            expected = cos(angle) if i % 2 else sin(angle)
            assert abs(table[position, i] - expected) < 1e-14


def test_sinusoids_of_a_distance_are_a_rotation() -> None:
    """PE(t + k) is a linear function of PE(t), the same for every t: the paper's reason."""
    table = SinusoidalPositions(D, 20).table
    step, *_ = np.linalg.lstsq(table[:-3], table[3:], rcond=None)
    np.testing.assert_allclose(table[:-3] @ step, table[3:], atol=1e-12)
    np.testing.assert_allclose(step.T @ step, np.eye(D), atol=1e-8)


@pytest.mark.parametrize("offset", [0, 2])
def test_sinusoids_are_added(offset: int, rng: np.random.Generator) -> None:
    layer, x = SinusoidalPositions(D, T + 2), rng.standard_normal((B, T, D))
    np.testing.assert_array_equal(layer(x, offset), x + layer.table[offset : offset + T])
    t = Tensor(x.astype(np.float32), requires_grad=True)
    out = layer(t, offset)
    assert out.dtype == np.float32
    g = rng.standard_normal(x.shape).astype(np.float32)
    out.backward(g)
    np.testing.assert_array_equal(t.grad.data, g)
    assert not list(layer.parameters())
    assert not layer.table.flags.writeable
    assert worst_error(layer, [x]) < 1e-12


# ── learned ──────────────────────────────────────────────────────────────────────────────────────


def test_learned_positions_are_rows_of_a_table(rng: np.random.Generator) -> None:
    layer, x = LearnedPositions(7, D), rng.standard_normal((B, T, D)).astype(np.float32)
    np.testing.assert_array_equal(layer(x).data, x + layer.weight.data[:T])
    np.testing.assert_array_equal(layer(x, 2).data, x + layer.weight.data[2:])
    layer(x, 1).sum().backward()
    expected = np.zeros((7, D))
    expected[1:6] = B
    np.testing.assert_array_equal(layer.weight.grad.data, expected)


@pytest.mark.parametrize("order", [1, 2])
def test_gradients_of_learned_positions(order: int, rng: np.random.Generator) -> None:
    layer, x = LearnedPositions(4, 2).astype(np.float64), rng.standard_normal((2, 3, 2))
    f, weights = of_parameters(layer, lambda: ta.sin(layer(x, 1)))
    assert worst_error(f, weights, order) < 1e-12


def test_initial_values_of_learned_positions() -> None:
    values = LearnedPositions(100, 50, rng=np.random.default_rng(0)).weight.data
    assert abs(values.std() / 0.02 - 1) < 0.05
    again = LearnedPositions(100, 50, rng=np.random.default_rng(0)).weight.data
    np.testing.assert_array_equal(values, again)


# ── rotary ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_turns_pairs(interleaved: bool, rng: np.random.Generator) -> None:
    """As complex numbers: the pair a + ib at position t is multiplied by exp(i t θ)."""
    layer = RotaryPositions(D, base=100.0, interleaved=interleaved)
    x = rng.standard_normal((B, H, T, D))
    out = layer(Tensor(x), 3).data
    pairs = [(2 * i, 2 * i + 1) if interleaved else (i, i + D // 2) for i in range(D // 2)]
    for i, (a, b) in enumerate(pairs):
        turn = np.exp(1j * np.arange(3, 3 + T) * 100.0 ** (-2 * i / D))
        expected = (x[..., a] + 1j * x[..., b]) * turn
        np.testing.assert_allclose(out[..., a], expected.real, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(out[..., b], expected.imag, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_scores_depend_on_distance_only(interleaved: bool, rng: np.random.Generator) -> None:
    layer = RotaryPositions(D, interleaved=interleaved)
    q, k = rng.standard_normal((2, 1, D))
    score = {
        (i, j): (layer(q, i) @ layer(k, j).swapaxes(-1, -2)).item()
        for i in range(7)
        for j in range(7)
    }
    for i, j in score:
        assert abs(score[i, j] - score[max(i - j, 0), max(j - i, 0)]) < 1e-12
    assert abs(score[0, 0] - (q @ k.T).item()) < 1e-12
    assert abs(score[1, 0] - score[0, 1]) > 0.01


def test_rotary_attention_is_the_same_anywhere(rng: np.random.Generator) -> None:
    layer = RotaryPositions(D)
    q, k, v = rng.standard_normal((3, B, H, T, D))
    near, far = (attention(layer(q, at), layer(k, at), v, causal=True).data for at in (0, 40))
    np.testing.assert_allclose(near, far, rtol=1e-12, atol=1e-14)
    assert abs(near - attention(q, k, v, causal=True).data).max() > 0.01


def test_the_two_layouts_differ_by_the_order_of_features(rng: np.random.Generator) -> None:
    x = rng.standard_normal((T, D))
    order = np.concatenate([np.arange(0, D, 2), np.arange(1, D, 2)])
    halves = RotaryPositions(D)(x[:, order], 2)
    pairs = RotaryPositions(D, interleaved=True)(x, 2)
    np.testing.assert_array_equal(halves, pairs[:, order])


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("interleaved", [False, True])
def test_gradients_of_rotary(interleaved: bool, order: int, rng: np.random.Generator) -> None:
    layer = RotaryPositions(4, interleaved=interleaved)
    x = rng.standard_normal((2, 3, 4))
    assert worst_error(lambda x: ta.sin(layer(x, 5)), [x], order) < 1e-12


def test_rotary_keeps_dtype_and_takes_nothing(rng: np.random.Generator) -> None:
    layer = RotaryPositions(D)
    assert layer(Tensor(np.ones((T, D), np.float32))).dtype == np.float32
    assert layer(np.ones((B, H, 0, D))).shape == (B, H, 0, D)
    assert layer([[1.0] * D]).shape == (1, D)
    assert not list(layer.parameters())


# ── ALiBi ────────────────────────────────────────────────────────────────────────────────────────


def test_alibi_slopes() -> None:
    """The paper's for 8 and 16 heads; for 12 heads those of BLOOM's and the authors' code."""
    np.testing.assert_array_equal(AlibiBias(8).slopes, [2.0**-k for k in range(1, 9)])
    np.testing.assert_allclose(AlibiBias(16).slopes, [2 ** (-k / 2) for k in range(1, 17)])
    extra = [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    np.testing.assert_allclose(AlibiBias(12).slopes, [*(2.0**-k for k in range(1, 9)), *extra])
    np.testing.assert_allclose(AlibiBias(3).slopes, [2.0**-4, 2.0**-8, 2.0**-2])
    np.testing.assert_array_equal(AlibiBias(1).slopes, [2.0**-8])


@pytest.mark.parametrize("offset", [0, 2])
def test_alibi_falls_with_the_distance(offset: int) -> None:
    bias = AlibiBias(H)(T, 7, offset)
    assert bias.shape == (H, T, 7)
    for h, i, j in np.ndindex(bias.shape):
        assert bias[h, i, j] == -AlibiBias(H).slopes[h] * abs(i + offset - j)
    assert not bias.flags.writeable


def test_alibi_in_causal_attention_is_the_papers(rng: np.random.Generator) -> None:
    """The paper adds slope·j, up to a constant in each row, which softmax does not see."""
    q, k, v = rng.standard_normal((3, B, H, T, D))
    layer = AlibiBias(H)
    papers = layer.slopes[:, None, None] * np.arange(T)
    np.testing.assert_allclose(
        attention(q, k, v, layer(T, T), causal=True).data,
        attention(q, k, v, papers, causal=True).data,
        rtol=1e-12,
    )


# ── wrong input ──────────────────────────────────────────────────────────────────────────────────


def test_too_many_positions() -> None:
    for layer in (SinusoidalPositions(D, 4), LearnedPositions(4, D)):
        name = type(layer).__name__
        with pytest.raises(
            ShapeError,
            match=rf"{name}: expected positions below max_length=4, got "
            "0 … 4",
        ):
            layer(np.ones((B, T, D)))
        with pytest.raises(ShapeError, match="max_length=4, got 3 … 4"):
            layer(np.ones((B, 2, D)), 3)
        assert layer(np.ones((B, 1, D)), 3).shape == (B, 1, D)
        assert layer(np.ones((B, 0, D)), 4).shape == (B, 0, D)


@pytest.mark.parametrize(
    "layer", [SinusoidalPositions(D, 9), LearnedPositions(9, D), RotaryPositions(D)], ids=repr
)
def test_wrong_rows(layer: ta.nn.Module) -> None:
    name = type(layer).__name__
    for shape in ((B, T, D + 1), (D,), ()):
        with pytest.raises(ShapeError, match=rf"{name}: expected x \(\.\.\., T, 6\), got \("):
            layer(np.ones(shape))
    with pytest.raises(DTypeError, match=f"{name}: expected floating x, got int64"):
        layer(np.ones((T, D), np.int64))
    for offset in (-1, 1.0):
        with pytest.raises(
            ShapeError, match=f"{name}: offset must be an integer of 0 or more, got {offset}"
        ):
            layer(np.ones((T, D)), offset)


def test_wrong_sizes() -> None:
    with pytest.raises(ShapeError, match=r"RotaryPositions: .* d_head must be even.* got d_head=5"):
        RotaryPositions(5)
    with pytest.raises(ShapeError, match="base positive; got d_head=4, base=0"):
        RotaryPositions(4, base=0)
    with pytest.raises(ShapeError, match="AlibiBias: num_heads must be an integer of 1 or more"):
        AlibiBias(0)
    with pytest.raises(ShapeError, match="SinusoidalPositions: max_length must be an integer"):
        SinusoidalPositions(4, 0)
    with pytest.raises(ShapeError, match="LearnedPositions: d_model must be an integer of 1"):
        LearnedPositions(4, -2)


def test_reprs_say_the_sizes() -> None:
    assert repr(SinusoidalPositions(4, 9)) == "SinusoidalPositions(4, max_length=9)"
    assert repr(LearnedPositions(9, 4)) == "LearnedPositions(9, d_model=4)"
    assert repr(RotaryPositions(4)) == "RotaryPositions(4, base=10000)"
    assert repr(RotaryPositions(4, interleaved=True)).endswith("interleaved=True)")
    assert repr(AlibiBias(4)) == "AlibiBias(4)"


def test_alibi_takes_whole_numbers() -> None:
    for wrong in (-1, 1.5, np.array([1, 2, 3])):
        with pytest.raises(ShapeError, match="AlibiBias: offset must be an integer of 0 or more"):
            AlibiBias(2)(3, 3, wrong)
        with pytest.raises(ShapeError, match="AlibiBias: keys must be an integer of 0 or more"):
            AlibiBias(2)(3, wrong)
