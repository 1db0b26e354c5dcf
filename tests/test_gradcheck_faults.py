"""Every planted fault is caught, in both orders, and blamed on the operation that has it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import Tensor
from tinygrad_attn.check import Cause, GradientError, Report, gradcheck
from tinygrad_attn.check.samples import OPERATIONS
from tinygrad_attn.check.trace import observable
from tinygrad_attn.engine import PRIMITIVES, Fused
from tinygrad_attn.kernels import Kernel

Array = np.ndarray[Any, Any]
ROOT = np.random.default_rng(3)
TICKS = count()
X, A, B, V = (ROOT.standard_normal(shape) for shape in ((3, 4), (4, 4), (4, 4), (4,)))


def caught(f: Callable[..., Any], *inputs: Any, **options: Any) -> Report:
    """The report of a check that must say "wrong"."""
    with pytest.raises(GradientError) as error:
        gradcheck(f, *inputs, **options)
    report = error.value.report
    assert report.verdict == "wrong"
    assert not report.ok
    assert str(error.value) == str(report)
    return report


def attention(q: Any, k: Any, v: Any) -> Any:
    """One head."""
    return ta.softmax(q @ k.T / 2) @ v


# ── a catalogue of mistakes people make ──────────────────────────────────────────────────────────
def scaled(out: Any, factor: float) -> Any:
    """An array with its largest element off by a relative `factor`."""
    off = np.zeros(out.shape, out.dtype)
    off.reshape(-1)[np.argmax(np.abs(out))] = factor
    return out * (1 + off)


CATALOGUE: dict[str, tuple[Any, Any, Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
    "sign flipped": (ta.tanh, "x", lambda g, out: -g * (1 - out * out), ta.tanh, (X,)),
    "constant factor 2.0": (ta.square, "x", lambda g, x: 4 * g * x, ta.square, (X,)),
    "constant factor 0.5": (ta.square, "x", lambda g, x: g * x, ta.square, (X,)),
    "zero": (ta.exp, "x", lambda g: g * 0, lambda x: ta.exp(x) * x, (X,)),
    "upstream gradient forgotten": (
        ta.exp,
        "x",
        lambda g, out: out + 0 * g,
        lambda x: ta.exp(x) * x,
        (X,),
    ),
    "softmax with the diagonal of its Jacobian alone": (
        ta.softmax,
        "x",
        lambda g, out: g * out * (1 - out),
        attention,
        (X, A, B),
    ),
    "softmax over the wrong axis": (
        ta.softmax,
        "x",
        lambda g, out: out * (g - (g * out).sum(axis=0, keepdims=True)),
        attention,
        (X, A, B),
    ),
    "transpose missing": (ta.matmul, "a", lambda g, b: g @ b, lambda a, b: a @ b, (A, B)),
    "transposed": (ta.matmul, "b", lambda g, a: g.T @ a, lambda a, b: a @ b, (A, B)),
    "factors exchanged": (ta.matmul, "b", lambda g, a: g @ a.T, lambda a, b: a @ b, (A, B)),
    "broadcast sum forgotten": (
        ta.add,
        "b",
        lambda g: g[0] if g.ndim > 1 else g,
        lambda x, b: x * 2 + b,
        (X, V),
    ),
    "mean in place of the broadcast sum": (
        ta.add,
        "b",
        lambda g: g.mean(axis=0) if g.ndim > 1 else g,
        lambda x, b: x * 2 + b,
        (X, V),
    ),
    "sum over the wrong axis": (
        ta.sum,
        "x",
        lambda g, in_shape: np.broadcast_to(g[:, None], in_shape),
        lambda x: ta.sum(x, axis=0),
        (A,),
    ),
    "mean without its divisor": (
        ta.mean,
        "x",
        lambda g, in_shape: np.broadcast_to(g[:, None], in_shape),
        lambda x: ta.mean(x, axis=1),
        (X,),
    ),
    "one element off by 1e-6": (ta.exp, "x", lambda g, out: scaled(g * out, 1e-6), ta.exp, (X,)),
    "tanh's gelu behind the exact one": (
        ta.gelu,
        "x",
        lambda g, x: g * slope_of_tanh_gelu(x),
        ta.gelu,
        (X,),
    ),
    "float32 inside": (
        ta.tanh,
        "x",
        lambda g, out: g * (1 - out * out).astype(np.float32),
        ta.tanh,
        (X,),
    ),
    "dtype wrong": (
        ta.tanh,
        "x",
        lambda g, out: g * (1 - out.astype(np.float64) ** 2),
        ta.tanh,
        (X,),
    ),
    "shape wrong": (ta.exp, "x", lambda g, out: (g * out).T, ta.exp, (X,)),
    "mask the wrong way round": (
        ta.where,
        "a",
        lambda g, condition: np.where(condition, 0, g),
        lambda x: ta.where(np.eye(4, dtype=bool), x, 0),
        (A,),
    ),
    "masked elements leak": (
        ta.where,
        "a",
        lambda g: g,
        lambda x: ta.where(np.eye(4, dtype=bool), x, 0),
        (A,),
    ),
    "max gives to all": (
        ta.max,
        "x",
        lambda g, in_shape: np.broadcast_to(g, in_shape),
        lambda x: ta.max(x),
        (X,),
    ),
    "indices repeated, last one wins": (
        ta.take,
        "x",
        lambda g, indices, in_shape: last_wins(g, indices, in_shape),
        lambda x: ta.take(x, [0, 0, 2], 0),
        (X,),
    ),
    "not linear in g": (ta.exp, "x", lambda g, out: np.tanh(g) * out, ta.exp, (X,)),
    "not a number": (
        ta.norm,
        "x",
        lambda g, x, out: g / (out - out) * x,
        lambda x: ta.norm(x),
        (X,),
    ),
    "the rule raises": (ta.exp, "x", lambda g, out: g * out[5], ta.exp, (X,)),
    "g is written into": (
        ta.tanh,
        "x",
        lambda g, out: np.multiply(g, 1 - out * out, out=g),
        lambda x: ta.tanh(x) + x,
        (X,),
    ),
    "not the same every time": (
        ta.tanh,
        "x",
        lambda g, out: g * (1 - out * out) * (1 + 1e-13 * (next(TICKS) % 5)),
        ta.tanh,
        (X,),
    ),
}


def slope_of_tanh_gelu(x: Array) -> Array:
    """The derivative of GELU's tanh approximation."""
    c = np.sqrt(2 / np.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)


