"""Bahdanau's and Luong's attention: values against loops, every gradient, masks, wrong input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from derivatives import of_parameters, worst_error

from tinygrad_attn import DTypeError, ShapeError, Tensor, nn

B, T, S, DQ, DK, DA, DV = 2, 3, 5, 4, 7, 6, 2
KEEP = np.random.default_rng(1).random((B, T, S)) < 0.6
KEEP[..., 1] = True
Array = np.ndarray[Any, Any]


def made(name: str) -> Any:
    """One of the four attentions, in float64."""
    rng = np.random.default_rng(3)
    if name == "bahdanau":
        layer: Any = nn.BahdanauAttention(DQ, DK, DA, rng=rng)
    else:
        layer = nn.LuongAttention(DK if name == "dot" else DQ, DK, name, rng=rng)
    return layer.astype(np.float64)


def inputs(layer: Any, rng: np.random.Generator, dv: int = DV) -> list[Array]:
    return [rng.standard_normal(s) for s in ((B, T, layer.d_query), (B, S, DK), (B, S, dv))]


every_score = pytest.mark.parametrize("name", ["bahdanau", "dot", "general", "concat"])


def score(name: str, weights: dict[str, Array], q: Array, k: Array) -> Any:
    """One query against one key, by the papers."""
    if name == "bahdanau":
        inside = np.tanh(weights["W.weight"] @ q + weights["U.weight"] @ k)
        return weights["v.weight"][0] @ inside
    if name == "dot":
        return q @ k
    if name == "general":
        return q @ weights["W.weight"] @ k
    return weights["v.weight"][0] @ np.tanh(weights["W.weight"] @ np.concatenate([q, k]))


def reference(name: str, layer: Any, q: Array, k: Array, v: Array, keep: Array) -> list[Array]:
    """Context and weights, query by query."""
    state = layer.state_dict()
    weights = np.zeros((B, T, S))
    for b, t in np.ndindex(B, T):
        chosen = np.flatnonzero(keep[b, t])
        scores = np.array([score(name, state, q[b, t], k[b, s]) for s in chosen])
        weights[b, t, chosen] = np.exp(scores) / np.exp(scores).sum()
    return [weights @ v, weights]


# ── values ───────────────────────────────────────────────────────────────────────────────────────


@every_score
@pytest.mark.parametrize("keep", [np.ones((B, T, S), bool), KEEP, KEEP & (np.arange(S) > 7)])
def test_values_are_the_papers(name: str, keep: Array, rng: np.random.Generator) -> None:
    layer = made(name)
    q, k, v = inputs(layer, rng)
    got = layer(q, Tensor(k), v, mask=keep, return_weights=True)
    for part, wanted in zip(got, reference(name, layer, q, k, v, keep), strict=True):
        np.testing.assert_allclose(part.data, wanted, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(layer(q, k, v, keep).data, got[0].data)


@every_score
def test_lists_are_taken_too(name: str, rng: np.random.Generator) -> None:
    layer = made(name)
    arrays = inputs(layer, rng)
    lists = [x.tolist() for x in arrays]
    np.testing.assert_allclose(layer(*lists).data, layer(*arrays).data, rtol=1e-6, atol=1e-7)
    prepared = layer.prepare(arrays[1]).tolist()
    again = layer(*lists, prepared=prepared)
    np.testing.assert_allclose(again.data, layer(*arrays).data, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("place", range(3))
def test_what_is_no_array_of_numbers_is_refused(place: int) -> None:
    given: list[Any] = [Q, K, K]
    given[place] = "a"
    with pytest.raises(DTypeError):
        nn.BahdanauAttention(DQ, DK, DA)(*given)


@every_score
def test_values_are_the_keys_where_none_are_given(name: str, rng: np.random.Generator) -> None:
    layer = made(name)
    q, k, _ = inputs(layer, rng)
    np.testing.assert_array_equal(layer(q, Tensor(k)).data, layer(q, k, k).data)


@every_score
def test_one_query_a_sequence(name: str, rng: np.random.Generator) -> None:
    layer = made(name)
    q, k, v = inputs(layer, rng)
    context, weights = layer(q[:, 0], Tensor(k), v, return_weights=True)
    several, rows = layer(q, Tensor(k), v, return_weights=True)
    assert (context.shape, weights.shape) == ((B, DV), (B, S))
    np.testing.assert_allclose(context.data, several.data[:, 0], rtol=1e-12)
    np.testing.assert_allclose(weights.data, rows.data[:, 0], rtol=1e-12)


@every_score
def test_keys_can_be_prepared_once(name: str, rng: np.random.Generator) -> None:
    layer = made(name)
    q, k, v = inputs(layer, rng)
    prepared = layer.prepare(Tensor(k))
    np.testing.assert_array_equal(layer(q, k, v, prepared=prepared).data, layer(q, k, v).data)


MASKS = {
    "one row a sequence": (KEEP[:, 0], KEEP[:, :1]),
    "one row for all": (KEEP[:1, 0], KEEP[:1, :1]),
    "one a query": (KEEP, KEEP),
    "nested lists": (KEEP.tolist(), KEEP),
    "a tensor": (Tensor(KEEP[:, 0]), KEEP[:, :1]),
    "added to the scores": (np.where(KEEP, 0, -np.inf), KEEP),
    "an nn.Mask": (nn.Mask.keep(KEEP), KEEP),
    "lengths": (nn.Mask.lengths([2, 5]), np.arange(S) < np.array([[[2]], [[5]]])),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks(name: str, rng: np.random.Generator) -> None:
    mask, keep = MASKS[name]
    layer = made("bahdanau")
    q, k, v = inputs(layer, rng)
    wanted = reference("bahdanau", layer, q, k, v, np.broadcast_to(keep, (B, T, S)))
    np.testing.assert_allclose(layer(q, k, v, mask).data, wanted[0], rtol=1e-12, atol=1e-14)


@every_score
def test_float32_stays_float32_and_batches_may_be_empty(name: str) -> None:
    layer = made(name).astype(np.float32)
    for batch, queries, keys in ((0, 2, 3), (2, 0, 3), (2, 3, 0), (1, 1, 1)):
        q = np.ones((batch, queries, layer.d_query), np.float32)
        k = Tensor(np.ones((batch, keys, DK), np.float32), requires_grad=True)
        out, weights = layer(q, k, mask=np.ones((batch, keys), bool), return_weights=True)
        assert out.shape == (batch, queries, DK)
        assert weights.shape == (batch, queries, keys)
        assert {out.dtype, weights.dtype} == {np.dtype(np.float32)}
        out.sum().backward()
        assert k.grad.shape == k.shape


# ── gradients ────────────────────────────────────────────────────────────────────────────────────


@every_score
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("keep", [None, KEEP[:, :2, :3] & [[[True], [False]]]])
def test_every_gradient(name: str, order: int, keep: Any, rng: np.random.Generator) -> None:
    layer = made(name)
    arrays = [x[:, :3] for x in inputs(layer, rng)]
    arrays[0] = arrays[0][:, :2]
    seen: list[Tensor] = []
    call, weights = of_parameters(layer, lambda: layer(*seen, mask=keep))

    def of_everything(*tensors: Tensor) -> Tensor:
        seen[:] = tensors[:3]
        return call(*tensors[3:])

    assert worst_error(of_everything, [*arrays, *weights], order) < 1e-12


@every_score
def test_a_query_that_may_attend_to_nothing(name: str, rng: np.random.Generator) -> None:
    layer = made(name)
    q, k, v = (Tensor(x, requires_grad=True) for x in inputs(layer, rng))
    keep = np.ones((B, S), bool)
    keep[1] = False
    context, weights = layer(q, k, v, keep, return_weights=True)
    assert not context.data[1].any()
    assert not weights.data[1].any()
    context.backward(rng.standard_normal(context.shape))
    for x in (q, k, v, *layer.parameters()):
        assert np.isfinite(x.grad.data).all()
    for x in (q, k, v):
        assert not x.grad.data[1].any()
        assert x.grad.data[0].any()


def test_the_gradient_of_the_weights_can_be_read(rng: np.random.Generator) -> None:
    layer = made("general")
    q, k, v = inputs(layer, rng)
    context, weights = layer(q, Tensor(k), v, return_weights=True)
    weights.retain_grad()
    g = rng.standard_normal(context.shape)
    context.backward(g)
    np.testing.assert_allclose(weights.grad.data, g @ v.swapaxes(1, 2), rtol=1e-13)


# ── parameters and wrong input ───────────────────────────────────────────────────────────────────


def test_parameters() -> None:
    shapes = {n: a.shape for n, a in nn.BahdanauAttention(DQ, DK, DA).state_dict().items()}
    assert shapes == {"W.weight": (DA, DQ), "U.weight": (DA, DK), "v.weight": (1, DA)}
    assert not nn.LuongAttention(DK, DK).state_dict()
    assert nn.LuongAttention(DQ, DK, "general").W.weight.shape == (DQ, DK)
    concat = {n: a.shape for n, a in nn.LuongAttention(DQ, DK, "concat").state_dict().items()}
    assert concat == {"W.weight": (DQ, DQ + DK), "v.weight": (1, DQ)}


def test_repr() -> None:
    assert repr(nn.LuongAttention(3, 3)) == 'LuongAttention(3, 3, score="dot")'


Q, K = np.ones((B, T, DQ)), np.ones((B, S, DK))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((Q[..., :3], K), r"expected query \(B, T, 4\) or \(B, 4\), got \(2, 3, 3\)"),
        ((Q[0, 0], K), r"expected query \(B, T, 4\) or \(B, 4\), got \(4,\)"),
        ((Q, K[..., :5]), r"expected keys \(B, S, 7\), got \(2, 5, 5\) beside query \(2, 3, 4\)"),
        ((Q, K[:1]), r"expected keys \(B, S, 7\), got \(1, 5, 7\) beside query \(2, 3, 4\)"),
        (
            (Q, K, K[:, :3]),
            r"expected values \(B, S, width\) for keys \(2, 5, 7\), got \(2, 3, 7\)",
        ),
        (
            (Q, K, K, np.ones((B, 4), bool)),
            r"expected a mask .* = \(2, 5\) or \(B, T, S\) = \(2, 3, 5\), got \(2, 4\)",
        ),
        ((Q, K, K, np.ones((B, 4, S), bool)), r"expected a mask .* got \(2, 4, 5\)"),
        ((Q, K, K, [[True], [True] * S]), "rows of the mask must all have one length"),
        ((Q, K, K, np.ones(S, bool)), r"expected a mask \(B, S\) = \(2, 5\) .* got \(5,\)"),
    ],
)
def test_wrong_shapes_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"BahdanauAttention: {message}"):
        nn.BahdanauAttention(DQ, DK, DA)(*given)


def test_a_mask_of_numbers_is_refused() -> None:
    with pytest.raises(DTypeError, match="a mask is boolean"):
        nn.BahdanauAttention(DQ, DK, DA)(Q, K, mask=np.ones((B, S), int))


@every_score
@pytest.mark.parametrize("shape", [(B, 3, 0), (1, S, 0), (B, S, 1), (B, S)])
def test_prepared_keys_must_be_of_these_keys(name: str, shape: tuple[int, ...]) -> None:
    """`shape`, its last number added to the width that they should have."""
    layer = made(name)
    q = np.ones((B, T, layer.d_query))
    wrong = np.ones((*shape[:2], *(layer.prepare(K).shape[2] + n for n in shape[2:])))
    with pytest.raises(ShapeError, match=r"Attention: expected prepared keys \(B, S, [4-7]\)"):
        layer(q, K, prepared=wrong)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"score must be one of \('dot', .*\), got 'cosine'"):
        nn.LuongAttention(3, 3, "cosine")
    with pytest.raises(ShapeError, match=r'"dot" needs equal widths, got d_query=3 and d_key=4'):
        nn.LuongAttention(3, 4)
    with pytest.raises(ShapeError, match="BahdanauAttention: d_attn must be an integer of 1 or"):
        nn.BahdanauAttention(3, 4, 0)
    with pytest.raises(ShapeError, match="LuongAttention: d_key must be an integer of 1 or more"):
        nn.LuongAttention(3, -1)
