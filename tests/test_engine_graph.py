"""Backward and grad: accumulation, freeing, total derivatives, several results."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import GraphError, Tensor


def leaf(values: object, name: str | None = None) -> Tensor:
    return Tensor(np.asarray(values, float), requires_grad=True, name=name)


def equal(t: Tensor | None, values: object) -> None:
    assert t is not None
    np.testing.assert_allclose(t.numpy(), values, rtol=1e-14, atol=1e-15)


# ── backward ────────────────────────────────────────────────────────────────────────────────────
def test_backward_of_a_scalar_needs_no_g() -> None:
    x = leaf([1.0, -2.0, 3.0])
    (x * x).sum().backward()
    equal(x.grad, [2, -4, 6])


def test_backward_of_one_element_needs_no_g() -> None:
    x = leaf([[3.0]])
    (x * x).backward()
    equal(x.grad, [[6]])


def test_backward_takes_g_in_the_outputs_shape() -> None:
    x = leaf([1.0, 2.0, 3.0])
    (x * x).backward([1.0, 0.0, -1.0])
    equal(x.grad, [2, 0, -6])


def test_backward_of_a_leaf_is_g() -> None:
    x = leaf([1.0, 2.0])
    x.backward(np.array([5.0, 7.0]))
    equal(x.grad, [5, 7])


def test_gradients_accumulate_until_cleared() -> None:
    x = leaf(3.0)
    (x * x).backward()
    (5 * x).backward()
    equal(x.grad, 11)
    x.grad = None
    (x + 1).backward()
    equal(x.grad, 1)


def test_one_leaf_used_many_times_gets_the_sum() -> None:
    x = leaf(2.0)
    y = x * x
    (y * y + y + x).backward()
    equal(x.grad, 4 * 2**3 + 2 * 2 + 1)


def test_constants_get_nothing() -> None:
    x, c = leaf(2.0), Tensor(3.0)
    (x * c).backward()
    assert c.grad is None
    assert not c.requires_grad


def test_g_may_be_a_tensor_of_another_float_dtype() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True, dtype=np.float32)
    (x * x).backward(Tensor(np.array([1.0, 2.0])))
    assert x.grad is not None
    assert x.grad.dtype == np.float32
    equal(x.grad, [2, 8])


def test_every_result_is_newer_than_its_arguments() -> None:
    x = leaf(1.0)
    y = ta.exp(x)
    z = x * y
    assert x.node.order < y.node.order < z.node.order
    assert z.node.parents == (x.node, y.node)


# ── freeing ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "op",
    [
        ta.exp,
        lambda x: x + 1.0,
        lambda x: x.reshape(3, 1),
        lambda x: ta.split(x, 3)[0],
        lambda x: x * 1.0,
    ],
)
def test_second_backward_through_a_freed_graph_raises(op: object) -> None:
    """Also where nothing was saved: what depends on the operation would be found too late."""
    x = leaf([1.0, 2.0, 3.0])
    y = op(x).sum()
    y.backward()
    before = x.grad
    with pytest.raises(GraphError, match=r"freed.*retain_graph=True"):
        y.backward()
    assert x.grad is before


def test_a_freed_part_stops_another_output() -> None:
    x = leaf([1.0, 2.0])
    shared = ta.exp(x)
    first, second = shared.sum(), (shared * shared).sum()
    first.backward()
    x.grad = None
    with pytest.raises(GraphError, match="freed"):
        second.backward()
    assert x.grad is None


def test_retain_graph_allows_another_backward() -> None:
    x = leaf([1.0, 2.0])
    y = ta.exp(x).sum()
    y.backward(retain_graph=True)
    y.backward()
    equal(x.grad, 2 * np.exp([1.0, 2.0]))
    with pytest.raises(GraphError):
        y.backward()


def test_links_stay_after_backward_so_that_a_graph_can_be_drawn() -> None:
    x = leaf([1.0, 2.0])
    y = ta.exp(x * 2.0).sum()
    y.backward()
    names, node = [], y.node
    while node.op is not None:
        names.append(node.op.name)
        node = node.parents[0]
    assert names == ["sum", "exp", "multiply"]
    assert node is x.node


# ── grad ────────────────────────────────────────────────────────────────────────────────────────
def test_grad_leaves_dot_grad_alone() -> None:
    x = leaf(3.0)
    (g,) = ta.grad(x * x, [x])
    equal(g, 6)
    assert x.grad is None


def test_grad_takes_one_tensor_and_returns_a_tuple() -> None:
    x = leaf(3.0)
    assert len(ta.grad(x * x, x)) == 1


def test_grad_gives_total_derivatives_through_its_inputs() -> None:
    x = leaf(3.0)
    y = x * x
    z = y * x
    dz_dx, dz_dy = ta.grad(z, [x, y])
    equal(dz_dy, 3)
    equal(dz_dx, 27)  # through y as well


def test_grad_of_the_output_itself_is_g() -> None:
    y = leaf([1.0, 2.0]) * 2.0
    (g,) = ta.grad(y, [y], np.array([3.0, 5.0]))
    equal(g, [3, 5])


def test_grad_of_one_input_twice() -> None:
    x = leaf(3.0)
    a, b = ta.grad(x * x, [x, x])
    equal(a, 6)
    equal(b, 6)


def test_grad_visits_only_what_leads_to_its_inputs() -> None:
    x, w = leaf(3.0), leaf(5.0)
    dead = ta.exp(w)
    calls = []

    def rule(g, out):
        calls.append(1)
        return g * out

    with ta.exp.replaced_vjp(0, rule):
        z = x * ta.exp(w) + dead
        ta.grad(z, [x], retain_graph=True)
        assert not calls
        ta.grad(z, [w])
    assert len(calls) == 1  # `dead` was recorded with the library's own rule


def test_grad_of_an_unused_input_raises_and_names_it() -> None:
    x, other = leaf(3.0), leaf(1.0, name="other")
    with pytest.raises(GraphError, match=r"input 1 \(other\).*allow_unused=True"):
        ta.grad(x * x, [x, other])


def test_allow_unused_gives_none() -> None:
    x, other = leaf(3.0), leaf(1.0)
    z = x * x
    a, b = ta.grad(z, [x, other], allow_unused=True, retain_graph=True)
    equal(a, 6)
    assert b is None
    assert ta.grad(z, [other], allow_unused=True) == (None,)


def test_an_input_used_only_where_no_gradient_flows_is_unused() -> None:
    choice, x = leaf([1.0, 0.0]), leaf([2.0, 3.0])
    y = ta.where(choice, x, 0.0)
    with pytest.raises(GraphError, match="input 0"):
        ta.grad(y, [choice], np.ones(2), retain_graph=True)
    assert ta.grad(y, [choice], np.ones(2), allow_unused=True) == (None,)


def test_an_input_newer_than_the_output_is_unused() -> None:
    x = leaf(3.0)
    z = x * x
    later = x + 1.0
    assert ta.grad(z, [later], allow_unused=True) == (None,)


# ── several results ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("used", [(0,), (1,), (2,), (0, 2), (0, 1, 2), (1, 1)])
def test_a_split_partly_used(used: tuple[int, ...]) -> None:
    x = leaf(np.arange(1.0, 8.0))
    parts = ta.split(x, [2, 5])
    assert [p.shape for p in parts] == [(2,), (3,), (2,)]
    sum((parts[i] * parts[i]).sum() for i in used).backward()
    owner = np.repeat([0, 1, 2], [2, 3, 2])
    equal(x.grad, sum(np.where(owner == i, 2 * np.arange(1.0, 8.0), 0) for i in used))


def test_a_split_under_keep_grads_and_hooks() -> None:
    x = leaf([1.0, 2.0, 3.0])
    with ta.keep_grads():
        a, b = ta.split(x, [1])
        a.register_hook(lambda g: g * 3.0)
        (a * 2.0).sum().backward()
    equal(x.grad, [6, 0, 0])
    equal(a.grad, [6])
    assert b.grad is None


def test_grad_with_respect_to_one_result() -> None:
    x = leaf([1.0, 2.0, 3.0])
    a, b = ta.split(x, [1])
    z = (a * b).sum()
    equal(ta.grad(z, [b], retain_graph=True)[0], [1, 1])
    equal(ta.grad(z, [x])[0], [5, 1, 1])


def test_second_derivative_through_a_partly_used_split() -> None:
    x = leaf([1.0, 2.0, 3.0])
    a, _, c = ta.split(x, 3)
    (g,) = ta.grad((a * a * c).sum(), [x], create_graph=True)
    (h,) = ta.grad((g * np.array([1.0, 10.0, 100.0])).sum(), [x])
    equal(h, [2 * 3 + 100 * 2 * 1, 0, 2 * 1])


# ── detaching ───────────────────────────────────────────────────────────────────────────────────
def test_detach_shares_values_and_stops_gradients() -> None:
    x = leaf(3.0, name="x")
    y = (x * x).detach()
    assert y.node is None
    (x * y).backward()
    equal(x.grad, 9)
    assert x.detach().name == "x"
    assert np.shares_memory(x.detach().data, x.data)


def test_requires_grad_can_be_switched_on_a_leaf_only() -> None:
    c = Tensor(2.0)
    c.requires_grad = True
    (c * c).backward()
    equal(c.grad, 4)
    c.requires_grad = False
    assert c.grad is None
    y = leaf(1.0) * 2.0
    with pytest.raises(GraphError, match="leaf"):
        y.requires_grad = False
