"""Encoder and decoder layers under masks: padding is inert, and empty rows make no NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_nn_transformer import Array, B, D, S, T, decoder, encoder, padding

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn
from tinygrad_attn.nn.functional.attention import chosen


def test_padding_changes_nothing(rng: np.random.Generator) -> None:
    """What is masked may hold anything: results and gradients of the rest stay as they are."""
    layer, g = decoder(), rng.standard_normal((B, T, D))
    x, memory = rng.standard_normal((B, T, D)), rng.standard_normal((B, S, D))
    found = []
    for filling in (0.0, 7.0):
        filled = memory.copy()
        filled[1, 2:] = filling
        t = Tensor(filled, requires_grad=True)
        out = layer(x, t, memory_mask=padding([S, 2], S))
        layer.zero_grad()
        out.backward(g)
        assert not t.grad.data[1, 2:].any()
        found.append([out.data, *(p.grad.data for p in layer.parameters()), t.grad.data])
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)
    short = layer(x[1:], memory[1:, :2])
    np.testing.assert_allclose(found[0][0][1:], short.data, rtol=1e-12, atol=1e-13)


BLOCKED = {
    "boolean": (np.array([[1, 0, 1], [0, 0, 0], [0, 1, 1]], bool), {}),
    "additive": (np.where([[1, 0, 1], [0, 0, 0], [0, 1, 1]], 0.3, -np.inf), {}),
    "learned additive": (np.where([[1, 0, 1], [0, 0, 0], [0, 1, 1]], 0.3, -np.inf), {}),
    "lengths": (padding([2, 0], T), {}),
    "causal and lengths": (padding([2, 0], T), {"causal": True}),
    "Mask.lengths": (nn.Mask.lengths([2, 0]), {}),
    "Mask.causal & Mask.lengths": (nn.Mask.causal() & nn.Mask.lengths([0, 2]), {}),
    "Mask.block": (nn.Mask.block(np.array([[0, 1, 0], [1, 1, 1], [1, 0, 0]], bool)), {}),
    "causal and a first key that is masked": (
        np.array([[[0, 1, 1]], [[1, 1, 1]]], bool),
        {"causal": True},
    ),
}


SMALLEST = {"definition": 1 << 24, "fused": 1 << 24, "tiled": 0}  # number of weights for tiles


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("norm_first", "method"),
    [(False, "definition"), (True, "definition"), (False, "fused"), (True, "tiled")],
)
@pytest.mark.parametrize("name", BLOCKED)
def test_rows_that_may_attend_to_nothing(
    name: str,
    norm_first: bool,
    dtype: Any,
    method: str,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No NaN in any output or gradient (pytorch#41508), by any kind of mask, in any layer."""
    for limit in ("LARGE", "LARGE_BAND"):
        monkeypatch.setitem(chosen.__globals__, limit, SMALLEST[method])
    mask, options = BLOCKED[name]
    x, memory = rng.standard_normal((2, B, T, D)).astype(dtype)
    if "additive" in name:
        mask = Tensor(mask, name == "learned additive", dtype)
    enc, dec = (layer(norm_first=norm_first).astype(dtype) for layer in (encoder, decoder))
    decoding = {"causal": False, **options}
    with ta.kernels.use("off" if method == "definition" else None):
        assert check_finite(enc, [x], mask=mask, **options)
        assert check_finite(dec, [x, memory], mask=mask, **decoding)
        check_finite(dec, [x, memory], memory_mask=mask, **decoding)
        check_finite(dec, [x, memory], mask=mask, memory_mask=mask, **decoding)


def check_finite(layer: nn.Module, arrays: list[Array], **options: Any) -> bool:
    """Results, weights and every gradient, by steps and kernels; was there an empty row?"""
    inputs = [Tensor(x, requires_grad=True) for x in arrays]
    masks = [x for x in options.values() if isinstance(x, Tensor) and x.requires_grad]
    variables = [*inputs, *layer.parameters(), *masks[:1]]
    out, *weights = layer(*inputs, **options, return_weights=True)
    g = np.random.default_rng(2).standard_normal(out.shape).astype(out.dtype)
    parts = [out, *weights]
    for result in (out, layer(*inputs, **options)):
        parts += ta.grad(result, variables, g, retain_graph=True)
        grads = ta.grad(result, variables, g, create_graph=True)
        squares = sum((part * part).sum() for part in grads)
        parts += ta.grad(squares, variables, allow_unused=True)
    assert all(part is None or np.isfinite(part.data).all() for part in parts)
    return any(not w.data.any(-1).all() for w in weights)


def test_an_empty_row_collects_zeros(rng: np.random.Generator) -> None:
    """The branch is then the bias of its output projection."""
    layer, x, memory = decoder(norm_first=True), *rng.standard_normal((2, B, T, D))
    out = layer(x, memory, memory_mask=padding([T, 0], T))
    middle = x + layer.self_attn(layer.norm1(x), causal=True) + layer.multihead_attn.out_proj.bias
    expected = middle + layer.linear2(ta.relu(layer.linear1(layer.norm3(middle))))
    np.testing.assert_allclose(out.data[1], expected.data[1], rtol=1e-12)
    assert abs(out.data[0] - expected.data[0]).max() > 0.01