def last_wins(g: Array, indices: Array, shape: tuple[int, ...]) -> Array:
    """take's gradient by assignment, which forgets all but the last of repeated indices."""
    out = np.zeros(shape, g.dtype)
    out[indices] = g
    return out


@pytest.mark.parametrize(("method", "order"), [("auto", 1), ("auto", 2), ("richardson", 1)])
@pytest.mark.parametrize("name", CATALOGUE)
def test_the_catalogue_is_caught(name: str, method: Any, order: int) -> None:
    op, argument, rule, f, inputs = CATALOGUE[name]
    assert gradcheck(f, *inputs, order=order, method=method)
    with op.replaced_vjp(argument, rule):
        report = caught(f, *inputs, order=order, method=method)
    if name != "not the same every time":
        assert report.op == getattr(op, "primitive", op).name


CAUSES = {
    "sign flipped": "sign flipped",
    "constant factor 2.0": "constant factor 2.0",
    "constant factor 0.5": "constant factor 0.5",
    "zero": "detached branch (the gradient is zero)",
    "upstream gradient forgotten": "upstream gradient ignored",
    "softmax with the diagonal of its Jacobian alone": "only the diagonal of the Jacobian",
    "softmax over the wrong axis": "sum over the wrong axis: elements meet along axis 0, not along "
    "axis 1",
    "transpose missing": "transposed: b stands the wrong way round",
    "transposed": "transposed",
    "broadcast sum forgotten": "sum over a broadcast axis missing: only the first place along "
    "axis 0 of g",
    "mean in place of the broadcast sum": "constant factor 0.333333, perhaps 1/3 (3 is",
    "sum over the wrong axis": "sum over the wrong axis: spread along the wrong axis",
    "mean without its divisor": "constant factor 4.0, perhaps 4 (4 is the ",
    "tanh's gelu behind the exact one": "derivative of another function: as if approximate were "
    "'tanh'",
    "float32 inside": "wrong dtype: the numbers are those of float32",
    "dtype wrong": "wrong dtype: with float32 inputs backward fails: expected a gradient of dtype",
    "shape wrong": "transposed: the rule gives the shape (4, 3), not (3, 4)",
    "mask the wrong way round": "mask inverted backward",
    "masked elements leak": "mask not applied backward: 12 of 16 elements",
    "max gives to all": "mask not applied backward: 11 of 12 elements",
    "indices repeated, last one wins": "the last use overwrote earlier uses",
    "not linear in g": "backward is not linear",
    "not a number": "not a number",
    "the rule raises": "the rule raises IndexError",
    "g is written into": "a rule writes into the gradient",
    "not the same every time": "backward twice gives different gradients",
}


