"""What a report says of a wrong gradient: the cause, the place, the pictures, the page.

The bug zoo (test_zoo.py) asks for the right name of many bugs; here are the particulars, large
arrays, and what lies outside of rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn
from tinygrad_attn.check import Cause, GradientError, Report, gradcheck
from tinygrad_attn.check.causes import ADVICE, kind_of
from tinygrad_attn.check.picture import COLUMNS, ROWS, ErrorMap

Array = np.ndarray[Any, Any]
ROOT = np.random.default_rng(17)
X, SQUARE = ROOT.standard_normal((2, 3)), ROOT.standard_normal((3, 3))


def wrong(f: Callable[..., Any], *inputs: Any, **options: Any) -> Report:
    with pytest.raises(GradientError) as error:
        gradcheck(f, *inputs, **options)
    return error.value.report


# ── what is not so ───────────────────────────────────────────────────────────────────────────────
PADDED = np.vstack([ROOT.standard_normal((3, 3)), np.zeros((1, 3))])
AT_A_KINK: dict[str, tuple[Any, Any, Cause]] = {
    "relu": (ta.relu, lambda g, x: -g * (x > 0), Cause.SIGN),
    "absolute": (ta.absolute, lambda g: g, Cause.PASSED_ON),
    "max": (
        ta.max,
        lambda g, x: 3 * (x == x.max(-1, keepdims=True)) * g[:, None],
        Cause.FACTOR,
    ),
}


@pytest.mark.parametrize("name", AT_A_KINK)
def test_a_kink_elsewhere_does_not_hide_a_wrong_rule(name: str) -> None:
    """A padded row of zeros: every dense direction meets the kink."""
    op, rule, kind = AT_A_KINK[name]

    def f(x: Tensor, w: Tensor) -> Tensor:
        return op(x @ w) if op is not ta.max else op(x @ w, -1)

    with op.replaced_vjp("x", rule):
        report = wrong(f, PADDED, ROOT.standard_normal((3, 5)))
    assert (report.op, report.kind) == (name, kind)


def spread_evenly(g: Array, b: Array) -> Array:
    return np.full(b.shape, g.sum())


def as_a_list(g: Array, out: Array) -> Any:
    return (g * (1 - out * out)).tolist()


def test_a_rule_that_mixes_the_gradient_does_not_ignore_it() -> None:
    with ta.add.replaced_vjp("b", spread_evenly):
        report = wrong(lambda x, b: x * 2 + b, X, ROOT.standard_normal(3))
    assert (report.op, report.kind) == ("add", Cause.UNKNOWN)


def test_a_rule_that_returns_a_list_is_told_so() -> None:
    with ta.tanh.replaced_vjp("x", as_a_list):
        report = wrong(ta.tanh, X)
    assert report.kind == Cause.RAISES
    assert "must return an array" in str(report.cause)


def test_a_rule_that_picks_the_smallest_uses_no_other_value() -> None:
    def picked(g: Array, x: Array) -> Array:
        return (x == x.min(-1, keepdims=True)) * g[:, None]

    with ta.max.replaced_vjp("x", picked):
        assert "1 − x" not in str(wrong(lambda x: ta.max(x, -1), X).cause)


def test_a_whole_length_goes_before_a_root() -> None:
    def twice(g: Array, out: Array) -> Array:
        return 2 * out * (g - (g * out).sum(-1, keepdims=True))

    with ta.softmax.replaced_vjp("x", twice):
        cause = wrong(ta.softmax, ROOT.standard_normal((4, 2))).cause
    assert "perhaps 2 (2 is the length of axis 1 of x" in str(cause)


def test_a_shifted_mask_is_applied_all_the_same() -> None:
    def shifted(g: Array, q: Array, k: Array) -> Array:
        scores = np.where(np.tri(4, 4, 1, dtype=bool), q @ k.mT / 3**0.5, -np.inf)
        return np.asarray(np.asarray(ta.softmax(scores)).mT @ g)

    attention = nn.functional.attention
    with attention.replaced_vjp("v", shifted):
        report = wrong(lambda q, k, v: attention(q, k, v, causal=True), *np.split(draw(3), 3))
    assert (report.op, report.kind) == ("attention", Cause.ANOTHER_CALL)
    assert "shifted by one" in str(report.cause)
    assert "kernel" not in report.formula


def doubled_dq(g: Array, q: Array, k: Array, v: Array) -> Array:
    """Attention's dQ without its scale."""
    p = np.asarray(ta.softmax(q @ k.mT / 3**0.5))
    dp = g @ v.mT
    return (p * (dp - (p * dp).sum(-1, keepdims=True))) @ k


