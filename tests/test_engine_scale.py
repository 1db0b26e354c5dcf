"""Size, time and memory: long chains, shared results, what is kept alive and for how long."""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
import weakref
from collections.abc import Iterator
from contextlib import suppress
from statistics import median

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import Tensor


def leaf(values: object) -> Tensor:
    return Tensor(np.asarray(values, float), requires_grad=True)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only reference counts free memory."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# ── long chains ─────────────────────────────────────────────────────────────────────────────────
def chain(length: int) -> float:
    """Forward, backward and deletion of a chain of additions; the gradient."""
    x = leaf(0.5)
    y = x
    for _ in range(length):
        y = y + 1.0
    y.backward()
    del y
    return x.grad.item()


def test_a_chain_of_100_000_operations() -> None:
    assert sys.getrecursionlimit() == 1000
    assert chain(100_000) == 1


@pytest.mark.slow
def test_a_chain_of_1_000_000_operations_in_30_seconds() -> None:
    assert sys.getrecursionlimit() == 1000
    start = time.perf_counter()
    assert chain(1_000_000) == 1
    assert time.perf_counter() - start < 30


def test_a_long_chain_can_be_deleted_without_a_backward() -> None:
    y = leaf(0.5)
    for _ in range(100_000):
        y = y * 1.0
    alive = weakref.ref(y)
    del y
    assert alive() is None


def test_grad_of_a_long_chain() -> None:
    x = leaf(0.5)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    assert ta.grad(y, [x])[0].item() == 1


# ── sharing ─────────────────────────────────────────────────────────────────────────────────────
def doubled(x: Tensor, times: int) -> Tensor:
    """x again, by 2^times paths."""
    for _ in range(times):
        x = (x + x) * 0.5
    return x


def test_a_shared_result_is_visited_once() -> None:
    calls = []

    def rule(g: object) -> object:
        calls.append(1)
        return g

    x = leaf(3.0)
    with ta.add.replaced_vjp(0, rule):
        doubled(x, 300).backward()
    assert len(calls) == 300
    assert x.grad.item() == 1


def test_second_order_through_shared_results_is_linear_too() -> None:
    x = leaf(3.0)
    y = doubled(x, 60)
    (first,) = ta.grad(y * y, [x], create_graph=True)
    (second,) = ta.grad(first, [x])
    assert (first.item(), second.item()) == (6, 2)


@pytest.mark.slow
def test_twice_as_many_doublings_cost_twice_as_much() -> None:
    def seconds(times: int) -> float:
        x = leaf(3.0)
        start = time.perf_counter()
        doubled(x, times).backward()
        return time.perf_counter() - start

    seconds(2000)
    ratio = median(seconds(2000) / seconds(1000) for _ in range(15))
    assert ratio <= 2.5


# ── what stays alive ────────────────────────────────────────────────────────────────────────────
def array_of(t: Tensor) -> weakref.ref[object]:
    return weakref.ref(t._data)


@pytest.mark.usefixtures("no_collector")
def test_a_result_nobody_saved_is_freed_at_once() -> None:
    x = leaf(np.ones(3))
    y = x + 1.0
    z = y + 2.0
    array = array_of(y)
    del y
    assert array() is None
    z.backward(np.ones(3))
    assert x.grad.numpy().tolist() == [1, 1, 1]


@pytest.mark.usefixtures("no_collector")
def test_exactly_what_a_rule_asks_for_is_kept_until_backward_passes() -> None:
    x = leaf(np.ones(3))
    before = x * 2.0
    out = ta.exp(before)
    loss = out.sum()
    input_array, out_array = array_of(before), array_of(out)
    del before, out
    assert input_array() is None  # exp asks for its result alone
    assert out_array() is not None
    loss.backward()
    assert out_array() is None  # freed though `loss` is still here


@pytest.mark.usefixtures("no_collector")
def test_a_constant_argument_does_not_keep_what_only_its_rule_needs() -> None:
    x, w = leaf(np.ones(3)), leaf(np.ones(3))
    y = x * 2.0
    array = array_of(y)
    z = y * w.detach()  # the rule for w would need y; it will not run
    del y
    assert array() is None
    z.backward(np.ones(3))
    assert x.grad.numpy().tolist() == [2, 2, 2]


@pytest.mark.usefixtures("no_collector")
def test_saved_arrays_go_while_the_walk_goes_on() -> None:
    """When the walk is at the first operation, the last has let go of what it saved."""
    x = leaf(np.ones(3))
    first = ta.sin(x)
    second = ta.exp(first * 2.0)
    array, seen = array_of(second), []
    first.register_hook(lambda g: seen.append(array() is None))
    loss = second.sum()
    del first, second
    loss.backward()
    assert seen == [True]


@pytest.mark.usefixtures("no_collector")
def test_a_step_leaves_no_cycles() -> None:
    w = leaf(np.ones((3, 3)))

    def step() -> None:
        with ta.scope("step"):
            parts = ta.split(ta.softmax(leaf(np.ones((2, 3))) @ w), 3, axis=-1)
            loss = (parts[0] * parts[2]).sum() + ta.recompute(lambda w: ta.exp(w[0]).sum(), w)
        loss.backward()
        ta.grad(ta.grad((w * w).sum(), [w], create_graph=True)[0].sum(), [w])
        with ta.keep_grads():
            ta.tanh(w).sum().backward()
        w.grad = None

    step()
    gc.collect()
    step()
    assert gc.collect() == 0


@pytest.mark.usefixtures("no_collector")
def test_an_error_leaves_no_cycles() -> None:
    def wrong() -> None:
        x = leaf(np.ones(3))
        with suppress(ta.ShapeError):
            ta.exp(x).sum().backward(np.ones(2))

    wrong()
    gc.collect()
    wrong()
    assert gc.collect() == 0


@pytest.mark.usefixtures("no_collector")
def test_many_steps_take_no_more_memory_than_few() -> None:
    w = leaf(np.ones((7, 7)))
    x = Tensor(np.ones((5, 7)))

    def step() -> None:
        loss = (ta.log_softmax(ta.tanh(x @ w) @ w.T)[:, 0]).sum()
        loss.backward()
        w.data = w.numpy() - 1e-3 * w.grad.numpy()
        w.grad = None

    for _ in range(50):
        step()
    tracemalloc.start()
    try:
        step()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(600):
            step()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 50_000  # Python's free lists fill; a leak would show 600 times


@pytest.mark.usefixtures("no_collector")
def test_recompute_keeps_nothing_from_inside() -> None:
    arrays = []

    def f(x: Tensor) -> Tensor:
        inside = ta.exp(x)
        arrays.append(array_of(inside))
        return inside * inside

    x = leaf(np.ones(3))
    out = ta.recompute(f, x)
    assert arrays[0]() is None
    out.backward(np.ones(3))
    assert len(arrays) == 2
    assert arrays[1]() is None
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp(2 * np.ones(3)))


def test_no_grad_records_nothing() -> None:
    x = leaf(np.ones(3))
    with ta.no_grad():
        y = ta.exp(x)
        array = array_of(y)
        y = y * 2.0
    assert y.node is None
    assert array() is None
