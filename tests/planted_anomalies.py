"""Functions that make NaN or an infinity on the line marked "# here", and what is to be found."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import AnomalyError, Tensor, nn, optim

F = nn.functional
INF, NAN = np.inf, np.nan


def leaf(values: Any, name: str | None = None, dtype: Any = np.float64) -> Tensor:
    return Tensor(np.array(values, dtype), requires_grad=True, name=name)


def small(values: Any, name: str | None = None) -> Tensor:
    return leaf(values, name, np.float32)


def caught(f: Callable[[], Any]) -> AnomalyError:
    with pytest.raises(AnomalyError) as info, ta.detect_anomaly():
        f()
    return info.value


def marked(f: Callable[..., Any]) -> tuple[str, int, str]:
    """File, number and text of the line of `f` that ends in "# here"."""
    lines, first = inspect.getsourcelines(f)
    ends = [(n, t.strip()) for n, t in enumerate(lines, first) if t.rstrip().endswith("# here")]
    ((number, text),) = ends
    return inspect.getsourcefile(f) or "", number, text


# ── planted anomalies ───────────────────────────────────────────────────────────────────────────
class Case(NamedTuple):
    f: Callable[[], Any]
    op: str
    facts: dict[str, Any]


CASES: list[Case] = []


def planted(op: str, **facts: Any) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """A function whose line with "# here" makes what `facts` say."""

    def remember(f: Callable[[], Any]) -> Callable[[], Any]:
        CASES.append(Case(f, op, facts))
        return f

    return remember


FORWARD = {"phase": "forward", "source": "made"}
BACKWARD = {"phase": "backward", "source": "made"}
CAME = {"phase": "forward", "source": "argument"}


@planted("log", **FORWARD, index=(0, 1), value=-INF, count=2)
def log_of_zero() -> None:
    p = leaf([[0.5, 0.0, 0.25], [1.0, 2.0, 0.0]])
    ta.log(p)  # here


@planted("exp", **FORWARD, index=(2,), value=INF, count=1)
def exp_overflows_in_float32() -> None:
    x = small([1, 88, 89])
    ta.exp(x)  # here


@planted("exp", **FORWARD, index=(1,), value=INF, count=1)
def exp_overflows_beside_a_mask() -> None:
    x = ta.masked_fill(small([1, 1000, 2]), np.array([True, False, False]), -INF)
    ta.exp(x)  # here


@planted("divide", **FORWARD, index=(0, 2), value=INF, count=1)
def division_by_zero() -> None:
    x = leaf([[1.0, 2.0, 3.0]])
    x / np.array([1.0, 4.0, 0.0])  # here


@planted("divide", **FORWARD, index=(1,), value=NAN, count=1)
def zero_by_zero() -> None:
    e = leaf([1.0, 0.0]) * 1.0
    e / e  # here


@planted("subtract", **FORWARD, index=(1,), value=NAN, count=1)
def infinity_minus_infinity() -> None:
    x = ta.masked_fill(leaf([1.0, 2.0]), np.array([False, True]), -INF)
    x - x.min()  # here


@planted("softmax", **FORWARD, index=(1, 0), value=NAN, count=3)
def softmax_of_a_row_that_is_masked_whole() -> None:
    x = ta.masked_fill(leaf(np.ones((2, 3))), np.array([[False], [True]]), -INF)
    ta.softmax(x)  # here


@planted("multiply", **FORWARD, index=(1,), value=NAN, count=1)
def zero_times_infinity() -> None:
    x = leaf([2.0, 0.0])
    x * np.array([1.0, INF])  # here


@planted("add", **FORWARD, index=(), value=INF, count=1)
def a_single_number_overflows() -> None:
    x = small(3e38)
    x + x  # here


@planted("power", **FORWARD, index=(0,), value=NAN, count=1)
def a_root_of_a_negative_number() -> None:
    x = leaf([-1.0, 4.0])
    x**0.5  # here


@planted("lstm_cell", **FORWARD, index=(0, 1), value=NAN, count=1)
def one_result_of_several() -> None:
    a, c = leaf(np.full((1, 8), -1000.0)), np.array([[1.0, INF]])
    ta.lstm_cell(a, c)  # here


@planted("matmul", **FORWARD, index=(0, 0), value=INF, count=6)
def a_product_overflows_in_float32() -> None:
    x = small(np.full((2, 5), 1e25))
    x @ np.full((5, 3), 1e25, np.float32)  # here


@planted("sum", **FORWARD, index=(1,), value=INF, count=1)
def a_sum_overflows() -> None:
    x = leaf([[1.0, 2.0], [1.5e308, 1.5e308]])
    x.sum(axis=1)  # here


@planted("astype", **FORWARD, index=(1,), value=INF, count=1)
def a_cast_overflows() -> None:
    x = leaf([1.0, 1e39])
    x.astype(np.float32)  # here


@planted("rsqrt", **FORWARD, index=(0, 0), value=INF, count=2, tensor="")
def layer_norm_of_constants_without_eps() -> None:
    x = leaf(np.ones((2, 3)), "x")
    F.layer_norm(x, eps=0.0)  # here


@planted("add", **CAME, index=(0,), value=NAN, count=2, argument="b", tensor="")
def a_constant_holds_nan() -> None:
    x = leaf([1.0, 2.0, 3.0])
    x + np.array([NAN, 0.0, NAN])  # here


@planted("multiply", **CAME, index=(2,), value=NAN, count=1, argument="a", tensor="x")
def a_variable_holds_nan() -> None:
    x = leaf([1.0, 2.0, NAN], "x")
    x * 2.0  # here


@planted("attention", **CAME, index=(1, 4), value=NAN, count=1, argument="v", tensor="v")
def attention_with_nan_in_a_value() -> None:
    q, k, v = (leaf(np.ones((n, 5)), name) for n, name in ((3, "q"), (2, "k"), (2, "v")))
    v.data = [[1, 2, 3, 4, 5], [1, 2, 3, 4, NAN]]
    F.attention(q, k, v, method="fused")  # here


@planted("matmul", **FORWARD, index=(0, 0), value=INF, count=6)
def attention_whose_scores_overflow() -> None:
    q, k, v = (small(np.full((n, 5), 1e25)) for n in (3, 2, 2))
    F.attention(q, k, v, causal=True)  # here


@planted("where", **CAME, index=(), value=NAN, count=1, argument="b")
def attention_asked_for_nan_in_empty_rows() -> None:
    q, k, v = (leaf(np.ones((n, 3))) for n in (2, 5, 5))
    F.attention(q, k, v, np.array([[True] * 5, [False] * 5]), empty_row="nan")  # here


@planted("linear", **CAME, index=(0, 0), value=NAN, count=15, argument="weight", tensor="weight")
def a_parameter_that_a_step_spoiled() -> None:
    layer = nn.Linear(5, 3, rng=np.random.default_rng(0))
    layer.weight.grad = np.full((3, 5), NAN, np.float32)
    optim.SGD([layer.weight], lr=0.1).step()
    layer(small(np.ones((2, 5))))  # here


@planted("linear", **CAME, index=(1, 2), value=INF, count=1, argument="weight", tensor="weight")
def an_infinite_parameter() -> None:
    layer = nn.Linear(5, 3, rng=np.random.default_rng(0))
    weight = layer.weight.numpy()
    weight[1, 2] = INF
    layer.weight.data = weight
    layer(small(np.ones((2, 5))))  # here


@planted("embedding", **CAME, index=(3, 1), value=NAN, count=1, argument="weight", tensor="weight")
def an_embedding_whose_row_is_looked_up() -> None:
    table = nn.Embedding(7, 2, rng=np.random.default_rng(0))
    weight = table.weight.numpy()
    weight[3, 1] = NAN
    table.weight.data = weight
    table(np.array([0, 1, 2]))
    table(np.array([6, 3, 0]))  # here


@planted("sqrt", **BACKWARD, index=(1,), value=INF, count=1, argument="x", tensor="v",
         formula="dx = dy/(2y)")  # fmt: skip
def the_slope_of_sqrt_at_zero() -> None:
    v = leaf([4.0, 0.0, 1.0], "v")
    y = ta.sqrt(v)  # here
    (y * np.array([1.0, 2.0, 3.0])).sum().backward()


@planted("sqrt", **BACKWARD, index=(0,), value=NAN, count=1, argument="x", tensor="v")
def the_branch_not_taken() -> None:
    v = leaf([0.0, 4.0], "v")
    root = ta.sqrt(v)  # here
    ta.where(v.data > 0, root, 0).sum().backward()


@planted("sqrt", **BACKWARD, index=(), value=INF, count=1, argument="x")
def the_slope_of_a_single_number() -> None:
    y = ta.sqrt(leaf(0.0))  # here
    y.backward()


@planted("power", **BACKWARD, index=(1,), value=INF, count=1, argument="a")
def the_slope_of_a_power_at_zero() -> None:
    y = leaf([1.0, 0.0]) ** 0.25  # here
    y.backward([1.0, 1.0])


@planted("divide", **BACKWARD, index=(0,), value=-INF, count=1, argument="b", tensor="b")
def the_slope_of_a_tiny_divisor() -> None:
    a, b = leaf([1.0, 1.0]), leaf([1e-300, 1.0], "b")
    y = a / b  # here
    y.backward([1.0, 1.0])


@planted("multiply", **BACKWARD, index=(1, 0), value=INF, count=1, argument="b", tensor="b")
def a_product_overflows_on_the_way_back() -> None:
    a, b = small([[1.0], [1e30]], "a"), small([[1.0], [1e-30]], "b")
    y = a * b  # here
    (y * 1e10).backward(np.array([[1.0], [1.0]], np.float32))


@planted("concatenate", **BACKWARD, index=(0,), value=NAN, count=2, argument="arrays[1]")
def a_rule_of_several_arrays() -> None:
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    with ta.concat.replaced_vjp(0, lambda g, i, in_shape: np.full(in_shape, [0.0, NAN][i])):
        y = ta.concat([a, b])  # here
    y.backward(np.ones(4))


@planted("sqrt", **BACKWARD, index=(0,), value=INF, count=1)
def a_second_derivative() -> None:
    x = leaf([0.0, 1.0])
    y = x * x * x
    (dy,) = ta.grad(y.sum(), [x], create_graph=True)
    z = ta.sqrt(dy)  # here
    ta.grad(z.sum(), [x])


@planted("sqrt", **BACKWARD, index=(1,), value=INF, count=1)
def under_create_graph() -> None:
    x = leaf([1.0, 0.0])
    y = ta.sqrt(x)  # here
    ta.grad(y.sum(), [x], create_graph=True)


@planted("sqrt", **BACKWARD, index=(1,), value=INF, count=1)
def a_pullback() -> None:
    def f(x: Tensor) -> Tensor:
        return ta.sqrt(x)  # here

    _, pullback = ta.vjp(f, np.array([1.0, 0.0]))
    pullback(np.ones(2))


@planted("sqrt", **BACKWARD, index=(1,), value=NAN, count=1)  # 0 · ∞
def a_directional_derivative() -> None:
    def f(x: Tensor) -> Tensor:
        return ta.sqrt(x)  # here

    ta.jvp(f, np.array([1.0, 0.0]), np.ones(2))


@planted("sqrt", **BACKWARD, index=(1,), value=INF, count=1)
def inside_recompute() -> None:
    def f(x: Tensor) -> Tensor:
        return ta.sqrt(x) * 2.0  # here

    x = leaf([1.0, 0.0])
    ta.recompute(f, x).sum().backward()


@planted("sqrt", **BACKWARD, index=(1,), value=INF, count=1)
def a_function_of_the_library_recomputed() -> None:
    x = leaf([1.0, 0.0])
    y = ta.recompute(ta.sqrt, x)  # here
    y.sum().backward()


@planted("sqrt", **BACKWARD, index=(1, 0), value=INF, count=1)
def a_result_of_several_on_the_way_back() -> None:
    x = leaf([[1.0, 2.0], [0.0, 3.0]])
    root = ta.sqrt(x)  # here
    a, _ = ta.split(root, 2, 1)
    (a * 2.0).sum().backward()


@planted("lstm_cell", **BACKWARD, index=(0, 3), value=NAN, count=1, argument="a", tensor="a")
def the_rule_of_an_operation_with_several_results() -> None:
    a, c = leaf(np.full((1, 8), 1000.0), "a"), np.array([[1.0, INF]])
    y, _ = ta.lstm_cell(a, c)  # here
    y.sum().backward()


@planted("x", phase="backward", source="sum", index=(1,), value=INF, count=1, tensor="x")
def the_parts_of_a_leaf_overflow() -> None:
    x, slope = small([1.0, 1e-3], "x"), np.array([1.0, 3e38], np.float32)
    (x * slope + x * slope).backward(np.array([0.5, 1.0], np.float32))


@planted("exp", phase="backward", source="sum", index=(0,), value=INF, count=1, tensor="")
def the_parts_of_a_result_overflow() -> None:
    y = ta.exp(small([-9.0, -9.0]))  # here
    (y * 3e38 + y * 1e38).backward(np.array([1.0, 0.5], np.float32))


@planted("linear", phase="backward", source="sum", index=(0, 1), value=INF, count=1, tensor="")
def the_parts_of_a_fused_result_overflow() -> None:
    x, weight = small([[1e-9, 1e-9]]), small(np.eye(2))
    y = F.linear(x, weight)  # here
    (y * 3e38 + y * 1e38).backward(np.array([[0.5, 1.0]], np.float32))


CAST = {"phase": "backward", "source": "cast", "value": INF}


@planted("astype", **CAST, index=(0,), count=3, argument="x", tensor="v", formula="dx = dy")
def a_gradient_too_large_for_the_dtype_it_was_cast_from() -> None:
    v = small(np.ones(3), "v")
    wide = v.astype(np.float64)  # here
    (wide * 1e300).sum().backward()


@planted("multiply", **CAST, index=(1,), count=1, argument="b", formula="db = dy∘a")
def a_gradient_too_large_after_the_sum_over_broadcast_axes() -> None:
    factors = np.array([[1.0, 3e38], [2.0, 3e38]])
    y = factors * small([1e-3, 1e-3])  # here
    y.sum().backward()


@planted("exp", phase="backward", source="upstream", index=(1,), value=INF, count=1)
def the_upstream_gradient_is_too_large_for_the_result() -> None:
    y = ta.exp(small([0.0, 1.0]))
    y.backward(np.array([1.0, 1e300]))  # here


@planted("exp", phase="backward", source="hook", index=(1,), value=NAN, count=1)
def a_hook_returns_nan() -> None:
    y = ta.exp(leaf([0.0, 1.0]))  # here
    y.register_hook(lambda g: Tensor(np.array([1.0, NAN])))
    y.sum().backward()


@planted("exp", phase="backward", source="upstream", index=(0,), value=NAN, count=1)
def the_upstream_gradient_is_bad() -> None:
    y = ta.exp(leaf([0.0, 1.0]))
    y.backward([NAN, 1.0])  # here


@planted("exp", phase="backward", source="upstream", index=(1,), value=-INF, count=1)
def the_upstream_gradient_of_grad_is_bad() -> None:
    x = leaf([0.0, 1.0])
    y = ta.exp(x)
    ta.grad(y, [x], np.array([0.0, -INF]))  # here


@planted("multiply", **BACKWARD, index=(0, 0), value=INF, count=3, argument="a")
def the_gradient_of_a_fused_norm() -> None:
    x = small([[1e-30, 2e-30, 1e-30]])
    y = F.layer_norm(x, eps=1e-44)  # here
    y.backward(np.full((1, 3), 3e38, np.float32))


@planted("divide", **FORWARD, index=(0,), value=complex(NAN, NAN), count=1)
def complex_numbers() -> None:
    x = leaf([0j, 1j], dtype=complex)
    x / x  # here