def within(op: Any, argument: Any, rule: Any, f: Callable[..., Any]) -> Callable[..., Any]:
    """f, in which the rule is planted where it is called, and right again outside."""

    def planted(*inputs: Tensor) -> Any:
        with op.replaced_vjp(argument, rule):
            out = f(*inputs)
        return ta.tanh(out) * out

    return planted


PLANTED_INSIDE: dict[str, tuple[Callable[..., Any], Cause]] = {
    "tanh": (
        within(ta.tanh, "x", lambda g, x: g * (1 - x * x), lambda q, k, v: ta.tanh(q) * q),
        Cause.WRONG_VALUE,
    ),
    "softmax": (
        within(ta.softmax, 0, lambda g, out: g * out * (1 - out), lambda q, k, v: ta.softmax(q)),
        Cause.DIAGONAL,
    ),
    "concatenate": (
        within(ta.concat, 0, lambda g, i: -np.split(g, 3)[i], lambda q, k, v: ta.concat([q, k, v])),
        Cause.SIGN,
    ),
    "attention": (
        within(nn.functional.attention, "q", doubled_dq, nn.functional.attention),
        Cause.FACTOR,
    ),
}


@pytest.mark.parametrize("name", PLANTED_INSIDE)
def test_a_rule_that_f_plants_itself_is_named_as_well(name: str) -> None:
    f, kind = PLANTED_INSIDE[name]
    report = wrong(f, *np.split(draw(3), 3))
    assert (report.op, report.kind) == (name, kind)
    assert "replaced_vjp" not in vars(ta.tanh)


def test_a_rule_that_f_plants_itself_may_be_wrong_in_second_order_alone() -> None:
    f = within(ta.tanh, 0, lambda g, out: g * (1 - out * out) + isinstance(g, Tensor), ta.tanh)
    report = wrong(f, X, order=2)
    assert (report.order, report.op, report.kind) == (2, "tanh", Cause.SECOND_ORDER)


def draw(count: int) -> Array:
    return ROOT.standard_normal((2 * count, 4, 3))


# ── particulars ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("rule", "f", "said"),
    [
        (lambda g: g, lambda q, k: q @ k.T / 3**0.5, "perhaps b or √3 (3 is the length of axis 1"),
        (lambda g, b: g / b / b, lambda q, k: q @ k.T / 7.0, "constant factor 0.142857"),
    ],
)
def test_a_factor_is_traced_to_lengths_and_operands(rule: Any, f: Any, said: str) -> None:
    with ta.divide.replaced_vjp("a", rule):
        report = wrong(f, X, ROOT.standard_normal((5, 3)))
    assert report.op == "divide"
    assert said in str(report.cause)


def swapped_forms() -> dict[str, tuple[Any, Any, Any, str]]:
    return {
        "argument for result": (ta.tanh, "x", lambda g, x: g * (1 - x * x), "x where out is"),
        "result for argument": (ta.square, "x", lambda g, out: 2 * g * out, "out where x is"),
        "logarithm": (
            ta.log_softmax,
            "x",
            lambda g, out: g - out * g.sum(-1, keepdims=True),
            "out where exp(out) is",
        ),
        "rule of another": (ta.exp, "x", lambda g, out: g * (1 - out * out), "rule of `tanh`"),
        "factor": (ta.sin, "x", lambda g, x: g * np.cos(x) * x, "x stands there once too often"),
        "divisor": (ta.sin, "x", lambda g, x: g * np.cos(x) / x, "x is missing"),
        "held fixed": (ta.silu, "x", lambda g, x, out: g * out / x, "x times a constant"),
        "constant slope": (ta.sin, "x", lambda g: 3 * g, "unchanged times 3.0"),
        "offset": (ta.cumsum, "x", lambda g: np.roll(back(g), 1, -1), "by 1 along axis 1"),
        "forwards": (ta.cumsum, "x", lambda g: np.cumsum(g, -1), "J g where Jᵀ g belongs"),
        "half precision": (
            ta.exp,
            "x",
            lambda g, out: g * out.astype(np.float16),
            "wrong dtype: the numbers are those of float16",
        ),
    }


