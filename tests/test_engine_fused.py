"""Fused operations: the kernel gives the definition's numbers, and steps aside for its steps."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from gated import CALLS, backward, forward, gated, same, variables

import tinygrad_attn as ta
from tinygrad_attn import GraphError, Tensor
from tinygrad_attn.engine import Fused
from tinygrad_attn.kernels import Kernel

kernel = Fused(gated, lambda size: Kernel(forward, backward))


@pytest.fixture(autouse=True)
def _calls() -> None:
    CALLS.clear()


def test_the_kernel_gives_the_definitions_value_and_gradients() -> None:
    x, w, b, g = variables()
    expected = ta.grad(gated(x, w, b, scale=2.0), [x, w, b], g)
    CALLS.clear()
    out = kernel(x, w, b, scale=2.0)
    same([out], [gated(x, w, b, scale=2.0).detach()])
    same(ta.grad(out, [x, w, b], g), expected)
    assert CALLS == ["forward", "definition", "backward"]


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2)])
def test_gradients_of_some_arguments(wanted: tuple[int, ...]) -> None:
    *xs, g = variables()
    mixed = [x if i in wanted else x.detach() for i, x in enumerate(xs)]
    inputs = [xs[i] for i in wanted]
    same(ta.grad(kernel(*mixed), inputs, g), ta.grad(gated(*mixed), inputs, g))


def test_it_is_one_node_in_a_larger_graph() -> None:
    x, w, b, g = variables()

    def f(op: Any) -> Tensor:
        y = ta.exp(x) + x
        return ta.softmax(op(y, w, b) + op(x, w)) * y

    assert kernel(x, w).node.op is kernel
    same(ta.grad(f(kernel), [x, w, b], g), ta.grad(f(gated), [x, w, b], g))


def test_create_graph_expands_the_definition() -> None:
    x, w, b, g = variables()

    def second(op: Any) -> Any:
        (first,) = ta.grad(op(x, w, b), [x], g, create_graph=True)
        (third,) = ta.grad((first * first).sum(), [w], create_graph=True)
        return [first.detach(), third.detach(), ta.grad(third.sum(), [x])[0]]

    expected = second(gated)
    CALLS.clear()
    same(second(kernel), expected)
    assert "backward" not in CALLS


def test_keep_grads_shows_every_step() -> None:
    x, w, _, g = variables()
    out = kernel(x, w)
    CALLS.clear()
    with ta.keep_grads():
        out.backward(g)
    assert CALLS == ["definition"]
    with ta.keep_grads():
        seen = kernel(x, w)
    assert seen.node.op.name == "multiply"
    with ta.keep_values():
        assert kernel(x, w).node.value is not None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_take_float32_and_float64(dtype: Any) -> None:
    x, w, _, g = variables(dtype)
    out = kernel(x, w)
    assert CALLS == ["forward"]
    assert out.dtype == dtype
    assert all(part.dtype == dtype for part in ta.grad(out, [x, w], g.astype(dtype)))


def test_other_and_mixed_dtypes_take_the_definition() -> None:
    x, w, _, _ = variables(np.complex128)
    kernel(x, w)
    kernel(x.detach().data.real.astype(np.float32), variables()[1])
    assert CALLS == ["definition", "definition"]


def test_no_grad_and_constants_record_nothing() -> None:
    x, w, _, _ = variables()
    with ta.no_grad():
        assert kernel(x, w).node is None
    assert kernel(x.detach(), w.detach()).node is None


def test_on_arrays_it_just_computes() -> None:
    x, w, _, _ = variables()
    out = kernel(x.numpy(), w.numpy())
    assert type(out) is np.ndarray
    np.testing.assert_allclose(out, gated(x.numpy(), w.numpy()))


def test_a_fused_node_is_freed_and_can_be_retained() -> None:
    x, w, _, g = variables()
    out = kernel(x, w)
    first = ta.grad(out, [x], g, retain_graph=True)
    same(ta.grad(out, [x], g), first)
    with pytest.raises(GraphError, match=r"gated.*freed"):
        out.backward(g)


def test_inside_recompute() -> None:
    x, w, b, g = variables()
    expected = ta.grad(gated(x, w, b), [x, w], g)
    same(ta.grad(ta.recompute(lambda x: kernel(x, w, b), x), [x, w], g), expected)


def test_grad_through_an_intermediate_argument() -> None:
    x, w, _, g = variables()
    y = ta.sin(x)
    expected = ta.grad(gated(y, w), [y, x], g, retain_graph=True)
    same(ta.grad(kernel(y, w), [y, x], g, retain_graph=True), expected)
    plain, graph = kernel(y, w), kernel(y, w)
    same(ta.grad(plain, [x], g, retain_graph=True), expected[1:])
    same([ta.grad(graph, [x], g, create_graph=True)[0].detach()], expected[1:])


@pytest.mark.parametrize("create_graph", [False, True])
def test_writing_into_constants_and_options_changes_no_gradient(create_graph: bool) -> None:
    x, w, _, g = variables()
    matrix, scale = w.numpy(), np.array([1.0, 2.0, 3.0])
    expected = ta.grad(gated(x, w.detach(), scale=scale), [x], g)
    out = kernel(x, matrix, scale=scale)
    matrix[:] = 0
    scale[:] = 0
    (got,) = ta.grad(out, [x], g, create_graph=create_graph)
    same([got.detach()], expected)


def test_errors_name_the_operation() -> None:
    x, _, _, _ = variables()
    with pytest.raises(ta.ShapeError, match=r"gated"):
        kernel(x, x)
    with pytest.raises(ta.DTypeError, match=r"gated"):
        kernel(x, wrong=1)


def test_a_wrong_kernel_gradient_does_not_pass_the_walk() -> None:
    x, w, _, g = variables()
    wrong = Kernel(forward, lambda g, t, x, w, **options: (g[:1], g))
    broken = Fused(gated, lambda size: wrong)
    with pytest.raises(ta.ShapeError, match="expected a gradient of shape"):
        broken(x, w).backward(g)
    assert x.grad is None


def test_no_cycles_and_nothing_kept() -> None:
    x, w, b, g = variables()

    def step() -> None:
        kernel(x, w, b).backward(g)
        with ta.keep_grads():
            kernel(x, w).backward(g)
        ta.grad(kernel(x, w), [x], g, create_graph=True)
        x.grad = w.grad = b.grad = None

    gc.disable()
    try:
        step()
        gc.collect()
        step()
        assert gc.collect() == 0
    finally:
        gc.enable()
