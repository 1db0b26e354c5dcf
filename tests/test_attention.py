"""Attention: every stage, every gradient, every kind of mask, and wrong input."""

from __future__ import annotations

import numpy as np
import pytest
from derivatives import worst_error

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, Tensor, nn
from tinygrad_attn.nn.functional import attention
from tinygrad_attn.nn.functional.attention import attend

B, H, T, S, D, DV = 2, 3, 5, 7, 4, 6
KEEP = np.random.default_rng(1).random((T, S)) < 0.6
KEEP[:, 0] = True


def qkv(rng: np.random.Generator, kv_heads: int = H) -> list[np.ndarray]:
    return [
        rng.standard_normal(shape)
        for shape in ((B, H, T, D), (B, kv_heads, S, D), (B, kv_heads, S, DV))
    ]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def reference(q: np.ndarray, k: np.ndarray, v: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Attention by loops over queries, each with the keys it may attend to."""
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    allowed = np.broadcast_to(allowed, (*q.shape[:-1], k.shape[-2]))
    for at in np.ndindex(q.shape[:-1]):
        keys = np.flatnonzero(allowed[at])
        head = at[:-1]
        if keys.size:
            weights = softmax(k[head][keys] @ q[at] / np.sqrt(q.shape[-1]))
            out[at] = weights @ v[head][keys]
    return out


# ── values ───────────────────────────────────────────────────────────────────────────────────────

ROW, COLUMN = np.arange(T)[:, None], np.arange(S)
LIMITS = {
    "nothing": ({}, np.ones((T, S), bool)),
    "a boolean mask keeps where True": ({"mask": KEEP}, KEEP),
    "a mask as nested lists": ({"mask": KEEP.tolist()}, KEEP),
    "a mask as tensor": ({"mask": Tensor(KEEP)}, KEEP),
    "one mask a batch": (
        {"mask": np.stack([KEEP, ~KEEP | (COLUMN == 1)])[:, None]},
        np.stack([KEEP, ~KEEP | (COLUMN == 1)])[:, None],
    ),
    "an additive mask": ({"mask": np.where(KEEP, 0, -np.inf)}, KEEP),
    "causal": ({"causal": True}, COLUMN <= ROW),
    "causal with an offset": ({"causal": True, "offset": 2}, COLUMN <= ROW + 2),
    "causal before the first key": ({"causal": True, "offset": -2}, COLUMN <= ROW - 2),
    "causal and a mask": ({"causal": True, "offset": 1, "mask": KEEP}, KEEP & (COLUMN <= ROW + 1)),
    "causal and an additive mask": (
        {"causal": True, "mask": np.where(KEEP, 0, -np.inf)},
        KEEP & (COLUMN <= ROW),
    ),
    "a window": ({"window": (1, 2)}, (COLUMN >= ROW - 1) & (COLUMN <= ROW + 2)),
    "a window to the left": ({"window": (2, None)}, COLUMN >= ROW - 2),
    "a window with offset": (
        {"window": (1, 0), "offset": 2},
        (COLUMN >= ROW + 1) & (COLUMN <= ROW + 2),
    ),
    "a causal window": ({"window": (1, 2), "causal": True}, (COLUMN >= ROW - 1) & (COLUMN <= ROW)),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_values_under_every_limit(limit: str, rng: np.random.Generator) -> None:
    options, allowed = LIMITS[limit]
    q, k, v = qkv(rng)
    np.testing.assert_allclose(
        attention(q, k, v, **options).data, reference(q, k, v, allowed), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mask": KEEP},
        {"causal": True},
        {"causal": True, "offset": -2},
        {"scale": 0.3},
        {"softcap": 0.7},
        {"softcap": 1.5, "causal": True},
        {"window": (1, 0), "empty_row": "uniform"},
        {"mask": np.zeros((T, S), bool)},
    ],
    ids=str,
)
def test_every_gradient(options: dict, order: int, rng: np.random.Generator) -> None:
    q, k, v = (x[0, :2] for x in qkv(rng))
    assert worst_error(lambda *x: attention(*x, **options), [q, k, v], order) < 1e-12


def test_a_planted_wrong_rule_is_seen(rng: np.random.Generator) -> None:
    """What judges the gradients above can fail: softmax taken for s(1 − s), the usual mistake."""
    xs = [x[0, :2] for x in qkv(rng)]
    with ta.softmax.replaced_vjp("x", lambda g, out: g * out * (1 - out)):
        assert worst_error(attention, xs) > 1e-2
    assert worst_error(attention, xs) < 1e-12


@pytest.mark.parametrize("kv_heads", [1, 3])
def test_grouped_heads_share_keys_and_values(kv_heads: int, rng: np.random.Generator) -> None:
    q = rng.standard_normal((B, 6, T, D))
    k, v = rng.standard_normal((B, kv_heads, S, D)), rng.standard_normal((B, kv_heads, S, DV))
    out, stages = attention(q, k, v, causal=True, offset=1, return_stages=True)
    wide = [np.repeat(x, 6 // kv_heads, axis=1) for x in (k, v)]
    expected = attention(q, *wide, causal=True, offset=1)
    np.testing.assert_allclose(out.data, expected.data, rtol=1e-13)
    assert stages.k.shape == k.shape
    assert stages.weights.shape == (B, 6, T, S)
    small = [x[:1, :, :3] for x in (q, k, v)]
    assert worst_error(lambda *x: attention(*x, mask=KEEP[:3, :3]), small) < 1e-12


def test_axes_before_time_may_be_missing_or_broadcast(rng: np.random.Generator) -> None:
    q, k, v = qkv(rng)
    np.testing.assert_allclose(
        attention(q[0, 0], k[0, 0], v[0, 0]).data, attention(q, k, v).data[0, 0], rtol=1e-13
    )
    np.testing.assert_allclose(
        attention(q, k[:1], v[:1]).data[0], attention(q, k, v).data[0], rtol=1e-13
    )
    assert attention(q, k[0, 0], v[0, 0]).shape == (B, H, T, DV)


def test_scale_and_softcap(rng: np.random.Generator) -> None:
    q, k, v = qkv(rng)
    raw = q @ k.swapaxes(-1, -2)
    np.testing.assert_allclose(attention(q, k, v, scale=2.0).data, softmax(raw * 2) @ v, rtol=1e-12)
    np.testing.assert_allclose(
        attention(q, k, v, scale=1.0, softcap=3.0).data,
        softmax(3 * np.tanh(raw / 3)) @ v,
        rtol=1e-12,
    )


def test_float32_stays_float32(rng: np.random.Generator) -> None:
    q, k, v = (Tensor(x.astype(np.float32), requires_grad=True) for x in qkv(rng))
    out, stages = attention(
        q,
        k,
        v,
        np.where(KEEP, 0.5, -np.inf),
        causal=True,
        softcap=2.0,
        dropout=0.5,
        rng=rng,
        return_stages=True,
    )
    out.backward(rng.standard_normal(out.shape).astype(np.float32))
    for x in (q, k, v, stages.raw, stages.masked, stages.weights, stages.context):
        assert x.dtype == x.grad.dtype == np.float32


@pytest.mark.parametrize("method", ["definition", "fused", "tiled"])
def test_float16_is_computed_in_float32(method: str, rng: np.random.Generator) -> None:
    """As good as float16 can say it: the float32 result and gradients, rounded once."""
    half = [x.astype(np.float16) for x in qkv(rng)]
    xs, wide = ([Tensor(x, True, dtype) for x in half] for dtype in (np.float16, np.float32))
    options = {"mask": np.where(KEEP, 0.5, -np.inf), "softcap": 2.0, "method": method}
    out, true = attention(*xs, **options), attention(*wide, **options)
    np.testing.assert_array_equal(out.data, true.data.astype(np.float16))
    g = rng.standard_normal(out.shape).astype(np.float16)
    for part, exact in zip(
        ta.grad(out, xs, g), ta.grad(true, wide, g.astype(np.float32)), strict=True
    ):
        np.testing.assert_array_equal(part.data, exact.data.astype(np.float16))
    out, stages = attention(*xs, **options, return_stages=True)
    assert out.dtype == stages.context.dtype == np.float16
    assert stages.weights.dtype == np.float32
    out.backward(g)
    assert stages.weights.grad.dtype == np.float32
    assert stages.context.grad.dtype == np.float16
    layer = nn.MultiHeadAttention(6, 2, rng=rng).astype(np.float16)
    x = rng.standard_normal((B, T, 6)).astype(np.float16)
    result, weights = layer(x, return_weights=True)
    assert (result.dtype, layer(x).dtype, weights.dtype) == (np.float16, np.float16, np.float32)
    np.testing.assert_array_equal(result.data, layer(x).data)


def test_an_additive_mask_can_be_learned(rng: np.random.Generator) -> None:
    q, k, v = (x[0, 0] for x in qkv(rng))
    bias = rng.standard_normal((T, S))
    for order in (1, 2):
        assert worst_error(lambda b: attention(q, k, v, b, causal=True), [bias], order) < 1e-12


def test_dropout_drops_weights_and_scales_the_rest(rng: np.random.Generator) -> None:
    q, k, _ = qkv(rng)
    v = np.broadcast_to(np.eye(S), (B, H, S, S))  # then the result is the weights
    out, stages = attention(q, k, v, dropout=0.5, rng=np.random.default_rng(0), return_stages=True)
    kept = out.data != 0
    assert 0.3 < kept.mean() < 0.7
    np.testing.assert_allclose(out.data[kept], 2 * stages.weights.data[kept])
    again = attention(q, k, v, dropout=0.5, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(again.data != 0, kept)
    np.testing.assert_allclose(again.data, out.data, rtol=1e-14)


# ── rows with no key ─────────────────────────────────────────────────────────────────────────────

EMPTY = KEEP.copy()
EMPTY[2] = False
ALL_KINDS = pytest.mark.parametrize(
    "mask", [EMPTY, np.where(EMPTY, 0, -np.inf)], ids=["bool", "additive"]
)


@ALL_KINDS
def test_a_row_with_no_key_gives_zeros_and_finite_gradients(
    mask: np.ndarray, rng: np.random.Generator
) -> None:
    xs = [Tensor(x, requires_grad=True) for x in qkv(rng)]
    out, stages = attention(*xs, mask, return_stages=True)
    assert not out.data[:, :, 2].any()
    assert not stages.weights.data[:, :, 2].any()
    out.backward(rng.standard_normal(out.shape))
    assert all(np.isfinite(x.grad.data).all() for x in xs)
    assert not xs[0].grad.data[:, :, 2].any()
    assert not stages.masked.grad.data[:, :, 2].any()
    expected = reference(*(x.data for x in xs), EMPTY)
    np.testing.assert_allclose(out.data, expected, rtol=1e-12)


def test_no_row_has_a_key(rng: np.random.Generator) -> None:
    xs = [Tensor(x, requires_grad=True) for x in qkv(rng)]
    out = attention(*xs, np.zeros((T, S), bool))
    out.backward(rng.standard_normal(out.shape))
    assert not out.data.any()
    assert not any(x.grad.data.any() for x in xs)


def test_there_are_no_keys_at_all(rng: np.random.Generator) -> None:
    q = Tensor(rng.standard_normal((B, H, T, D)), requires_grad=True)
    out = attention(q, np.ones((B, H, 0, D)), np.ones((B, H, 0, DV)), causal=True)
    np.testing.assert_array_equal(out.data, np.zeros((B, H, T, DV)))
    out.sum().backward()
    assert not q.grad.data.any()


@ALL_KINDS
def test_other_choices_for_empty_rows(mask: np.ndarray, rng: np.random.Generator) -> None:
    q, k, v = qkv(rng)
    uniform = attention(q, k, v, mask, empty_row="uniform").data
    np.testing.assert_allclose(uniform[:, :, 2], v.mean(-2), rtol=1e-12)
    missing = attention(q, k, v, mask, empty_row="nan").data
    assert np.isnan(missing[:, :, 2]).all()
    assert np.isfinite(np.delete(missing, 2, axis=2)).all()
    with pytest.raises(ShapeError, match=r"attention: query \(2,\) may attend to no key"):
        attention(q, k, v, mask, empty_row="error")
    np.testing.assert_array_equal(
        attention(q, k, v, KEEP, empty_row="error").data, attention(q, k, v, KEEP).data
    )


# ── stages ───────────────────────────────────────────────────────────────────────────────────────


def test_stages_are_the_formula_and_keep_their_gradients(rng: np.random.Generator) -> None:
    q, k, v = (Tensor(x, requires_grad=True) for x in qkv(rng))
    out, stages = attention(q, k, v, KEEP, return_stages=True)
    g = rng.standard_normal(out.shape)
    out.backward(g)
    raw = q.data @ k.data.swapaxes(-1, -2)
    masked = np.where(KEEP, raw / 2, -np.inf)
    weights = softmax(masked)
    for name, expected in {
        "raw": raw,
        "scores": raw / 2,
        "masked": masked,
        "weights": weights,
        "context": weights @ v.data,
    }.items():
        np.testing.assert_allclose(getattr(stages, name).data, expected, rtol=1e-12)
    dp = g @ v.data.swapaxes(-1, -2)
    ds = weights * (dp - (dp * weights).sum(-1, keepdims=True))
    for name, expected in {
        "context": g,
        "weights": dp,
        "masked": ds,
        "scores": ds,
        "raw": ds / 2,
        "q": ds / 2 @ k.data,
        "k": (ds / 2).swapaxes(-1, -2) @ q.data,
        "v": weights.swapaxes(-1, -2) @ g,
    }.items():
        kept = getattr(stages, name).grad.data
        np.testing.assert_allclose(kept, expected, rtol=1e-12, atol=1e-15)
    assert stages.concat is stages.output is None


def test_without_stages_nothing_keeps_its_gradient(rng: np.random.Generator) -> None:
    q, k, v = (Tensor(x, requires_grad=True) for x in qkv(rng))
    out = attention(q, k, v)
    out.sum().backward()
    assert out.grad is None


# ── wrong input ──────────────────────────────────────────────────────────────────────────────────

ONES = {
    name: np.ones(shape)
    for name, shape in {"q": (2, 3, 5, 4), "k": (2, 3, 7, 4), "v": (2, 3, 7, 6)}.items()
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v": np.ones((2, 3, 5, 6))}, "key has 7 time steps but value has 5; they must match"),
        ({"k": np.ones((2, 3, 7, 5))}, "query has width 4 but key has width 5; they must match"),
        ({"q": np.ones(4)}, r"expected query \(..., heads, time, width\), got \(4,\)"),
        ({"q": np.ones((2, 4, 5, 4))}, "query has 4 heads, key 3 and value 3"),
        ({"v": np.ones((2, 1, 7, 6))}, "query has 3 heads, key 3 and value 1"),
        ({"q": np.ones((3, 3, 5, 4))}, r"leading axes of query \(3, 3, 5, 4\), key \(2, 3, 7, 4\)"),
        (
            {"mask": np.ones((7, 5), bool)},
            r"mask \(7, 5\) does not broadcast to the scores \(2, 3, 5, 7\)",
        ),
        ({"mask": np.ones((2, 2, 3, 5, 7), bool)}, "does not broadcast"),
        ({"empty_row": "one"}, "empty_row must be one of .*, got 'one'"),
        ({"method": "flash"}, r"method must be one of .*, got 'flash'"),
        ({"softcap": 0.0}, "softcap must be positive, got 0.0"),
        ({"softcap": np.inf}, "softcap must be finite, got inf"),
        ({"scale": np.nan}, "scale must be finite, got nan"),
        ({"method": np.ones(2)}, r"method must be one of .*, got array"),
        ({"mask": [[True], [True, False]]}, "the rows of the mask must all have one length"),
        ({"mask": np.full(7, np.nan)}, "a mask must not add NaN or \\+∞; −∞ blocks"),
        ({"mask": Tensor([np.inf] * 7, requires_grad=True)}, "must not add NaN or"),
        ({"dropout": 1.0}, r"must lie in \[0, 1\), got 1.0"),
        ({"window": (-1, 0)}, r"window must be \(left, right\), .* got \(-1, 0\)"),
    ],
)
def test_wrong_shapes_and_options(changes: dict, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^attention: .*{message}"):
        attention(**{**ONES, **changes})


def test_wrong_dtypes() -> None:
    with pytest.raises(DTypeError, match="expected a floating key, got int64"):
        attention(**{**ONES, "k": np.ones((2, 3, 7, 4), int)})
    with pytest.raises(DTypeError, match=r"got int64; for 0 and 1 pass mask.astype\(bool\)"):
        attention(**ONES, mask=np.ones((5, 7), int))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 2}, r"window must be \(left, right\), each an integer ≥ 0 or None, got 2"),
        ({"window": (1, 0, 0)}, r"window must be \(left, right\), .* got \(1, 0, 0\)"),
        ({"window": (1.5, None)}, r"window must be \(left, right\), .* got \(1.5, None\)"),
        ({"scale": "a"}, "scale must be a number, got 'a'"),
        ({"softcap": "a"}, "softcap must be a number, got 'a'"),
        ({"softcap": np.ones(2)}, "softcap must be a number, got array"),
        ({"dropout": "x"}, "the probability of dropping must be a number, got 'x'"),
        ({"causal": nn.Mask.causal()}, "causal must be True or False, got Mask.causal"),
        ({"causal": np.tri(5, 7, dtype=bool)}, "causal must be True or False, got array"),
        ({"offset": 1.5}, "offset must be an integer, or integers for a batch, got 1.5"),
        ({"scale": Tensor(2.0, requires_grad=True)}, "to learn it, multiply q by it"),
        ({"softcap": Tensor(2.0, requires_grad=True)}, r"apply c·tanh\(scores/c\) yourself"),
    ],
)
def test_options_of_a_wrong_kind(options: dict, message: str) -> None:
    for function in (attention, attend):
        with pytest.raises(DTypeError, match=f"^attention: .*{message}"):
            function(**ONES, **options)


def test_attend_has_the_defaults_of_attention() -> None:
    np.testing.assert_array_equal(attend(**ONES).context.data, attention(**ONES).data)
