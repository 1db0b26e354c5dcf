"""leak_matrix, assert_causal, assert_independent: right models pass, planted leaks are named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from probed import B, D, T, bert, encoder, gpt, seq2seq_decoder

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, Tensor, nn
from tinygrad_attn.check import ProbeError, assert_causal, assert_independent, leak_matrix

Array = np.ndarray[Any, Any]
Function = Callable[[Any], Any]


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return np.asarray(rng.standard_normal((B, T, D)))


def matrix_of_blocks(f: Function, x: Array) -> Array:
    """The same by the whole Jacobian (B, T, D, B, T, D)."""
    jacobian = ta.jacobian(f, x).data
    return np.asarray(np.sqrt((jacobian**2).sum((0, 2, 3, 5))))


# ── the matrix ───────────────────────────────────────────────────────────────────────────────────
def test_the_matrix_is_the_norm_of_the_jacobians_blocks(x: Array) -> None:
    f = encoder()
    expected = matrix_of_blocks(f, x)
    np.testing.assert_allclose(leak_matrix(f, x), expected, rtol=1e-12)
    np.testing.assert_allclose(leak_matrix(f, Tensor(x), axis=1), expected, rtol=1e-12)


def test_random_upstream_gradients_estimate_it(x: Array) -> None:
    def f(x: Tensor) -> Any:
        return encoder()(x, causal=True)

    exact, estimate = leak_matrix(f, x), leak_matrix(f, x, draws=4000)
    np.testing.assert_allclose(estimate, exact, rtol=0.05)
    np.testing.assert_array_equal(leak_matrix(f, x, draws=1) > 0, exact > 0)


def test_many_elements_are_estimated_and_few_are_not(rng: np.random.Generator) -> None:
    """The walks are counted: one an element, or eight."""
    for width, walks in ((7, 7), (71, 8)):
        w = rng.standard_normal((3, width))
        calls: list[int] = []

        def vjp(x: Array, g: Array, w: Array = w, calls: list[int] = calls) -> Array:
            calls.append(1)
            return g @ w.T

        matrix = leak_matrix(lambda x, w=w: x @ w, rng.standard_normal((2, 3)), vjp=vjp)
        assert len(calls) == 2 * walks
        np.testing.assert_allclose(np.diag(matrix), np.linalg.norm(w), rtol=0.7)
        assert matrix[0, 1] == matrix[1, 0] == 0


def test_draws_are_taken_even_where_elements_are_few(x: Array) -> None:
    calls: list[Array] = []

    def vjp(x: Array, g: Array) -> Array:
        calls.append(g)
        return g

    leak_matrix(None, x, vjp=vjp, draws=3)
    assert len(calls) == 3 * T
    assert all(np.count_nonzero(g) == B * D for g in calls)


def test_axes_may_differ(rng: np.random.Generator) -> None:
    """x (D, T, B) by its axis 1, output (T, B) by its axis 0."""
    x, w = rng.standard_normal((5, 3, 2)), rng.standard_normal((3, 3))

    def f(x: Tensor) -> Any:
        return ta.einsum("ts,dsb->tb", w, x)

    matrix = leak_matrix(f, x, axis=1, out_axis=0)
    np.testing.assert_allclose(matrix, abs(w) * np.sqrt(5 * 2), rtol=1e-12)


def test_the_caller_is_left_alone(x: Array) -> None:
    f, before = encoder(), x.copy()
    leak_matrix(f, x)
    np.testing.assert_array_equal(x, before)
    assert all(parameter.grad is None for parameter in f.parameters())


def test_float32_becomes_float64(x: Array) -> None:
    seen = []

    def f(x: Tensor) -> Any:
        seen.append(x.dtype)
        return x * 2

    assert leak_matrix(f, x.astype(np.float32)).dtype == np.float64
    assert seen == [np.float64]


# ── what is causal ───────────────────────────────────────────────────────────────────────────────
CAUSAL: dict[str, tuple[Function, int]] = {
    "encoder layer with a causal mask": (lambda x: encoder()(x, causal=True), 0),
    "pre-norm": (lambda x: encoder(norm_first=True)(x, causal=True), 0),
    "nn.Mask": (lambda x: encoder()(x, nn.Mask.causal()), 0),
    "GPT": (gpt(), 0),
    "strictly earlier": (lambda x: ta.concat([x[:, :1] * 0, ta.cumsum(x, 1)[:, :-1]], 1), -1),
    "two ahead": (lambda x: encoder()(x, nn.Mask.causal(2)), 2),
    "Seq2Seq's decoder": (seq2seq_decoder(), 0),
    "an RNN": (lambda x: nn.GRU(D, 5, rng=np.random.default_rng(1)).astype(np.float64)(x)[0], 0),
}


@pytest.mark.parametrize("name", CAUSAL)
def test_causal_functions_pass(name: str, x: Array) -> None:
    f, offset = CAUSAL[name]
    assert_causal(f, x, offset=offset)
    with pytest.raises(ProbeError):  # and they reach as far as they say
        assert_causal(f, x, offset=offset - 1)


def masked(keep: Array) -> Function:
    return lambda x: encoder()(x, keep)


def wrong_axis(x: Tensor) -> Any:
    scores = np.where(np.tri(T, dtype=bool), 0, -np.inf) + x @ x.mT
    return ta.softmax(scores, axis=-2) @ x  # over the queries


def time_norm(x: Tensor) -> Any:
    return (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)


LEAKS: dict[str, tuple[Function, str, int | None]] = {
    "flipped mask": (masked(~np.tri(T, dtype=bool) | np.eye(T, dtype=bool)), "polarity", 6),
    "off by one": (masked(np.tri(T, T, 1, dtype=bool)), "off by 1,", 3),
    "off by two": (masked(np.tri(T, T, 2, dtype=bool)), "off by 2, or by less in each", 5),
    "no mask": (encoder(), "no mask reaches the softmax", 6),
    "BERT": (bert(), "no mask reaches the softmax", 6),
    "softmax over the queries": (wrong_axis, "softmax, a norm", 6),
    "norm over time": (time_norm, "norm or a mean runs over the time axis", 6),
    "shuffled axes": (
        lambda x: x.reshape(B, D, T).transpose(0, 2, 1),
        "axes were shuffled",
        None,
    ),
    "backwards": (lambda x: ta.flip(ta.cumsum(ta.flip(x, 1), 1), 1), "from the end", 6),
}


@pytest.mark.parametrize("name", LEAKS)
def test_leaks_are_caught_and_named(name: str, x: Array) -> None:
    f, cause, pairs = LEAKS[name]
    with pytest.raises(ProbeError, match=cause) as caught:
        assert_causal(f, x)
    matrix = caught.value.matrix
    np.testing.assert_allclose(matrix, matrix_of_blocks(f, x), rtol=1e-9, atol=1e-13)
    future = np.triu(matrix, 1)
    t, s = np.unravel_index(future.argmax(), matrix.shape)
    assert f"output {t} depends on input {s}:" in str(caught.value)
    if pairs is not None:
        assert f"{pairs} of 6 pairs leak" in str(caught.value)


def test_the_picture(x: Array) -> None:
    with pytest.raises(ProbeError) as caught:
        assert_causal(masked(np.tri(T, T, 1, dtype=bool)), x)
    assert "    ▪×··\n    ▪▪×·\n    ▪▪▪×\n    ▪▪▪▪\n" in str(caught.value)


def test_the_picture_of_a_long_sequence_is_small(rng: np.random.Generator) -> None:
    x = rng.standard_normal((100, 1))
    with pytest.raises(ProbeError) as caught:
        assert_causal(lambda x: ta.concat([x[:-1], x[-1:] + x[:1]]) + ta.flip(x, 0) * 1e-3, x)
    rows = [line for line in str(caught.value).splitlines() if set(line.strip()) <= set("·▪×")]
    assert len(rows) == 25
    assert all(len(row.strip()) == 25 for row in rows)
    assert rows[0].strip() == "▪" + "·" * 23 + "×"
    assert rows[-1].strip() == "▪" + "·" * 23 + "▪"


def test_a_small_leak_counts_and_rounding_does_not(x: Array) -> None:
    def f(size: float) -> Function:
        return lambda x: x + size * ta.flip(x, 1)

    assert_causal(f(1e-10), x)
    with pytest.raises(ProbeError):
        assert_causal(f(1e-8), x)
    assert_causal(f(1e-8), x, tolerance=1e-7)
    with pytest.raises(ProbeError):
        assert_causal(f(1e-10), x, tolerance=1e-11)
    assert_causal(lambda x: ta.cumsum(x, 1).astype(np.float32) + f(1e-6)(x).astype("f4"), x)


def test_one_example_that_leaks_is_enough(x: Array) -> None:
    keep = np.broadcast_to(np.tri(T, dtype=bool), (B, T, T)).copy()
    assert_causal(masked(keep), x)
    keep[1, 0, 2] = True
    with pytest.raises(ProbeError, match="1 of 6 pairs leak"):
        assert_causal(masked(keep), x)


# ── batches ──────────────────────────────────────────────────────────────────────────────────────
def test_examples_are_apart(x: Array) -> None:
    assert_independent(encoder(), x)
    assert_independent(gpt(), x)
    assert_independent(lambda x: x * 2, x, axis=1)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x - x.mean(0),
        lambda x: x + 1e-6 * ta.roll(x, 1, 0),
        lambda x: ta.softmax(x, 0),
        lambda x: encoder()(x.reshape(1, B * T, D)).reshape(B, T, D),
    ],
)
def test_a_batch_leak_is_caught(f: Function, x: Array) -> None:
    with pytest.raises(ProbeError, match=r"2 of 2 pairs leak[\s\S]*over the batch") as caught:
        assert_independent(f, x)
    assert caught.value.matrix.shape == (B, B)


# ── nothing passes by saying nothing ─────────────────────────────────────────────────────────────
@pytest.mark.parametrize("check", [assert_causal, assert_independent])
def test_what_cannot_be_judged_does_not_pass(check: Any, x: Array) -> None:
    with pytest.raises(ProbeError, match="does not depend on x at all"):
        check(lambda x: x.detach() * 2, x)
    with pytest.raises(ProbeError, match="not finite"), np.errstate(all="ignore"):
        check(lambda x: ta.sqrt(x * 0), x)


def test_one_position_is_too_few(x: Array) -> None:
    with pytest.raises(ShapeError, match="no pair that could leak"):
        assert_causal(lambda x: x, x[:, :1])
    with pytest.raises(ShapeError, match="no pair that could leak"):
        assert_independent(lambda x: x, x[:1])


RIGHT = np.ones((2, 3, 5))
WRONG: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "tokens": (DTypeError, "int64; tokens have", lambda: leak_matrix(abs, np.ones((2, 3), int))),
    "complex": (DTypeError, "complex128", lambda: leak_matrix(abs, RIGHT * 1j)),
    "ragged": (ShapeError, "no array", lambda: leak_matrix(abs, [[1.0], [1.0, 2.0]])),
    "empty": (ShapeError, r"\(2, 0, 3\)", lambda: leak_matrix(abs, np.ones((2, 0, 3)))),
    "axis": (ShapeError, r"axis=3 .*\(2, 3, 5\)", lambda: leak_matrix(abs, RIGHT, axis=3)),
    "axis kind": (DTypeError, "axis must be", lambda: leak_matrix(abs, RIGHT, axis="time")),  # type: ignore[arg-type]  # the wrong call
    "out_axis": (
        ShapeError,
        r"out_axis=-2 .*\(2,\)",
        lambda: leak_matrix(lambda x: x.sum((1, 2)), RIGHT),
    ),
    "no function": (DTypeError, "f must be a function", lambda: leak_matrix(None, RIGHT)),
    "array of f": (DTypeError, "got ndarray", lambda: leak_matrix(lambda x: x.data, RIGHT)),
    "pair of f": (DTypeError, "got tuple", lambda: leak_matrix(lambda x: (x, x), RIGHT)),
    "integers": (
        DTypeError,
        "int64",
        lambda: leak_matrix(lambda x: Tensor(np.array([1, 2])), RIGHT),
    ),
    "nothing": (ShapeError, "f.x. is empty", lambda: leak_matrix(lambda x: x[:0], RIGHT)),
    "draws": (ShapeError, "draws must be at least 1", lambda: leak_matrix(abs, RIGHT, draws=0)),
    "vjp": (DTypeError, "vjp must be", lambda: leak_matrix(None, RIGHT, vjp=3)),  # type: ignore[arg-type]  # the wrong call
    "vjp's shape": (
        ShapeError,
        r"\(2, 3, 5\), got \(3, 5\)",
        lambda: leak_matrix(None, RIGHT, vjp=lambda x, g: g[0]),
    ),
    "offset": (DTypeError, "offset must be", lambda: assert_causal(abs, RIGHT, offset=0.5)),  # type: ignore[arg-type]  # the wrong call
    "tolerance": (ShapeError, "above 0", lambda: assert_causal(abs, RIGHT, tolerance=-1.0)),
    "lengths": (
        ShapeError,
        "x has 2 positions .* f.x. has 1",
        lambda: assert_independent(lambda x: x[:1], RIGHT),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_say_so(name: str) -> None:
    error, message, call = WRONG[name]
    with pytest.raises(error, match=message):
        call()
