"""nn.Mask: what each kind lets through, combinations, pictures, and wrong masks."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, Tensor, nn
from tinygrad_attn.nn import Mask
from tinygrad_attn.nn.functional import attention
from tinygrad_attn.nn.functional.limits import banded
from tinygrad_attn.nn.functional.masks import Band

B, H, T, S = 2, 3, 5, 7
KEEP = np.random.default_rng(1).random((T, S)) < 0.6
BIAS = np.where(KEEP, np.random.default_rng(2).standard_normal((T, S)), -np.inf)
ROW, COLUMN = np.arange(T)[:, None], np.arange(S)


def weights(mask: Any, **options: Any) -> np.ndarray:
    """The weights of attention with equal scores: 1/n for each of n keys let through."""
    q, k = np.zeros((B, H, T, 1)), np.zeros((B, H, S, 1))
    return attention(q, k, k, mask, return_stages=True, **options)[1].weights.data


def let_through(mask: Any, **options: Any) -> np.ndarray:
    return weights(mask, **options) > 0


KINDS = {
    "keep": (Mask.keep(KEEP), KEEP),
    "block": (Mask.block(KEEP), ~KEEP),
    "keep, of rank 1": (Mask.keep(KEEP[0]), KEEP[0]),
    "keep, of rank 3": (Mask.keep(np.stack([KEEP, ~KEEP, KEEP])), np.stack([KEEP, ~KEEP, KEEP])),
    "keep, of rank 4": (
        Mask.keep(np.stack([KEEP, ~KEEP])[:, None]),
        np.stack([KEEP, ~KEEP])[:, None],
    ),
    "lists": (Mask.keep(KEEP.tolist()), KEEP),
    "tensors": (Mask.block(Tensor(KEEP)), ~KEEP),
    "additive": (Mask.additive(BIAS), KEEP),
    "causal": (Mask.causal(), COLUMN <= ROW),
    "causal with offset": (Mask.causal(2), COLUMN <= ROW + 2),
    "causal with an offset for each sequence": (
        Mask.causal([0, 3]),
        ROW + np.array([0, 3]).reshape(2, 1, 1, 1) >= COLUMN,
    ),
    "window": (Mask.window(1, 2), (COLUMN >= ROW - 1) & (COLUMN <= ROW + 2)),
    "window to the left": (Mask.window(2, None), COLUMN >= ROW - 2),
    "window with offset": (Mask.window(0, 1, 2), (COLUMN >= ROW + 2) & (COLUMN <= ROW + 3)),
    "lengths": (Mask.lengths([7, 3]), np.array([7, 3]).reshape(2, 1, 1, 1) > COLUMN),
    "a length": (Mask.lengths(4), COLUMN < 4),
    "both": (
        Mask.causal() & Mask.lengths([7, 3]) & Mask.keep(KEEP),
        (COLUMN <= ROW) & (np.array([7, 3]).reshape(2, 1, 1, 1) > COLUMN) & KEEP,
    ),
    "two windows": (
        Mask.window(3, 3) & Mask.window(1, None, 2) & Mask.causal(1),
        (COLUMN >= ROW + 1) & (COLUMN <= ROW + 1),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_each_kind_lets_through(kind: str) -> None:
    mask, allowed = KINDS[kind]
    np.testing.assert_array_equal(let_through(mask), np.broadcast_to(allowed, (B, H, T, S)))


@pytest.mark.parametrize("far", [sys.maxsize, 2**70], ids=["largest index", "larger than any"])
@pytest.mark.parametrize("offset", [0, [0, 3]], ids=["one", "each"])
def test_a_limit_far_away_is_none(far: int, offset: Any) -> None:
    offset = np.array(offset)
    assert let_through(None, window=(far, far), offset=offset).all()
    assert let_through(Mask.window(far, far, offset)).all()
    causal = let_through(None, causal=True, offset=offset)
    found = let_through(None, window=(far, 0), offset=offset)
    np.testing.assert_array_equal(found, causal)


@pytest.mark.parametrize("offset", [sys.maxsize, [sys.maxsize] * 2], ids=["one", "each"])
def test_an_offset_far_away(offset: Any) -> None:
    assert let_through(Mask.causal(offset)).all()
    assert not let_through(Mask.window(2, 2, offset)).any()


def test_options_and_masks_limit_together() -> None:
    found = let_through(Mask.causal(3) & Mask.block(~KEEP), window=(2, 0), offset=1)
    allowed = KEEP & (COLUMN <= ROW + 1) & (COLUMN >= ROW - 1)
    np.testing.assert_array_equal(found, np.broadcast_to(allowed, (B, H, T, S)))


def test_what_is_added_adds_up_and_gets_gradients(rng: np.random.Generator) -> None:
    q, k, v = (rng.standard_normal((B, H, n, 2)) for n in (T, S, S))
    a, b = (Tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((T, S), (S,)))
    out = attention(q, k, v, Mask.additive(a) & Mask.additive(b) & Mask.keep(KEEP))
    g = rng.standard_normal(out.shape)
    ga, gb = ta.grad(out, (a, b), g)
    added = Tensor(np.where(KEEP, a.data + b.data, -np.inf), requires_grad=True)
    again = attention(q, k, v, added)
    np.testing.assert_allclose(out.data, again.data, rtol=1e-12)
    (whole,) = ta.grad(again, added, g)
    np.testing.assert_allclose(ga.data, whole.data, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(gb.data, whole.data.sum(0), rtol=1e-12, atol=1e-14)


def test_layers_take_masks(rng: np.random.Generator) -> None:
    layer = nn.MultiHeadAttention(6, 2).astype(np.float64)
    x, m = rng.standard_normal((2, 3, 6)), rng.standard_normal((2, 5, 6))
    keep = np.stack([np.tri(3, 5, 1, bool), np.tri(3, 5, 2, bool)])
    expected = layer(x, m, mask=keep).data
    for mask in (
        Mask.keep(keep),
        Mask.block(~keep),
        Mask.causal([1, 2]),
        Mask.additive(np.where(keep, 0, -np.inf)),
    ):
        np.testing.assert_array_equal(layer(x, m, mask=mask).data, expected)
    short = layer(x, m, mask=np.arange(5) < 4).data
    np.testing.assert_array_equal(layer(x, m, mask=Mask.lengths([4, 4])).data, short)


def test_a_mask_keeps_its_own_copy() -> None:
    keep, bias, n = KEEP.copy(), BIAS.copy(), np.array([7, 3])
    mask = Mask.keep(keep) & Mask.additive(bias) & Mask.lengths(n)
    before = weights(mask)
    keep[:], bias[:], n[:] = False, 0, 0
    np.testing.assert_array_equal(weights(mask), before)


@pytest.mark.parametrize("method", ["definition", "fused", "tiled"])
def test_a_blocked_key_that_is_not_finite_is_not_hidden(
    method: str, rng: np.random.Generator
) -> None:
    """−∞ is added, so NaN stays NaN, by every method."""
    q, k, v = (rng.standard_normal((B, H, n, 2)) for n in (T, S, S))
    k[1, :, -1] = np.nan
    out = attention(q, k, v, Mask.lengths([7, 3]), method=method).data
    assert np.isfinite(out[0]).all()
    assert np.isnan(out[1]).all()


def test_the_least_number_blocks_without_a_warning() -> None:
    """np.finfo(np.float64).min is a common mask; in float32 it is −∞."""
    mask = np.where(KEEP, 0.0, np.finfo(np.float64).min)
    q = np.zeros((T, 1), np.float32)
    k = np.ones((S, 1), np.float32)
    found = attention(q, k, k, mask, return_stages=True)[1].weights.data
    np.testing.assert_array_equal(found > 0, KEEP)


def test_a_float32_mask_stays_out_of_the_dtype() -> None:
    q = np.zeros((T, 1), np.float32)
    k = np.ones((S, 1), np.float32)
    assert attention(q, k, k, Mask.additive(BIAS)).dtype == np.float32


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────


def test_a_small_mask_is_drawn() -> None:
    bias = np.array([[0.0, -np.inf, 2.0], [0.0, 0.0, 0.0]])
    assert (
        repr(Mask.causal() & Mask.lengths([4, 2]))
        == """\
