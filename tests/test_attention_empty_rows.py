"""Queries that may attend to no key: no NaN in any output or gradient, and no warning.

{attention, MultiHeadAttention} × {boolean, additive −∞, lengths, causal & lengths} × every method ×
{float32, float64}, to second order.  Encoder and decoder layers: test_nn_transformer_masks.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import ShapeError, Tensor, nn
from tinygrad_attn.nn import Mask
from tinygrad_attn.nn.functional import attention

B, H, T = 3, 2, 5
EMPTY = np.random.default_rng(0).random((B, T, T)) < 0.5
EMPTY[0, 2] = EMPTY[1] = False  # one query; a whole sequence
LENGTHS = np.array([3, 0, 5])
IN_RANGE = np.arange(T) < LENGTHS[:, None, None]
MASKS: dict[str, tuple[Any, np.ndarray]] = {
    "boolean": (EMPTY, EMPTY),
    "Mask.block": (Mask.block(~EMPTY), EMPTY),
    "additive": (np.where(EMPTY, 0.0, -np.inf), EMPTY),
    "learned": (Tensor(np.where(EMPTY, 0.0, -np.inf), requires_grad=True), EMPTY),
    "Mask.additive": (
        Mask.additive(Tensor(np.where(EMPTY, 0.5, -np.inf), requires_grad=True)),
        EMPTY,
    ),
    "lengths": (Mask.lengths(LENGTHS), np.broadcast_to(IN_RANGE, EMPTY.shape)),
    "causal & lengths": (
        Mask.causal(-1) & Mask.lengths(LENGTHS),
        IN_RANGE & np.tri(T, k=-1, dtype=bool),
    ),
}


pytestmark = pytest.mark.every_kernels("numpy", "numba")


METHODS = ("definition", "fused", "tiled", "auto")
EVERY = [
    pytest.mark.parametrize("kind", MASKS),
    pytest.mark.parametrize("method", METHODS),
    pytest.mark.parametrize("dtype", [np.float32, np.float64]),
]


def every(test: Any) -> Any:
    for mark in EVERY:
        test = mark(test)
    return test


def of_rank_4(mask: Any) -> Any:
    """A mask (B, T, S) for heads: (B, 1, T, S)."""
    if isinstance(mask, Mask):
        return mask.for_layers()
    return ta.expand_dims(mask, 1) if isinstance(mask, Tensor) else mask[:, None]


def learned_in(mask: Any) -> list[Tensor]:
    """The variables that a mask adds to the scores."""
    parts = mask.added if isinstance(mask, Mask) else [mask]
    return [part for part in parts if isinstance(part, Tensor)]


def gradients(out: Tensor, variables: list[Tensor], rng: np.random.Generator) -> list[np.ndarray]:
    """First ones, of each variable, then second ones."""
    g = rng.standard_normal(out.shape).astype(out.dtype)
    parts = ta.grad(out, variables, g, create_graph=True)
    total = sum((part * rng.standard_normal(part.shape).astype(part.dtype)).sum() for part in parts)
    seconds = ta.grad(total, variables, allow_unused=True)
    return [part.data for part in (*parts, *seconds) if part is not None]


@every
def test_attention(kind: str, method: str, dtype: type, rng: np.random.Generator) -> None:
    mask, allowed = MASKS[kind]
    dead = ~allowed.any(-1)
    xs = [Tensor(rng.standard_normal((B, H, T, 3)), True, dtype) for _ in range(3)]
    out = attention(*xs, of_rank_4(mask), method=method)
    parts = gradients(out, [*xs, *learned_in(mask)], rng)
    assert dead.sum() >= T
    assert np.isfinite(out.data).all()
    assert all(np.isfinite(part).all() for part in parts)
    assert not np.moveaxis(out.data, 1, 2)[dead].any()
    assert not np.moveaxis(parts[0], 1, 2)[dead].any()
    for part in parts[3 : 3 + len(learned_in(mask))]:
        assert not part[dead].any()
    assert np.moveaxis(out.data, 1, 2)[~dead].all()


@every
@pytest.mark.parametrize("empty_row", ["uniform", "nan"])
def test_other_policies(
    empty_row: str, kind: str, method: str, dtype: type, rng: np.random.Generator
) -> None:
    """Nothing leaves the empty rows: q, k and the mask get finite gradients, zero from there."""
    mask, allowed = MASKS[kind]
    dead = ~allowed.any(-1)
    q, k, v = (Tensor(rng.standard_normal((B, H, T, 3)), True, dtype) for _ in range(3))
    out = attention(q, k, v, of_rank_4(mask), empty_row=empty_row, method=method)
    rows = np.moveaxis(out.data, 1, 2)
    assert np.isfinite(rows[~dead]).all()
    if empty_row == "nan":
        assert np.isnan(rows[dead]).all()
    else:
        means = np.broadcast_to(v.data.mean(2)[:, None], rows.shape)
        np.testing.assert_allclose(rows[dead], means[dead], rtol=1e-5, atol=1e-6)
    parts = ta.grad(out, [q, k, *learned_in(mask)], rng.standard_normal(out.shape).astype(dtype))
    assert all(np.isfinite(part.data).all() for part in parts)
    assert not np.moveaxis(parts[0].data, 1, 2)[dead].any()
    with pytest.raises(ShapeError, match=r"attention: query \(.*\) may attend to no key"):
        attention(q, k, v, of_rank_4(mask), empty_row="error", method=method)


@every
def test_multi_head_attention(
    kind: str, method: str, dtype: type, rng: np.random.Generator
) -> None:
    mask, allowed = MASKS[kind]
    dead = ~allowed.any(-1)
    layer = nn.MultiHeadAttention(6, H, rng=rng).astype(dtype)
    layer.out_proj.bias.data = rng.standard_normal(6)
    x = Tensor(rng.standard_normal((B, T, 6)), True, dtype)
    out = layer(x, mask=mask, method=method)
    parts = gradients(out, [x, *layer.parameters(), *learned_in(mask)], rng)
    assert np.isfinite(out.data).all()
    assert all(np.isfinite(part).all() for part in parts)
    np.testing.assert_array_equal(
        out.data[dead], np.broadcast_to(layer.out_proj.bias.data, (dead.sum(), 6))
    )


@pytest.mark.parametrize("method", METHODS)
def test_there_is_no_key_at_all(method: str, rng: np.random.Generator) -> None:
    """Then every query is such a row, mask or no mask."""
    q = Tensor(rng.standard_normal((B, H, T, 3)), requires_grad=True)
    k, v = np.ones((B, H, 0, 3)), np.ones((B, H, 0, 4))
    for empty_row, expected in (("zero", 0.0), ("uniform", 0.0), ("nan", np.nan)):
        out = attention(q, k, v, empty_row=empty_row, method=method)
        np.testing.assert_array_equal(out.data, np.full((B, H, T, 4), expected))
        (gq,) = ta.grad(out, q, np.ones(out.shape))
        np.testing.assert_array_equal(gq.data, np.zeros(q.shape))
    with pytest.raises(ShapeError, match=r"attention: query \(0,\) may attend to no key"):
        attention(q, k, v, empty_row="error", method=method)
    assert attention(q[:, :, :0], k, v, empty_row="error", method=method).shape == (B, H, 0, 4)
    assert attention(q[:0], k[:0], v[:0], empty_row="error", method=method).shape == (0, H, T, 4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "sizes",
    [(0, 2, 5, 7, 3), (3, 2, 0, 7, 3), (3, 2, 1, 1, 1), (1, 1, 1, 5, 1), (2, 1, 5, 1, 2)],
    ids=str,
)
def test_the_smallest_sizes(sizes: tuple[int, ...], method: str, rng: np.random.Generator) -> None:
    """Empty batch, lengths 0 and 1, heads one wide."""
    b, h, t, s, d = sizes
    xs = [Tensor(rng.standard_normal((b, h, n, d)), requires_grad=True) for n in (t, s, s)]
    out = attention(*xs, causal=True, method=method)
    assert out.shape == (b, h, t, d)
    parts = ta.grad(out, xs, rng.standard_normal(out.shape))
    assert [part.shape for part in parts] == [x.shape for x in xs]
    assert all(np.isfinite(part.data).all() for part in parts)
    if min(t, b):
        np.testing.assert_allclose(out.data[:, :, 0], xs[2].data[:, :, 0], rtol=1e-12)