def back(g: Array) -> Array:
    """cumsum's rule."""
    return np.flip(np.cumsum(np.flip(g, -1), -1), -1)


@pytest.mark.parametrize("name", swapped_forms())
def test_what_stands_in_the_wrong_place_is_told(name: str) -> None:
    op, argument, rule, said = swapped_forms()[name]
    f = (lambda x: op(x, axis=1)) if op is ta.cumsum else op
    with op.replaced_vjp(argument, rule):
        report = wrong(f, X)
    assert report.op == op.name
    assert said in str(report.cause)


@pytest.mark.parametrize(
    ("argument", "rule", "said"),
    [
        ("a", lambda g, b: g @ b, "transposed: b stands the wrong way round"),
        ("b", lambda g, a: a @ g, "transposed: a stands the wrong way round"),
        ("a", lambda g, a: np.swapaxes(a, -1, -2) @ g, "gradient of another argument: it is that"),
        ("b", lambda g, a: np.swapaxes(np.swapaxes(a, -1, -2) @ g, -1, -2), "transposed"),
    ],
)
def test_products_the_wrong_way_round(argument: str, rule: Any, said: str) -> None:
    with ta.matmul.replaced_vjp(argument, rule):
        report = wrong(lambda a, b: a @ b, SQUARE, SQUARE + 1)
    assert str(report.cause).startswith(said)


def test_permutations_that_are_not_undone() -> None:
    with ta.transpose.replaced_vjp("x", lambda g, axes: np.transpose(g, axes)):
        cube = wrong(lambda x: ta.transpose(x, (1, 2, 0)), ROOT.standard_normal((3, 3, 3)))
        other = wrong(lambda x: ta.transpose(x, (1, 2, 0)), ROOT.standard_normal((2, 3, 5)))
    assert cube.kind is other.kind is Cause.PERMUTATION
    assert "the rule gives the shape" in str(other.cause)
    with ta.reshape.replaced_vjp("x", lambda g, in_shape: g.reshape(in_shape, order="F")):
        assert wrong(lambda x: ta.reshape(x, 6), X).kind is Cause.PERMUTATION


def test_a_result_that_sends_nothing_back() -> None:
    def rule(g: Any, axis: Any) -> Any:
        return np.concatenate([g[0], 0 * g[1]], axis)

    with ta.split.replaced_vjp("x", rule):
        report = wrong(lambda x: ta.split(x, [1], axis=1), X)
    assert (report.op, report.kind) == ("split", Cause.DETACHED)
    assert "result 1 does not arrive" in str(report.cause)


# ── memory ───────────────────────────────────────────────────────────────────────────────────────
def test_a_rule_that_remembers() -> None:
    before: deque[Array] = deque(maxlen=2)

    def rule(g: Array, out: Array) -> Array:
        before.append(out)
        return g * (1 - before[0] ** 2)

    with ta.tanh.replaced_vjp("x", rule):
        report = wrong(lambda x: ta.tanh(2 * ta.tanh(x)), X)
    assert (report.op, report.kind) == ("tanh", Cause.STALE)


def test_a_rule_with_values_of_another_time() -> None:
    fixed = np.exp(X)
    with ta.exp.replaced_vjp("x", lambda g: g * fixed):
        report = wrong(lambda x: ta.exp(x) + ta.exp(x * 2), X)
    assert (report.op, report.kind) == ("exp", Cause.STALE)


def test_a_rule_with_the_values_of_a_later_call() -> None:
    last: dict[str, Array] = {}

    def forward_like(g: Array, out: Array) -> Array:
        return g * last.setdefault("out", out)

    with ta.exp.replaced_vjp("x", forward_like):
        report = wrong(lambda x: ta.exp(ta.exp(x) / 9), X)
    assert (report.op, report.kind) == ("exp", Cause.STALE)


