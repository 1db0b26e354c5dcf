"""KVCache and positions inside attention layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_attn import DTypeError, ShapeError, Tensor, TensorError, nn, no_grad
from tinygrad_attn.nn.positions import AlibiBias, RotaryPositions

B, H, T, D, DV = 2, 3, 5, 4, 6


def pair(rng: np.random.Generator, time: int) -> tuple[Tensor, Tensor]:
    return (
        Tensor(rng.standard_normal((B, H, time, D))),
        Tensor(rng.standard_normal((B, H, time, DV))),
    )


@pytest.mark.parametrize("capacity", [None, 9])
@pytest.mark.parametrize("recorded", [False, True])
def test_it_holds_what_was_appended(
    capacity: int | None, recorded: bool, rng: np.random.Generator
) -> None:
    cache = nn.KVCache(capacity)
    parts = [pair(rng, time) for time in (3, 0, 1, 1, 4)]
    earlier = []
    for k, v in parts:
        k.requires_grad = recorded
        keys, values = cache.append(k, v)
        earlier.append((keys, keys.numpy(), values, values.numpy()))
        assert keys.requires_grad is recorded
        assert not values.requires_grad
    assert cache.length == keys.shape[-2] == 9
    np.testing.assert_array_equal(keys.data, np.concatenate([k.data for k, _ in parts], -2))
    np.testing.assert_array_equal(values.data, np.concatenate([v.data for _, v in parts], -2))
    cache.truncate(4)
    cache.append(*pair(rng, 2))
    for keys, then, values, and_then in earlier:  # what was handed out stays as it was
        np.testing.assert_array_equal(keys.data, then)
        np.testing.assert_array_equal(values.data, and_then)
        assert not keys.data.flags.writeable
    assert cache.length == 6
    cache.truncate(0)
    assert cache.keys is cache.values is None
    assert cache.append(*pair(rng, 2))[0].shape == (B, H, 2, D)


def test_what_does_not_fit_changes_nothing(rng: np.random.Generator) -> None:
    cache = nn.KVCache(5)
    cache.append(*pair(rng, 4))
    k, v = pair(rng, 1)
    for (keys, values), message in {
        pair(rng, 2): "KVCache: full: it holds 4 of 5 positions, and 2 more do not fit",
        (k, pair(rng, 2)[1]): r"KVCache: expected keys \(..., heads, T, d\) and values",
        (k[:1], v[:1]): r"KVCache: holds keys float64\[2, 3, 4, 4\], which float64\[1, 3, 1, 4\]",
        (k, v[..., :2]): r"holds values float64\[2, 3, 4, 6\], which float64\[2, 3, 1, 2\] do not",
    }.items():
        with pytest.raises(ShapeError, match=message):
            cache.append(keys, values)
        assert cache.length == 4
    with pytest.raises(DTypeError, match=r"which float32\[2, 3, 1, 4\] do not continue"):
        cache.append(k.astype(np.float32), v)
    assert cache.length == 4
    with pytest.raises(ShapeError, match="expected a length of 0 … 4, got 5"):
        cache.truncate(5)
    with pytest.raises(ShapeError, match="capacity must be 1 or more, or None, got 0"):
        nn.KVCache(0)


# ── in a layer ───────────────────────────────────────────────────────────────────────────────────

LAYERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "grouped": {"num_kv_heads": 1},
    "rotary": {"positions": RotaryPositions(4)},
    "rotary, grouped": {"positions": RotaryPositions(4, interleaved=True), "num_kv_heads": 1},
    "ALiBi": {"positions": AlibiBias(2)},
}


def layer_of(name: str) -> nn.MultiHeadAttention:
    return nn.MultiHeadAttention(8, 2, **LAYERS[name], rng=np.random.default_rng(0)).astype(
        np.float64
    )


@pytest.mark.parametrize("sizes", [(1,) * 7, (3, 1, 3), (7,)], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_part_by_part_is_the_whole(
    name: str, sizes: tuple[int, ...], rng: np.random.Generator
) -> None:
    layer, x = layer_of(name), rng.standard_normal((B, 7, 8))
    whole = layer(x, causal=True).data
    for recording in (True, False):
        cache, at = nn.KVCache(7), 0
        for size in sizes:
            part = x[:, at : at + size]
            if recording:
                out = layer(part, causal=True, cache=cache)
            else:
                with no_grad():
                    out = layer(part, causal=True, cache=cache)
            np.testing.assert_allclose(out.data, whole[:, at : at + size], rtol=1e-12, atol=1e-14)
            at += size


def test_a_mask_counts_the_earlier_keys(rng: np.random.Generator) -> None:
    layer, x, cache = layer_of("plain"), rng.standard_normal((B, 5, 8)), nn.KVCache()
    keep = rng.random((5, 5)) < 0.6
    keep[:, 0] = True
    whole = layer(x, mask=keep, causal=True).data
    layer(x[:, :3], causal=True, cache=cache)
    out = layer(x[:, 3:], mask=keep[3:], causal=True, cache=cache)
    np.testing.assert_allclose(out.data, whole[:, 3:], rtol=1e-12, atol=1e-14)


def test_an_error_leaves_the_cache_as_it_was(rng: np.random.Generator) -> None:
    layer, x, cache = layer_of("plain"), rng.standard_normal((B, 3, 8)), nn.KVCache(4)
    layer(x, cache=cache)
    with pytest.raises(ShapeError, match=r"mask \(3, 3\) does not broadcast to the scores"):
        layer(x[:, :1], mask=np.ones((3, 3), bool), cache=cache)
    assert cache.length == 3
    with pytest.raises(ShapeError, match="full: it holds 3 of 4 positions, and 3 more"):
        layer(x, cache=cache)
    with pytest.raises(DTypeError, match="causal must be True or False"):
        layer(x[:, :1], causal="yes", cache=cache)
    assert cache.length == 3


def test_an_error_after_the_self_attention_too(rng: np.random.Generator) -> None:
    """Tried again with the right mask, the step is what it would have been at once."""
    layer = nn.TransformerDecoderLayer(8, 2, 5, rng=rng).astype(np.float64)
    x, memory, cache = rng.standard_normal((B, 4, 8)), rng.standard_normal((B, T, 8)), nn.KVCache()
    whole = layer(x, memory)
    layer(x[:, :3], memory, cache=cache)
    keys, values = cache.keys, cache.values
    for wrong in (np.ones((3, 3), bool), np.ones(T, int), nn.Mask.lengths([T, T + 1])):
        with pytest.raises(TensorError, match="attention: "):
            layer(x[:, 3:], memory, memory_mask=wrong, cache=cache)
        assert cache.keys is keys
        assert cache.values is values
    again = layer(x[:, 3:], memory, memory_mask=np.ones(T, bool), cache=cache)
    np.testing.assert_allclose(again.data, whole.data[:, 3:], rtol=1e-12, atol=1e-14)


def test_a_cache_of_another_kind(rng: np.random.Generator) -> None:
    with pytest.raises(DTypeError, match="cache must be a KVCache or None, got list"):
        layer_of("plain")(rng.standard_normal((B, 3, 8)), cache=[nn.KVCache()])


def test_the_offset_of_a_cache_is_its_length(rng: np.random.Generator) -> None:
    layer, cache, x = layer_of("plain"), nn.KVCache(), rng.standard_normal((B, 5, 8))
    layer(x[:, :3], causal=True, cache=cache)
    for offset in (1, np.array([0, 2])):
        with pytest.raises(ShapeError, match="with a cache the offset is its length, 3; leave off"):
            layer(x[:, 3:], causal=True, offset=offset, cache=cache)
        assert cache.length == 3
    rest = layer(x[:, 3:], causal=True, offset=0, cache=cache)
    np.testing.assert_allclose(rest.data, layer(x, causal=True).data[:, 3:], rtol=1e-12, atol=1e-14)


# ── positions in a layer ─────────────────────────────────────────────────────────────────────────


def test_alibi_is_added_to_the_scores(rng: np.random.Generator) -> None:
    layer, plain = layer_of("ALiBi"), layer_of("plain")
    x, keep = rng.standard_normal((B, T, 8)), np.tri(T, dtype=bool)
    bias = AlibiBias(2)(T, T)[None]  # of rank 3 it would be (B, T, S)
    for mask, with_it in (
        (None, bias),
        (keep, np.where(keep, bias, -np.inf)),
        (nn.Mask.causal(), np.where(keep, bias, -np.inf)),
        (np.where(keep, 0.5, -np.inf), np.where(keep, bias + 0.5, -np.inf)),
    ):
        np.testing.assert_allclose(
            layer(x, mask=mask).data, plain(x, mask=with_it).data, rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("name", LAYERS)
def test_masks_of_a_wrong_kind_beside_positions(name: str, rng: np.random.Generator) -> None:
    with pytest.raises(DTypeError, match=r"got int64; for 0 and 1 pass (mask)?\.astype\(bool\)"):
        layer_of(name)(rng.standard_normal((B, T, 8)), mask=np.eye(T, dtype=int))


@pytest.mark.parametrize("name", ["rotary", "ALiBi"])
def test_positions_need_one_offset(name: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 3, 8))  # as many sequences as keys: it would broadcast to them
    with pytest.raises(ShapeError, match="offset must be an integer of 0 or more"):
        layer_of(name)(x, causal=True, offset=np.array([0, 1, 2]))


def test_rotary_scores_depend_on_distances_alone(rng: np.random.Generator) -> None:
    layer = layer_of("rotary")
    x = np.repeat(rng.standard_normal((B, 1, 8)), T, axis=1)
    scores = layer(x, return_stages=True)[1].raw.data
    for distance in range(-T + 1, T):
        band = np.diagonal(scores, distance, -2, -1)
        np.testing.assert_allclose(band, band[..., :1] * np.ones(band.shape[-1]), rtol=1e-12)
    assert abs(scores[0, 0, 0, 0] - scores[0, 0, 0, 1]) > 1e-3


def test_positions_for_other_heads() -> None:
    for positions, message in (
        (RotaryPositions(8), "are 4 wide, but the positions are for 8"),
        (AlibiBias(3), "are 2 heads, but the positions are for 3"),
    ):
        with pytest.raises(ShapeError, match=f"MultiHeadAttention: .*{message}"):
            nn.MultiHeadAttention(8, 2, positions=positions)
    with pytest.raises(DTypeError, match="must be RotaryPositions or AlibiBias, got str"):
        nn.MultiHeadAttention(8, 2, positions="rotary")
    assert repr(layer_of("rotary")).count("RotaryPositions") == 1