@pytest.mark.parametrize("name", CAUSES)
def test_causes_are_named(name: str) -> None:
    op, argument, rule, f, inputs = CATALOGUE[name]
    with op.replaced_vjp(argument, rule):
        report = caught(f, *inputs)
    assert str(report.cause).startswith(CAUSES[name])
    assert report.kind is not None
    assert report.kind is not Cause.UNKNOWN


# ── every rule of every operation ────────────────────────────────────────────────────────────────
# Rules that give 0, which these faults leave as they are.
STEPS = {"ceil", "floor", "floor_divide", "round", "sign", "trunc"}
RULES = [
    (name, i)
    for name in OPERATIONS
    if name in PRIMITIVES
    for i, rule in enumerate(PRIMITIVES[name].rules)
    if rule is not None and name not in STEPS
]
NAMED = [(name, i) for name, i in RULES if observable(PRIMITIVES[name])]


def changed(op: Any, i: int, change: Callable[[Any], Any]) -> Callable[..., Any]:
    """The rule in force, with something done to what it gives."""
    needs = op.rules[i].needs
    namespace = {"fn": op.rules[i].fn, "change": change}
    arguments = ", ".join(["g", *needs])
    return eval(f"lambda {arguments}: change(fn({arguments}))", namespace)  # type: ignore[no-any-return]


def blamed(op: Any) -> str | None:
    """What a report can name: not an operation whose argument is called `g`, like the gradient."""
    return op.name if observable(op) else None


def detached(part: Any) -> Any:
    """The right numbers without their graph."""
    return Tensor(part.data) if isinstance(part, Tensor) else part


FAULTS: dict[str, Callable[[Any], Any]] = {
    "sign flipped": lambda part: -part,
    "detached branch (the gradient is zero)": lambda part: part * 0,
    "constant factor 1.001": lambda part: part * 1.001,
    "unknown": lambda part: scaled(part, 1e-6),
}
TURNS = [(name, i, list(FAULTS)[k % 4]) for k, (name, i) in enumerate(RULES)]


def assert_caught(name: str, i: int, cause: str, order: int) -> None:
    """One fault in one rule is caught, named and explained."""
    op, sample = PRIMITIVES[name], OPERATIONS[name]
    with op.replaced_vjp(i, changed(op, i, FAULTS[cause])):
        report = caught(sample.f, *sample.inputs, order=order)
    assert report.op == blamed(op)
    assert str(report.cause).startswith((cause, "constant factor 1.000001"))


@pytest.mark.parametrize(("name", "i", "cause"), TURNS)
def test_every_rule_with_a_fault_is_caught(name: str, i: int, cause: str) -> None:
    assert_caught(name, i, cause, 1)


@pytest.mark.slow
@pytest.mark.parametrize("cause", FAULTS)
@pytest.mark.parametrize(("name", "i"), RULES)
def test_every_rule_with_every_fault_is_caught(name: str, i: int, cause: str) -> None:
    for order in (1, 2):
        assert_caught(name, i, cause, order)


@pytest.mark.parametrize(("name", "i"), NAMED)
def test_every_rule_that_cannot_be_differentiated_is_caught(name: str, i: int) -> None:
    op, sample = PRIMITIVES[name], OPERATIONS[name]
    with op.replaced_vjp(i, changed(op, i, detached)):
        assert gradcheck(sample.f, *sample.inputs)
        report = caught(sample.f, *sample.inputs, order=2)
    assert (report.order, report.op) == (2, name)
    assert report.kind == Cause.SECOND_ORDER


SECOND = {
    "wrong under create_graph": lambda g, out: g * (1 - out * out) + isinstance(g, Tensor),
    "detaches the result": lambda g, out: (
        g * (1 - (out.detach() if isinstance(out, Tensor) else out) ** 2)
    ),
    "detaches g": lambda g, out: (g.detach() if isinstance(g, Tensor) else g) * (1 - out * out),
    "raises on Tensors": lambda g, out: g * (1 - np.asarray(out) ** 2),
}


@pytest.mark.parametrize("name", SECOND)
def test_faults_of_second_order_alone(name: str) -> None:
    with ta.tanh.replaced_vjp("x", SECOND[name]):
        assert gradcheck(lambda x: ta.sin(ta.tanh(x)), X)
        report = caught(lambda x: ta.sin(ta.tanh(x)), X, order=2)
    assert (report.order, report.op) == (2, "tanh")


