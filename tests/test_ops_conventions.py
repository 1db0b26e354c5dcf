"""Ties, kinks and edges of the operations beyond the first ones; integers; what overflows."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from leaves import gradient, leaf
from numeric import by_complex_step, error
from scipy import special

import tinygrad_attn as ta
from tinygrad_attn import Tensor

INF, NAN = np.inf, np.nan


# ── kinks ───────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("op", "at", "slope"),
    [
        (lambda x: ta.hardtanh(x, -0.5, 0.5), -0.5, 0),
        (lambda x: ta.hardtanh(x, -0.5, 0.5), 0.5, 0),
        (ta.relu6, 0, 0),
        (ta.relu6, 6, 0),
        (ta.hardsigmoid, -3, 0),
        (ta.hardsigmoid, 3, 0),
        (ta.hardswish, -3, 0),
        (ta.hardswish, 3, 1),
        (lambda x: ta.threshold(x, 2.0, 7.0), 2, 0),
        (lambda x: ta.prelu(x, 0.25), 0, 0.25),
        (lambda x: ta.celu(x, 2.0), 0, 1),
        (ta.selu, 0, 1.0507009873554805 * 1.6732632423543772),
        (ta.softsign, 0, 1),
        (ta.floor, 2, 0),
        (ta.ceil, 2, 0),
        (ta.trunc, -2, 0),
        (ta.round, 0.5, 0),
    ],
)
def test_kinks_take_the_documented_side(op: Any, at: float, slope: float) -> None:
    assert gradient(op, at) == pytest.approx(slope, rel=1e-15)


def test_the_slope_of_prelu_is_not_moved_by_zero_or_what_is_positive() -> None:
    weight = leaf([0.5])
    ta.prelu(np.array([-3.0, 0.0, 7.0]), weight).backward(np.array([1.0, 2.0, 5.0]))
    assert weight.grad.numpy().tolist() == [-3]


@pytest.mark.parametrize(("op", "first"), [(ta.fmax, [0, 2, 1]), (ta.fmin, [2, 0, 1])])
def test_nan_beside_a_number_is_nothing(op: Any, first: list[float]) -> None:
    a, b = leaf([1.0, 5.0, 3.0, NAN, 7.0, NAN]), leaf([2.0, 2.0, 3.0, 5.0, NAN, NAN])
    y = op(a, b)
    reference = np.fmax if op is ta.fmax else np.fmin
    np.testing.assert_array_equal(y.numpy(), reference(a.numpy(), b.numpy()))
    y.backward(np.full(6, 2.0))
    assert a.grad.numpy().tolist()[:5] == [*first, 0, 2]
    assert b.grad.numpy().tolist()[:5] == [2 - first[0], 2 - first[1], 1, 2, 0]


def test_limits_that_are_tensors_get_the_gradient_of_what_they_cut_off() -> None:
    x, low, high = leaf([-2.0, 0.0, 1.0, 3.0, 7.0]), leaf(0.0), leaf([2.0] * 5)
    y = ta.clip(x, low, high)
    assert y.numpy().tolist() == [0, 0, 1, 2, 2]
    y.backward(np.array([1.0, 10.0, 100.0, 1e3, 1e4]))
    assert x.grad.numpy().tolist() == [0, 10, 100, 0, 0]  # at a limit x has it
    assert low.grad.item() == 1
    assert high.grad.numpy().tolist() == [0, 0, 0, 1e3, 1e4]


def test_limits_that_cross_or_are_nan_do_as_numpys() -> None:
    x = np.array([0.0, 3.0, 7.0])
    for low, high in [(5.0, 2.0), (NAN, 2.0), (1.0, NAN), (None, NAN)]:
        got = ta.clip(x, None if low is None else leaf(low), leaf(high))
        np.testing.assert_array_equal(got.numpy(), np.clip(x, low, high))


def test_what_nan_to_num_replaces_has_no_gradient() -> None:
    values = [1.0, NAN, INF, -INF]
    assert gradient(ta.nan_to_num, values).tolist() == [1, 0, 0, 0]
    for dtype in (np.float32, np.float64):
        a = np.array(values, dtype)
        np.testing.assert_array_equal(ta.nan_to_num(Tensor(a)).numpy(), np.nan_to_num(a))
    assert ta.nan_to_num(np.array([1, 2])).dtype == int


def test_remainders_where_the_quotient_is_whole() -> None:
    for op in (ta.remainder, ta.fmod, lambda a, b: a % b):
        a, b = leaf([6.0, -6.0, 7.5]), leaf([3.0, 3.0, 3.0])
        op(a, b).backward(np.ones(3))
        assert a.grad.numpy().tolist() == [1, 1, 1]
        assert b.grad.numpy().tolist() == [-2, 2, -2]
    x = Tensor(np.array([7, -7]))
    assert ((x // 2).numpy().tolist(), (x % 4).numpy().tolist()) == ([3, -4], [3, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("op", "quotient"),
    [(ta.remainder, math.floor), (ta.fmod, math.trunc)],
    ids=["remainder", "fmod"],
)
def test_value_and_gradient_of_a_remainder_agree_on_the_quotient(
    op: Any, quotient: Any, dtype: Any
) -> None:
    """1/0.1 rounds to 10, yet 1 is less than ten times the float nearest to 0.1."""
    a, b = (
        part.ravel().astype(dtype)
        for part in np.meshgrid(np.arange(-12, 13) / 10, [-0.7, -0.3, -0.1, 0.1, 0.3, 0.7])
    )
    x, y = Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)
    out = op(x, y)
    out.backward(np.ones(a.shape))
    exact = [quotient(Fraction(float(n)) / Fraction(float(d))) for n, d in zip(a, b)]
    assert y.grad.numpy().tolist() == [-n for n in exact]
    np.testing.assert_allclose(out.numpy(), a - b * np.array(exact), atol=3e-7)
    complex_step = op(a.astype(complex), b + 1j * 1e-30).imag / 1e-30
    np.testing.assert_allclose(complex_step, y.grad.numpy())


def test_a_condition_of_numbers_holds_where_they_are_not_zero() -> None:
    condition = np.array([0.5, np.nan, 0.0, -0.0])
    assert ta.where(condition, 1.0, 2.0).tolist() == np.where(condition, 1.0, 2.0).tolist()
    assert ta.masked_fill(np.ones(3), [2, 0, -1], 7.0).tolist() == [7, 1, 7]


# ── edges of domains ────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("op", [ta.hypot, ta.arctan2])
def test_the_origin_has_gradient_zero(op: Any) -> None:
    a, b = leaf([0.0, 3.0]), leaf([0.0, 4.0])
    op(a, b).backward(np.ones(2))
    assert a.grad.numpy()[0] == b.grad.numpy()[0] == 0
    assert np.all(a.grad.numpy()[1:] != 0)


def test_hypot_does_not_overflow() -> None:
    a, b = leaf([3e200]), leaf([4e200])
    y = ta.hypot(a, b)
    y.backward(np.ones(1))
    np.testing.assert_allclose([y.item(), a.grad.item(), b.grad.item()], [5e200, 0.6, 0.8])


@pytest.mark.parametrize("op", [ta.logaddexp, ta.logaddexp2])
def test_logaddexp_of_extremes(op: Any) -> None:
    a, b = leaf([-INF, -INF, 1e4, -1e4]), leaf([-INF, 0.0, 1e4, 1e4])
    y = op(a, b)
    np.testing.assert_allclose(y.numpy(), getattr(np, op.name)(a.numpy(), b.numpy()))
    y.backward(np.ones(4))
    np.testing.assert_allclose(a.grad.numpy(), [0, 0, 0.5, 0])
    np.testing.assert_allclose(b.grad.numpy(), [0, 1, 0.5, 1])


def test_the_entropy_of_weights_that_a_mask_has_made_zero() -> None:
    x = leaf([[-INF, 1.0, 2.0, 1.0], [0.0, -INF, -INF, -INF]])
    p = ta.softmax(x)
    entropy = -ta.xlogy(p, p).sum(-1)
    np.testing.assert_allclose(entropy.numpy(), special.entr(p.numpy()).sum(-1))
    entropy.backward(np.ones(2))
    p = p.numpy()
    slopes = -p * (np.log(p + (p == 0)) + entropy.numpy()[:, None])
    np.testing.assert_allclose(x.grad.numpy(), slopes, atol=1e-15)
    points = np.array([0.0, 0.0, 0.0, 2.0]), np.array([0.0, 3.0, NAN, 0.5])
    np.testing.assert_array_equal(ta.xlogy(*points), special.xlogy(*points))


def test_logcumsumexp_of_extremes() -> None:
    values = [-INF, -INF, 1e4, 0.0, 2e4]
    x = leaf(values)
    y = ta.logcumsumexp(x)
    np.testing.assert_allclose(y.numpy(), [-INF, -INF, 1e4, 1e4, 2e4])
    y.backward(np.array([1.0, 2.0, 3.0, 5.0, 7.0]))
    np.testing.assert_allclose(x.grad.numpy(), [0, 0, 8, 0, 7])


@pytest.mark.parametrize(
    ("ord", "values", "slopes"),
    [
        (3, [0.0, 0.0], [0, 0]),
        (3, [0.0, -2.0], [0, -1]),
        (0.5, [0.0, 4.0], [0, 1]),
        (-1, [0.0, 4.0], [0, 0]),
        (0, [0.0, 4.0], [0, 0]),
        (INF, [3.0, -3.0], [0.5, -0.5]),
    ],
)
def test_norms_at_zeros_and_ties(ord: float, values: Any, slopes: Any) -> None:
    x = leaf(values)
    y = ta.norm(x, ord)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(y.numpy(), np.linalg.norm(values, ord))
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), slopes)


@pytest.mark.parametrize("ddof", [2, 3, -1, 0.5])
def test_degrees_of_freedom_do_not_fall_below_zero(ddof: float) -> None:
    a = np.array([1.0, 5.0])
    with np.errstate(all="ignore"):
        var = 8 / np.maximum(2.0 - ddof, 0)
        np.testing.assert_allclose(ta.var(Tensor(a), ddof=ddof).numpy(), var)
        np.testing.assert_allclose(ta.std(Tensor(a), ddof=ddof).numpy(), np.sqrt(var))


@pytest.mark.parametrize(
    ("op", "reference"),
    [
        (ta.mish, lambda x: x * np.tanh(np.logaddexp(0, x))),
        (ta.logsigmoid, special.log_expit),
        (ta.softsign, lambda x: x / (1 + np.abs(x))),
        (ta.hardswish, lambda x: np.where(x > 0, x, 0.0)),
        (ta.celu, lambda x: np.where(x > 0, x, -1.0)),
        (ta.selu, lambda x: 1.0507009873554805 * np.where(x > 0, x, -1.6732632423543772)),
        (ta.arctan, np.arctan),
        (ta.arcsinh, np.arcsinh),
        (ta.erfc, special.erfc),
        (ta.softmin, lambda x: special.softmax(-x)),
    ],
)
def test_nothing_overflows(op: Any, reference: Any) -> None:
    x = leaf([-1e4, -800.0, -40.0, 40.0, 800.0, 1e4])
    y = op(x)
    np.testing.assert_allclose(y.numpy(), reference(x.numpy()), rtol=1e-13, atol=1e-300)
    y.backward(np.ones(6))
    assert np.isfinite(x.grad.numpy()).all()


def test_erfc_keeps_its_digits_in_the_tail() -> None:
    x = np.concatenate([np.linspace(-7, 26, 4001), [-1e-17, 0.46875, 4.0, 1e200]])
    right = [math.erfc(value) for value in x]  # SciPy's has lost two digits at 16
    np.testing.assert_allclose(ta.erfc(x), right, rtol=1e-15, atol=1e-310)
    assert ta.erfc(np.array([INF, -INF])).tolist() == [0, 2]


@pytest.mark.parametrize("name", ["arcsin", "arcsinh", "arctan", "arctanh", "sinh", "tan"])
def test_accurate_near_zero(name: str) -> None:
    x = np.array([1e-300, -1e-17, 1e-9])
    np.testing.assert_allclose(getattr(ta, name)(x), x, rtol=1e-15)
    assert gradient(getattr(ta, name), x).tolist() == [1, 1, 1]


# ── along an axis ───────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("values", [[2.0, 0.0, 5.0], [0.0, 0.0, 5.0], [0.0] * 3, [2.0, 3.0, 0.0]])
def test_cumprod_with_zeros_to_second_order(values: list[float]) -> None:
    g = np.array([2.0, 3.0, 5.0])
    a = np.array(values)
    expected = by_complex_step(np.cumprod, [a], [g], 0)
    np.testing.assert_allclose(gradient(ta.cumprod, a, g), expected)
    hessian = ta.hessian(lambda x: (ta.cumprod(x) * g).sum(), a).numpy()
    x, y, z = a
    np.testing.assert_allclose(
        hessian, [[0, 3 + 5 * z, 5 * y], [3 + 5 * z, 0, 5 * x], [5 * y, 5 * x, 0]]
    )


def test_running_extremes_take_the_last_of_equals_and_keep_nan() -> None:
    values, indices = ta.cummax(leaf([1.0, 3.0, 3.0, 2.0, NAN, 5.0]), 0)
    np.testing.assert_array_equal(values.numpy(), [1, 3, 3, 3, NAN, NAN])
    assert indices.tolist() == [0, 1, 2, 2, 4, 4]
    assert gradient(lambda x: ta.cummax(x, 0)[0], [1.0, 3.0, 3.0, 2.0]).tolist() == [1, 1, 2, 0]
    assert gradient(lambda x: ta.cummin(x, -1)[0], [1.0, 3.0, 1.0, 2.0]).tolist() == [2, 0, 2, 0]


def test_the_median_of_an_even_number_is_halved() -> None:
    assert gradient(ta.median, [7.0, 1.0, 3.0, 5.0]).tolist() == [0, 0, 0.5, 0.5]
    assert gradient(ta.median, [7.0, 1.0, 3.0]).tolist() == [0, 0, 1]
    x = np.array([[1.0, NAN, 3.0], [5.0, 2.0, 4.0]])
    np.testing.assert_array_equal(ta.median(leaf(x), axis=1).numpy(), [NAN, 4])


def test_topk_takes_the_first_of_equals_and_nan_first() -> None:
    values, indices = ta.topk(leaf([1.0, 3.0, NAN, 3.0, 0.0]), 3)
    np.testing.assert_array_equal(values.numpy(), [NAN, 3, 3])
    assert indices.tolist() == [2, 1, 3]
    assert ta.topk(np.array([3, 1, 2, 1]), 2, largest=False)[1].tolist() == [1, 3]
    assert ta.topk(np.array([3, 200, 2], np.uint8), 2)[0].tolist() == [200, 3]
    assert ta.kthvalue(np.array([3.0, 1.0, 1.0]), 2)[1] == 2


# ── windows ───────────────────────────────────────────────────────────────────────────────────────
def test_windows_that_overlap_add_their_gradients() -> None:
    counts = gradient(lambda x: ta.sliding_window_view(x, 3), np.zeros(5))
    assert counts.tolist() == [1, 2, 3, 2, 1]
    assert gradient(lambda x: ta.pad(x, 2, "reflect"), np.zeros(3)).tolist() == [2, 3, 2]


# ── integers, complex numbers ───────────────────────────────────────────────────────────────────
M, N = np.array([[1, 2, 3], [5, 7, 2]]), np.array([[2, 0, 1], [1, 3, 2]])


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.exp2(M), lambda m: m.arctan2(M, N), lambda m: m.hypot(M, N),
        lambda m: m.logaddexp(M, N), lambda m: m.fmax(M, N), lambda m: m.cumprod(M, axis=1),
        lambda m: m.floor(M), lambda m: m.round(M), lambda m: m.median(M), lambda m: m.dot(M, N.T),
        lambda m: m.inner(M, N), lambda m: m.tensordot(M, N), lambda m: m.kron(M, N),
        lambda m: m.trace(M), lambda m: m.diag(M), lambda m: m.hstack([M, N]),
        lambda m: m.rot90(M), lambda m: m.nan_to_num(M), lambda m: m.vdot(M, N),
        lambda m: m.median(np.array([1.0, 2.0], np.float32)), lambda m: m.ravel(M > 1),
    ],
)  # fmt: skip
def test_integers_do_as_numpys(call: Any) -> None:
    got, expected = np.asarray(call(ta)), np.asarray(call(np))
    np.testing.assert_allclose(got, expected, rtol=1e-15)
    assert got.dtype == expected.dtype


def test_unsigned_integers_do_not_wrap_around() -> None:
    x = np.array([0, 3], np.uint8)
    np.testing.assert_allclose(ta.logsigmoid(x), special.log_expit([0.0, 3.0]))
    np.testing.assert_allclose(ta.softmin(x), special.softmax([0.0, -3.0]))
    np.testing.assert_allclose(ta.norm(np.array([200, 200], np.uint8), 1), 400)


@pytest.mark.parametrize("op", [ta.arctan2, ta.hypot, ta.logaddexp])
def test_complex_arguments_carry_a_derivative(op: Any) -> None:
    """In every quadrant: the forward functions that NumPy has for real numbers alone."""
    points = np.array([[2.0, -3.0], [-2.0, 0.5], [-0.5, -4.0], [3.0, 0.25]]).T
    g = np.array([1.0, -2.0, 3.0, 0.5])
    for at in (0, 1):
        x = [leaf(p) for p in points]
        op(*x).backward(g)
        assert error(x[at].grad, by_complex_step(op, list(points), [g], at)) < 1e-15


@pytest.mark.parametrize(
    "call",
    [
        lambda x: ta.celu(x, 2.0), ta.hardswish, lambda x: ta.prelu(x, [0.5]), ta.nan_to_num,
        lambda x: ta.norm(x, 3), lambda x: ta.cummax(x, 0)[0], lambda x: ta.index_put(x, 1, 7.0),
        ta.atleast_1d, ta.median, lambda x: ta.topk(x, 2)[0], lambda x: ta.clip(x, [0.0] * 3, 1),
        lambda x: ta.scatter_reduce(x, [0, 0], [1.0, 2.0], 0, "max"),
    ],
)  # fmt: skip
def test_a_list_is_an_array(call: Any) -> None:
    got, expected = call([-1.0, 0.5, 3.0]), call(np.array([-1.0, 0.5, 3.0]))
    assert isinstance(got, (np.ndarray, np.generic))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_convolution_with_steps_of_its_width_is_a_matrix_on_patches() -> None:
    """What a Vision Transformer's embedding is called elsewhere (Dosovitskiy et al. 2021)."""
    rng = np.random.default_rng(5)
    images, weight = rng.standard_normal((2, 3, 6, 4)), rng.standard_normal((5, 3, 3, 2))
    patches = images.reshape(2, 3, 2, 3, 2, 2).transpose(0, 2, 4, 1, 3, 5).reshape(2, 4, 18)
    rows = patches @ weight.reshape(5, 18).T  # (B, patches, 5)
    np.testing.assert_allclose(
        ta.conv(images, weight, stride=(3, 2)).reshape(2, 5, 4), rows.swapaxes(1, 2)
    )


# ── methods ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.cumprod(1), lambda x: x.clip(0, 2), lambda x: x.round(1),
        lambda x: x.take([0, 2], 1), lambda x: x.repeat(2, axis=0), lambda x: x.diagonal(1),
        lambda x: x.trace(), lambda x: x.dot(x.T), lambda x: x.ravel(), lambda x: x.argsort(1),
    ],
)  # fmt: skip
def test_methods_are_numpys(call: Any) -> None:
    a = np.array([[0.52, 2.25, -1.0], [3.0, -0.75, 5.0]])
    np.testing.assert_array_equal(np.asarray(call(Tensor(a))), call(a))
