"""Anomaly mode: planted NaN and infinities are found, named and placed; masks raise no alarm."""

from __future__ import annotations

import copy
import inspect
import pickle
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import AnomalyError, Tensor, nn, optim
from tinygrad_attn.engine.fused import Fused
from tinygrad_attn.engine.kernel import Kernel

F = nn.functional
INF, NAN = np.inf, np.nan
SETS = ["off", "numpy", pytest.param("numba", marks=pytest.mark.numba)]
every_set = pytest.mark.parametrize("kernels", SETS)
pytestmark = pytest.mark.filterwarnings("error")


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
    return __file__, number, text


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


@planted("where", **CAME, index=(), value=NAN, count=1, argument="y")
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


@planted("x", phase="backward", source="sum", index=(1,), value=INF, count=1, tensor="x")
def the_parts_of_a_leaf_overflow() -> None:
    x, slope = small([1.0, 1e-3], "x"), np.array([1.0, 3e38], np.float32)
    (x * slope + x * slope).backward(np.array([0.5, 1.0], np.float32))


@planted("exp", phase="backward", source="sum", index=(0,), value=INF, count=1, tensor="")
def the_parts_of_a_result_overflow() -> None:
    y = ta.exp(small([-9.0, -9.0]))  # here
    (y * 3e38 + y * 1e38).backward(np.array([1.0, 0.5], np.float32))


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


IDS = [case.f.__name__ for case in CASES]


def same(a: Any, b: Any) -> bool:
    return bool(a == b) or (isinstance(a, (float, complex)) and a != a and b != b)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_planted_anomaly_is_found_named_and_placed(case: Case) -> None:
    with ta.scope("encoder"), ta.scope("norm"):
        error = caught(case.f)
    assert error.op == case.op
    for name, expected in case.facts.items():
        assert same(getattr(error, name), expected), (name, getattr(error, name))
    if error.op == "x":  # a leaf was made by no operation
        return
    assert error.scope.split(".")[:2] == ["encoder", "norm"]
    assert error.place is not None
    assert tuple(error.place) == marked(case.f)
    text = str(error)
    assert f"`{case.op}`" in text
    assert error.place.text in text
    assert f"line {error.place.line}" in text
    assert f"in module {error.scope}" in text
    assert f"{error.count} in all" in text
    assert (f"at {list(error.index)}" if error.index else "itself") in text
    assert not error.formula or f"rule: {error.formula}" in text


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_without_the_mode_nothing_is_raised(case: Case) -> None:
    with np.errstate(all="ignore"):
        case.f()


@pytest.mark.parametrize("case", [c for c in CASES if c.facts["phase"] == "forward"],
                         ids=lambda case: case.f.__name__)  # fmt: skip
def test_unrecorded_results_are_looked_at_too(case: Case) -> None:
    def f() -> None:
        with ta.no_grad():
            case.f()

    with ta.scope("encoder"):
        error = caught(f)
    assert error.op == case.op
    assert error.index == case.facts["index"]
    assert error.scope.split(".")[0] == "encoder"
    assert error.place is not None
    assert tuple(error.place) == marked(case.f)


# ── fused operations ────────────────────────────────────────────────────────────────────────────
@every_set
def test_the_step_of_a_fused_operation_is_named(kernels: str) -> None:
    with ta.kernels.use(kernels):
        error = caught(layer_norm_of_constants_without_eps)
    assert error.op == "rsqrt"
    assert error.within == ("" if kernels == "off" else "layer_norm")
    assert ("a step of `layer_norm`" in str(error)) == (kernels != "off")


@every_set
@pytest.mark.parametrize("method", ["definition", "fused", "tiled"])
def test_the_gradient_of_attention_names_its_step(kernels: str, method: str) -> None:
    """dS = dP∘P... overflows in float32 before anything is divided."""
    q, k, v = (small(np.ones((n, 3)), name) for n, name in ((5, "q"), (7, "k"), (7, "v")))
    v.data = np.full((7, 3), 1e20)

    def f() -> None:
        with ta.kernels.use(kernels), ta.scope("attn"):
            context = F.attention(q, k, v, method=method)  # here
            context.backward(np.full((5, 3), 1e20, np.float32))

    error = caught(f)
    assert (error.op, error.phase, error.argument) == ("matmul", "backward", "a")
    assert error.within == ("" if kernels == "off" or method == "definition" else "attention")
    assert error.scope == "attn"
    assert error.place is not None
    assert tuple(error.place) == marked(f)
    assert q.grad is k.grad is v.grad is None