def test_a_fault_of_third_order_alone() -> None:
    """The rule's rule is right where it is not recorded itself."""

    def rule(g: Any, out: Any) -> Any:
        return g - g * ta.multiply(out, out)

    def rule_of_square(g: Any, a: Any) -> Any:
        return g.detach() * a if isinstance(g, Tensor) else g * a

    with ta.tanh.replaced_vjp("x", rule), ta.multiply.replaced_vjp("b", rule_of_square):
        assert gradcheck(ta.tanh, X, order=1)
        assert caught(ta.tanh, X, order=3).op == "multiply"


def test_a_fault_is_not_hidden_by_a_kink() -> None:
    def f(x: Any) -> Any:
        return ta.relu(x[0, 0]) + (ta.softmax(x) * V).sum()

    x = X.copy()
    x[0, 0] = 0
    with ta.softmax.replaced_vjp("x", CATALOGUE["softmax over the wrong axis"][2]):
        assert caught(f, x).op == "softmax"


@pytest.mark.parametrize("order", [1, 2])
def test_a_fault_at_one_point_alone(order: int) -> None:
    with ta.square.replaced_vjp("x", lambda g, x: g * (2 * x) + g * (x == 0)):
        report = caught(lambda x: ta.sin(ta.square(x) * 3), [0.0, 1.0], order=order)
        assert (report.op, report.input, report.index) == ("square", "x", (0,))
        assert gradcheck(lambda x: ta.sin(ta.square(x) * 3), [0.5, 1.0], order=order)


# ── how small an error ───────────────────────────────────────────────────────────────────────────
def one_of_twelve(at: int, error: float) -> Callable[..., Any]:
    """softmax's rule with element `at` of the gradient off by a relative `error`."""

    def rule(g: Any, out: Any, axis: Any) -> Any:
        part = out * (g - (g * out).sum(axis=axis, keepdims=True))
        off = np.ones(part.shape, part.dtype)
        off.reshape(-1)[at] += error
        return part * off

    return rule


@pytest.mark.parametrize(("method", "error"), [("auto", 1e-9), ("richardson", 1e-7)])
def test_the_smallest_error_that_is_always_caught(method: Any, error: float) -> None:
    for at in range(12):
        x = np.random.default_rng(at).standard_normal((3, 4))
        with ta.softmax.replaced_vjp("x", one_of_twelve(at, error)):
            report = caught(ta.softmax, x, method=method)
        assert report.op == "softmax"
        assert report.index == (at // 4, at % 4)


def test_one_element_of_many_is_found() -> None:
    x, w = ROOT.standard_normal((30, 40)), ROOT.standard_normal((40, 50))

    def rule(g: Any, out: Any) -> Any:
        part = g * (1 - out * out)
        off = np.ones(part.shape, part.dtype)
        off[7, 11] += 1e-6
        return part * off

    with ta.tanh.replaced_vjp("x", rule):
        report = caught(lambda x, w: ta.tanh(x @ w), x, w)
        assert report.op == "tanh"
        assert report.output_index == (7, 11)
        assert report.index is not None
        assert {report.input: report.index[report.input == "w"]} in ({"x": 7}, {"w": 11})


# ── kernels ──────────────────────────────────────────────────────────────────────────────────────
def gated(x: Any, gate: Any) -> Any:
    """tanh(x) times a gate, in primitives."""
    return ta.tanh(x) * gate


def gated_forward(x: Array, gate: Array) -> tuple[Array, Array]:
    return np.tanh(x) * gate, np.tanh(x)


KERNELS = {
    "right": lambda g, t, x, gate, needs: (g * (1 - t * t) * gate, g * t),
    "unknown": lambda g, t, x, gate, needs: (g * (1 - t) * gate, g * t),
    "sign flipped": lambda g, t, x, gate, needs: (g * (1 - t * t) * gate, -g * t),
    "constant factor 2.0": lambda g, t, x, gate, needs: (2 * g * (1 - t * t) * gate, g * t),
}


@pytest.mark.parametrize("cause", KERNELS)
def test_a_wrong_kernel_is_caught_and_named(cause: str) -> None:
    kernel = Kernel(gated_forward, KERNELS[cause])
    fused = Fused(gated, lambda size: kernel)
    if cause == "right":
        assert gradcheck(lambda x, y: fused(x, y) + x, X, X + 1, order=2).max_error < 1e-14
    else:
        report = caught(lambda x, y: ta.sin(fused(x, y)) + x, X, X + 1)
        assert report.op == "gated"
        assert str(report.cause).startswith(cause)
        assert f"argument {'gate' if cause == 'sign flipped' else 'x'}" in report.place
        assert report.formula == "computed by a kernel"


def test_a_kernel_unlike_its_definition_is_caught() -> None:
    unlike = Kernel(lambda x, gate: (np.sin(x) * gate, np.tanh(x)), KERNELS["right"])
    fused = Fused(gated, lambda size: unlike)
    assert caught(lambda x, y: fused(x, y) + x, X, X + 1).op == "gated"


# ── mistakes outside the rules ───────────────────────────────────────────────────────────────────
def hooked(x: Any) -> Any:
    y = x * x
    y.register_hook(lambda g: g * 2)
    return y


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * x.detach(),
        lambda x: x * Tensor(np.exp(x.data)),
        lambda x: ta.softmax(x) * x.data.max(),
        hooked,
    ],
    ids=["detach", "data", "maximum of data", "hook"],
)
def test_a_part_that_is_not_recorded(f: Any) -> None:
    report = caught(f, X)
    assert report.op is None
    hook = f is hooked
    assert report.kind is (Cause.HOOK if hook else Cause.DETACHED)
    told = (
        "of multiply" if hook else "b of multiply counts as a constant, yet depends on the inputs"
    )
    assert told in str(report.cause)


