"""Making an operation: rules that ask by name, what is kept, planted rules, other calling forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numeric import by_complex_step, error

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, Tensor
from tinygrad_attn.engine import PRIMITIVES, adapts, composed, inner, primitive


@pytest.fixture(autouse=True)
def _registry_as_found() -> Iterator[None]:
    before = dict(PRIMITIVES)
    yield
    PRIMITIVES.clear()
    PRIMITIVES.update(before)


def leaf(values: Any) -> Tensor:
    return Tensor(np.asarray(values, float), requires_grad=True)


def cube() -> Any:
    @primitive
    def cube(x, /, scale=1.0):
        """scale·x³."""
        return scale * x**3

    cube.defvjp(
        lambda g, x, scale: g * (3 * scale) * x * x,  # dx = 3·scale·dy∘x²
    )
    return cube


def test_a_new_operation_needs_a_function_and_a_rule() -> None:
    op = cube()
    x = leaf([0.5, -2.0])
    y = op(x, scale=2.0)
    np.testing.assert_array_equal(y.numpy(), 2 * np.array([0.5, -2.0]) ** 3)
    (g,) = ta.grad(y, [x], np.array([1.0, 3.0]), create_graph=True)
    numeric = by_complex_step(lambda x: op(x, 2.0), [x.numpy()], [np.array([1.0, 3.0])], 0)
    assert error(g.detach(), numeric) < 1e-14
    np.testing.assert_allclose(ta.grad(g.sum(), [x])[0].numpy(), [6 * 2 * 0.5, 6 * 2 * -2.0 * 3])


def test_a_primitive_describes_itself() -> None:
    op = cube()
    assert repr(op) == "<primitive cube(x, scale)>"
    assert op.__doc__ == "scale·x³."
    assert op.__name__ == op.name == "cube"
    assert (op.arrays, op.options) == (["x"], {"scale": 1.0})
    assert PRIMITIVES["cube"] is op
    (rule,) = op.rules
    assert rule.needs == ["x", "scale"]
    assert rule.formula == "dx = 3·scale·dy∘x²"


def test_rules_ask_for_the_result_and_the_shape_by_name() -> None:
    seen: dict[str, Any] = {}

    @primitive
    def pick(a, b, /, option="o"):
        return a * b

    def rule(g, b, out, in_shape, option, i):
        seen.update(b=b, out=out, in_shape=in_shape, option=option, i=i)
        return g * b

    pick.defvjp(rule, lambda g, a, i: seen.setdefault("i of b", i) * 0 + g * a)
    a, b = leaf(np.ones((2, 1))), leaf(np.ones(3))
    pick(a, b).backward(np.ones((2, 3)))
    assert seen["in_shape"] == (2, 1)
    assert seen["out"].shape == (2, 3)
    assert (seen["option"], seen["i"], seen["i of b"]) == ("o", 0, 1)
    assert isinstance(seen["b"], np.ndarray)
    np.testing.assert_array_equal(a.grad.numpy(), [[3], [3]])
    np.testing.assert_array_equal(b.grad.numpy(), [2, 2, 2])


def test_rules_run_on_arrays_first_and_on_tensors_under_create_graph() -> None:
    kinds = []

    @primitive
    def twice(x, /):
        return 2 * x

    twice.defvjp(lambda g, x: kinds.append((type(g), type(x))) or 2 * g)
    x = leaf([1.0])
    ta.grad(twice(x), [x])
    ta.grad(twice(x), [x], create_graph=True)
    assert kinds == [(np.ndarray, np.ndarray), (Tensor, Tensor)]


def test_several_arrays_share_one_rule() -> None:
    @primitive
    def total(*arrays, weight=1.0):
        return weight * sum(a.sum() * (k + 1) for k, a in enumerate(arrays))

    total.defvjp(
        lambda g, i, in_shapes, weight: np.broadcast_to(g * weight * (i + 1), in_shapes[i])
    )
    a, b, c = leaf(np.ones(2)), np.ones(3), leaf(np.ones((5, 1)))
    y = total(a, b, c, weight=2.0)
    assert y.item() == 2 * (2 + 6 + 15)
    y.backward()
    np.testing.assert_array_equal(a.grad.numpy(), np.full(2, 2.0))
    np.testing.assert_array_equal(c.grad.numpy(), np.full((5, 1), 6.0))


def test_args_under_create_graph_are_tensors_where_they_have_a_graph() -> None:
    @primitive
    def product(*arrays):
        return arrays[0] * arrays[1] * arrays[2]

    def others(g, i, args):
        for k, a in enumerate(args):
            g = g if k == i else g * a
        return g

    product.defvjp(others)
    a, b, c = leaf(2.0), leaf(3.0), Tensor(5.0, dtype=np.float64)
    (da,) = ta.grad(product(a, b, c), [a], create_graph=True)
    assert da.item() == 15
    assert ta.grad(da, [b])[0].item() == 5


def test_an_operation_with_several_results() -> None:
    @primitive
    def sincos(x, /):
        return np.sin(x), np.cos(x)

    sincos.defvjp(lambda g, x: g[0] * np.cos(x) - g[1] * np.sin(x))
    x = leaf([0.3, 1.1])
    s, c = sincos(x)
    (g,) = ta.grad((s * s + c).sum(), [x], create_graph=True)
    np.testing.assert_allclose(g.numpy(), np.sin(2 * x.numpy()) - np.sin(x.numpy()), rtol=1e-14)
    (h,) = ta.grad(g.sum(), [x])
    np.testing.assert_allclose(h.numpy(), 2 * np.cos(2 * x.numpy()) - np.cos(x.numpy()), rtol=1e-13)


def test_a_rule_may_give_less_than_the_broadcast_shape_only_if_it_fits() -> None:
    @primitive
    def add3(a, b, /):
        return a + b

    add3.defvjp(lambda g: g, lambda g: g)
    a, b = leaf(np.ones((2, 1, 3))), leaf(np.ones((5, 1)))
    add3(a, b).backward(np.ones((2, 5, 3)))
    assert a.grad.numpy().tolist() == np.full((2, 1, 3), 5.0).tolist()
    assert b.grad.numpy().tolist() == np.full((5, 1), 6.0).tolist()


@pytest.mark.parametrize(
    "rules",
    [
        (),
        (lambda g: g, lambda g: g),
        (lambda x, g: g,),
        (lambda g, nonsense: g,),
        (lambda g, y: g,),
    ],
)
def test_rules_that_do_not_fit_are_refused_when_defined(rules: Any) -> None:
    @primitive
    def op(x, /):
        return x

    with pytest.raises(DTypeError, match=r"op\.defvjp"):
        op.defvjp(*rules)


def test_an_argument_without_a_rule_gets_no_gradient() -> None:
    @primitive
    def gate(a, b, /):
        return a * b

    gate.defvjp(None, lambda g, a: g * a)
    a, b = leaf(2.0), leaf(3.0)
    gate(a, b).backward()
    assert a.grad is None
    assert b.grad.item() == 2


# ── planted rules ───────────────────────────────────────────────────────────────────────────────
def test_a_planted_rule_is_used_and_taken_back() -> None:
    x = leaf(2.0)
    right = ta.exp.rules
    with ta.exp.replaced_vjp(0, lambda g: g * 100):
        assert ta.grad(ta.exp(x), [x])[0].item() == 100
        with ta.exp.replaced_vjp("x", lambda g: g * 7):
            assert ta.grad(ta.exp(x), [x])[0].item() == 7
        assert ta.grad(ta.exp(x), [x])[0].item() == 100
    assert ta.exp.rules is right
    assert ta.grad(ta.exp(x), [x])[0].item() == np.exp(2.0)


def test_a_planted_rule_is_taken_back_after_an_error() -> None:
    right = ta.exp.rules
    with pytest.raises(ZeroDivisionError), ta.exp.replaced_vjp(0, lambda g: g):
        raise ZeroDivisionError
    assert ta.exp.rules is right


def test_rules_are_planted_by_name_position_and_through_adapters() -> None:
    a, b = leaf(np.eye(2)), leaf(np.eye(2))
    with ta.matmul.replaced_vjp("b", lambda g, a: 0 * g):
        ta.matmul(a, b).backward(np.ones((2, 2)))
    np.testing.assert_array_equal(b.grad.numpy(), np.zeros((2, 2)))
    np.testing.assert_array_equal(a.grad.numpy(), np.ones((2, 2)))
    with ta.multiply.replaced_vjp(1, lambda g, a: -g * a):
        assert ta.grad(a[0, 0] * b[0, 0], [b], allow_unused=True)[0].numpy()[0, 0] == -1


def test_a_rule_can_be_planted_for_several_arrays() -> None:
    a, b = leaf([1.0]), leaf([2.0, 3.0])
    with ta.concat.replaced_vjp(0, lambda g, in_shapes, i: np.full(in_shapes[i], 10.0 * i)):
        ta.concat([a, b]).backward(np.ones(3))
    assert a.grad.numpy().tolist() == [0]
    assert b.grad.numpy().tolist() == [10, 10]


@pytest.mark.parametrize(
    ("argument", "rule"),
    [
        ("y", lambda g: g),
        (1, lambda g: g),
        (-2, lambda g: g),
        (0, lambda g, nonsense: g),
        (0, lambda out: out),
    ],
)
def test_a_rule_that_cannot_be_planted(argument: Any, rule: Any) -> None:
    right = ta.exp.rules
    with pytest.raises((ShapeError, DTypeError)), ta.exp.replaced_vjp(argument, rule):
        pass
    assert ta.exp.rules is right


def test_a_composed_operation_has_no_rule_to_replace() -> None:
    with pytest.raises(DTypeError, match=r"var.*composed"), ta.var.replaced_vjp(0, lambda g: g):
        pass


# ── other calling forms ─────────────────────────────────────────────────────────────────────────
def test_a_dtype_among_the_arguments_does_not_spoil_the_message() -> None:
    with pytest.raises(
        DTypeError, match=r"one_hot\(\[1, 2\], 'x', dtype=<class 'numpy.float32'>\)"
    ):
        ta.one_hot([1, 2], "x", dtype=np.float32)


def test_adapters_and_composed_operations_name_themselves_in_errors() -> None:
    @inner("double")
    def doubled(x, /):
        return x + x

    doubled.defvjp(lambda g: 2 * g)

    @adapts(doubled)
    def double(x, times=1):
        return double(doubled(x), times - 1) if times else x

    @composed
    def fourfold(x):
        return double(x, times=2)

    x = leaf([1.0, 2.0])
    assert fourfold(x).numpy().tolist() == [4, 8]
    assert double.primitive is doubled
    assert repr(double).startswith("<operation double")
    assert repr(fourfold) == "<operation fourfold, composed of primitives>"
    for call in (
        lambda: double(x, "many"),
        lambda: double(x, wrong=1),
        lambda: fourfold(x, x),
        lambda: fourfold(),
    ):
        with pytest.raises(DTypeError, match=r"^(double|fourfold)"):
            call()


# ── the call ────────────────────────────────────────────────────────────────────────────────────
def test_options_by_position_by_name_and_by_default() -> None:
    a = np.arange(6.0).reshape(2, 3)
    for call in (
        lambda x: ta.sum(x, 1, True),
        lambda x: ta.sum(x, axis=1, keepdims=True),
        lambda x: ta.sum(x, 1, keepdims=True),
    ):
        assert call(leaf(a)).shape == call(a).shape == (2, 1)


def test_on_arrays_it_just_computes() -> None:
    out = ta.softmax(np.array([1.0, 2.0]))
    assert type(out) is np.ndarray
    assert out.flags.writeable
    assert isinstance(ta.sum(np.ones(3)), np.floating)


def test_a_constant_tensor_in_gives_a_constant_tensor_out() -> None:
    y = ta.exp(Tensor([1.0]))
    assert isinstance(y, Tensor)
    assert not y.requires_grad
    assert all(isinstance(part, Tensor) for part in ta.split(Tensor([1.0, 2.0]), 2))


def test_a_fault_in_the_forward_function_is_not_hidden() -> None:
    @primitive
    def faulty(x, /):
        return undefined_name  # noqa: F821 - the fault

    with pytest.raises(NameError):
        faulty(leaf(1.0))


def test_a_rule_of_several_results_may_ask_for_them_and_is_differentiable() -> None:
    @primitive
    def growth_and_bend(x: Any, /) -> Any:
        return np.exp(x), np.tanh(x)

    growth_and_bend.defvjp(
        lambda g, out: g[0] * out[0] + g[1] * (1 - out[1] * out[1]),  # dx = dy₀∘y₀ + dy₁∘(1 − y₁²)
    )
    x = np.array([0.3, -0.7, 1.1])
    both = ta.hessian(lambda x: ta.prod(ta.stack(growth_and_bend(x)), 0).sum(), x)
    plain = ta.hessian(lambda x: (ta.exp(x) * ta.tanh(x)).sum(), x)
    np.testing.assert_allclose(both.data, plain.data, rtol=1e-13)


def test_a_result_that_is_an_operand_is_copied() -> None:
    @primitive
    def second(a: Any, b: Any, /) -> Any:
        return b[:]

    second.defvjp(lambda g: g * 0, lambda g: g)
    b = np.ones(3)
    out = second(leaf(np.ones(3)), b)
    b[0] = 7.0
    np.testing.assert_array_equal(out.data, np.ones(3))


def test_replacing_a_rule_that_is_not_there_is_refused() -> None:
    bare = primitive(lambda a, b, /: a * b)
    with pytest.raises(DTypeError, match="has no rules yet"), bare.replaced_vjp("b", lambda g: g):
        pass


def test_a_slip_inside_a_rule_stays_what_it_is() -> None:
    with ta.negative.replaced_vjp(0, lambda g: np.squre(g)):
        y = ta.negative(leaf(np.ones(3)))
    with pytest.raises(AttributeError, match="no attribute 'squre'") as caught:
        y.backward(np.ones(3))
    assert caught.value.__notes__[0].startswith("in the gradient rule of `negative`")


def test_a_rule_that_returns_no_array_is_named() -> None:
    with ta.negative.replaced_vjp(0, lambda g: None):
        y = ta.negative(leaf(np.ones(3)))
    with pytest.raises(DTypeError, match="the rule of `negative` must return an array"):
        y.backward(np.ones(3))