# ── inside fused operations ──────────────────────────────────────────────────────────────────────
def heads(*axes: int) -> Array:
    return ROOT.standard_normal(axes)


def test_a_missing_branch_of_layer_norm() -> None:
    x, w, b = heads(3, 5), heads(5), heads(5)

    def rule(g: Array, x: Array, weight: Array, eps: float) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scale = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        h, y = g * weight, centred * scale
        return scale * (h - y * (h * y).mean(-1, keepdims=True))

    with nn.functional.layer_norm.replaced_vjp("x", rule):
        report = wrong(lambda x, w, b: nn.functional.layer_norm(x, w, b), x, w, b)
    assert (report.op, report.kind) == ("layer_norm", Cause.DETACHED)
    assert "the gradient through `mean` is missing" in str(report.cause)


@pytest.mark.parametrize(
    ("argument", "options", "change", "cause"),
    [
        ("q", {"causal": True}, {"causal": False}, Cause.MASK),
        ("k", {"softcap": 1.5}, {"softcap": None}, Cause.ANOTHER_CALL),
        ("v", {"scale": 0.3}, {"scale": 1.0}, Cause.ANOTHER_CALL),
    ],
)
def test_attention_differentiated_with_other_options(
    argument: str, options: Any, change: Any, cause: Cause
) -> None:
    """The rule is the right one of attention without what is left out."""
    q, k, v = heads(2, 3, 5), heads(2, 3, 5), heads(2, 3, 5)
    attention = nn.functional.attention
    at = "qkv".index(argument)

    def rule(g: Array, q: Array, k: Array, v: Array) -> Array:
        xs = [Tensor(x, requires_grad=True) for x in (q, k, v)]
        out, _ = attention(*xs, **{**options, **change}, return_stages=True)
        (part,) = ta.grad(out, [xs[at]], g)
        assert part is not None
        return part.numpy()

    with attention.replaced_vjp(argument, rule):
        report = wrong(lambda q, k, v: attention(q, k, v, **options), q, k, v)
    assert (report.op, report.kind) == ("attention", cause)


# ── large arrays ─────────────────────────────────────────────────────────────────────────────────
def test_a_large_rule_is_explained_on_a_part_of_its_arrays() -> None:
    layer = nn.MultiHeadAttention(64, 4, rng=np.random.default_rng(0))
    with ta.softmax.replaced_vjp("x", lambda g, out: g * out * (1 - out)):
        report = wrong(layer, ROOT.standard_normal((2, 16, 64)))
    assert (report.op, report.kind) == ("softmax", Cause.DIAGONAL)
    assert report.module == "MultiHeadAttention"


def test_a_large_table_is_explained_with_fewer_tokens() -> None:
    def rule(g: Array, tokens: Array, weight: Array) -> Array:
        part = np.zeros_like(weight)
        part[tokens] = g
        return part

    with nn.functional.embedding.replaced_vjp("weight", rule):
        report = wrong(
            lambda w: nn.functional.embedding(ROOT.integers(0, 50, (4, 32)) * 0 + 3, w),
            ROOT.standard_normal((50, 64)),
        )
    assert (report.op, report.kind) == ("embedding", Cause.OVERWRITTEN)


# ── around the rules ─────────────────────────────────────────────────────────────────────────────
class Newest(np.ndarray[Any, Any]):
    """A gradient that forgets what it is added to."""

    def __add__(self, other: Any) -> Any:
        return other


def unrolled(x: Tensor, w: Tensor) -> Tensor:
    for _ in range(3):
        x = ta.tanh(x @ w)
    return x


def test_a_sum_that_keeps_one_part() -> None:
    with ta.matmul.replaced_vjp("b", lambda g, a: (a.T @ g).view(Newest)):
        report = wrong(unrolled, X, SQUARE)
    assert (report.op, report.kind) == ("matmul", Cause.OVERWRITTEN)
    assert "of 3 parts" in str(report.cause)


