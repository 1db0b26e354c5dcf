"""Adam's kernels: the numbers of the formula in optim/adam.py, with every set of kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import Tensor, optim
from tinygrad_attn.kernels import chosen

Array = np.ndarray[Any, Any]
SETS = ["numpy", pytest.param("numba", marks=pytest.mark.numba)]
every_set = pytest.mark.parametrize("kernels", SETS)
SHAPES: list[tuple[int, ...]] = [(3, 5), (7,), (), (0, 2), (647, 499)]  # the last: several parts
OPTIONS: dict[str, dict[str, Any]] = {
    "Adam": {"lr": 0.1, "weight_decay": 0.1},
    "AdamW": {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1},
}
every_kind = pytest.mark.parametrize("kind", OPTIONS)


def drawn(dtype: Any, seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in SHAPES]


def optimiser(kind: str, dtype: Any) -> optim.Adam:
    params = [Tensor(value, requires_grad=True) for value in drawn(dtype, 0)]
    return getattr(optim, kind)(params, **OPTIONS[kind])


def steps(
    optimizer: optim.Adam,
    kernels: str,
    seeds: range,
    lay: Callable[[Array], Array] = np.array,
    threads: int = 1,
) -> list[Array]:
    """Values and running means after a step with the gradients of each seed."""
    parameters = optimizer.parameters
    with ta.kernels.use(kernels, threads=threads):
        for seed in seeds:
            for p, g in zip(parameters, drawn(parameters[0].dtype, seed), strict=True):
                p.grad = ta.engine.tensor.wrapped(lay(g), None)
            optimizer.step()
    means = [state[name] for state in optimizer.states for name in ("exp_avg", "exp_avg_sq")]
    return [*(p.data for p in parameters), *means]


@every_kind
@every_set
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-12)])
def test_steps_are_those_of_the_formula(
    kind: str, kernels: str, dtype: Any, tolerance: float
) -> None:
    got = steps(optimiser(kind, dtype), kernels, range(1, 6))
    expected = steps(optimiser(kind, dtype), "off", range(1, 6))
    for a, b in zip(got, expected, strict=True):
        assert (a.dtype, a.shape) == (dtype, b.shape)
        assert np.abs(a - b).max(initial=0) <= tolerance * np.abs(b).max(initial=0)


@pytest.mark.numba
def test_numba_has_a_kernel_of_its_own() -> None:
    with ta.kernels.use("numba"):
        assert chosen("adam", 1) is not None
    with ta.kernels.use("numpy"):
        assert chosen("adam", 1) is None  # the formula is NumPy already


@every_set
def test_gradients_with_any_strides(kernels: str) -> None:
    def turned(a: Array) -> Array:
        return np.repeat(np.array(a, order="F"), 2, -1)[..., ::2] if a.ndim else a

    got = steps(optimiser("AdamW", np.float32), kernels, range(1, 4), turned)
    for a, b in zip(got, steps(optimiser("AdamW", np.float32), kernels, range(1, 4)), strict=True):
        np.testing.assert_array_equal(a, b)


@every_set
def test_the_same_bits_with_any_number_of_threads(kernels: str) -> None:
    one, *more = (
        steps(optimiser("Adam", np.float32), kernels, range(1, 4), threads=n) for n in (1, 2, 3)
    )
    for other in more:
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@every_set
def test_a_loaded_state_of_any_memory_order_moves_on(kernels: str) -> None:
    first, second = optimiser("AdamW", np.float64), optimiser("AdamW", np.float64)
    steps(first, "off", range(1, 4))
    state = first.state_dict()
    for saved in state["states"]:
        for name in ("exp_avg", "exp_avg_sq"):
            saved[name] = np.array(saved[name], order="F")
    second.load_state_dict(state)
    for here, there in zip(second.parameters, first.parameters, strict=True):
        here.data = there.data
    got, expected = steps(second, kernels, range(4, 6)), steps(first, "off", range(4, 6))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@every_kind
@every_set
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_gradients_that_are_no_numbers(kind: str, kernels: str, value: float) -> None:
    """One element is spoilt, as the formula has it, and no other."""
    runs = []
    for run in (kernels, "off"):
        p = Tensor(np.linspace(-1, 1, 35).reshape(5, 7), requires_grad=True)
        g = np.ones((5, 7))
        g[2, 3] = value
        optimizer = getattr(optim, kind)([p], **OPTIONS[kind])
        with ta.kernels.use(run), np.errstate(invalid="ignore"):
            for _ in range(2):
                p.grad = Tensor(g)
                optimizer.step()
        runs.append(p.data)
    np.testing.assert_allclose(*runs, rtol=1e-12)  # NaN where NaN is
    assert np.isfinite(runs[0]).sum() == 34


@every_set
def test_half_precision_takes_the_formula(kernels: str) -> None:
    got = steps(optimiser("AdamW", np.float16), kernels, range(1, 3))
    for a, b in zip(got, steps(optimiser("AdamW", np.float16), "off", range(1, 3)), strict=True):
        assert a.dtype == np.float16
        np.testing.assert_array_equal(a, b)


@every_set
def test_a_step_makes_a_new_value_and_moves_the_means_in_place(kernels: str) -> None:
    optimizer = optimiser("AdamW", np.float32)
    steps(optimizer, kernels, range(1, 2))
    before = [p.data for p in optimizer.parameters]
    copies = [a.copy() for a in before]
    means = [state["exp_avg"] for state in optimizer.states]
    steps(optimizer, kernels, range(2, 3))
    for a, copy, p in zip(before, copies, optimizer.parameters, strict=True):
        np.testing.assert_array_equal(a, copy)
        assert not np.may_share_memory(a, p.data)
    assert all(m is state["exp_avg"] for m, state in zip(means, optimizer.states, strict=True))
