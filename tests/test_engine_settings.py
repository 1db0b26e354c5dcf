"""no_grad, keep_*, scopes, names, dtypes: switched for a block, for one thread."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, Tensor
from tinygrad_attn.engine.settings import SETTINGS, Scope, Settings


def leaf(values: Any, name: str | None = None) -> Tensor:
    return Tensor(np.asarray(values, float), requires_grad=True, name=name)


# ── no_grad ─────────────────────────────────────────────────────────────────────────────────────
def test_nothing_is_recorded_inside_no_grad() -> None:
    x = leaf(2.0)
    with ta.no_grad():
        assert not (x * x).requires_grad
        assert not any(part.requires_grad for part in ta.split(leaf([1.0, 2.0]), 2))
    assert (x * x).requires_grad


def test_no_grad_ends_after_an_error() -> None:
    x = leaf(2.0)
    with pytest.raises(ZeroDivisionError), ta.no_grad():
        raise ZeroDivisionError
    assert (x * x).requires_grad


def test_no_grad_decorates() -> None:
    @ta.no_grad()
    def f(x: Tensor) -> Tensor:
        return x * x

    x = leaf(2.0)
    assert not f(x).requires_grad
    assert not f(x).requires_grad  # every call anew
    assert (x * x).requires_grad


def test_backward_inside_no_grad() -> None:
    x = leaf(2.0)
    y = x * x
    with ta.no_grad():
        y.backward()
    assert x.grad.item() == 4
    assert not x.grad.requires_grad


def test_no_grad_in_one_thread_leaves_another_recording() -> None:
    entered, recorded = threading.Event(), threading.Event()

    def quiet() -> None:
        with ta.no_grad():
            entered.set()
            assert recorded.wait(10)

    x = leaf(2.0)
    thread = threading.Thread(target=quiet)
    thread.start()
    assert entered.wait(10)
    y = x * x
    recorded.set()
    thread.join()
    assert y.requires_grad


def test_no_grad_in_one_task_leaves_another_recording() -> None:
    async def quiet(entered: asyncio.Event, go: asyncio.Event) -> bool:
        with ta.no_grad():
            entered.set()
            await go.wait()
            return (leaf(1.0) * 2.0).requires_grad

    async def main() -> tuple[bool, bool]:
        entered, go = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(quiet(entered, go))
        await entered.wait()
        loud = (leaf(1.0) * 2.0).requires_grad
        go.set()
        return loud, await task

    assert asyncio.run(main()) == (True, False)


# ── many threads ────────────────────────────────────────────────────────────────────────────────
def test_threads_compute_the_same_as_one() -> None:
    w = np.random.default_rng(0).standard_normal((5, 5))

    def gradient(seed: int) -> np.ndarray[Any, Any]:
        x = leaf(np.random.default_rng(seed).standard_normal((3, 5)))
        y = x
        with ta.scope(f"thread {seed}"):
            for _ in range(30):
                y = ta.softmax(y @ w) + x
        (g,) = ta.grad(y.sum(), [x], create_graph=True)
        (g * g).sum().backward()
        return x.grad.numpy()

    alone = [gradient(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(gradient, range(8)))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_walk_one_retained_graph_at_once() -> None:
    x = leaf(np.random.default_rng(0).standard_normal((3, 5)))
    y = x
    for _ in range(30):
        y = ta.softmax(y) * x + y
    gs = np.random.default_rng(1).standard_normal((16, 3, 5))

    def gradient(g: Any) -> np.ndarray[Any, Any]:
        return ta.grad(y, [x], g, retain_graph=True)[0].numpy()

    alone = [gradient(g) for g in gs]
    with ThreadPoolExecutor(8) as pool:
        np.testing.assert_array_equal(list(pool.map(gradient, gs)), alone)


def test_threads_never_share_a_place_in_the_order() -> None:
    def orders() -> list[int]:
        x = leaf(1.0)
        return [(x * 2.0).node.order for _ in range(500)]

    with ThreadPoolExecutor(8) as pool:
        found = [
            order for future in [pool.submit(orders) for _ in range(8)] for order in future.result()
        ]
    assert len(set(found)) == len(found) == 4000


# ── scopes and names ────────────────────────────────────────────────────────────────────────────
def test_nodes_know_the_scope_that_recorded_them() -> None:
    x = leaf(1.0)
    outside = x * 2.0
    with ta.scope("block"):
        between = x * 2.0
        with ta.scope("attention") as inner:
            inside = x * 2.0
    assert outside.node.scope is None
    assert between.node.scope.path == "block"
    assert inside.node.scope.path == "block.attention"
    assert inside.node.scope is inner
    assert [scope.name for scope in inner.chain] == ["block", "attention"]
    assert (x * 2.0).node.scope is None


def test_two_entries_of_one_name_can_be_told_apart() -> None:
    x = leaf(1.0)
    nodes = []
    for _ in range(2):
        with ta.scope("layer"):
            nodes.append((x * 2.0).node)
    first, second = nodes
    assert first.scope.path == second.scope.path
    assert first.scope is not second.scope


def test_scopes_end_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), ta.scope("block"):
        raise ZeroDivisionError
    assert (leaf(1.0) * 2.0).node.scope is None


def test_parts_of_a_split_carry_the_scope() -> None:
    with ta.scope("heads"):
        a, _ = ta.split(leaf([1.0, 2.0]), 2)
    assert a.node.scope.path == "heads"
    assert a.node.parents[0].scope.path == "heads"


def test_a_freed_graph_names_the_scope_in_its_error() -> None:
    with ta.scope("encoder"):
        y = leaf(1.0) * 2.0
    y.backward()
    with pytest.raises(ta.GraphError, match=r"multiply in encoder"):
        y.backward()


def test_names_travel_to_the_node() -> None:
    x = leaf(1.0, name="weights")
    assert x.name == x.node.name == "weights"
    x.name = "bias"
    assert x.node.name == "bias"
    y = x * 2.0
    y.name = "doubled"
    assert y.node.name == "doubled"
    assert Tensor(1.0).name is None


# ── dtypes ──────────────────────────────────────────────────────────────────────────────────────
def test_python_data_become_the_default_dtype_and_arrays_keep_theirs() -> None:
    assert Tensor(1).dtype == Tensor([1.0]).dtype == Tensor([[1, 2]]).dtype == np.float32
    assert Tensor(np.array([1.0])).dtype == Tensor(np.float64(1)).dtype == np.float64
    assert Tensor(np.array([1])).dtype == np.int64
    assert Tensor([True]).dtype == bool
    assert Tensor(1.0, dtype=np.float64).dtype == np.float64
    assert Tensor([1j]).dtype == np.complex128


def test_default_dtype_takes_effect_and_restores() -> None:
    with ta.default_dtype(np.float64) as dtype:
        assert dtype == np.float64
        assert Tensor([1.0]).dtype == np.float64
        with ta.default_dtype("float32"):
            assert Tensor([1.0]).dtype == np.float32
        assert Tensor([1.0]).dtype == np.float64
    assert Tensor([1.0]).dtype == np.float32


def test_default_dtype_as_a_call_stays_until_changed() -> None:
    ta.default_dtype(np.float64)
    assert Tensor(1.0).dtype == np.float64
    assert ta.default_dtype().dtype == np.float64
    ta.default_dtype(np.float32)
    assert Tensor(1.0).dtype == np.float32


def test_default_dtype_restores_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), ta.default_dtype(np.float64):
        raise ZeroDivisionError
    assert Tensor(1.0).dtype == np.float32


@pytest.mark.parametrize("wrong", [int, bool, "nonsense", object])
def test_default_dtype_must_be_floating(wrong: Any) -> None:
    with pytest.raises(DTypeError, match="default_dtype"):
        ta.default_dtype(wrong)
    assert Tensor(1.0).dtype == np.float32


D64 = np.float64(3.0)
WEAK = {
    "x + 1": lambda x: x + 1,
    "1 - x": lambda x: 1 - x,
    "x * 2.5": lambda x: x * 2.5,
    "x + True": lambda x: x + True,
    "x * np.float64": lambda x: x * D64,
    "np.float64 * x": lambda x: D64 * x,
    "np.float64 / x": lambda x: D64 / x,
    "x / np.sqrt(d)": lambda x: x / np.sqrt(7),
    "x ** 2": lambda x: x**2,
    "x ** 0.5": lambda x: x**0.5,
    "x ** np.float64": lambda x: x**D64,
    "2.0 ** x": lambda x: 2.0**x,
    "2 ** x": lambda x: 2**x,
    "np.float64 ** x": lambda x: D64**x,
    "x * np.int64": lambda x: x * np.int64(3),
    "maximum": lambda x: ta.maximum(x, D64),
    "clip": lambda x: ta.clip(x, D64 / 9, D64),
    "clip, Python": lambda x: ta.clip(x, 0, 1),
    "where": lambda x: ta.where(x > 1, x, D64),
    "where, int": lambda x: ta.where(x > 1, 0, x),
    "masked_fill": lambda x: ta.softmax(ta.masked_fill(x, x > 1.5, -np.inf)),
    "leaky_relu": lambda x: ta.leaky_relu(x, D64),
    "elu": lambda x: ta.elu(-x, D64),
    "list": lambda x: x * [1.0, 2.0, 3.0],
    "var": lambda x: ta.var(x, ddof=1),
    "std": ta.std,
    "mean": ta.mean,
    "norm": ta.norm,
    "softmax": lambda x: ta.softmax(x * D64),
    "gelu": ta.gelu,
    "gelu tanh": lambda x: ta.gelu(x, "tanh"),
    "erf": ta.erf,
    "silu": ta.silu,
    "softplus": ta.softplus,
    "sigmoid": ta.sigmoid,
    "rsqrt": ta.rsqrt,
    "logsumexp": ta.logsumexp,
    "log_softmax": ta.log_softmax,
    "pad": lambda x: ta.pad(x, 1, constant_values=D64),
    "prod": ta.prod,
    "max": ta.max,
    "sort": ta.sort,
    "cumsum": ta.cumsum,
    "abs": abs,
    "sign": ta.sign,
    "one_hot": lambda x: x @ ta.one_hot([0, 1, 1], 2),
    "einsum": lambda x: ta.einsum("i,i->", x, x),
    "boolean array": lambda x: x * np.array([True, False, True]),
    "take": lambda x: ta.take(x, [0, 0, 2]),
}


@pytest.mark.parametrize("name", WEAK)
def test_float32_stays_float32_in_value_gradient_and_second_derivative(name: str) -> None:
    x = Tensor(np.array([0.5, 1.25, 2.0], np.float32), requires_grad=True)
    y = WEAK[name](x)
    assert y.dtype == np.float32
    kept: list[Tensor] = []
    x.register_hook(kept.append)
    with ta.keep_grads():
        (g,) = ta.grad(y.sum(), [x], create_graph=True)
        assert g.dtype == np.float32
        if g.requires_grad:
            (h,) = ta.grad(g.sum(), [x], allow_unused=True)
            assert h is None or h.dtype == np.float32
    assert all(g.dtype == np.float32 for g in kept)


def test_an_array_beside_float32_widens_and_the_gradient_comes_back() -> None:
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    y = x * np.full(3, 2.0)
    assert y.dtype == np.float64
    y.backward(np.ones(3))
    assert x.grad.dtype == np.float32


def test_astype_carries_gradients_back_in_the_argument_s_dtype() -> None:
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    y = (x.astype(np.float64) * 1e-9 + 1.0).sum()
    assert y.dtype == np.float64
    y.backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_allclose(x.grad.numpy(), 1e-9)


@pytest.mark.parametrize(
    "call", [lambda x: x.astype(int), lambda x: ta.astype(x, np.int64), lambda x: x.astype(bool)]
)
def test_astype_never_detaches(call: Any) -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(DTypeError, match=r"astype.*detach"):
        call(x)
    assert call(x.detach()).dtype.kind in "ib"


def test_a_default_dtype_set_inside_another_setting_stays() -> None:
    before = ta.default_dtype().dtype
    try:
        with ta.no_grad(), ta.scope("here"):
            ta.default_dtype(np.float64)
        assert ta.default_dtype().dtype == np.float64
        assert Tensor([1.0], requires_grad=True).requires_grad
    finally:
        ta.default_dtype(before)


# ── the record ──────────────────────────────────────────────────────────────────────────────────
def test_settings_are_replaced_and_never_changed() -> None:
    before = SETTINGS.get()
    with ta.no_grad(), ta.keep_grads(), ta.scope("here"), ta.detect_anomaly():
        assert SETTINGS.get() is not before
        assert before == Settings(kernels=before.kernels)


def test_a_scope_leaves_every_other_switch_as_it_is() -> None:
    names = [field.name for field in fields(Settings)]
    odd: Any = {name: f"another {name}" for name in names}
    inside = Scope("here", None)
    assert Settings(**odd).within(inside) == Settings(**{**odd, "scope": inside})
