"""Encoder and decoder layers: norms, gradients, causality, empty rows, dropout, wrong input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from derivatives import of_parameters, worst_error

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, Tensor, nn
from tinygrad_attn.nn import (
    AlibiBias,
    KVCache,
    RotaryPositions,
    TransformerDecoderLayer,
    TransformerEncoderLayer,
)
from tinygrad_attn.nn.transformer import ACTIVATIONS

B, T, S, D, HEADS, FF = 2, 3, 5, 6, 2, 7
Array = np.ndarray[Any, Any]


def encoder(**options: Any) -> TransformerEncoderLayer:
    return randomised(TransformerEncoderLayer(D, HEADS, FF, **options))


def decoder(**options: Any) -> TransformerDecoderLayer:
    return randomised(TransformerDecoderLayer(D, HEADS, FF, **options))


def randomised(layer: Any) -> Any:
    """Random parameters, zero biases and unit scales hide mistakes; float64, and evaluation."""
    rng = np.random.default_rng(3)
    for parameter in layer.astype(np.float64).parameters():
        parameter.data = rng.standard_normal(parameter.shape) / 2
    return layer.eval()


def padding(lengths: list[int], keys: int) -> Array:
    """(B, 1, keys), True where there is a key."""
    return (np.arange(keys) < np.array(lengths)[:, None])[:, None]


# ── values ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_encoder_layer_is_its_formula(norm_first: bool, rng: np.random.Generator) -> None:
    layer, x = encoder(norm_first=norm_first), rng.standard_normal((B, T, D))
    norm1, norm2, attend = layer.norm1, layer.norm2, layer.self_attn

    def feed(y: Any) -> Any:
        return layer.linear2(ta.relu(layer.linear1(y)))

    if norm_first:
        y = x + attend(norm1(x))
        expected = y + feed(norm2(y))
    else:
        y = norm1(x + attend(x))
        expected = norm2(y + feed(y))
    np.testing.assert_array_equal(layer(x).data, expected.data)


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_decoder_layer_is_its_formula(norm_first: bool, rng: np.random.Generator) -> None:
    layer = decoder(norm_first=norm_first, activation="gelu")
    x, memory = rng.standard_normal((B, T, D)), rng.standard_normal((B, S, D))
    norms, cross = (layer.norm1, layer.norm2, layer.norm3), layer.multihead_attn
    branches: list[Callable[[Any], Any]] = [
        lambda y: layer.self_attn(y, causal=True),
        lambda y: cross(y, memory),
        lambda y: layer.linear2(nn.functional.gelu(layer.linear1(y))),
    ]
    y = Tensor(x)
    for norm, branch in zip(norms, branches, strict=True):
        y = y + branch(norm(y)) if norm_first else norm(y + branch(y))
    np.testing.assert_array_equal(layer(x, memory).data, y.data)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: str, rng: np.random.Generator) -> None:
    layer, x = encoder(activation=activation, norm_first=True), rng.standard_normal((B, T, D))
    y = layer.linear1(layer.norm2(layer(x)))  # any input for the function
    expected = {
        "relu": ta.relu,
        "gelu": ta.gelu,
        "silu": ta.silu,
        "tanh": ta.tanh,
        "gelu_tanh": lambda z: ta.gelu(z, "tanh"),
    }[activation]
    found = ACTIVATIONS[activation](y).data
    np.testing.assert_allclose(found, expected(y).data, rtol=1e-13, atol=1e-15)
    others = [
        encoder(activation=other, norm_first=True)(x).data
        for other in ACTIVATIONS
        if other != activation
    ]
    assert all((layer(x).data != other).any() for other in others)


def test_names_and_sizes() -> None:
    names = [name for name, _ in decoder().named_parameters()]
    assert names == [
        *(
            f"{attn}.{name}"
            for attn in ("self_attn", "multihead_attn")
            for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
        ),
        *(
            f"{part}.{name}"
            for part in ("linear1", "linear2", "norm1", "norm2", "norm3")
            for name in ("weight", "bias")
        ),
    ]
    assert set(dict(encoder().named_parameters())) < set(names)
    for layer in (encoder(bias=False), decoder(bias=False)):
        assert not any("bias" in name for name, _ in layer.named_parameters())
    assert encoder(eps=0.5).norm2.eps == 0.5
    assert 'norm_first=True, activation="gelu"' in repr(encoder(norm_first=True, activation="gelu"))


def test_one_seed_makes_one_layer() -> None:
    first, second = (
        TransformerDecoderLayer(D, HEADS, FF, dropout=0.3, rng=np.random.default_rng(8))
        for _ in range(2)
    )
    x, memory = np.ones((B, T, D), np.float32), np.ones((B, S, D), np.float32)
    np.testing.assert_array_equal(first(x, memory).data, second(x, memory).data)


# ── gradients ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("norm_first", [False, True])
def test_every_gradient_of_an_encoder_layer(
    norm_first: bool, order: int, rng: np.random.Generator
) -> None:
    layer = randomised(TransformerEncoderLayer(2, 2, 3, norm_first=norm_first, activation="gelu"))
    keep = padding([2, 0], 2)
    check_gradients(layer, [rng.standard_normal((2, 2, 2))], order, mask=keep, causal=True)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("norm_first", [False, True])
def test_every_gradient_of_a_decoder_layer(
    norm_first: bool, order: int, rng: np.random.Generator
) -> None:
    layer = randomised(TransformerDecoderLayer(2, 1, 3, norm_first=norm_first, activation="tanh"))
    xs = [rng.standard_normal((2, 2, 2)), rng.standard_normal((2, 3, 2))]
    check_gradients(layer, xs, order, memory_mask=padding([3, 0], 3))


def check_gradients(layer: nn.Module, xs: list[Array], order: int, **options: Any) -> None:
    """Gradients of all inputs and parameters against the complex step."""
    inputs: list[Tensor] = []
    by_weights, weights = of_parameters(layer, lambda: layer(*inputs, **options))

    def both(*tensors: Tensor) -> Tensor:
        inputs[:] = tensors[: len(xs)]
        return by_weights(*tensors[len(xs) :])

    assert worst_error(both, [*xs, *weights], order) < 1e-12


# ── causality ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("norm_first", [False, True])
def test_no_position_sees_a_later_one(norm_first: bool, rng: np.random.Generator) -> None:
    """Bit for bit, in float32 too; what may change does."""
    for dtype in (np.float32, np.float64):
        memory = rng.standard_normal((B, S, D)).astype(dtype)
        x = rng.standard_normal((B, 7, D)).astype(dtype)
        for layer, more in (
            (decoder(norm_first=norm_first), (memory,)),
            (encoder(norm_first=norm_first), ()),
        ):
            layer.astype(dtype)
            options = {} if more else {"causal": True}
            before = layer(x, *more, **options).data
            for at in range(7):
                changed = x.copy()
                changed[:, at] += rng.standard_normal(D)
                after = layer(changed, *more, **options).data
                np.testing.assert_array_equal(before[:, :at], after[:, :at])
                assert (before[:, at:] != after[:, at:]).any(-1).all()


def test_the_decoder_may_see_everything_if_told_to(rng: np.random.Generator) -> None:
    layer, x, memory = decoder(), rng.standard_normal((B, T, D)), rng.standard_normal((B, S, D))
    changed = x.copy()
    changed[:, -1] += 1
    before, after = (layer(y, memory, causal=False).data for y in (x, changed))
    assert (before != after).any(-1).all()
    causal = np.tri(T, dtype=bool)
    by_mask, by_default = layer(x, memory, causal, causal=False).data, layer(x, memory).data
    np.testing.assert_allclose(by_mask, by_default, rtol=1e-12, atol=1e-14)


# ── cache and positions ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("positions", [None, RotaryPositions(2), AlibiBias(3)], ids=str)
@pytest.mark.parametrize("norm_first", [False, True])
def test_token_by_token_with_a_cache(
    norm_first: bool, positions: Any, rng: np.random.Generator
) -> None:
    """As all at once, with positions that the attention itself knows of as well."""
    options = {"norm_first": norm_first, "positions": positions}
    x, memory = rng.standard_normal((B, 7, D)), rng.standard_normal((B, S, D))
    for kind, more in ((TransformerEncoderLayer, ()), (TransformerDecoderLayer, (memory,))):
        layer = randomised(kind(D, 3, FF, **options))
        together, cache = layer(x, *more, causal=True).data, KVCache(7)
        parts = [
            layer(x[:, at:end], *more, causal=True, cache=cache).data
            for at, end in ((0, 3), (3, 4), (4, 5), (5, 7))
        ]
        np.testing.assert_allclose(np.concatenate(parts, 1), together, rtol=0, atol=1e-12)
        assert cache.length == 7


def test_rotary_and_alibi_positions_are_seen(rng: np.random.Generator) -> None:
    """Alone, attention does not know the order of what it attends to."""
    x = rng.standard_normal((B, 5, D))
    for positions in (None, RotaryPositions(2), AlibiBias(3)):
        layer = randomised(TransformerEncoderLayer(D, 3, FF, positions=positions))
        ordered, swapped = layer(x).data, layer(x[:, [0, 2, 1, 3, 4]]).data
        assert (abs(ordered[:, 0] - swapped[:, 0]).max() > 1e-6) == (positions is not None)


# ── weights and dropout ──────────────────────────────────────────────────────────────────────────


def test_weights_of_every_head(rng: np.random.Generator) -> None:
    x, memory = rng.standard_normal((B, T, D)), rng.standard_normal((B, S, D))
    layer = decoder()
    out, own, cross = layer(x, memory, return_weights=True)
    assert own.shape == (B, HEADS, T, T)
    assert cross.shape == (B, HEADS, T, S)
    np.testing.assert_allclose(out.data, layer(x, memory).data, rtol=1e-11)
    for weights in (own, cross):
        np.testing.assert_allclose(weights.data.sum(-1), 1, rtol=1e-12)
    assert not np.triu(own.data, 1).any()
    cross.retain_grad()
    out.backward(rng.standard_normal(out.shape))
    assert cross.grad.shape == cross.shape
    out, own = encoder()(x, mask=padding([T, 1], T), return_weights=True)
    assert own.shape == (B, HEADS, T, T)
    assert not own.data[1, :, :, 1:].any()


@pytest.mark.parametrize("make", [encoder, decoder])
def test_dropout_acts_in_training_alone(make: Callable[..., Any]) -> None:
    layer, x = make(dropout=0.5).train(), np.ones((B, T, D))
    inputs = (x, x) if make is decoder else (x,)
    assert (layer(*inputs).data != layer(*inputs).data).any()
    layer.eval()
    np.testing.assert_array_equal(layer(*inputs).data, layer(*inputs).data)


def test_dropout_drops_in_all_places() -> None:
    """Attention weights, inside the feed-forward network, and each branch where it joins."""
    layer = decoder(dropout=0.5).train()
    waiting, seen = [layer(np.ones((B, T, D)), np.ones((B, S, D))).node], {}
    while waiting:
        node = waiting.pop()
        if node is not None and id(node) not in seen:
            seen[id(node)] = node
            waiting.extend(node.parents)
    dropped = [
        node
        for node in seen.values()
        if node.scope is not None and node.scope.path.endswith("dropout")
    ]
    assert [node.op.name for node in dropped] == ["multiply"] * 4
    assert layer.self_attn.dropout == layer.multihead_attn.dropout == 0.5


# ── sizes and wrong input ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("batch", "time", "keys"), [(0, 3, 5), (2, 0, 5), (2, 3, 0), (1, 1, 1)])
def test_lengths_of_nothing_and_one(batch: int, time: int, keys: int) -> None:
    layer = decoder()
    x, memory = (Tensor(np.ones((batch, n, D)), requires_grad=True) for n in (time, keys))
    out = layer(x, memory)
    assert out.shape == (batch, time, D)
    out.backward(np.ones(out.shape))
    assert np.isfinite(memory.grad.data).all()
    assert encoder()(x).shape == (batch, time, D)


def test_heads_of_width_one(rng: np.random.Generator) -> None:
    layer = randomised(TransformerEncoderLayer(3, 3, 1))
    check_gradients(layer, [rng.standard_normal((1, 2, 3))], 1)


def test_lists_are_sequences() -> None:
    layer = decoder().astype(np.float32)
    x = [[[1.0] * D] * T] * B
    np.testing.assert_array_equal(layer(x, x).data, layer(np.float32(x), np.float32(x)).data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 4}, "num_heads must divide d_model.* d_model=6, num_heads=4"),
        ({"d_ff": 0}, "TransformerEncoderLayer: d_ff must be an integer of 1 or more, got 0"),
        ({"activation": "swish"}, r"activation must be one of \['relu', 'gelu', .*\], got 'swish'"),
        ({"dropout": 1.0}, r"dropping must lie in \[0, 1\), got 1.0"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        TransformerEncoderLayer(**{"d_model": D, "num_heads": HEADS, "d_ff": FF, **options})


def test_wrong_inputs() -> None:
    x, memory = np.ones((B, T, D)), np.ones((B, S, D))
    for wrong in (x[0], np.ones((B, T, D + 1)), np.ones((B, 1, T, D))):
        with pytest.raises(ShapeError, match=r"TransformerEncoderLayer: expected x \(B, T, 6\), "):
            encoder()(wrong)
        with pytest.raises(
            ShapeError,
            match=r"TransformerDecoderLayer: expected memory \(2, S, 6\)"
            r", got \(",
        ):
            decoder()(x, wrong)
    with pytest.raises(ShapeError, match=r"expected memory \(2, S, 6\), got \(1, 5, 6\)"):
        decoder()(x, memory[:1])
    with pytest.raises(ShapeError, match=r"mask .* does not broadcast"):
        decoder()(x, memory, memory_mask=np.ones((T, T), bool))
    with pytest.raises(DTypeError, match="a mask is boolean"):
        encoder()(x, np.ones((T, T), int))