Mask.causal() & Mask.lengths([4, 2])
  ■ · · · · ·
  ■ ■ · · · ·
  ■ ■ ■ · · ·
  ■ ■ ■ ■ · ·
  ■ ■ ■ ■ · ·
  ■ ■ ■ ■ · ·
  ■ may attend, · must not; the first of 2 sequences"""
    )
    assert (
        repr(Mask.additive(bias))
        == """\
Mask.additive(<shape (2, 3)>)
  ■ · ±
  ■ ■ ■
  ■ may attend, · must not, ± may attend, score shifted"""
    )
    assert (
        repr(Mask.block([True, False, False]))
        == """\
Mask.block([True, False, False])
  · ■ ■
  ■ may attend, · must not"""
    )


def test_a_large_mask_is_drawn_in_part() -> None:
    lines = repr(Mask.keep(np.ones((3, 40, 50), bool)) & Mask.window(1, 0, [2])).splitlines()
    assert lines[0] == "Mask.keep(<shape (3, 40, 50)>) & Mask.window(1, 0, [2])"
    assert lines[1].startswith("  · ■ ■ · ·")
    assert {len(line.split()) for line in lines[1:-1]} == {32}
    assert lines[-1].endswith(
        "the first of 3 heads (of a layer's sequences); the first 12 × 32 of 40 × 50"
    )


def test_what_lies_before_the_heads_is_drawn_too() -> None:
    """Scores (3, 2, heads, T, S): the arrays' first axis stands for the 2."""
    mask = Mask.keep(np.ones((2, 1, 4, 1), bool)) & Mask.lengths([[1, 2], [3, 1], [2, 2]])
    q, k = np.zeros((3, 2, 1, 4, 1)), np.zeros((3, 2, 1, 5, 1))
    assert attention(q, k, k, mask).shape == q.shape
    assert repr(mask).splitlines() == [
        "Mask.keep(<shape (2, 1, 4, 1)>) & Mask.lengths(<shape (3, 2)>)",
        *["  ■ · ·"] * 4,
        "  ■ may attend, · must not; the first of 2 sequences",
    ]
    shifted = Mask.keep(np.ones((2, 1, 1, 3), bool)) & Mask.causal(np.ones((3, 2), int))
    assert repr(shifted).splitlines()[1] == "  ■ ■ ·"


