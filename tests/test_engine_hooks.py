"""Hooks, kept gradients and kept values: what a walk leaves behind on the way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import ShapeError, Tensor


def leaf(values: object, name: str | None = None) -> Tensor:
    return Tensor(np.asarray(values, float), requires_grad=True, name=name)


def equal(t: Tensor | None, values: object) -> None:
    assert t is not None
    np.testing.assert_allclose(t.numpy(), values, rtol=1e-14, atol=1e-15)


def test_a_hook_sees_the_whole_gradient_once() -> None:
    x = leaf([1.0, 2.0])
    y, seen = x * 2.0, []
    y.register_hook(seen.append)
    (y * y + 3 * y).sum().backward()
    assert len(seen) == 1
    equal(seen[0], 2 * np.array([2.0, 4.0]) + 3)
    assert isinstance(seen[0], Tensor)


@pytest.mark.parametrize("f", [ta.sin, ta.sign, ta.floor])
def test_what_a_hook_returns_can_be_differentiated(f: Callable[[Tensor], Tensor]) -> None:
    x, w = leaf(0.5), leaf(3.0)
    x.register_hook(lambda g: g + w * w)
    (dx,) = ta.grad(f(x), [x], create_graph=True)
    equal(ta.grad(dx, [w])[0], 6.0)


def test_what_hooks_return_replaces_the_gradient_in_order() -> None:
    x = leaf([1.0, 2.0])
    y = x * 2.0
    y.retain_grad()
    y.register_hook(lambda g: g * 10.0)
    y.register_hook(lambda g: g + 1.0)
    y.backward([1.0, 1.0])
    equal(y.grad, [11, 11])
    equal(x.grad, [22, 22])


def test_a_hook_on_a_leaf_changes_what_is_accumulated() -> None:
    x = leaf(2.0)
    x.register_hook(lambda g: g * -1.0)
    (x * x).backward()
    (x * x).backward()
    equal(x.grad, -8)


def test_a_hook_can_be_taken_off_even_twice() -> None:
    x, calls = leaf(2.0), []
    remove = x.register_hook(calls.append)
    keep = x.register_hook(calls.append)
    remove()
    remove()
    (x * x).backward()
    assert len(calls) == 1
    keep()
    (x * x).backward()
    assert len(calls) == 1


def test_a_hook_that_takes_itself_off_runs_once() -> None:
    x, calls = leaf(2.0), []

    def once(g):
        calls.append(g)
        remove()

    remove = x.register_hook(once)
    (x * x).backward()
    (x * x).backward()
    assert len(calls) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda g: g.sum(),
        lambda g: g.reshape(1, 2),
        lambda g: 1.0,
        lambda g: g.numpy(),
        lambda g: g.astype(np.float32),
    ],
)
def test_a_hook_that_returns_something_else_raises_and_nothing_changes(wrong: object) -> None:
    x = leaf([1.0, 2.0])
    y = x * 2.0
    y.register_hook(wrong)
    with pytest.raises(ShapeError, match="hook"):
        y.sum().backward()
    assert x.grad is None


def test_hooks_take_part_in_higher_orders() -> None:
    x = leaf(3.0)
    y = x * x
    y.register_hook(lambda g: g * g)
    (first,) = ta.grad(y * y, [x], create_graph=True)  # (2y)² · 2x: the hook squared 2y
    (second,) = ta.grad(first, [x])  # and now squares what comes through y
    equal(first, (2 * 9) ** 2 * 2 * 3)
    equal(second, 2 * (2 * 9) ** 2 + (2 * (2 * 9) * 2 * 2 * 3) ** 2 * 2 * 3)


def test_retain_grad_keeps_an_intermediate_gradient() -> None:
    x = leaf([1.0, 2.0])
    y = x * 2.0
    plain = y * 1.0
    y.retain_grad()
    (plain * plain).sum().backward()
    equal(y.grad, [4, 8])
    assert plain.grad is None


def test_keep_grads_keeps_every_value_and_gradient() -> None:
    x = leaf([1.0, 2.0])
    with ta.keep_grads():
        y = ta.exp(x)
        z = y * y
    z.sum().backward()
    equal(z.grad, [1, 1])
    equal(y.grad, 2 * np.exp([1.0, 2.0]))
    np.testing.assert_array_equal(y.node.value, np.exp([1.0, 2.0]))


def test_keep_grads_around_backward_alone_keeps_gradients() -> None:
    x = leaf([1.0, 2.0])
    y = ta.exp(x)
    z = (y * y).sum()
    with ta.keep_grads():
        z.backward()
    equal(y.grad, 2 * np.exp([1.0, 2.0]))
    assert y.node.value is None


def test_keep_values_keeps_no_gradient() -> None:
    x = leaf([1.0, 2.0])
    with ta.keep_values():
        y = ta.exp(x)
    (y * y).sum().backward()
    assert y.grad is None
    np.testing.assert_array_equal(y.node.value, np.exp([1.0, 2.0]))