def twice(x: Tensor) -> Tensor:
    """2x, the definition of fused operations below."""
    return x * 2.0


def doubled(forward: float, backward: float) -> Fused:
    """A fused 2x whose kernel is wrong: its result, or its gradient."""
    kernel = Kernel(lambda x: (x * forward, None), lambda g, residuals, x, needs: (g * backward,))
    return Fused(twice, lambda size: kernel, "doubled")


@pytest.mark.parametrize(("forward", "backward"), [(NAN, 2.0), (2.0, NAN), (INF, 2.0)])
def test_a_kernel_that_differs_from_its_definition_is_blamed(
    forward: float, backward: float
) -> None:
    op, x = doubled(forward, backward), leaf([3.0, 1.0], "x")
    error = caught(lambda: op(x).sum().backward())
    assert (error.op, error.source) == ("doubled", "kernel")
    assert error.phase == ("backward" if backward != 2.0 else "forward")
    assert error.argument == ("x" if backward != 2.0 else "")
    assert "its definition does not" in str(error)


def test_an_expanded_operation_belongs_to_the_line_that_called_it() -> None:
    x = small([[1e-30, 2e-30, 1e-30]])

    def f() -> None:
        y = F.layer_norm(x, eps=1e-44)  # here
        ta.grad(y, [x], np.full((1, 3), 3e38, np.float32), create_graph=True)

    error = caught(f)
    assert (error.op, error.phase) == ("multiply", "backward")
    assert error.place is not None
    assert tuple(error.place) == marked(f)


# ── what the message tells ──────────────────────────────────────────────────────────────────────
def test_the_message() -> None:
    error = caught(the_slope_of_sqrt_at_zero)
    file, line, text = marked(the_slope_of_sqrt_at_zero)
    assert str(error).splitlines() == [
        "the gradient rule of `sqrt` made inf in the backward pass",
        "  dx: float64[3] 'v', first at [1], 1 in all",
        "  g: float64[3], 1 to 3",
        "  out: float64[3], 0 to 2",
        "  rule: dx = dy/(2y)",
        f'  File "{file}", line {line}',
        f"    {text}",
    ]
    assert not hasattr(error, "__notes__")


def test_the_message_shows_the_ranges_and_options_of_a_forward_call() -> None:
    text = str(caught(softmax_of_a_row_that_is_masked_whole))
    assert "x: float64[2, 3], -inf to 1" in text
    assert "axis=-1" in text


def test_an_argument_that_an_earlier_operation_made_is_called_by_it() -> None:
    with np.errstate(invalid="ignore"), ta.scope("early"):
        y = ta.log(leaf([-1.0, 1.0]))
    error = caught(lambda: y * 2.0)
    assert (error.op, error.source, error.argument) == ("multiply", "argument", "a")
    assert "result of `log in early`" in str(error)


def test_a_graph_recorded_outside_has_no_line() -> None:
    y = ta.sqrt(leaf([0.0]))
    error = caught(lambda: y.sum().backward())
    assert (error.op, error.place) == ("sqrt", None)
    assert "recorded outside detect_anomaly" in str(error)


def test_module_paths_name_the_layer() -> None:
    model = ta.models.GPT(
        ta.models.GPTConfig(7, 5, num_layers=2, num_heads=2, d_model=6),
        rng=np.random.default_rng(0),
    )
    inner: Any = model
    inner.blocks[1].attn.out_proj.bias.data = np.full(6, NAN)
    tokens = np.array([[3, 0, 6], [1, 1, 5]])

    def f() -> None:
        model.loss(tokens, tokens)  # here

    for error in (caught(f), caught(ta.no_grad()(f))):
        assert error.scope == "GPT.blocks.1.attn.out_proj"
        assert error.tensor == "bias"
        assert error.place is not None
        assert tuple(error.place) == marked(f)


