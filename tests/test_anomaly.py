"""Anomaly mode: planted NaN and infinities are found, named and placed, and nothing is left."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import pytest
from planted_anomalies import (
    CASES,
    INF,
    NAN,
    Case,
    F,
    caught,
    layer_norm_of_constants_without_eps,
    leaf,
    log_of_zero,
    marked,
    small,
    softmax_of_a_row_that_is_masked_whole,
    the_slope_of_sqrt_at_zero,
)

import tinygrad_attn as ta
from tinygrad_attn import AnomalyError, Tensor
from tinygrad_attn.anomaly.places import OURS
from tinygrad_attn.engine.fused import Fused
from tinygrad_attn.engine.kernel import Kernel

SETS = ["off", "numpy", pytest.param("numba", marks=pytest.mark.numba)]
every_set = pytest.mark.parametrize("kernels", SETS)
IDS = [case.f.__name__ for case in CASES]


def same(a: Any, b: Any) -> bool:
    return bool(a == b) or (isinstance(a, (float, complex)) and a != a and b != b)


@pytest.fixture
def with_kernels() -> Iterator[None]:
    """Layers are operations of their own where kernels run; the cases name those."""
    with ta.kernels.use("numpy"):
        yield


@pytest.mark.usefixtures("with_kernels")
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


@pytest.mark.usefixtures("with_kernels")
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


def test_a_conversion_is_told_from_a_sum() -> None:
    def f() -> None:
        (small(np.ones(3)).astype(np.float64) * 1e300).sum().backward()

    text = str(caught(f))
    assert "inf came up where the gradient for argument x of `astype` was converted" in text
    assert "dx: float32[3], first at [0], 3 in all" in text
    assert "dx before: float64[3], 1e+300" in text
    assert "added up" not in text


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


# ── whose line ──────────────────────────────────────────────────────────────────────────────────
def test_a_project_beside_the_library_is_not_the_library() -> None:
    inside = Path(ta.__file__)
    assert OURS[str(inside)]
    assert OURS[np.__file__]
    assert OURS[threading.__file__]
    assert OURS["<frozen runpy>"]
    assert not OURS[f"{inside.parent}_study/train.py"]
    assert not OURS[str(inside.parent.parent / "train.py")]
    assert not OURS[pytest.__file__]
    assert not OURS[str(Path(threading.__file__).parent / "site-packages" / "study.py")]
    assert not OURS["<stdin>"]


def test_where_no_line_is_anybody_s_own_none_is_told() -> None:
    with ThreadPoolExecutor(1) as pool, ta.detect_anomaly():
        error = pool.submit(ta.detect_anomaly()(ta.log), leaf([0.0])).exception()
    assert isinstance(error, AnomalyError)
    assert (error.op, error.place) == ("log", None)
    assert "File" not in str(error)


# ── what it costs ───────────────────────────────────────────────────────────────────────────────
def small_gpt() -> Any:
    model = ta.models.GPT(
        ta.models.GPTConfig(65, 32, num_layers=2, num_heads=2, d_model=32),
        rng=np.random.default_rng(0),
    )
    optimizer = ta.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = np.random.default_rng(1).integers(0, 65, (2, 33))

    def step() -> None:
        optimizer.zero_grad()
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
        optimizer.step()

    return step


def chain_of_tiny_operations() -> Any:
    rng = np.random.default_rng(0)
    x, a, b = (leaf(rng.standard_normal((8, 8))) for _ in range(3))

    def run() -> None:
        y = x
        for _ in range(30):
            y = ta.softmax(y * a * b)
        ta.grad(y.sum(), [x])

    return run


@pytest.mark.slow
@pytest.mark.parametrize("work", [small_gpt, chain_of_tiny_operations])
def test_it_costs_at_most_as_much_again(work: Any) -> None:
    run, ratios = work(), []
    run()
    for _ in range(60):  # in turn, so that a slower machine slows both
        began = process_time()
        run()
        between = process_time()
        with ta.detect_anomaly():
            run()
        ratios.append((process_time() - between) / (between - began))
    assert median(ratios) <= 2
