"""Three implementations of attention, one truth: composed, fused and tiled agree to 1e-12."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from derivatives import worst_error

import tinygrad_attn as ta
from tinygrad_attn import Tensor, kernels, nn
from tinygrad_attn.kernels import limits, tiled
from tinygrad_attn.nn.functional import attention
from tinygrad_attn.nn.functional.attention import (
    DEFAULTS,
    IMPLEMENTATIONS,
    chosen,
    planned,
    score_shape,
)

TOLERANCE = 1e-12
DRAWS = 300


pytestmark = pytest.mark.every_kernels("numpy", "numba")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of three keys and tiles of 3 × 4, so that small inputs have several."""
    monkeypatch.setattr(limits, "DRAWN", 3)
    monkeypatch.setattr(tiled, "QUERIES", 3)
    monkeypatch.setattr(tiled, "KEYS", 4)


def shapes(rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Shapes of q, k and v: every rank, grouped heads, leading axes that broadcast, lengths 0."""
    kv_heads, group = (int(n) for n in rng.choice([1, 2, 3], 2))
    T, S = (int(n) for n in rng.choice([0, 1, 2, 5, 7], 2, p=[0.04, 0.16, 0.2, 0.3, 0.3]))
    d, dv = (int(n) for n in rng.choice([1, 3, 4], 2))
    lead = tuple(int(n) for n in rng.choice([1, 2, 3], rng.choice([0, 1, 2], p=[0.2, 0.6, 0.2])))
    if rng.random() < 0.15:  # some without heads
        ends, heads = [(T, d), (S, d), (S, dv)], [(*lead, 1), (*lead, 1), (*lead, 1)]
        return [
            (*(before if rng.random() < 0.4 else ()), *end)
            for before, end in zip(heads, ends, strict=True)
        ]
    return [
        (*(n if rng.random() < 0.8 else 1 for n in lead), *end)
        for end in ((kv_heads * group, T, d), (kv_heads, S, d), (kv_heads, S, dv))
    ]


def broadcastable(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of rank 1 or more that broadcasts to `shape`."""
    rank = rng.integers(1, min(len(shape), 4) + 1)
    return tuple(n if rng.random() < 0.7 else 1 for n in shape[len(shape) - rank :])


def drawn_mask(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """A mask of some kind, or a variable to add to the scores."""

    def booleans() -> np.ndarray:
        return rng.random(broadcastable(rng, shape)) < rng.choice([0.4, 0.8])

    def bias() -> np.ndarray:
        values = rng.standard_normal(broadcastable(rng, shape))
        return np.where(rng.random(values.shape) < 0.3, -np.inf, values)

    kind = rng.integers(8)
    if kind < 2:
        return None
    if kind == 2:
        return booleans()
    if kind == 3:
        return bias()
    if kind == 4:
        return Tensor(bias(), requires_grad=True)
    mask = nn.Mask.keep(booleans()) if rng.random() < 0.5 else nn.Mask.block(booleans())
    if kind > 5:
        mask = mask & nn.Mask.additive(Tensor(bias(), requires_grad=bool(rng.random() < 0.5)))
    if rng.random() < 0.5:
        mask = mask & nn.Mask.window(None if rng.random() < 0.3 else 2, int(rng.integers(4)), 1)
    if len(shape) > 3 and rng.random() < 0.5:
        mask = mask & nn.Mask.lengths(rng.integers(0, shape[-1] + 1, shape[:-3]))
        mask = mask & nn.Mask.causal(rng.integers(-1, 4, shape[:-3]))
    return mask


def drawn_options(rng: np.random.Generator) -> dict[str, Any]:
    """Options of attention, each given or not."""
    choices = {
        "causal": True,
        "offset": int(rng.integers(-3, 5)),
        "window": (
            None if rng.random() < 0.3 else int(rng.integers(4)),
            None if rng.random() < 0.3 else int(rng.integers(4)),
        ),
        "scale": float(rng.standard_normal()),
        "softcap": float(rng.uniform(0.3, 3)),
        "dropout": float(rng.uniform(0.1, 0.7)),
    }
    given = {name: value for name, value in choices.items() if rng.random() < 0.4}
    return {**given, "empty_row": str(rng.choice(["zero", "zero", "uniform", "nan"]))}


def variables_in(mask: Any) -> list[Tensor]:
    """What a mask adds to the scores, where it gets a gradient."""
    parts = mask.added if isinstance(mask, nn.Mask) else [mask]
    return [x for x in parts if isinstance(x, Tensor) and x.requires_grad]


def answers(
    draw: int, method: str, second: bool = False, dtype: type = np.float64, single: bool = False
) -> list[np.ndarray]:
    """The result of a random problem and all its gradients (and second ones).

    `single` rounds what is random to float32, and the mask's numbers are so rounded anyway.
    """
    rng = np.random.default_rng(draw)
    arrays = [rng.standard_normal(shape) for shape in shapes(rng)]
    if single:
        arrays = [x.astype(np.float32) for x in arrays]
    xs = [Tensor(x, True, dtype) for x in arrays]
    mask = drawn_mask(rng, score_shape(*map(Tensor, arrays)))
    out = attention(*xs, mask, **drawn_options(rng), rng=np.random.default_rng(draw), method=method)
    xs += variables_in(mask)
    g = rng.standard_normal(out.shape).astype(dtype)
    parts = ta.grad(out, xs, g, create_graph=second)
    found = [out.data, *(part.data for part in parts)]
    if second:
        total = sum((part * rng.standard_normal(part.shape)).sum() for part in parts)
        found += [p.data for p in ta.grad(total, xs, allow_unused=True) if p is not None]
    return found


@pytest.mark.parametrize("method", ["fused", "tiled"])
def test_they_agree_for_every_combination_of_options(method: str) -> None:
    """Result and every gradient, on hundreds of random problems; no warnings are raised."""
    for draw in range(DRAWS):
        for mine, true in zip(answers(draw, method), answers(draw, "definition"), strict=True):
            np.testing.assert_allclose(
                mine, true, rtol=TOLERANCE, atol=TOLERANCE, err_msg=f"draw {draw}"
            )


@pytest.mark.parametrize("method", ["fused", "tiled"])
def test_they_agree_in_single_precision(method: str) -> None:
    """The kernels in float32 beside the definition in float64, of the same numbers.

    Measured by the largest number of a problem: where dP − δ cancels, a gradient is small, and its
    error is that of dP.
    """
    for draw in range(DRAWS):
        true = answers(draw, "definition", single=True)
        mine = answers(draw, method, dtype=np.float32, single=True)
        size = max(np.nanmax(abs(x), initial=1) for x in true)
        for ours, theirs in zip(mine, true, strict=True):
            np.testing.assert_allclose(
                ours, theirs, rtol=0, atol=1e-6 * size, err_msg=f"draw {draw}"
            )


@pytest.mark.parametrize("method", ["fused", "tiled"])
def test_second_order_goes_through_the_definition(method: str) -> None:
    for draw in range(40):
        for mine, true in zip(
            answers(draw, method, second=True),
            answers(draw, "definition", second=True),
            strict=True,
        ):
            np.testing.assert_allclose(
                mine, true, rtol=TOLERANCE, atol=TOLERANCE, err_msg=f"draw {draw}"
            )


def test_the_draws_cover_what_they_should() -> None:
    """Empty rows, several blocks, grouped heads and each option occur."""
    seen: set[str] = set()
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        q, k, v = (Tensor(rng.standard_normal(shape)) for shape in shapes(rng))
        shape = score_shape(q, k, v)
        mask, options = drawn_mask(rng, shape), drawn_options(rng)
        *_, added, plan = planned(q, k, v, mask, **{**DEFAULTS, **options})
        seen |= {*options, options["empty_row"], f"rank {q.ndim}"}
        seen |= {
            name
            for name, found in {
                "empty rows": plan.limits.alive is not None,
                "several blocks": shape[-1] > 3,
                "grouped": q.ndim > 2 and k.ndim > 2 and q.shape[-3] > k.shape[-3],
                "no keys": shape[-1] == 0,
                "no queries": shape[-2] == 0,
                "learned": isinstance(added, Tensor) and added.requires_grad,
                "kept": plan.limits.keep is not None,
                "Mask": isinstance(mask, nn.Mask),
                "broadcast": len({x.shape[:-3] for x in (q, k, v)}) > 1,
            }.items()
            if found
        }
    assert seen == {
        "causal",
        "offset",
        "window",
        "scale",
        "softcap",
        "dropout",
        "empty_row",
        "zero",
        "uniform",
        "nan",
        "rank 2",
        "rank 3",
        "rank 4",
        "rank 5",
        "empty rows",
        "several blocks",
        "grouped",
        "no keys",
        "no queries",
        "learned",
        "kept",
        "Mask",
        "broadcast",
    }


@pytest.mark.parametrize("method", ["fused", "tiled"])
def test_a_wrong_kernel_is_seen(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One gradient of three is off by 1e-10 of itself."""
    fused: Any = IMPLEMENTATIONS[method]
    right = fused.find(1)

    def wrong(*args: Any, **options: Any) -> Any:
        dq, *others = right.backward(*args, **options)
        return dq * (1 + 1e-10), *others

    monkeypatch.setattr(fused, "find", lambda size: kernels.Kernel(right.forward, wrong))
    with pytest.raises(AssertionError, match="Mismatched elements"):
        test_they_agree_for_every_combination_of_options(method)


def test_gradients_by_complex_step(rng: np.random.Generator) -> None:
    """The third opinion: the kernels against numbers."""
    xs = [rng.standard_normal(shape) for shape in ((4, 5, 3), (2, 7, 3), (2, 7, 2), (5, 7))]
    for method in ("fused", "tiled", "auto"):
        some = partial(attention, window=(3, 1), softcap=1.5, method=method)
        for order in (1, 2):
            assert worst_error(some, xs, order) < TOLERANCE


# ── which implementation runs ────────────────────────────────────────────────────────────────────


def operation(**options: Any) -> str:
    """The name of the operation that made the result: `attention` for a kernel."""
    x = Tensor(np.ones((2, 5, 3)), requires_grad=True, dtype=options.pop("dtype", np.float64))
    out = attention(x, x, x, **options)
    out = out[0] if isinstance(out, tuple) else out
    assert out.node is not None
    return out.node.op.name


def test_kernels_give_way_to_the_definition_where_every_step_is_wanted() -> None:
    for method in ("fused", "tiled"):
        assert operation(method=method) == "attention"
        assert operation(method=method, return_stages=True) == "matmul"
        for keeping in (ta.keep_values, ta.keep_grads):
            with keeping():
                assert operation(method=method) == "matmul"
    assert operation(method="definition") == "matmul"
    assert operation(dtype=np.float16) == "astype"  # of the kernel's float32
    assert operation(dtype=np.complex128) == "matmul"


@pytest.mark.parametrize("method", ["auto", "fused", "tiled"])
def test_kernels_give_way_to_a_planted_rule(method: str) -> None:
    with ta.softmax.replaced_vjp("x", lambda g, out: g * out * (1 - out)):
        assert operation(method=method) == "matmul"
    assert operation(method=method) == "attention"


def test_kernels_can_be_switched_off() -> None:
    with kernels.use("off"):
        assert operation(method="fused") == "matmul"
    assert operation() == "attention"


def test_the_steps_appear_when_backward_wants_them(rng: np.random.Generator) -> None:
    x = Tensor(rng.standard_normal((2, 5, 3)), requires_grad=True)
    out = attention(x, x, x, causal=True, method="fused")
    g = rng.standard_normal((2, 5, 3))
    with ta.keep_grads():
        out.backward(g)
    composed = attention(x, x, x, causal=True, method="definition")
    np.testing.assert_array_equal(x.grad.data, ta.grad(composed, x, g)[0].data)


def test_auto_takes_tiles_for_very_many_weights() -> None:
    plan = kernels.Plan((1, 1, 5000, 5000), kernels.Limits(), 1.0)
    assert chosen("auto", plan) == "tiled"
    assert chosen("auto", replace(plan, shape=(2, 2, 3, 3))) == "fused"
    plan = replace(plan, shape=(2, 4, 1024, 1024))
    assert chosen("auto", plan) == "fused"
    assert chosen("auto", replace(plan, limits=kernels.Limits(high=0))) == "tiled"


def test_memory_of_tiles_is_linear_in_the_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward, causal with lengths and dropout: twice the length, twice the memory."""
    for module, name in ((limits, "DRAWN"), (tiled, "QUERIES"), (tiled, "KEYS")):
        monkeypatch.setattr(module, name, 64)

    def peak(length: int, method: str) -> int:
        rng = np.random.default_rng(0)
        xs = [Tensor(rng.standard_normal((1, 1, length, 8)), requires_grad=True) for _ in range(3)]
        mask = nn.Mask.lengths([length - 3]) & nn.Mask.causal(1)
        tracemalloc.start()
        attention(*xs, mask, dropout=0.1, method=method).sum().backward()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert 1.7 < peak(2048, "tiled") / peak(1024, "tiled") < 2.3
    assert peak(2048, "fused") / peak(1024, "fused") > 3.3


def test_what_the_caller_changes_later_changes_nothing(rng: np.random.Generator) -> None:
    for method in ("fused", "tiled"):
        x = Tensor(rng.standard_normal((2, 5, 3)), requires_grad=True)
        keep, bias = rng.random((5, 5)) < 0.7, rng.standard_normal((5, 5))
        g = rng.standard_normal(x.shape)
        true = ta.grad(
            attention(x, x, x, nn.Mask.keep(keep) & nn.Mask.additive(bias), method="definition"),
            x,
            g,
        )[0].data
        for mask in (keep, bias):
            before = mask.copy()
            out = attention(x, x, x, mask, method=method)
            expected = ta.grad(attention(x, x, x, before, method="definition"), x, g)[0].data
            mask[:] = 0
            np.testing.assert_allclose(ta.grad(out, x, g)[0].data, expected, rtol=TOLERANCE)
            mask[:] = before
        both = nn.Mask.keep(keep) & nn.Mask.additive(bias)
        keep[:], bias[:] = False, 0
        np.testing.assert_allclose(
            ta.grad(attention(x, x, x, both, method=method), x, g)[0].data, true, rtol=TOLERANCE
        )


# ── properties of every implementation ───────────────────────────────────────────────────────────

EVERY = pytest.mark.parametrize("method", ["definition", "fused", "tiled"])


@EVERY
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_future_key_changes_no_earlier_output_bit_for_bit(
    method: str, dtype: type, rng: np.random.Generator
) -> None:
    q, k, v = (rng.standard_normal((2, 4, 9, 5)).astype(dtype) for _ in range(3))
    before = attention(q, k[:, :2], v[:, :2], causal=True, method=method).data
    for at in range(1, 9):
        changed = [x.copy() for x in (k[:, :2], v[:, :2])]
        for x in changed:
            x[:, :, at:] += rng.standard_normal(x[:, :, at:].shape)
        after = attention(q, *changed, causal=True, method=method).data
        np.testing.assert_array_equal(after[:, :, :at], before[:, :, :at])
        assert (after[:, :, at] != before[:, :, at]).any()


@EVERY
def test_scores_of_any_size_do_not_overflow(method: str, rng: np.random.Generator) -> None:
    for dtype, size in ((np.float32, 1e15), (np.float64, 1e150)):
        xs = [Tensor(rng.standard_normal((2, 7, 3)) * s, True, dtype) for s in (size, size, 1)]
        out = attention(*xs, np.tri(7, dtype=bool) > (np.arange(7) == 0), method=method)
        parts = ta.grad(out, xs, np.ones(out.shape, dtype))
        assert np.isfinite(out.data).all()
        assert all(np.isfinite(part.data).all() for part in parts)
        assert not out.data[:, 0].any()


def test_real_blocks(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of the usual size, the last one shorter, and dropout that they share."""
    monkeypatch.undo()
    xs = [Tensor(rng.standard_normal((2, 1, n, 4)), requires_grad=True) for n in (150, 300, 300)]
    g = rng.standard_normal((2, 1, 150, 4))
    found = []
    for method in ("definition", "fused", "tiled"):
        out = attention(
            *xs,
            nn.Mask.lengths([300, 170]),
            window=(90, 140),
            offset=5,
            dropout=0.2,
            rng=np.random.default_rng(0),
            method=method,
        )
        found.append([out.data, *(part.data for part in ta.grad(out, xs, g))])
    for other in found[1:]:
        for mine, true in zip(other, found[0], strict=True):
            np.testing.assert_allclose(mine, true, rtol=TOLERANCE, atol=TOLERANCE)
    assert limits.DRAWN == 128


def test_dropout_keeps_the_expectation() -> None:
    """Factors are 0 or 1/(1 − p), at the wanted rate, and differ between blocks of keys."""
    factors = kernels.Factors(5, 0.3, (40, 50, 7), np.dtype(np.float64)).whole()
    np.testing.assert_allclose(np.unique(factors), [0, 1 / 0.7])
    assert abs(factors.mean() - 1) < 0.03
    assert (factors[..., :3] != factors[..., 3:6]).any()