def test_it_is_a_tensor_error_and_an_arithmetic_error_and_survives_pickling() -> None:
    error = caught(log_of_zero)
    assert isinstance(error, ta.TensorError)
    assert isinstance(error, ArithmeticError)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(twin) == str(error)
        assert (twin.op, twin.index, twin.place) == (error.op, error.index, error.place)


def test_other_errors_of_rules_keep_their_note() -> None:
    def wrong(g: Any) -> Any:
        raise ZeroDivisionError

    with ta.exp.replaced_vjp(0, wrong), ta.detect_anomaly():
        y = ta.exp(leaf([1.0, 2.0]))
    with pytest.raises(ZeroDivisionError) as info, ta.detect_anomaly():
        y.sum().backward()
    assert ["in the gradient rule of `exp` " in note for note in info.value.__notes__] == [True]


@pytest.mark.parametrize("part", [np.ones(5), np.ones(2, np.float32), 1.0])
def test_a_wrong_shape_or_dtype_is_still_refused(part: Any) -> None:
    with ta.exp.replaced_vjp(0, lambda g: part), ta.detect_anomaly():
        y = ta.exp(leaf([1.0, 2.0]))
        with pytest.raises((ta.ShapeError, ta.DTypeError)):
            y.backward(np.ones(2))


# ── nothing is left behind ──────────────────────────────────────────────────────────────────────
def test_no_leaf_has_half_a_gradient_after_an_error() -> None:
    x, w = leaf([1.0, 0.0], "x"), leaf([2.0, 3.0], "w")
    (x * w).sum().backward()
    before = x.grad.numpy(), w.grad.numpy()

    def f() -> None:
        y = ta.sqrt(x)
        ((w * 3.0 + x * w).sum() + y.sum()).backward()

    assert caught(f).op == "sqrt"
    np.testing.assert_array_equal(x.grad.numpy(), before[0])
    np.testing.assert_array_equal(w.grad.numpy(), before[1])


def test_the_mode_changes_no_number() -> None:
    def gradients() -> list[np.ndarray[Any, Any]]:
        model = ta.models.GPT(
            ta.models.GPTConfig(7, 5, num_layers=2, num_heads=2, d_model=6),
            rng=np.random.default_rng(0),
        )
        tokens = np.array([[3, 0, 6], [1, 1, 5]])
        model.loss(tokens, tokens).backward()
        return [p.grad.numpy() for p in model.parameters()]

    plain = gradients()
    with ta.detect_anomaly():
        guarded = gradients()
    for a, b in zip(plain, guarded, strict=True):
        np.testing.assert_array_equal(a, b)


# ── the switch ──────────────────────────────────────────────────────────────────────────────────
def bad() -> Tensor:
    return ta.log(leaf([0.0]))


def test_it_nests_and_ends() -> None:
    with ta.detect_anomaly():
        with ta.detect_anomaly():
            pass
        with pytest.raises(AnomalyError):
            bad()
    with np.errstate(divide="ignore"):
        bad()
    with pytest.raises(RuntimeWarning):  # NumPy's warnings are back
        bad()


def test_it_decorates_and_may_call_itself() -> None:
    @ta.detect_anomaly()
    def f(depth: int) -> None:
        if depth:
            f(depth - 1)
        bad()

    for _ in range(2):  # every call anew
        with pytest.raises(AnomalyError):
            f(2)
    with np.errstate(divide="ignore"):
        bad()


def test_it_ends_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), ta.detect_anomaly():
        raise ZeroDivisionError
    with np.errstate(divide="ignore"):
        bad()


def test_in_one_thread_it_leaves_another_alone() -> None:
    entered, done = threading.Event(), threading.Event()

    def guarded() -> None:
        with ta.detect_anomaly():
            entered.set()
            assert done.wait(10)

    thread = threading.Thread(target=guarded)
    thread.start()
    assert entered.wait(10)
    with np.errstate(divide="ignore"):
        bad()
    done.set()
    thread.join()


