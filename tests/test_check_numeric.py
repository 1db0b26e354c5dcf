"""The numeric derivatives themselves: how exact they are, and that they know how exact."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_attn.check.layout import Layout
from tinygrad_attn.check.numeric import NotAnalyticError, careful, complex_step, richardson
from tinygrad_attn.check.probes import bisect, probes, projected

X = np.array([0.3, -1.2, 2.5])
U = np.array([1.0, 0.5, -2.0])
SLOPE = np.cos(X) * U


def test_the_complex_step_is_exact_to_rounding() -> None:
    np.testing.assert_allclose(complex_step(np.sin, X, U), SLOPE, rtol=1e-15)


def test_richardson_reaches_thirteen_digits() -> None:
    found = richardson(np.sin, X, U)
    np.testing.assert_allclose(found.value, SLOPE, rtol=0, atol=2e-13)
    assert (np.abs(found.value - SLOPE) <= found.uncertainty).all()
    better = careful(np.sin, X, U)
    np.testing.assert_allclose(better.value, SLOPE, rtol=0, atol=2e-13)
    assert (better.uncertainty < 1e-10).all()
    assert (better.jump == 0).all()


def test_steps_are_relative_to_large_numbers() -> None:
    x, u = np.array([1e6]), np.array([1.0])
    np.testing.assert_allclose(richardson(np.sqrt, x, u).value, 0.5e-3, rtol=1e-10)


@pytest.mark.parametrize("factor", [1.0, 30.0, 1e3])
def test_careful_knows_how_far_it_is_off(factor: float) -> None:
    found = careful(lambda x: np.sin(factor * x), X, U)
    error = np.abs(found.value - factor * np.cos(factor * X) * U)
    assert (error <= found.uncertainty).all()
    assert (found.uncertainty < 1e-6 * factor).all()


def test_noise_is_seen_as_uncertainty() -> None:
    found = careful(lambda x: np.sin(x).astype(np.float32).astype(float), X, U)
    assert (found.uncertainty > 1e-6).all()
    assert (np.abs(found.value - SLOPE) < 10 * found.uncertainty).all()


def test_a_kink_is_seen_as_a_jump() -> None:
    x = np.array([0.0, 1e-9, 0.5])
    found = careful(lambda x: np.maximum(x, 0.25 * x), x, np.ones(3))
    np.testing.assert_allclose(found.jump, [0.75, 0.75, 0], atol=1e-3)


def test_the_edge_of_a_domain_is_unknown() -> None:
    assert np.isinf(careful(np.log, np.array([1e-9]), np.ones(1)).uncertainty).all()
    assert careful(np.log, np.array([1e-3]), np.ones(1)).uncertainty < 1e-4


def test_casts_and_refusals_are_not_analytic() -> None:
    with pytest.raises(NotAnalyticError, match="ComplexWarning"):
        complex_step(lambda x: x.astype(float), X, U)
    with pytest.raises(NotAnalyticError, match="floor"):
        complex_step(np.floor, X, U)


def test_a_layout_finds_its_way() -> None:
    layout = Layout(("a", "b", "c"), ((2, 3), (), (0, 5)))
    assert layout.size == 7
    assert layout.locate(5) == (0, (1, 2))
    assert layout.locate(6) == (1, ())
    a, b, c = layout.split(np.arange(7.0))
    np.testing.assert_array_equal(a, [[0, 1, 2], [3, 4, 5]])
    assert b == 6
    assert c.shape == (0, 5)


@pytest.mark.parametrize("at", [0, 6, 7, 12])
def test_bisection_finds_the_element(at: int) -> None:
    weights = np.zeros(13)
    weights[at] = 1e-9
    assert bisect(np.full(13, 2.0), lambda v: float(v @ weights)) == at


def test_unit_vectors_take_columns_as_they_are() -> None:
    chosen = probes(np.array([[0, 1.0], [1, 2]]), np.array([[0, 0, 1.0], [0, 3, 0]]))
    assert chosen.outputs.tolist() == [1, -1]
    assert chosen.inputs.tolist() == [2, -1]
    matrix = np.array([[np.inf, 2.0, 3.0]])
    assert projected(matrix, chosen.directions[:1]).tolist() == [[3.0]]
