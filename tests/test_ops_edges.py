"""Ties, kinks, edges of domains, extreme and empty inputs: what is documented holds."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from leaves import gradient, leaf
from numeric import by_complex_step, error
from scipy import special

import tinygrad_attn as ta
from tinygrad_attn import Tensor

INF = np.inf


# ── ties and kinks ──────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("op", [ta.max, ta.min])
def test_ties_share_the_gradient_of_an_extreme(op: Any) -> None:
    sign = 1 if op is ta.max else -1
    values = sign * np.array([[2.0, 5.0, 5.0], [7.0, 7.0, 7.0], [1.0, 0.0, 3.0]])
    np.testing.assert_allclose(
        gradient(lambda x: op(x, axis=1), values, [6.0, 6.0, 6.0]),
        [[0, 3, 3], [2, 2, 2], [0, 0, 6]],
    )
    np.testing.assert_allclose(gradient(op, values), np.where(values == sign * 7, 1 / 3, 0))
    np.testing.assert_allclose(
        gradient(lambda x: op(x, axis=(0, 1), keepdims=True), values, [[3.0]]),
        np.where(values == sign * 7, 1, 0),
    )


@pytest.mark.parametrize("op", [ta.maximum, ta.minimum])
def test_ties_share_the_gradient_of_two(op: Any) -> None:
    a, b = leaf([1.0, 2.0, 3.0]), leaf([3.0, 2.0, 1.0])
    op(a, b).backward(np.array([2.0, 2.0, 2.0]))
    first, second = (a, b) if op is ta.minimum else (b, a)
    assert first.grad.numpy().tolist() == [2, 1, 0]
    assert second.grad.numpy().tolist() == [0, 1, 2]


def test_the_maximum_of_a_tensor_and_itself_has_the_whole_gradient() -> None:
    assert gradient(lambda x: ta.maximum(x, x), [1.0, -2.0]).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("op", "at_zero"),
    [
        (ta.relu, 0),
        (lambda x: ta.leaky_relu(x, 0.3), 0.3),
        (lambda x: ta.elu(x, 2.0), 2),
        (ta.absolute, 0),
        (ta.sign, 0),
        (lambda x: ta.maximum(x, 0.0), 0.5),
        (lambda x: ta.clip(x, 0.0, 1.0), 1),
        (lambda x: ta.clip(x, -1.0, 0.0), 1),
    ],
)
def test_kinks_take_the_documented_side(op: Any, at_zero: float) -> None:
    assert gradient(op, 0.0) == at_zero
    assert gradient(op, -0.0) == at_zero


def test_clip_passes_the_gradient_inside_and_at_the_limits() -> None:
    assert gradient(lambda x: ta.clip(x, -1, 1), [-2.0, -1.0, 0.0, 1.0, 2.0]).tolist() == [
        0,
        1,
        1,
        1,
        0,
    ]
    assert gradient(lambda x: ta.clip(x, None, 1), [-2.0, 2.0]).tolist() == [1, 0]


def test_sort_is_stable_where_elements_are_equal() -> None:
    assert gradient(ta.sort, [2.0, 1.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]).tolist() == [3, 1, 4, 2]


# ── edges of domains ────────────────────────────────────────────────────────────────────────────
def test_the_norm_of_zero_has_gradient_zero() -> None:
    assert gradient(ta.norm, np.zeros((2, 3))).tolist() == np.zeros((2, 3)).tolist()
    rows = gradient(lambda x: ta.norm(x, axis=1), [[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(rows, [[0, 0], [0.6, 0.8]])


def test_std_of_equal_elements_has_gradient_zero() -> None:
    assert (
        gradient(lambda x: ta.std(x, axis=1), np.ones((2, 3))).tolist() == np.zeros((2, 3)).tolist()
    )


def test_where_inside_where_keeps_an_infinite_slope_away() -> None:
    """The form that the documentation of `where` recommends, and the one it warns of."""

    def safe(x: Tensor) -> Tensor:
        return ta.where(x > 0, ta.sqrt(ta.where(x > 0, x, 1.0)), 0.0)

    assert gradient(safe, [0.0, 4.0, -1.0]).tolist() == [0, 0.25, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        careless = gradient(lambda x: ta.where(x > 0, ta.sqrt(x), 0.0), [0.0, 4.0])
    assert np.isnan(careless[0])
    assert careless[1] == 0.25


def test_slopes_at_the_edge_are_infinite() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert gradient(ta.sqrt, 0.0) == INF
        assert gradient(ta.log, 0.0) == INF


@pytest.mark.parametrize(
    ("base", "exponent", "slope"),
    [
        (0.0, 0, 0),
        (0.0, 1, 1),
        (0.0, 2, 0),
        (0.0, 3, 0),
        (-2.0, 2, -4),
        (-2.0, 3, 12),
        (-2.0, -1, -0.25),
        (0.0, 1.5, 0),
        (3.0, 0, 0),
    ],
)
def test_powers_with_a_constant_exponent(base: float, exponent: float, slope: float) -> None:
    assert gradient(lambda x: x**exponent, base) == slope


def test_second_and_third_derivatives_of_powers_at_zero() -> None:
    x = leaf(0.0)
    y = x**3 + x**2 + x
    known = [1, 2, 6, 0]
    for value in known:
        (y,) = ta.grad(y, [x], create_graph=True, allow_unused=True)
        assert y.item() == value


def test_unsigned_exponents_have_no_minus_one() -> None:
    exponents = np.array([0, 1, 2, 3], np.uint8)
    x = Tensor(np.full(4, 10, np.float32), requires_grad=True)
    (x**exponents).backward(np.ones(4))
    assert x.grad.numpy().tolist() == [0, 1, 20, 300]


def test_zero_to_a_variable_power() -> None:
    b = leaf([0.0, 1.0, 2.0])
    (np.zeros(3) ** b).backward(np.ones(3))
    assert b.grad.numpy().tolist() == [0, 0, 0]


# ── products with zeros ─────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "values", [[2.0, 0.0, 5.0], [0.0, 0.0, 5.0], [0.0, 0.0, 0.0], [2.0, 3.0, 5.0]]
)
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_prod_with_zeros(values: list[float], axis: int | None) -> None:
    a = np.array(values)
    expected = [np.prod(np.delete(a, i)) for i in range(3)]
    np.testing.assert_allclose(gradient(lambda x: ta.prod(x, axis=axis), a), expected)


def test_prod_with_zeros_over_several_axes_to_second_order() -> None:
    a = np.array([[[0.0, 2.0], [3.0, 1.0], [1.0, 5.0]], [[0.0, 0.0], [2.0, 2.0], [1.0, 1.0]]])
    hessian = ta.hessian(lambda x: ta.prod(x, axis=(0, 2)).sum(), a).numpy()
    for i in np.ndindex(a.shape):
        for j in np.ndindex(a.shape):
            rest = [a[k] for k in np.ndindex(a.shape) if k[1] == i[1] and k not in (i, j)]
            expected = np.prod(rest) if i != j and i[1] == j[1] else 0
            assert hessian[i + j] == pytest.approx(expected)


# ── extreme inputs ──────────────────────────────────────────────────────────────────────────────
def test_logsumexp_of_minus_infinities() -> None:
    values = np.array([[-INF, -INF, -INF], [-INF, 0.0, 0.0], [1.0, 2.0, -INF]])
    x = leaf(values)
    y = ta.logsumexp(x, axis=1)
    np.testing.assert_allclose(y.numpy(), special.logsumexp(values, axis=1))
    y.backward(np.ones(3))
    np.testing.assert_allclose(
        x.grad.numpy(), [[0, 0, 0], [0, 0.5, 0.5], [*special.softmax([1, 2]), 0]]
    )


def test_softmax_gives_masked_positions_nothing() -> None:
    x = leaf([[1.0, -INF, 3.0]])
    y = ta.softmax(x)
    y.backward(np.array([[1.0, 2.0, 3.0]]))
    assert y.numpy()[0, 1] == 0
    assert x.grad.numpy()[0, 1] == 0
    assert np.isfinite(x.grad.numpy()).all()


BIG = np.array([-1e4, -800.0, -40.0, 40.0, 800.0, 1e4])


@pytest.mark.parametrize(
    ("op", "reference"),
    [
        (ta.sigmoid, special.expit),
        (ta.softplus, lambda x: np.logaddexp(0, x)),
        (ta.tanh, np.tanh),
        (ta.softmax, special.softmax),
        (ta.log_softmax, special.log_softmax),
        (ta.logsumexp, special.logsumexp),
        (ta.silu, lambda x: x * special.expit(x)),
        (ta.erf, special.erf),
        (ta.gelu, lambda x: x * special.ndtr(x)),
        (lambda x: ta.gelu(x, "tanh"), lambda x: np.where(x > 0, x, 0.0)),
        (ta.elu, lambda x: np.where(x > 0, x, -1.0)),
    ],
)
def test_nothing_overflows(op: Any, reference: Any) -> None:
    """Warnings are errors here, so an overflow on the way would fail."""
    x = leaf(BIG)
    y = op(x)
    np.testing.assert_allclose(
        y.numpy(), reference(BIG), rtol=1e-13, atol=1e-300 if op is ta.sigmoid else 1e-15
    )
    y.backward(np.ones(y.shape))
    assert np.isfinite(x.grad.numpy()).all()


def test_erf_to_the_last_digits_and_at_infinity() -> None:
    x = np.concatenate(
        [np.linspace(-7, 7, 4001), [1e-300, -1e-17, 0.46875, 4.0, 26.0, 28.0, 1e30, 1e200]]
    )
    assert np.max(np.abs(ta.erf(x) - special.erf(x))) < 4e-16
    assert ta.erf(np.array([INF, -INF])).tolist() == [1, -1]
    assert np.isnan(ta.erf(np.array([np.nan])))[0]


@pytest.mark.parametrize("op", [ta.expm1, ta.log1p, ta.tanh, ta.erf, ta.sin])
def test_accurate_near_zero(op: Any) -> None:
    x = np.array([1e-300, -1e-17, 1e-9])
    reference = {"erf": special.erf}.get(op.name) or getattr(np, op.name)
    np.testing.assert_allclose(op(x), reference(x), rtol=1e-15)


# ── empty and 0-d ───────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("op", [ta.softmax, ta.log_softmax])
@pytest.mark.parametrize(("shape", "axis"), [((3, 0), -1), ((0, 3), 0), ((0, 3), -1), ((0,), 0)])
def test_softmax_of_nothing_is_nothing(op: Any, shape: tuple[int, ...], axis: int) -> None:
    x = leaf(np.zeros(shape))
    y = op(x, axis)
    y.backward(np.zeros(shape))
    assert y.shape == x.grad.shape == shape


def test_logsumexp_of_nothing_is_minus_infinity() -> None:
    x = leaf(np.zeros((3, 0)))
    y = ta.logsumexp(x, axis=1)
    assert y.numpy().tolist() == [-INF] * 3
    y.backward(np.ones(3))
    assert x.grad.shape == (3, 0)


@pytest.mark.parametrize("op", [ta.max, ta.min])
def test_the_extreme_of_nothing_raises(op: Any) -> None:
    with pytest.raises(ta.ShapeError, match=op.name):
        op(leaf(np.zeros((3, 0))), axis=1)


def test_backward_of_an_empty_output() -> None:
    x = leaf(np.ones((2, 3)))
    x[:0].backward(np.zeros((0, 3)))
    assert x.grad.numpy().tolist() == np.zeros((2, 3)).tolist()


def test_zero_d_results_are_arrays() -> None:
    x = leaf(2.0)
    for y in (
        x * x,
        ta.exp(x),
        x.sum(),
        leaf([1.0, 2.0])[1],
        ta.max(leaf([1.0])),
        leaf([1.0]) @ leaf([2.0]),
    ):
        assert type(y.data) is np.ndarray
        assert y.shape == ()


# ── counts, identities ──────────────────────────────────────────────────────────────────────────
def test_repeat_with_counts_of_all_kinds() -> None:
    a = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    for counts, axis in [
        (3, None),
        (np.array([1, 0, 4]), 1),
        ([2, 0], 0),
        (np.array([2]), 1),
        (np.int64(2), 0),
        (range(6), None),
        ((0, 0, 0), -1),
    ]:
        g = np.random.default_rng(0).standard_normal(np.repeat(a, counts, axis).shape)
        expected = by_complex_step(lambda x, c=counts, k=axis: np.repeat(x, c, k), [a], [g], 0)
        assert (
            error(gradient(lambda x, c=counts, k=axis: ta.repeat(x, c, k), a, g), expected) < 1e-14
        )


def test_shape_operations_move_gradients_back_where_they_came_from() -> None:
    """x → op → inverse is the identity, forward and backward."""
    g = np.random.default_rng(0).standard_normal((2, 3, 5))
    for f in (
        lambda x: ta.roll(ta.roll(x, 2, 1), -2, 1),
        lambda x: ta.flip(ta.flip(x, 0), 0),
        lambda x: x.transpose(2, 0, 1).transpose(1, 2, 0),
        lambda x: ta.concat(ta.split(x, [1], 1), 1),
        lambda x: ta.stack(list(x)),
        lambda x: ta.pad(x, 1)[1:-1, 1:-1, 1:-1],
        lambda x: ta.moveaxis(ta.moveaxis(x, 0, 2), 2, 0),
        lambda x: x.reshape(-1).reshape(2, 3, 5),
        lambda x: ta.tril(x) + ta.triu(x, 1),
        lambda x: ta.expand_dims(x, (0, -1)).squeeze(),
    ):
        np.testing.assert_array_equal(gradient(f, g * 2, g), g)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: ta.multiply(x, x),
        lambda x: ta.divide(x, x),
        lambda x: ta.power(x, x),
        lambda x: x @ x,
        lambda x: ta.einsum("ij,ij,jk->ik", x, x, x),
        lambda x: ta.outer(x, x),
        lambda x: ta.where(x > 1, x, x),
        lambda x: ta.concat([x, x]),
        lambda x: ta.stack([x, x]),
    ],
)
def test_one_tensor_as_every_argument(f: Any) -> None:
    a = np.random.default_rng(0).uniform(0.5, 2, (3, 3))
    g = np.random.default_rng(1).standard_normal(f(a).shape)
    assert error(gradient(f, a, g), by_complex_step(f, [a], [g], 0)) < 1e-14


def test_rows_of_softmax_gradients_sum_to_zero(rng: np.random.Generator) -> None:
    x, g = rng.standard_normal((5, 7)), rng.standard_normal((5, 7))
    assert np.max(np.abs(gradient(ta.softmax, x, g).sum(-1))) < 1e-15


def test_one_hot_is_a_constant_of_the_default_dtype() -> None:
    hot = ta.one_hot(np.array([[2, 0], [1, 1]]), 3)
    assert (hot.shape, hot.dtype, hot.requires_grad) == ((2, 2, 3), np.float32, False)
    np.testing.assert_array_equal(hot.numpy(), np.eye(3)[[[2, 0], [1, 1]]])
    assert ta.one_hot([], 3, np.float64).shape == (0, 3)


def test_masked_fill_with_minus_infinity_blocks_the_gradient() -> None:
    mask = np.array([True, False])
    assert gradient(
        lambda x: ta.softmax(ta.masked_fill(x, mask, -INF)), [1.0, 2.0], [1.0, 5.0]
    ).tolist() == [0, 0]


def test_integer_and_boolean_tensors_compute_like_numpy() -> None:
    i, b = Tensor(np.array([1, 2, 3])), Tensor(np.array([True, False, True]))
    for got, expected in [
        (i + i, [2, 4, 6]),
        (i / 2, [0.5, 1, 1.5]),
        (ta.sum(b), 2),
        (ta.exp(i), np.exp([1, 2, 3])),
        (i @ i, 14),
        (ta.mean(i), 2),
        (ta.softmax(i), special.softmax([1.0, 2, 3])),
        (ta.where(b, i, 0), [1, 0, 3]),
        (ta.concat([i, i]), [1, 2, 3, 1, 2, 3]),
        (i[b], [1, 3]),
    ]:
        np.testing.assert_allclose(got.numpy(), expected)
        assert not got.requires_grad


def test_integers_beside_a_variable_get_no_gradient() -> None:
    x, i = leaf([1.0, 2.0, 3.0]), Tensor(np.array([1, 2, 3]))
    (x * i).backward(np.ones(3))
    assert x.grad.numpy().tolist() == [1, 2, 3]
    assert i.grad is None


@pytest.mark.parametrize("function", [ta.silu, ta.gelu, ta.relu])
def test_far_to_the_right_an_activation_is_the_identity(function: Any) -> None:
    x = Tensor(np.array([1e8, 1e18], np.float32), requires_grad=True)
    y = function(x)
    y.backward(np.ones(2))
    np.testing.assert_array_equal(y.data, x.data)
    np.testing.assert_array_equal(x.grad.data, 1)