def test_a_dtype_set_inside_stays() -> None:
    before = ta.default_dtype().dtype
    try:
        with ta.detect_anomaly():
            ta.default_dtype(np.float64)
        assert ta.default_dtype().dtype == np.float64
    finally:
        ta.default_dtype(before)


def test_numpy_s_own_warning_gives_way_to_the_error() -> None:
    with pytest.raises(AnomalyError), ta.detect_anomaly():
        bad()  # warnings are errors in this file


# ── no false alarm ──────────────────────────────────────────────────────────────────────────────
T, S = 5, 7
KEEP = np.random.default_rng(3).random((T, S)) < 0.6
KEEP[2] = False  # may attend to no key
LEAST = np.finfo(np.float32).min
MASKS: dict[str, Any] = {
    "none": None,
    "keep": KEEP,
    "additive": np.where(KEEP, 0.5, -INF),
    "the least number": np.where(KEEP, 0.0, LEAST).astype(np.float32),
    "the least float64": np.where(KEEP, 0.0, np.finfo(np.float64).min),
    "a tensor": lambda: Tensor(np.where(KEEP, 0.0, -INF)),
    "a tensor of the least float64": lambda: Tensor(np.where(KEEP, 0.0, np.finfo(float).min)),
    "a learned one": lambda: leaf(np.where(KEEP, 0.0, -INF), "bias"),
    "twice": nn.Mask.additive(np.where(KEEP, 0.0, LEAST).astype(np.float32))
    & nn.Mask.additive(np.where(KEEP, 0.0, LEAST).astype(np.float32)),
    "causal": nn.Mask.causal(),
    "before everything": nn.Mask.causal(-2),
    "window": nn.Mask.window(1, 0) & nn.Mask.keep(KEEP),
    "lengths": nn.Mask.lengths([0, 4]),
}


@every_set
@pytest.mark.parametrize("method", ["definition", "fused", "tiled"])
@pytest.mark.parametrize("empty_row", ["zero", "uniform"])
@pytest.mark.parametrize("mask", MASKS)
def test_masked_attention_raises_no_alarm(
    mask: str, empty_row: str, method: str, kernels: str, rng: np.random.Generator
) -> None:
    made = MASKS[mask]() if callable(MASKS[mask]) else MASKS[mask]
    for dtype in (np.float32, np.float64):
        q, k, v = (leaf(rng.standard_normal((2, 3, n, 4)), dtype=dtype) for n in (T, S, S))
        with ta.kernels.use(kernels), ta.detect_anomaly():
            context = F.attention(q, k, v, made, method=method, empty_row=empty_row)
            context.backward(rng.standard_normal(context.shape).astype(dtype))
            with ta.no_grad():
                F.attention(q, k, v, made, method=method, empty_row=empty_row)
            stages = F.attention(q, k, v, made, empty_row=empty_row, return_stages=True)
            (g,) = ta.grad(stages[0].sum(), [q], create_graph=True)
            (g * g).sum().backward()


ON_PURPOSE: dict[str, Callable[[], Any]] = {
    "masked_fill and softmax": lambda: ta.softmax(
        ta.masked_fill(leaf(np.ones((T, S))), ~KEEP & (np.arange(S) > 0), -INF)
    ),
    "where and log_softmax": lambda: ta.log_softmax(
        ta.where(KEEP | (np.arange(S) == 0), leaf(np.ones((T, S))), -INF)
    )[:, 0],
    "added and logsumexp": lambda: ta.logsumexp(
        leaf(np.ones((T, S))) + np.where(KEEP | (np.arange(S) == 0), 0.0, -INF), -1
    ),
    "negated, moved and gone": lambda: ta.exp(
        -ta.where(KEEP, leaf(np.ones((T, S))), INF).T.reshape(-1)
    ),
    "a largest one to begin with": lambda: ta.minimum(leaf([1.0, 2.0]), INF),
    "clip": lambda: ta.clip(leaf([1.0, 2.0]), -INF, INF),
    "pad": lambda: ta.exp(ta.pad(leaf([1.0, 2.0]), 1, constant_values=-INF)),
    "a state": lambda: ta.lstm_cell(Tensor(np.full((1, 8), 1000.0)), np.array([[1.0, INF]]))[0],
    "a number that is not looked at": lambda: leaf([1.0, NAN, 2.0])[::2],
    "large numbers": lambda: leaf([1e200, 1e300]) * 1.0,
    "large float16": lambda: leaf([1e3, 6e4], dtype=np.float16) * 1.0,
    "integers": lambda: Tensor(np.array([2**62, 2**62])) * 1,
    "booleans": lambda: ta.where(np.array([True, False]), leaf([1.0, 2.0]), 0.0),
    "nothing": lambda: leaf(np.ones((0, 3))) * 2.0,
    "complex": lambda: ta.exp(leaf([1j, 2.0], dtype=complex)),
}


