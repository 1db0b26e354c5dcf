"""The checkers of others, themselves checked with planted faults of known size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.check.zoo import Subject
from tinygrad_attn.check.zoo.checkers import CHECKERS, Plain, passes, plain
from tinygrad_attn.check.zoo.matrix import OURS, SIGHTS, bends, smallest_caught

Array = np.ndarray[Any, Any]
A = np.random.default_rng(5).uniform(-2, 2, (3, 5))
TUTORIAL, TORCH, FAST = CHECKERS.values()


def linear(error: Any = 0.0, matrix: Array = A) -> Plain:
    """x ↦ Ax with `error` added to the Jacobian that the pull-back is made of."""
    rows, columns = matrix.shape
    return Plain(
        lambda x: matrix @ x,
        lambda g: g @ (matrix + error),
        np.linspace(0.5, 1, columns),
        [slice(0, columns)],
        [slice(0, rows)],
        rows,
    )


def only(place: tuple[int, int], error: float) -> Array:
    """A Jacobian's error at one place."""
    whole = np.zeros(A.shape)
    whole[place] = error
    return whole


@pytest.mark.parametrize("checker", CHECKERS)
def test_what_is_right_passes_and_what_is_grossly_wrong_does_not(checker: str) -> None:
    check = CHECKERS[checker]
    assert check(linear())
    assert not check(linear(1.0))
    assert not check(linear(-A))  # zero
    assert not check(linear(np.nan))


@pytest.mark.parametrize(("error", "passed"), [(0.5e-5, True), (2e-5, False)])
def test_a_tutorial_compares_to_five_digits(error: float, passed: bool) -> None:
    column = A.sum(0)
    assert TUTORIAL(linear(np.outer([1, 0, 0], column) * error)) is passed


def test_a_tutorial_sees_column_sums_alone() -> None:
    swapped = A[[1, 0, 2]] - A
    assert TUTORIAL(linear(swapped))
    assert not TORCH(linear(swapped))


@pytest.mark.parametrize(("error", "passed"), [(0.9e-3, True), (1.1e-3, False)])
def test_pytorch_compares_each_entry_to_three_digits(error: float, passed: bool) -> None:
    k = np.unravel_index(np.argmax(np.abs(A)), A.shape)
    place = int(k[0]), int(k[1])
    allowed = 1e-5 + 1e-3 * abs(A[place])
    assert TORCH(linear(only(place, error / 1e-3 * allowed))) is passed


@pytest.mark.parametrize(("error", "passed"), [(0.9e-5, True), (1.1e-5, False)])
def test_pytorch_allows_so_much_where_the_slope_is_0(error: float, passed: bool) -> None:
    assert TORCH(linear(only((1, 2), error), np.zeros((3, 5)))) is passed


@pytest.mark.parametrize(("error", "passed"), [(0.9e-5, True), (1.1e-5, False)])
def test_the_fast_mode_allows_so_much_on_average(error: float, passed: bool) -> None:
    """v·E·u against atol·Σv·Σu: a constant error of atol is just allowed."""
    assert FAST(linear(error, np.zeros((3, 5)))) is passed


def test_the_fast_mode_does_not_see_what_cancels_or_is_rare() -> None:
    assert FAST(linear(only((0, 0), 5e-5), np.zeros((3, 5))))  # one of 15: the mean is below atol
    assert not TORCH(linear(only((0, 0), 5e-5), np.zeros((3, 5))))


def test_the_fast_mode_looks_at_every_pair_of_output_and_input() -> None:
    case = linear(only((2, 4), 1.0))
    pairs = Plain(
        case.f, case.vjp, case.x, [slice(0, 4), slice(4, 5)], [slice(0, 2), slice(2, 3)], 3
    )
    assert not FAST(pairs)
    assert FAST(Plain(case.f, case.vjp, case.x, [slice(0, 4)], [slice(0, 2)], 3))


def test_pytorch_wants_the_same_bits_twice() -> None:
    noise = np.random.default_rng(0)
    case = linear()
    shaky = Plain(
        case.f,
        lambda g: case.vjp(g) * (1 + 1e-12 * noise.random()),
        case.x,
        case.inputs,
        case.outputs,
        case.size,
    )
    assert not TORCH(shaky)
    assert TUTORIAL(shaky)


# ── subjects as plain functions ──────────────────────────────────────────────────────────────────
def test_a_subject_becomes_a_function_from_vector_to_vector(rng: np.random.Generator) -> None:
    q, k = rng.standard_normal((2, 3)), rng.standard_normal((5, 3))
    case = plain(Subject(lambda q, k: (q @ k.T, ta.sum(q)), (q, k)))
    assert np.array_equal(case.x, [*q.ravel(), *k.ravel()])
    np.testing.assert_allclose(case.f(case.x), [*(q @ k.T).ravel(), q.sum()])
    g = rng.standard_normal(11)
    gq = g[:10].reshape(2, 5) @ k + g[10]
    gk = g[:10].reshape(2, 5).T @ q
    np.testing.assert_allclose(case.vjp(g), [*gq.ravel(), *gk.ravel()])
    assert case.inputs == [slice(0, 6), slice(6, 21)]
    assert case.outputs == [slice(0, 10), slice(10, 11)]
    assert case.size == 11


def test_a_module_is_a_function_of_its_parameters_too(rng: np.random.Generator) -> None:
    case = plain(Subject(nn.Linear(3, 2, rng=rng), (rng.standard_normal((5, 3)),)))
    assert len(case.x) == 15 + 6 + 2
    assert len(case.inputs) == 3
    assert all(check(case) for check in CHECKERS.values())


def test_an_error_is_no_pass(rng: np.random.Generator) -> None:
    subject = Subject(ta.exp, (rng.standard_normal((2, 3)),))
    with ta.exp.replaced_vjp("x", lambda g, out: (g * out).T):
        assert not any(passes(check, subject) for check in CHECKERS.values())
    assert all(passes(check, subject) for check in CHECKERS.values())


# ── the smallest error ───────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("threshold", [3e-4, 3e-9, 3e3])
def test_the_smallest_error_is_that_of_a_checker_whose_sight_is_known(threshold: float) -> None:
    """One that knows eˣ passes what is off by less than its threshold."""

    def passed(subject: Subject) -> bool:
        x = ta.Tensor(subject.inputs[0], requires_grad=True)
        (gx,) = ta.grad(subject.f(x), x, np.ones(x.shape))
        return bool(np.abs(gx.numpy() - np.exp(x.numpy())).max() < threshold)

    expected = 10 ** np.ceil(np.log10(threshold)) if threshold < 1 else np.inf
    assert smallest_caught(passed) == pytest.approx(expected)


def test_a_checker_that_misses_one_place_is_not_said_to_see() -> None:
    def first_row(subject: Subject) -> bool:
        x = ta.Tensor(subject.inputs[0], requires_grad=True)
        (gx,) = ta.grad(subject.f(x), x, np.ones(x.shape))
        return np.allclose(gx.numpy()[0], np.exp(x.numpy())[0], rtol=0, atol=1e-12)

    assert smallest_caught(first_row) == np.inf


@pytest.mark.parametrize(
    ("name", "promised"), [("ours, complex step", 1e-10), ("ours, Richardson", 1e-8)]
)
def test_ours_sees_what_it_promises(name: str, promised: float) -> None:
    assert smallest_caught(SIGHTS[name]) <= promised


def test_the_slope_of_the_other_gelu_is_caught_and_named() -> None:
    found = list(bends(12, seed=3))
    assert all(bend.caught[OURS] and bend.named for bend in found)
    assert set(found[0].caught) == {OURS, *CHECKERS}