def test_a_wholly_detached_function() -> None:
    assert caught(lambda x: ta.exp(x.detach()), X).kind is Cause.DETACHED


def test_an_input_written_into() -> None:
    scale = np.array([1.0, 2.0])
    counts = np.array([1, 2, 3])

    def f(x: Any, counts: Any) -> Any:
        counts[0] = 7
        return x * scale

    report = caught(f, [1.0, 2.0], counts)
    assert report.kind == Cause.INPUT_WRITTEN
    assert str(report).count(Cause.INPUT_WRITTEN) == 1


def test_one_tensor_for_two_inputs() -> None:
    def f(a: Any, b: Any) -> Any:
        return a * 3 if a is b else a * b

    report = caught(f, [1.0, 2.0], [3.0, 4.0])
    assert "one tensor for both a and b" in report.reason


# ── the report ───────────────────────────────────────────────────────────────────────────────────
def test_the_report_says_where_and_what() -> None:
    def minus(g: Any, out: Any, axis: Any) -> Any:
        return -out * (g - (g * out).sum(axis=axis, keepdims=True))

    scores = Tensor(X, name="scores")
    with ta.softmax.replaced_vjp("x", minus), ta.scope("layer"):
        report = caught(lambda s, mask: ta.softmax(ta.where(mask, s, 0)), scores, V > 0)
    assert report.input == "scores"
    assert report.output == "output"
    assert report.index is not None
    assert len(report.index) == len(report.output_index or ()) == 2
    assert report.ratio == pytest.approx(-1)
    assert report.analytic == pytest.approx(-report.numeric)
    wanted = abs(report.analytic - report.numeric) / max(1, abs(report.numeric))
    assert report.max_error == pytest.approx(wanted)
    assert report.op == "softmax"
    assert report.cause == "sign flipped"
    assert report.evaluations > 20
    assert report.walks > 14
    text = str(report)
    row, column = report.index
    for part in (
        f"∂ scores[{row}, {column}]",
        "softmax in layer, argument x",
        "sign flipped",
        "ratio -1",
        "complex step",
        "wrong (first order)",
    ):
        assert part in text


def test_the_formula_beside_the_rule_is_quoted() -> None:
    with ta.exp.replaced_vjp(
        "x",
        lambda g, out: g * out * 3,  # dx = 3dy∘y
    ):
        assert "its rule: dx = 3dy∘y" in str(caught(ta.exp, X))
    assert "its rule" not in str(caught(lambda x: x * x.detach(), X))


def test_the_first_wrong_operation_of_the_backward_pass_is_named() -> None:
    with (
        ta.exp.replaced_vjp("x", lambda g, out: g * out * 2),
        ta.tanh.replaced_vjp("x", lambda g, out: g * (1 + out * out)),
    ):
        assert caught(lambda x: ta.tanh(ta.exp(x)), X).op == "tanh"
        assert caught(lambda x: ta.exp(ta.tanh(x)), X).op == "exp"