@pytest.mark.parametrize("name", ON_PURPOSE)
def test_infinities_on_purpose_raise_no_alarm(name: str) -> None:
    with ta.detect_anomaly():
        y = ON_PURPOSE[name]()
        if y.requires_grad:
            y.backward(np.ones(y.shape, y.dtype))


TOKENS = np.array([[3, 1, 4, 1], [5, 2, 6, 0]])
TARGETS = np.array([[1, 4, 1, 5], [2, 6, -100, -100]])
SOURCE = np.array([[3, 4, 5, 6], [4, 6, 0, 0]])
ROWS = np.array([[5, 3, 4], [6, 0, 0]])
m, RNG = ta.models, np.random.default_rng
SIZES: Any = {"num_layers": 2, "num_heads": 2, "d_model": 8}
MODELS: dict[str, Callable[[], tuple[Any, Callable[[Any], Tensor]]]] = {
    "GPT": lambda: (
        m.GPT(m.GPTConfig(7, 5, **SIZES, dropout=0.25), rng=RNG(0)),
        lambda model: model.loss(TOKENS, TARGETS),
    ),
    "Llama": lambda: (
        m.Llama(m.LlamaConfig(7, 5, **SIZES, d_ff=11, num_kv_heads=1), rng=RNG(0)),
        lambda model: model.loss(TOKENS, TARGETS),
    ),
    "BERT": lambda: (
        m.BERT(m.BERTConfig(7, 5, **SIZES, d_ff=11, window=1), rng=RNG(0)),
        lambda model: F.cross_entropy(
            model.logits(model(TOKENS, mask=nn.Mask.lengths([4, 2]))), TARGETS
        ),
    ),
    "Transformer": lambda: (
        m.Transformer(m.TransformerConfig(7, 7, 5, **SIZES, d_ff=11), rng=RNG(0)),
        lambda model: model.loss(SOURCE, ROWS, label_smoothing=0.1),
    ),
    "ViT": lambda: (
        m.ViT(m.ViTConfig(6, 3, 5, **SIZES, d_ff=11), rng=RNG(0)),
        lambda model: model.loss(RNG(1).random((2, 6, 6)).astype(np.float32), np.array([3, 1])),
    ),
    **{
        f"Seq2Seq, {attention} {score}": lambda attention=attention, score=score: (
            m.Seq2Seq(m.Seq2SeqConfig(7, 7, 4, 6, attention=attention, score=score), rng=RNG(0)),
            lambda model: model.loss(SOURCE, ROWS, np.array([4, 2])),
        )
        for attention, score in (("bahdanau", "dot"), ("luong", "dot"), ("luong", "concat"))
    },
}


@every_set
@pytest.mark.parametrize("name", MODELS)
def test_models_train_and_predict_without_alarm(name: str, kernels: str) -> None:
    model, loss_of = MODELS[name]()
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    with ta.kernels.use(kernels), ta.detect_anomaly():
        for _ in range(2):
            loss_of(model).backward()
            optimizer.step()
            optimizer.zero_grad()
        with ta.no_grad():
            loss_of(model)
        with ta.keep_grads():
            loss_of(model).backward()
