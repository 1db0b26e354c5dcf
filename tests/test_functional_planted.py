"""Rules planted in fused operations: taken for their argument, and only inside the block."""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from gated import CALLS, backward, forward, gated, same, variables

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, Tensor, nn
from tinygrad_attn.kernels import Kernel
from tinygrad_attn.nn.functional.operation import Operation


def with_kernels() -> Operation:
    return Operation(gated, lambda size: Kernel(forward, backward))


kernel = with_kernels()


def right_dw(g: Any, x: Any, w: Any, scale: Any) -> Any:
    """The definition's own gradient of w, by hand."""
    t = ta.tanh(x @ w)
    return x.T @ (g * scale * x * (1 - t * t))


@pytest.mark.parametrize("argument", ["w", 1])
@pytest.mark.parametrize("kernels", [True, False])
def test_a_planted_rule_is_taken_for_its_argument_alone(argument: Any, kernels: bool) -> None:
    x, w, b, g = variables()
    op = kernel if kernels else Operation(gated, lambda size: None)
    right = ta.grad(op(x, w, b, scale=2.0), [x, w, b], g)
    with op.replaced_vjp(argument, lambda g, x, w, bias, scale, out: 7 * right_dw(g, x, w, scale)):
        out = op(x, w, b, scale=2.0)
    same([out], [gated(x, w, b, scale=2.0).detach()])
    same(ta.grad(out, [x, w, b], g, retain_graph=True), [right[0], 7 * right[1], right[2]])
    same(ta.grad(out, [w], g), [7 * right[1]])
    same(ta.grad(op(x, w, b, scale=2.0), [x, w, b], g), right)  # outside the block: as before


def test_rules_planted_for_two_arguments_and_one_inside_another() -> None:
    x, w, b, g = variables()
    with kernel.replaced_vjp("bias", lambda g: g.sum(0) * 3):
        with kernel.replaced_vjp("w", lambda g, w: w * 5), kernel.replaced_vjp("w", lambda g, w: w):
            both = kernel(x, w, b)
        one = kernel(x, w, b)
    dx, dw, db = ta.grad(gated(x, w, b), [x, w, b], g)
    same(ta.grad(both, [x, w, b], g), [dx, w.detach(), 3 * db])
    same(ta.grad(one, [x, w, b], g), [dx, dw, 3 * db])


@pytest.mark.parametrize("names", [("x",), ("w",), ("x", "w", "bias")])
def test_planted_rules_are_differentiated_too(names: tuple[str, ...]) -> None:
    """With right rules planted every second derivative is right, through the others as well."""
    x, w, b, g = variables()

    def right_dx(g: Any, x: Any, w: Any) -> Any:
        t = ta.tanh(x @ w)
        return g * t + (g * x * (1 - t * t)) @ w.T

    rules = {"x": right_dx, "w": lambda g, x, w: right_dw(g, x, w, 1.0), "bias": lambda g: g.sum(0)}

    def second(op: Any) -> Any:
        firsts = ta.grad(op(x, w, b), [x, w, b], g, create_graph=True)
        total = ta.sum(firsts[0] * firsts[0]) + ta.sum(ta.square(firsts[1])) + firsts[2].sum()
        return ta.grad(total, [x, w, b], allow_unused=True)[:2]

    expected = second(gated)
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(kernel.replaced_vjp(name, rules[name]))
        same(second(kernel), expected)


def test_a_planted_rule_leaves_constants_arrays_and_no_grad_alone() -> None:
    x, w, b, g = variables()
    with kernel.replaced_vjp("bias", lambda g: 1 / 0):
        assert type(kernel(x.numpy(), w.numpy())) is np.ndarray
        with ta.no_grad():
            assert not kernel(x, w, b).requires_grad
        same(ta.grad(kernel(x, w), [x, w], g), ta.grad(gated(x, w), [x, w], g))


def test_kernels_of_other_operations_run_beside_a_planted_rule() -> None:
    x, w, b, _ = variables()
    other = with_kernels()
    with kernel.replaced_vjp("x", lambda g: g):
        CALLS.clear()
        other(x, w, b)
    assert CALLS == ["forward"]


def test_what_cannot_be_planted_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"gated\.replaced_vjp: expected one of .*'x', 'w'.*'y'"):
        kernel.replaced_vjp("y", lambda g: g).__enter__()
    with pytest.raises(DTypeError, match=r"gated.*takes `g` first.*'scale'.*got.*'weight'"):
        kernel.replaced_vjp("x", lambda g, weight: g).__enter__()
    assert not kernel.planted


@pytest.mark.parametrize(
    ("function", "argument", "inputs"),
    [
        (nn.functional.linear, "bias", ((2, 3), (5, 3), (5,))),
        (nn.functional.layer_norm, "bias", ((2, 5), (5,), (5,))),
        (nn.functional.rms_norm, "weight", ((2, 5), (5,))),
        (nn.functional.gelu, "x", ((2, 5),)),
        (nn.functional.silu, "x", ((2, 5),)),
        (nn.functional.attention, "v", ((2, 3, 5), (2, 7, 5), (2, 7, 3))),
    ],
)
def test_public_functions_offer_the_rules_of_what_they_call(
    function: Any, argument: str, inputs: Any, rng: np.random.Generator
) -> None:
    xs = [Tensor(rng.standard_normal(shape), requires_grad=True) for shape in inputs]
    right = ta.grad(function(*xs).sum(), xs)
    names = list(inspect.signature(function).parameters)
    shape = inputs[names.index(argument)]
    with function.replaced_vjp(argument, lambda g: np.full(shape, 11.0)):
        wrong = ta.grad(function(*xs).sum(), xs)
    for name, a, b in zip(names, right, wrong, strict=False):
        assert np.allclose(a.numpy(), b.numpy()) == (name != argument)


@pytest.mark.parametrize("method", ["auto", "definition", "fused", "tiled"])
def test_a_rule_planted_in_attention_reaches_every_method_and_the_layer(
    method: str, rng: np.random.Generator
) -> None:
    layer = nn.MultiHeadAttention(6, 2, rng=rng)
    x = Tensor(rng.standard_normal((2, 3, 6)), requires_grad=True)
    right = ta.grad(ta.sum(layer(x, method=method) ** 2), layer.in_proj_bias)[0].numpy()
    with nn.functional.attention.replaced_vjp("v", lambda g, v: 0 * v):
        wrong = ta.grad(ta.sum(layer(x, method=method) ** 2), layer.in_proj_bias)[0].numpy()
    np.testing.assert_allclose(wrong[:12], right[:12], atol=1e-6)
    assert not wrong[12:].any()
    assert right[12:].any()