def test_a_detached_value_is_found_where_it_comes_back() -> None:
    def f(x: Tensor) -> Tensor:
        with ta.scope("gate"):
            return x * ta.sigmoid(x.detach())

    report = wrong(f, X)
    assert (report.op, report.kind, report.module) == (None, Cause.DETACHED, "gate")
    assert "b of multiply in gate counts as a constant" in str(report.cause)


def test_a_hook_is_found() -> None:
    def f(x: Tensor) -> Tensor:
        y = ta.exp(x)
        y.register_hook(lambda g: g * 2)
        return ta.sin(y)

    assert str(wrong(f, X).cause) == "a hook changed the gradient of exp"


# ── few digits ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("seed", range(8))
def test_single_precision_inside_a_rule_is_never_taken_for_rounding(seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((2, 3))

    def rule(g: Array, out: Array, axis: int) -> Array:
        y, h = out.astype(np.float32), g.astype(np.float32)
        return (y * (h - (h * y).sum(axis, keepdims=True))).astype(g.dtype)

    with ta.softmax.replaced_vjp("x", rule):
        report = wrong(lambda x: ta.softmax(x) @ SQUARE, x)
    assert (report.op, report.kind) == ("softmax", Cause.DTYPE)


# ── the report ───────────────────────────────────────────────────────────────────────────────────
def test_every_cause_has_its_own_beginning() -> None:
    for cause in Cause:
        assert kind_of(f"{cause}: particulars") is cause
    assert kind_of(None) is kind_of("something else") is None
    assert set(Cause) - set(ADVICE) == {Cause.UNKNOWN}


def one_wrong() -> Report:
    def rule(g: Array, out: Array) -> Array:
        part = g * (1 - out * out)
        part[1, 2] *= 2
        return part

    with ta.tanh.replaced_vjp("x", rule), ta.scope('<b>"layer"</b>'):
        return wrong(ta.tanh, Tensor(X, name="<script>x"))


def test_the_picture_shows_which_elements_are_wrong() -> None:
    report = one_wrong()
    assert report.errors is not None
    assert report.op_errors is not None
    for drawn in (report.errors, report.op_errors):
        assert drawn.wrong == 1
        assert list(drawn.lines())[1:] == ["···", "··█"]
    assert "1 of 6 elements wrong" in str(report)


def test_a_large_picture_fits_a_terminal() -> None:
    errors = np.zeros((5, 40, 200))
    errors[4, 39, 199], errors[0, 0, 0] = 1.0, 0.02
    head, *lines = ErrorMap("dx", errors).lines()
    assert head == "dx (5 × 40 × 200): 2 of 40000 elements wrong"
    assert (len(lines), len(lines[0])) == (ROWS, COLUMNS)
    assert (lines[0][0], lines[-1][-1]) == ("▓", "█")
    assert sum(line.count("·") for line in lines) == ROWS * COLUMNS - 2


@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 0), (2, 3, 2)])
def test_pictures_of_every_shape(shape: tuple[int, ...]) -> None:
    drawn = ErrorMap("dx", np.ones(shape))
    assert drawn.wrong == int(np.prod(shape))
    assert len("".join(list(drawn.lines())[1:])) == int(np.prod(shape))
    assert ErrorMap("dx", np.full(shape, np.inf)).wrong == int(np.prod(shape))
    assert ErrorMap("dx", np.zeros(shape)).wrong == 0


class Reader(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        assert not {"src", "href", "onload"} & {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_says_what_the_text_says() -> None:
    report = one_wrong()
    reader = Reader()
    reader.feed(report.to_html())
    text = "".join(reader.text)
    assert str(report) in text
    for part in (report.cause, report.advice, report.place, report.module, "<script>x[1, 2]"):
        assert str(part) in text
    assert not {"script", "b", "img", "link", "iframe"} & set(reader.tags)
    assert reader.tags.count("td") >= 2 * X.size
    assert report._repr_html_() == report.to_html()


def test_a_page_of_what_is_right_and_of_what_is_undecided() -> None:
    right = gradcheck(ta.exp, X)
    assert "gradcheck: right" in right.to_html()
    assert right.pictures == ()
    with pytest.warns(ta.check.UndecidedWarning):
        report = gradcheck(ta.relu, np.zeros(2))
    assert report.kind is Cause.KINK
    assert Cause.KINK.advice in report.to_html()