def test_a_mask_that_lets_everything_through() -> None:
    assert repr(Mask()).startswith("Mask()\n  ■")
    assert let_through(Mask()).all()


def test_masks_that_fit_in_a_layer_only_have_no_picture() -> None:
    per_sequence = Mask.keep(np.ones((B, T, S), bool))
    both = per_sequence & Mask.keep(np.ones((B, H, T, S), bool))
    assert repr(both).endswith("no picture: as masks of `attention` their shapes do not broadcast")
    x, keys = np.zeros((B, T, 6)), np.zeros((B, S, 6))
    assert nn.MultiHeadAttention(6, H)(x, keys, mask=both).shape == x.shape


@pytest.mark.parametrize(
    "mask",
    [
        Mask.keep(np.ones((0, 3), bool)),
        Mask.keep(np.ones(0, bool)),
        Mask.lengths(0),
        Mask.lengths(np.zeros(0, int)),
        Mask.causal(np.zeros(0, int)),
    ],
    ids=lambda mask: mask.words[0],
)
def test_masks_of_nothing_are_drawn(mask: Mask) -> None:
    assert repr(mask).startswith(mask.words[0])


# ── wrong masks ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Mask.keep(np.ones((T, S))),
            r"Mask.keep: expected booleans, got float64; numbers to",
        ),
        (lambda: Mask.keep(np.ones(S, int)), r"Mask.keep: expected booleans, got int64; for 0 and"),
        (lambda: Mask.block(BIAS), "Mask.block: expected booleans, got float64"),
        (lambda: Mask.additive(KEEP), "Mask.additive: expected a floating array, got bool"),
        (lambda: Mask.causal(1.5), "Mask.causal: offset must be an integer, .* got 1.5"),
        (
            lambda: Mask.window(1.0, 0),
            r"Mask.window: window must be .* an integer ≥ 0 or None, got",
        ),
        (lambda: Mask.window(0, True), r"Mask.window: window must be .* got \(0, True\)"),
        (lambda: Mask.lengths([1.0]), r"Mask.lengths: n must be an integer, .* got \[1.0\]"),
        (lambda: Mask.causal() & KEEP, "an array alone does not say what True means"),
        (lambda: KEEP & Mask.causal(), "an array alone does not say what True means"),
        (lambda: let_through(Mask), r"floating \(added to the scores\), got object$"),
        (lambda: let_through(np.eye(7, dtype=int)), r"got int64; for 0 and 1 pass mask.astype"),
    ],
)
def test_masks_of_a_wrong_kind(make: Any, message: str) -> None:
    with pytest.raises(DTypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Mask.keep(True),
            r"Mask.keep: expected an array \(S\), .*, in layers \(B, T, S\), .* got shape \(\)",
        ),
        (
            lambda: Mask.additive(np.zeros((1,) * 5)),
            r"Mask.additive: .* got shape \(1, 1, 1, 1, 1\)",
        ),
        (lambda: Mask.additive([np.nan]), "NaN or"),
        (lambda: Mask.keep([[True], [True, False]]), "Mask.keep: the rows must all have one len"),
        (lambda: Mask.lengths([[1], [1, 2]]), "Mask.lengths: the rows of n must all have one len"),
        (
            lambda: let_through(Mask.additive(np.zeros((2, 7))) & Mask.additive(np.zeros(3))),
            r"attention: mask \(2, 7\) does not broadcast to the scores",
        ),
        (lambda: Mask.additive([np.inf]), "−∞ blocks"),
        (
            lambda: Mask.window(-1, 0),
            r"Mask.window: window must be \(left, right\), .* got \(-1, 0\)",
        ),
        (lambda: Mask.lengths([3, -1]), "Mask.lengths: expected lengths of 0 or more, got -1"),
        (
            lambda: let_through(Mask.lengths([3, 8])),
            "attention: a length of 8 lies beyond the sequence, which has 7 keys",
        ),
        (
            lambda: let_through(Mask.lengths([3, 3, 3])),
            r"attention: expected lengths of shape \(2,\), .* scores \(2, 3, 5, 7\), got \(3,\)",
        ),
        (
            lambda: let_through(Mask.causal([0, 0, 0])),
            r"attention: expected offsets of shape \(2,\), .* got \(3,\)",
        ),
        (
            lambda: let_through(Mask.keep(KEEP.T)),
            r"attention: mask \(7, 5\) does not broadcast to the scores \(2, 3, 5, 7\)",
        ),
        (
            lambda: let_through(np.ones((B, S), bool)),
            r"to the scores \(2, 3, 5, 7\); for padding \(B, S\) pass nn.Mask.lengths, or mask",
        ),
        (
            lambda: let_through(np.ones((3, S), bool)),
            r"mask \(3, 7\) does not broadcast to the scores \(2, 3, 5, 7\)$",
        ),
        (lambda: let_through(True), "expected a mask of rank 1 or more"),
    ],
)
def test_masks_of_a_wrong_shape(make: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        make()


def test_an_offset_for_each_sequence_needs_booleans_only() -> None:
    """Not distances, of eight bytes each."""
    tracemalloc.start()
    allowed = banded(Band(-300, 0, np.array([0])), (1, 1, 1000, 1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * allowed.size
    i, j = np.indices((1000, 1000))
    np.testing.assert_array_equal(allowed[0, 0], (j <= i) & (j >= i - 300))


def test_lengths_and_offsets_of_no_sequence() -> None:
    x = np.zeros((0, 2, 3, 4))
    for mask in (Mask.lengths([]), Mask.causal([]), Mask.window(1, 0, ())):
        assert attention(x, x, x, mask).shape == x.shape
