"""Attention's kernels themselves: any strides, any threads, only what is needed, real tiles.

That they agree with the definition under every combination of options: test_attention_methods.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_attention_methods import DRAWS, drawn_mask, drawn_options, shapes

import tinygrad_attn as ta
from tinygrad_attn import Tensor, kernels
from tinygrad_attn.kernels import Factors, Limits, Plan, limits, tiled
from tinygrad_attn.kernels import attention as whole
from tinygrad_attn.nn.functional.attention import attention, definition, score_shape, together

Array = np.ndarray[Any, Any]
NAMES = ["attention", "tiled"]
DTYPES = [np.float32, np.float64]


pytestmark = pytest.mark.every_kernels("numpy", "numba")


def problem(rng: np.random.Generator, case: str, dtype: type) -> tuple[list[Array], Array, Plan]:
    """q, k, v and what is added, dC, and a plan; T = 150 and S = 300 make several real tiles."""
    T, S, d, dv = (150, 300, 5, 3) if case.startswith("long") else (7, 5, 3, 2)
    shape = (2, 4, T, S)
    q, k, v = (
        rng.standard_normal((2, h, n, width)) for h, n, width in ((4, T, d), (2, S, d), (2, S, dv))
    )
    added = rng.standard_normal((4, T, 1)) if "added" in case else None
    keep = rng.random((2, 1, T, S)) < 0.8 if "keep" in case else None
    low, high = (-3, 2) if "band" in case else (None, T // 2 if "causal" in case else None)
    factors = Factors(7, 0.3, shape, dtype) if "dropout" in case else None
    plan = Plan(shape, Limits(low, high, keep), 0.6, 1.5 if "cap" in case else None, factors)
    g = rng.standard_normal((2, 4, T, dv))
    arrays = [None if x is None else locked(x.astype(dtype)) for x in (q, k, v, added)]
    return arrays, locked(g.astype(dtype)), plan


def locked(x: Array) -> Array:
    x.setflags(write=False)
    return x


def computed(
    name: str, arrays: list[Array], g: Array, needs: tuple[bool, ...] | None = None, **options: Any
) -> list[Array | None]:
    """Result and gradients by the kernel that runs now."""
    kernel = kernels.chosen(name, 1 << 20)
    assert kernel is not None
    if needs is None:
        needs = tuple(x is not None for x in arrays)
    out, residuals = kernel.forward(*arrays, **options)
    parts = kernel.backward(g, residuals, *arrays, needs=needs, **options)
    assert not any(
        np.shares_memory(x, y)
        for x in (*arrays, g)
        if x is not None
        for y in (out, *parts)
        if y is not None
    )
    return [out, *parts]


def expected(defined: Any, arrays: list[Array], g: Array, **options: Any) -> list[Array]:
    """Result and gradients by the definition, in float64."""
    with kernels.use("off"):
        xs = [None if x is None else Tensor(x, True, np.float64) for x in arrays]
        out = defined(*xs, **options)
        parts = ta.grad(out, [x for x in xs if x is not None], g.astype(np.float64))
        return [out.data, *(part.data for part in parts)]


def compare(mine: list[Array | None], true: list[Array], dtype: type) -> None:
    """To 1e-12, or 2e-6 in float32, of the largest number; broadcast axes are summed first."""
    found = [x for x in mine if x is not None]
    size = max(abs(x).max(initial=1) for x in true)
    for ours, theirs in zip(found, true, strict=True):
        assert ours.dtype == dtype
        axes = tuple(
            i
            for i, (n, m) in enumerate(
                zip(ours.shape, (1,) * (ours.ndim - theirs.ndim) + theirs.shape)
            )
            if n != m
        )
        tolerance = size * (2e-6 if dtype == np.float32 else 1e-12)
        summed = ours.sum(axis=axes, keepdims=True).reshape(theirs.shape)
        np.testing.assert_allclose(summed, theirs, rtol=0, atol=tolerance)


CASES = ["plain", "causal", "band", "added cap", "keep causal", "dropout", "long", "long causal",
         "long band added", "long keep dropout cap"]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_they_equal_the_definition(
    case: str, name: str, dtype: type, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiled, "QUERIES", 64)  # 300 keys in real tiles would be one
    monkeypatch.setattr(tiled, "KEYS", 128)
    arrays, g, plan = problem(rng, case, dtype)
    compare(computed(name, arrays, g, plan=plan), expected(definition, arrays, g, plan=plan), dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_tiles_of_the_usual_size(name: str, dtype: type, rng: np.random.Generator) -> None:
    """Several in both directions, the last ones shorter."""
    T, S = tiled.QUERIES + 45, tiled.KEYS + 71
    q, k, v = (locked(rng.standard_normal((2, n, 3)).astype(dtype)) for n in (T, S, S))
    g = locked(rng.standard_normal(q.shape).astype(dtype))
    for bound in (Limits(), Limits(high=S - T), Limits(low=-100, high=50)):
        plan = Plan((2, T, S), bound, 0.6)
        arrays = [q, k, v, None]
        compare(
            computed(name, arrays, g, plan=plan), expected(definition, arrays, g, plan=plan), dtype
        )


@pytest.mark.parametrize("name", NAMES)
def test_strides(name: str, rng: np.random.Generator) -> None:
    """Views of a packed projection, every other number, and an upstream of strides 0."""
    _, _, plan = problem(rng, "plain", np.float64)
    plan = replace(plan, shape=(2, 4, 7, 7))
    packed = locked(rng.standard_normal((2, 7, 3, 4, 10)))
    q, k, v = packed[..., ::2].transpose(2, 0, 3, 1, 4)
    for g in (np.broadcast_to(1.5, q.shape), rng.standard_normal((5, 7, 4, 2)).T):
        arrays = [q, k, v, None]
        compare(
            computed(name, arrays, g, plan=plan),
            expected(definition, arrays, g, plan=plan),
            np.float64,
        )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["added cap dropout", "long keep causal", "band"])
def test_any_number_of_threads_gives_the_same_bits(
    name: str, case: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (whole, tiled):
        monkeypatch.setattr(module, "PIECE", 40)
    monkeypatch.setattr(tiled, "QUERIES", 3)
    monkeypatch.setattr(tiled, "KEYS", 64)
    arrays, g, plan = problem(rng, case, np.float32)
    found = []
    for threads in (1, 2, 3):
        with kernels.use(threads=threads):
            found.append(computed(name, arrays, g, plan=plan))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", NAMES)
def test_only_what_is_needed_is_computed(name: str, rng: np.random.Generator) -> None:
    arrays, g, plan = problem(rng, "added cap dropout", np.float64)
    _, *every = computed(name, arrays, g, plan=plan)
    for wanted in range(16):
        needs = tuple(bool(wanted >> i & 1) for i in range(4))
        _, *some = computed(name, arrays, g, needs, plan=plan)
        for need, mine, true in zip(needs, some, every, strict=True):
            assert (mine is not None) == need
            if need:
                np.testing.assert_allclose(mine, true, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_where_the_definition_has_it(
    name: str, at: int, value: float, rng: np.random.Generator
) -> None:
    arrays, g, plan = problem(rng, "plain", np.float64)
    spoilt = arrays[at].copy()
    spoilt[1, 0, 3, 1] = value
    arrays[at] = spoilt
    with np.errstate(invalid="ignore", over="ignore"):
        mine = computed(name, arrays, g, plan=plan)
        true = expected(definition, arrays, g, plan=plan)
    assert not np.isfinite(mine[0]).all()
    np.testing.assert_array_equal(np.isfinite(mine[0]), np.isfinite(true[0]))
    np.testing.assert_array_equal(np.isnan(mine[0]), np.isnan(true[0]))
    assert not all(np.isfinite(part).all() for part in mine[1:4])


@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["plain", "causal", "added", "keep dropout"])
def test_self_attention(case: str, dtype: type, heads: int, rng: np.random.Generator) -> None:
    """On the packed projection, itself a view; the result and the gradient are in one piece."""
    B, T, D = 5, 7, 6
    qkv = locked(rng.standard_normal((B, T, 3 * D + 2)).astype(dtype))[..., 1:-1]
    added = rng.standard_normal((B, 1, T, T)).astype(dtype) if "added" in case else None
    keep = (rng.random((heads, T, T)) < 0.6) | np.eye(T, dtype=bool) if "keep" in case else None
    shape = (B, heads, T, T)
    factors = Factors(3, 0.4, shape, dtype) if "dropout" in case else None
    plan = Plan(shape, Limits(None, 0 if case == "causal" else None, keep), 0.7, None, factors)
    arrays, options = [qkv, added], {"heads": heads, "plan": plan}
    g = locked(rng.standard_normal((T, B, D)).astype(dtype)).transpose(1, 0, 2)
    mine = computed("self_attention", arrays, g, **options)
    compare(mine, expected(together, arrays, g, **options), dtype)
    assert all(x.flags.c_contiguous for x in mine if x is not None)
    assert computed("self_attention", arrays, g, (False, False), **options)[1:] == [None, None]


def test_asking_for_the_steps_does_not_change_the_result() -> None:
    """NumPy's kernel gives the definition's result, bit by bit, where heads are not grouped."""
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        found = shapes(rng)
        if len({shape[-3:-2] for shape in found}) > 1:
            continue
        q, k, v = (rng.standard_normal(shape) for shape in found)
        mask = drawn_mask(rng, score_shape(*map(Tensor, (q, k, v))))
        options = {**drawn_options(rng), "mask": mask}
        with kernels.use("numpy"):
            plain, (steps, _) = (
                attention(q, k, v, **options, rng=np.random.default_rng(draw), return_stages=stages)
                for stages in (False, True)
            )
        np.testing.assert_array_equal(plain.data, steps.data, err_msg=f"draw {draw}")


@pytest.mark.parametrize("keys", [1, 3, 7, 8])
def test_factors_are_the_same_in_any_piece(keys: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any head, queries and keys, whatever is drawn at a time."""
    monkeypatch.setattr(limits, "DRAWN", 3)
    factors = Factors(11, 0.4, (2, 3, 5, keys), np.dtype(np.float32))
    every = factors.whole()
    assert every.shape == factors.shape
    for head, true in enumerate(every.reshape(6, 5, keys)):
        for rows in (slice(0, 5), slice(1, 4), slice(4, 5)):
            for columns in (slice(0, keys), slice(keys // 2, keys), slice(0, 1)):
                mine = factors.tile(head, rows, columns)
                assert mine.dtype == np.float32
                np.testing.assert_array_equal(mine, true[rows, columns])
