"""Higher orders, vjp, jvp, jacobian, hessian, hvp and recompute against known results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from math import exp
from typing import Any

import numpy as np
import pytest
from numeric import error

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, GraphError, ShapeError, Tensor


def leaf(values: object) -> Tensor:
    return Tensor(np.asarray(values, float), requires_grad=True)


# ── higher orders ───────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("x0", [-1.3, 0.0, 0.7, 2.1])
def test_derivatives_of_exp_x_squared(x0: float) -> None:
    x = leaf(x0)
    y = ta.exp(x * x)
    known = [2 * x0, 4 * x0**2 + 2, 8 * x0**3 + 12 * x0, 16 * x0**4 + 48 * x0**2 + 12]
    for factor in known:
        (y,) = ta.grad(y, [x], create_graph=True)
        assert abs(y.item() - factor * exp(x0 * x0)) <= 1e-13 * abs(factor * exp(x0 * x0))


def test_create_graph_in_backward_gives_grads_with_a_graph() -> None:
    x = leaf(2.0)
    (x * x * x).backward(create_graph=True)
    first = x.grad
    x.grad = None
    first.backward()
    assert first.item() == 12
    assert x.grad.item() == 12


def test_a_gradient_penalty() -> None:
    """Gradients of a loss that contains gradients, in one backward."""
    rng = np.random.default_rng(0)
    w, x = leaf(rng.standard_normal((3, 2))), leaf(rng.standard_normal((5, 3)))
    (g,) = ta.grad(ta.tanh(x @ w).sum(), [x], create_graph=True)
    (g * g).sum().backward()
    y = np.tanh(x.numpy() @ w.numpy())
    s = 1 - y * y
    back = 2 * s @ w.numpy().T @ w.numpy()  # d(Σ g²)/ds
    expected = 2 * np.einsum("ni,nj->ij", s @ w.numpy().T, s) + x.numpy().T @ (back * -2 * y * s)
    np.testing.assert_allclose(w.grad.numpy(), expected, rtol=1e-12)


def test_g_can_be_differentiated() -> None:
    x, g = leaf([1.0, 2.0]), leaf([3.0, 5.0])
    (dx,) = ta.grad(x * x * x, [x], g, create_graph=True)
    (dg,) = ta.grad(dx.sum(), [g])
    np.testing.assert_allclose(dg.numpy(), 3 * x.numpy() ** 2)


def test_create_graph_records_inside_no_grad() -> None:
    x = leaf(2.0)
    y = x * x * x
    with ta.no_grad():
        (g,) = ta.grad(y, [x], create_graph=True)
    assert ta.grad(g, [x])[0].item() == 12


def test_without_create_graph_the_gradient_is_a_constant() -> None:
    x = leaf(2.0)
    (g,) = ta.grad(x * x, [x])
    assert not g.requires_grad


def test_a_complex_variable() -> None:
    z = Tensor(np.array([1 + 2j, -0.5j]), requires_grad=True)
    (z * z * z).backward(np.array([1.0, 1.0]))
    np.testing.assert_allclose(z.grad.numpy(), 3 * np.array([1 + 2j, -0.5j]) ** 2)


# ── vjp and jvp ─────────────────────────────────────────────────────────────────────────────────
def test_vjp_can_be_pulled_back_again_and_again() -> None:
    y, pullback = ta.vjp(lambda a, b: a * b, np.array([2.0, 3.0]), np.array([5.0, 7.0]))
    np.testing.assert_array_equal(y.numpy(), [10, 21])
    for scale in (1.0, -2.0):
        ga, gb = pullback(np.array([scale, 1.0]))
        np.testing.assert_array_equal(ga.numpy(), [5 * scale, 7])
        np.testing.assert_array_equal(gb.numpy(), [2 * scale, 3])


def test_vjp_of_an_argument_the_function_ignores_is_zero() -> None:
    _, pullback = ta.vjp(lambda a, b: a * 2.0, np.ones(3), np.ones((2, 2)))
    np.testing.assert_array_equal(pullback(np.ones(3))[1].numpy(), np.zeros((2, 2)))
    _, pullback = ta.vjp(lambda a: Tensor(1.0), np.ones(3))
    np.testing.assert_array_equal(pullback()[0].numpy(), np.zeros(3))


def test_vjp_pullback_can_be_differentiated() -> None:
    x = leaf([1.0, 2.0])
    _, pullback = ta.vjp(lambda a: a * a * a, x)
    (g,) = pullback(np.ones(2), create_graph=True)
    np.testing.assert_allclose(ta.grad(g.sum(), [x])[0].numpy(), 6 * x.numpy())


def test_jvp_is_the_directional_derivative(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((3, 5))
    ua, ub = rng.standard_normal((2, 3)), rng.standard_normal((3, 5))
    y, dy = ta.jvp(lambda a, b: ta.sin(a @ b), [a, b], [ua, ub])
    np.testing.assert_allclose(y.numpy(), np.sin(a @ b))
    np.testing.assert_allclose(dy.numpy(), np.cos(a @ b) * (ua @ b + a @ ub), rtol=1e-13)


def test_jvp_of_one_input_without_lists() -> None:
    y, dy = ta.jvp(ta.exp, np.array([0.0, 1.0]), np.array([2.0, 0.0]))
    np.testing.assert_allclose(dy.numpy(), [2, 0])
    assert y.shape == (2,)


def test_jvp_of_a_constant_function_is_zero() -> None:
    _, dy = ta.jvp(lambda a: Tensor(np.ones(2)), [np.ones(3)], [np.ones(3)])
    np.testing.assert_array_equal(dy.numpy(), [0, 0])


def test_jvp_and_vjp_are_adjoint(rng: np.random.Generator) -> None:
    """⟨g, J u⟩ = ⟨Jᵀ g, u⟩ for softmax of a product."""
    x, u = rng.standard_normal((3, 5)), rng.standard_normal((3, 5))
    w = rng.standard_normal((5, 2))
    y, dy = ta.jvp(lambda x: ta.softmax(x @ w), [x], [u])
    g = rng.standard_normal(y.shape)
    _, pullback = ta.vjp(lambda x: ta.softmax(x @ w), x)
    assert np.sum(g * dy.numpy()) == pytest.approx(np.sum(pullback(g)[0].numpy() * u), rel=1e-12)


# ── jacobian, hessian, hvp ──────────────────────────────────────────────────────────────────────
def test_jacobian_of_softmax() -> None:
    x = np.array([0.3, -1.2, 2.0])
    p = np.exp(x) / np.exp(x).sum()
    assert error(ta.jacobian(ta.softmax, x), np.diag(p) - np.outer(p, p)) < 1e-15


def test_jacobian_has_the_shape_of_the_result_and_the_argument(rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((2, 3)), rng.standard_normal((3, 5))
    jacobian = ta.jacobian(lambda x: x @ w, x)
    assert jacobian.shape == (2, 5, 2, 3)
    np.testing.assert_allclose(jacobian.numpy(), np.einsum("ni,kj->njik", np.eye(2), w))


@pytest.mark.parametrize(
    ("f", "shape"),
    [(lambda x: x[:0], (0, 3)), (lambda x: x.sum(), (3,)), (lambda x: Tensor(np.ones(2)), (2, 3))],
)
def test_jacobian_of_empty_scalar_and_constant_functions(f: object, shape: tuple[int, ...]) -> None:
    assert ta.jacobian(f, np.ones(3)).shape == shape


def test_jacobian_can_be_differentiated() -> None:
    x = leaf([1.0, 2.0])
    jacobian = ta.jacobian(lambda x: x * x * x, x, create_graph=True)
    (g,) = ta.grad(jacobian.sum(), [x])
    np.testing.assert_allclose(g.numpy(), 6 * x.numpy())


def test_hessian_of_a_quadratic_form(rng: np.random.Generator) -> None:
    a = rng.standard_normal((3, 3))
    hessian = ta.hessian(lambda x: x @ a @ x, rng.standard_normal(3))
    np.testing.assert_allclose(hessian.numpy(), a + a.T, rtol=1e-14, atol=1e-14)


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def test_hessian_of_rosenbrocks_function() -> None:
    a, b = 0.5, -1.5
    known = [[1200 * a * a - 400 * b + 2, -400 * a], [-400 * a, 200]]
    np.testing.assert_allclose(ta.hessian(rosenbrock, np.array([a, b])).numpy(), known, rtol=1e-14)


def test_hvp_is_the_hessian_times_u(rng: np.random.Generator) -> None:
    x, u = rng.standard_normal(5), rng.standard_normal(5)
    product = ta.hvp(rosenbrock, x, u)
    np.testing.assert_allclose(product.numpy(), ta.hessian(rosenbrock, x).numpy() @ u, rtol=1e-12)


def test_hessian_is_symmetric_for_log_sum_exp_of_a_matrix(rng: np.random.Generator) -> None:
    hessian = ta.hessian(lambda x: ta.logsumexp(x * x), rng.standard_normal((2, 3))).numpy()
    assert hessian.shape == (2, 3, 2, 3)
    np.testing.assert_allclose(hessian, hessian.transpose(2, 3, 0, 1), rtol=1e-12, atol=1e-14)


def test_these_work_inside_no_grad() -> None:
    with ta.no_grad():
        assert ta.hessian(lambda x: (x * x).sum(), np.ones(2)).numpy().tolist() == [[2, 0], [0, 2]]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ta.hessian(lambda x: x, np.ones(3)),
        lambda: ta.hvp(lambda x: x, np.ones(3), np.ones(3)),
        lambda: ta.hvp(rosenbrock, np.ones(3), np.ones(2)),
        lambda: ta.jvp(ta.exp, [np.ones(3)], []),
        lambda: ta.jvp(ta.exp, [np.ones(3)], [np.ones(2)]),
        lambda: ta.vjp(ta.exp, np.ones(3))[1](),
    ],
)
def test_wrong_shapes_raise(wrong: object) -> None:
    with pytest.raises(ShapeError):
        wrong()


# ── recompute ───────────────────────────────────────────────────────────────────────────────────
def block(x: Tensor, w: Tensor) -> Tensor:
    return ta.softmax(ta.tanh(x @ w) * x)


def variables() -> tuple[Tensor, Tensor, np.ndarray]:
    rng = np.random.default_rng(1)
    return (
        leaf(rng.standard_normal((2, 3))),
        leaf(rng.standard_normal((3, 3))),
        rng.standard_normal((2, 3)),
    )


def same(a: Tensor, b: Tensor) -> None:
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-13, atol=1e-15)


def test_recompute_gives_the_plain_value_and_gradients() -> None:
    x, w, g = variables()
    plain = ta.grad(block(x, w), [x, w], g)
    again = ta.recompute(block, x, w)
    same(again, block(x, w))
    again.backward(g)
    same(x.grad, plain[0])
    same(w.grad, plain[1])


def test_recompute_reaches_variables_the_function_closes_over() -> None:
    x, w, g = variables()
    plain = ta.grad(block(x, w), [x, w], g)
    ta.recompute(lambda x: block(x, w), x).backward(g)
    same(x.grad, plain[0])
    same(w.grad, plain[1])


def test_grad_goes_through_recompute_to_closures_and_intermediates() -> None:
    x, w, g = variables()
    y = ta.exp(x)
    plain = ta.grad(block(y, w), [x, y, w], g, retain_graph=True)
    out = ta.recompute(lambda y: block(y, w), y)
    for got, expected in zip(ta.grad(out, [x, y, w], g), plain, strict=True):
        same(got, expected)
    (only,) = ta.grad(ta.recompute(lambda y: block(y, w), x), [w], g)
    same(only, ta.grad(block(x, w), [w], g)[0])


SETTINGS_CHANGED: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "gradients kept": (nullcontext, ta.keep_grads),
    "values kept": (nullcontext, ta.keep_values),
    "kernels off before": (lambda: ta.kernels.use("off"), nullcontext),
    "kernels off after": (nullcontext, lambda: ta.kernels.use("off")),
    "another default": (lambda: ta.default_dtype(np.float64), nullcontext),
}


@pytest.mark.parametrize("name", SETTINGS_CHANGED)
def test_recompute_runs_with_the_settings_of_the_first_run(name: str) -> None:
    forward, later = SETTINGS_CHANGED[name]
    draw = np.random.default_rng(0).standard_normal
    q = Tensor(draw((2, 4, 64, 32)).astype(np.float32), requires_grad=True)

    def f(q: Tensor) -> Tensor:
        scaled = ta.nn.functional.layer_norm(q * Tensor([2.0]), None, None)
        return ta.nn.functional.attention(scaled, scaled, scaled)

    with forward():
        expected = ta.grad(f(q).sum(), [q])[0].numpy()
        out = ta.recompute(f, q).sum()
    with later():
        got = ta.grad(out, [q])[0].numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_recompute_inside_recompute() -> None:
    x, w, g = variables()
    plain = ta.grad(block(block(x, w), w), [x, w], g)
    nested = ta.recompute(lambda x: ta.recompute(block, ta.recompute(block, x, w), w), x)
    for got, expected in zip(ta.grad(nested, [x, w], g), plain, strict=True):
        same(got, expected)


def test_recompute_can_be_differentiated_twice() -> None:
    x, w, g = variables()

    def second(f: object) -> Tensor:
        (first,) = ta.grad(f(x, w), [x], g, create_graph=True)
        return ta.grad((first * first).sum(), [w])[0]

    same(second(lambda x, w: ta.recompute(block, x, w)), second(block))


def test_recompute_beside_the_same_inputs_used_plainly() -> None:
    x, w, g = variables()
    plain = ta.grad(block(x, w) * x, [x, w], g)
    for got, expected in zip(ta.grad(ta.recompute(block, x, w) * x, [x, w], g), plain, strict=True):
        same(got, expected)


def test_recompute_is_freed_and_can_be_retained() -> None:
    x, w, g = variables()
    out = ta.recompute(block, x, w)
    out.backward(g, retain_graph=True)
    out.backward(g)
    with pytest.raises(GraphError, match="freed"):
        out.backward(g)


def test_recompute_without_recording_and_of_constants() -> None:
    x, w, _ = variables()
    with ta.no_grad():
        assert ta.recompute(block, x, w).node is None
    assert ta.recompute(block, x.detach(), w.detach()).node is None
    assert ta.recompute(lambda x: x, x) is x


def test_recompute_takes_arrays_and_options() -> None:
    x, _, g = variables()
    mask = np.array([True, False, True])
    ta.recompute(lambda x, m: ta.where(m, x * x, 0.0), x, mask).backward(g)
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.numpy() * g * mask)


def test_recompute_notices_another_result() -> None:
    """A random function, or a variable given new data meanwhile, would give a wrong gradient."""
    x, w, g = variables()
    rng = np.random.default_rng(0)
    with pytest.raises(GraphError, match="pure"):
        ta.recompute(lambda x: x * rng.standard_normal(3), x).backward(g)
    out = ta.recompute(lambda x: block(x, w), x)
    w.data = w.numpy() + 1
    with pytest.raises(GraphError, match="recompute"):
        out.backward(g)
    assert x.grad is None


def test_recompute_of_several_results_is_refused() -> None:
    with pytest.raises(DTypeError, match=r"recompute.*tuple"):
        ta.recompute(lambda x: (x, x), leaf(1.0))


def test_an_upstream_gradient_of_another_dtype_keeps_its_graph() -> None:
    x = Tensor(np.ones(2, np.float32), requires_grad=True)
    g = Tensor(np.ones(2), requires_grad=True)
    (gx,) = ta.grad(x * 2.0, [x], g, create_graph=True)
    np.testing.assert_array_equal(ta.grad(gx.sum(), [g])[0], [2.0, 2.0])


def test_jvp_reads_a_list_of_numbers_as_one_array() -> None:
    _, dy = ta.jvp(ta.exp, [0.0, 1.0], [1.0, 0.0])
    np.testing.assert_allclose(dy.data, [1.0, 0.0])
    for call in (
        lambda: ta.jvp(ta.exp, np.ones(3), np.ones(2)),
        lambda: ta.hvp(lambda x: (x * x).sum(), np.ones(3), np.ones(2)),
    ):
        with pytest.raises(ShapeError, match=r"u must be shaped like x \(3,\), got \(2,\)"):
            call()


def test_recompute_passes_constant_tensors_as_tensors_again() -> None:
    x = Tensor(np.ones(2), requires_grad=True)
    ta.recompute(lambda x, m: x * m.detach(), x, Tensor(np.array([2.0, 3.0]))).sum().backward()
    np.testing.assert_array_equal(x.grad, [2.0, 3.0])


@pytest.mark.parametrize("retain", [False, True])
def test_grad_needs_and_frees_nothing_of_its_inputs_own_nodes(retain: bool) -> None:
    x = leaf([1.0, 2.0])
    y = ta.exp(x)
    z = y * y
    (gy,) = ta.grad(z, [y], [1.0, 1.0])
    y.backward([1.0, 1.0], retain_graph=retain)  # `grad` stopped at y
    np.testing.assert_allclose(gy.numpy(), 2 * np.exp([1.0, 2.0]))
    (gy,) = ta.grad(y * 3.0, [y], [1.0, 1.0])  # y's own node is freed: it is not needed
    np.testing.assert_array_equal(gy.numpy(), [3.0, 3.0])
