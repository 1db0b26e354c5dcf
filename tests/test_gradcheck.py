"""gradcheck says "right" for what is right, "undecided" where nobody can know, and why."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn
from tinygrad_attn.check import Cause, GradientError, Report, UndecidedWarning, gradcheck, reports

KINKS = {
    "relu at 0": (ta.relu, [0.0, 1.0, -2.0]),
    "relu at 0, by directions": (lambda x: ta.relu(x).sum(), np.zeros(1000)),
    "max of three equal": (ta.max, [1.0, 1.0, 1.0, 0.5]),
    "sqrt of a square": (lambda x: ta.sqrt(ta.square(x)), [0.0, 0.5]),
    "sorted equals": (lambda x: ta.sort(x), [2.0, 1.0, 1.0, 1.0]),
    "sorted equals less their maximum": (lambda x: ta.sort(x - ta.max(x)), [1.0, 1.0, 1.0]),
}
EDGES = {
    "sqrt at 0": (ta.sqrt, [0.0, 1.0]),
    "where around sqrt": (lambda x: ta.where(x > 0, ta.sqrt(x), 0), [0.0, 1.0]),
    "power at 0": (lambda x: x**0.5, [0.0, 1.0]),
}


DOUBTS = (Cause.KINK, Cause.RANDOM, Cause.NOT_A_NUMBER, Cause.FLOAT32, Cause.NOT_ANALYTIC)


def undecided(f: Callable[..., Any], *inputs: Any, **options: Any) -> Report:
    """The report of a check that must not judge, and must say so aloud."""
    with pytest.warns(UndecidedWarning, match="undecided"):
        report = gradcheck(f, *inputs, **options)
    assert not report
    assert not report.ok
    assert report.verdict == "undecided"
    assert report.kind in DOUBTS
    return report


# ── right ────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("order", [1, 2, 3])
def test_attention_is_right_to_rounding(rng: np.random.Generator, order: int) -> None:
    q, k, v = rng.standard_normal((2, 3)), rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    report = gradcheck(lambda q, k, v: ta.softmax(q @ k.T / 3**0.5) @ v, q, k, v, order=order)
    assert report
    assert report.verdict == "right"
    assert report.order == order
    assert report.method == "complex step"
    assert report.max_error < 1e-13
    assert report.op is None
    assert report.cause is None


@pytest.mark.parametrize("method", ["auto", "complex", "richardson"])
def test_methods_agree(rng: np.random.Generator, method: Any) -> None:
    report = gradcheck(
        lambda x: ta.gelu(ta.sin(x) * 3), rng.standard_normal((3, 5)), order=2, method=method
    )
    assert report.method == ("Richardson" if method == "richardson" else "complex step")
    assert report.max_error < (1e-9 if method == "richardson" else 1e-13)


def test_inputs_of_every_kind(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 2)).astype(np.float32)
    tokens, mask = np.array([2, 0, 0]), np.array([True, False, True])
    seen: list[Any] = []

    def f(x: Any, y: Any, z: Any, tokens: Any, mask: Any, axis: int, word: str) -> Any:
        seen.extend([tokens, mask, axis, word])
        return ta.where(mask[:, None], ta.take(x, tokens, axis) * y, x) + z

    report = gradcheck(f, Tensor(x, name="table"), [0.5, 2.0], 1.5, tokens, mask, 0, "word")
    assert report.max_error < 1e-14
    assert tokens is seen[0]
    assert mask is seen[1]
    assert seen[2:4] == [0, "word"]


def test_several_outputs_and_integer_ones_pass() -> None:
    assert gradcheck(lambda x: [x * x, ta.exp(x).sum(), Tensor([1, 2], dtype=np.int64)], [1.0, 2.0])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x,
        lambda x: Tensor(np.ones(3)),
        lambda x: (Tensor(np.ones(2)), x * 2),
        lambda x: x[:0],
        lambda x: ta.recompute(lambda y: ta.tanh(y) * y, x),
        lambda x: ta.softmax(ta.where(np.array([True, False, True]), x, -np.inf) * 0.5),
        lambda x: ta.split(x, 3)[1] * ta.split(x, 3)[0],
    ],
    ids=["identity", "constant", "both", "empty", "recompute", "masked with infinity", "split"],
)
def test_unusual_functions(f: Any) -> None:
    assert gradcheck(f, [0.3, -1.2, 2.0], order=2)


def test_empty_and_scalar_inputs() -> None:
    assert gradcheck(lambda x: x * 2, np.zeros((0, 3)), order=2).entries == 0
    assert gradcheck(lambda x, y: x * y, 3.0, np.float32(2.0), order=3).max_error < 1e-15


def test_a_large_jacobian_is_sampled(rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((7, 11)), rng.standard_normal((11, 13))
    report = gradcheck(lambda x, w: ta.tanh(x @ w), x, w)
    assert report.max_error < 1e-13
    assert report.entries < 200
    assert report.index is None or len(report.index) == 2


def test_a_module_is_checked_with_its_parameters(rng: np.random.Generator) -> None:
    layer = nn.Linear(3, 2, rng=rng)
    before = layer.weight.numpy()
    with (
        ta.matmul.replaced_vjp("b", lambda g, a: -(np.swapaxes(a, -1, -2) @ g)),
        pytest.raises(GradientError) as caught,
    ):
        gradcheck(layer, rng.standard_normal((5, 3)))
    assert caught.value.report.input == "weight"
    report = gradcheck(layer, rng.standard_normal((5, 3)), order=2)
    assert report.max_error < 1e-13
    assert layer.weight.dtype == np.float32
    np.testing.assert_array_equal(layer.weight.numpy(), before)
    assert layer.weight.grad is None


def test_the_same_numbers_every_time(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 5))
    first, second = (gradcheck(ta.log_softmax, x, order=2) for _ in range(2))
    assert first == second
    state = rng.bit_generator.state
    assert gradcheck(ta.log_softmax, x, rng=7).max_error < 1e-13
    assert gradcheck(ta.log_softmax, x, rng=np.random.default_rng(7))
    assert rng.bit_generator.state == state


def test_inside_no_grad_and_keep_grads(rng: np.random.Generator) -> None:
    x = rng.standard_normal(3)
    with ta.no_grad(), ta.keep_grads():
        assert gradcheck(ta.exp, x)


def test_reports_gives_one_for_each_order() -> None:
    assert [r.order for r in reports(ta.sin, [0.5, 1.0], order=3)] == [1, 2, 3]
    with ta.sin.replaced_vjp("x", lambda g, x: g * np.sin(x)):
        wrong = list(reports(ta.sin, [0.5, 1.0], order=3))
    assert [r.verdict for r in wrong] == ["wrong"]


# ── what f does to complex numbers ───────────────────────────────────────────────────────────────
def declared(forward: Callable[..., Any], rule: Callable[..., Any]) -> Any:
    """An operation of one argument that is not added to the table of primitives."""
    from tinygrad_attn.engine import PRIMITIVES, Primitive

    before = dict(PRIMITIVES)
    op = Primitive(forward)
    op.defvjp(rule)
    PRIMITIVES.clear()
    PRIMITIVES.update(before)
    return op


NOT_ANALYTIC = {
    "absolute value": (lambda x, /: np.abs(x) * x, lambda g, x: 2 * g * np.abs(x)),
    "real part": (lambda x, /: np.real(x) ** 2, lambda g, x: 2 * g * x),
    "conjugate": (lambda x, /: np.conj(x) * x, lambda g, x: 2 * g * x),
    "cast": (lambda x, /: np.asarray(x).astype(np.float64) ** 3, lambda g, x: 3 * g * x**2),
    "refusal": (lambda x, /: np.floor(x) * x, lambda g, x: g * np.floor(x)),
}


@pytest.mark.parametrize("name", NOT_ANALYTIC)
def test_no_complex_step_where_it_is_not_valid(name: str) -> None:
    op = declared(*NOT_ANALYTIC[name])
    report = gradcheck(op, [0.3, -1.2, 2.4])
    assert report.method == "Richardson"
    assert "no complex step" in report.notes[0]
    assert report.max_error < 1e-10


@pytest.mark.parametrize("name", NOT_ANALYTIC)
def test_a_rule_that_shares_the_complex_steps_mistake_is_caught(name: str) -> None:
    """The complex step sees no slope in np.real(x)²; neither does a rule that says 0."""
    op = declared(NOT_ANALYTIC[name][0], lambda g, x: g * 0)
    with pytest.raises(GradientError, match="zero"):
        gradcheck(op, [0.3, -1.2, 2.4])


def test_a_forced_complex_step_that_is_impossible_is_no_verdict() -> None:
    op = declared(*NOT_ANALYTIC["refusal"])
    assert "complex numbers" in undecided(op, [0.3, -1.2], method="complex").reason


# ── undecided ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", KINKS)
@pytest.mark.parametrize("method", ["auto", "richardson"])
def test_a_kink_is_undecided(name: str, method: Any) -> None:
    f, x = KINKS[name]
    assert "kink" in undecided(f, x, method=method).reason


@pytest.mark.parametrize("name", EDGES)
def test_the_edge_of_a_domain_is_undecided(name: str) -> None:
    f, x = EDGES[name]
    assert "edge" in undecided(f, x).reason


@pytest.mark.parametrize(
    ("distance", "told"),
    [(1e-1, "wrong"), (1e-2, "wrong"), (1e-7, "undecided"), (1e-12, "undecided")],
)
def test_beside_a_kink_the_complex_step_still_judges(distance: float, told: str) -> None:
    assert gradcheck(lambda x: ta.relu(x) * 3, [distance, -distance, 1.0]).max_error == 0
    with ta.relu.replaced_vjp("x", lambda g, x: g * (x > -1)), warnings.catch_warnings():
        warnings.simplefilter("ignore", UndecidedWarning)
        try:
            verdict = gradcheck(lambda x: ta.relu(x) * 3, [distance, -distance, 1.0]).verdict
        except GradientError:
            verdict = "wrong"
    assert verdict == told


def test_a_kink_that_does_not_show_in_f_is_undecided() -> None:
    """|x|² is smooth, but its second derivative passes through |x|."""
    assert gradcheck(lambda x: ta.square(ta.abs(x)), [0.0, 1.0]).max_error < 1e-9
    assert "kink" in undecided(lambda x: ta.square(ta.abs(x)), [0.0, 1.0], order=2).reason


def test_at_a_kink_the_slope_of_one_side_or_their_mean_is_right() -> None:
    assert gradcheck(lambda x: ta.elu(x, 0.5), [0.0, 1.0])
    assert gradcheck(ta.max, [1.0, 1.0, 0.5])
    assert gradcheck(ta.maximum, [1.0, 2.0], [1.0, 0.5])
    assert gradcheck(ta.abs, [0.0, 1.0])


def test_a_random_function_is_undecided(rng: np.random.Generator) -> None:
    drop = nn.Dropout(0.5, rng=rng)
    report = undecided(lambda x: drop(x) * x, rng.standard_normal((5, 7)))
    assert "random" in report.reason
    assert "eval" in report.reason
    assert gradcheck(drop.eval(), rng.standard_normal((5, 7)))


def test_an_output_that_is_not_a_number_is_undecided() -> None:
    reason = undecided(lambda x: (x * 2, ta.log(x)), [[1.0, 2.0], [-1.0, 3.0]]).reason
    assert "output 1[1, 0] is nan" in reason
    assert "output is -inf" in undecided(lambda x: ta.log(x).sum(), [0.0, 1.0]).reason


def test_float32_inside_is_undecided_not_wrong(rng: np.random.Generator) -> None:
    x = rng.standard_normal((5, 7))
    report = undecided(lambda x: ta.tanh(x.astype(np.float32)), x)
    assert "only known to" in report.reason
    assert any("float32" in note for note in report.notes)
    undecided(lambda x: ta.tanh(x.astype(np.float32)).astype(np.float64), x)


def test_cancellation_is_undecided_not_wrong() -> None:
    x = np.random.default_rng(20).standard_normal(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndecidedWarning)
        gradcheck(lambda x: (x * 1e8).sum() + ta.sin(x).sum() - (x * 1e8).sum(), x)
        gradcheck(lambda x: (x * 1e10).sum() + ta.sin(x).sum() - (x * 1e10).sum(), x)


def test_rounding_of_large_numbers_is_not_called_wrong() -> None:
    """exp(x − y) with y in the hundreds is off by more than 1e-12, and nearby by as much."""

    def f(x: Any) -> Any:
        z = ta.square(ta.flip(x) * x)
        return ta.logsumexp(z) - z

    report = gradcheck(f, [6.59, -1.53, -0.41, -1.98, 3.64])
    assert report.max_error > report.tolerance


def test_an_undecided_first_order_ends_the_check() -> None:
    assert undecided(ta.relu, [0.0, 1.0], order=2).order == 1


# ── no false alarms ──────────────────────────────────────────────────────────────────────────────
SMOOTH = [
    ta.sin,
    ta.tanh,
    ta.sigmoid,
    ta.softplus,
    ta.silu,
    ta.gelu,
    ta.erf,
    ta.softmax,
    ta.log_softmax,
    ta.square,
    lambda x: ta.exp(ta.sin(x)),
    lambda x: ta.cumsum(x, -1),
    lambda x: x * ta.mean(x, -1, True),
    lambda x: x / ta.norm(x + 3, axis=-1, keepdims=True),
    lambda x: ta.logsumexp(x, axis=-1, keepdims=True) - x,
    lambda x: ta.flip(x) * x,
]
KINKED = [
    ta.relu,
    ta.abs,
    ta.sort,
    lambda x: ta.maximum(x, ta.flip(x, -1)),
    lambda x: ta.clip(x, -1, 1),
    lambda x: x - ta.max(x, -1, True),
    ta.leaky_relu,
]
SHAPES = st.lists(st.sampled_from([1, 2, 3, 5]), min_size=1, max_size=3)
NUMBERS = st.integers(0, 2**32 - 1)


@given(st.lists(st.sampled_from(SMOOTH), min_size=1, max_size=3), SHAPES, NUMBERS)
def test_smooth_compositions_are_right(ops: list[Any], shape: list[int], seed: int) -> None:
    def f(x: Any) -> Any:
        for op in ops:
            x = op(x)
        return x

    report = gradcheck(f, np.random.default_rng(seed).standard_normal(shape), order=2)
    assert report
    assert report.max_error < 1e-11


@given(
    st.lists(st.sampled_from(SMOOTH + KINKED), min_size=1, max_size=3),
    SHAPES,
    NUMBERS,
    st.sampled_from(["auto", "richardson"]),
    st.sampled_from([0, 1, 2]),
)
def test_kinked_compositions_are_never_called_wrong(
    ops: list[Any], shape: list[int], seed: int, method: Any, digits: int
) -> None:
    """Inputs rounded to few digits make ties and kinks certain."""

    def f(x: Any) -> Any:
        for op in ops:
            x = op(x)
        return x

    x = np.round(np.random.default_rng(seed).standard_normal(shape), digits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndecidedWarning)
        gradcheck(f, x, method=method, order=2)


# ── misuse ───────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("f", "inputs", "options", "message"),
    [
        (lambda x: x, (3,), {}, "no input is floating"),
        (lambda x: x, (np.ones(2, complex),), {}, "real inputs"),
        (lambda xs: ta.concat(xs), ([np.ones(2), np.ones(3)],), {}, "input of its own"),
        (lambda x: x.data, (1.0,), {}, "got ndarray"),
        (lambda x: Tensor([1, 2], dtype=np.int64), (1.0,), {}, "it returned int64"),
        (lambda x: x, (1.0,), {"method": "finite"}, "method must be one of"),
        (lambda x: x, (1.0,), {"order": 2.0}, "order must be an integer, got 2.0"),
        (lambda x: x, (1.0,), {"order": "2"}, "order must be an integer, got '2'"),
        (lambda x: x, (1.0,), {"order": True}, "order must be an integer, got True"),
        (lambda x: x, (1.0,), {"method": []}, "method must be one of"),
        (lambda x: x, (1.0,), {"tolerance": "a"}, "tolerance must be .* got 'a'"),
        (lambda x: x, (1.0,), {"tolerance": True}, "tolerance must be .* got True"),
        (lambda x: x, (1.0,), {"rng": "a"}, "rng must be .* a seed or None; got 'a'"),
        (lambda x: x, (1.0,), {"rng": -1}, "rng must be .* a seed or None; got -1"),
        (lambda x: x, (1.0,), {"rng": True}, "rng must be .* a seed or None; got True"),
        (1.0, (1.0,), {}, "f must be a function or a module, got 1.0"),
    ],
)
def test_misuse_is_named(f: Any, inputs: Any, options: Any, message: str) -> None:
    with pytest.raises(ta.DTypeError, match=message):
        gradcheck(f, *inputs, **options)


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ((1.0,), {"order": 0}, "order must be at least 1, got 0"),
        ((1.0,), {"tolerance": -1}, "tolerance must be above 0 and finite, got -1"),
        ((1.0,), {"tolerance": 0}, "tolerance must be above 0 and finite, got 0"),
        ((1.0,), {"tolerance": np.nan}, "tolerance must be above 0 and finite, got nan"),
        (([[1.0, 2.0], [3.0]],), {}, "an input is no array: "),
    ],
)
def test_what_is_out_of_range_is_named(inputs: Any, options: Any, message: str) -> None:
    with pytest.raises(ta.ShapeError, match=f"^gradcheck: {message}"):
        gradcheck(lambda x: x, *inputs, **options)


def test_errors_of_f_come_through() -> None:
    with pytest.raises(ta.ShapeError, match="matmul"):
        gradcheck(lambda a, b: a @ b, np.ones((2, 3)), np.ones((2, 3)))


def test_what_a_direction_leaves_alone_may_be_infinite() -> None:
    """∂²aᵇ/∂a² is infinite at a = 0; along b everything is finite, and 0 · ∞ is no error."""
    a, b = np.arange(60.0).reshape(3, 20), np.linspace(1.2, 1.9, 60).reshape(3, 20)
    with pytest.warns(UndecidedWarning):
        assert gradcheck(ta.power, a, b, order=2).verdict == "undecided"
