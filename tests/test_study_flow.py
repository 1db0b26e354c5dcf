"""Maps of attention through all layers, against plain loops and by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from studied import IMAGES, Array, asked, call_with, in_double, vit

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, Tensor, study

# ── rollout ──────────────────────────────────────────────────────────────────────────────────────
FUSED: dict[str, Callable[[list[float]], float]] = {
    "mean": lambda xs: sum(xs) / len(xs),
    "max": max,
    "min": min,
}


def rollout_by_loops(layers: Sequence[Array], residual: float, heads: str) -> Array:
    """The product, element by element."""
    B, _, T, _ = layers[0].shape
    result = np.zeros((B, T, T))
    for b in range(B):
        flow = [[float(i == j) for j in range(T)] for i in range(T)]
        for weights in layers:
            mixed = []
            for i in range(T):
                row = [
                    (1 - residual) * FUSED[heads]([float(P[i, j]) for P in weights[b]])
                    + residual * (i == j)
                    for j in range(T)
                ]
                mixed.append([x / sum(row) for x in row])
            flow = [
                [sum(mixed[i][k] * flow[k][j] for k in range(T)) for j in range(T)]
                for i in range(T)
            ]
        result[b] = flow
    return result


def random_weights(rng: np.random.Generator, layers: int = 3, T: int = 4) -> list[Array]:
    """Softmax of random scores; the layers have different numbers of heads."""
    return [ta.softmax(2 * rng.standard_normal((2, 2 + i, T, T))) for i in range(layers)]


@pytest.mark.parametrize("heads", FUSED)
@pytest.mark.parametrize("residual", [0.0, 0.3, 0.5, 1.0])
def test_rollout_is_the_product_over_the_layers(
    residual: float, heads: str, rng: np.random.Generator
) -> None:
    layers = random_weights(rng)
    flow = study.rollout(layers, residual=residual, heads=heads)
    np.testing.assert_allclose(
        flow, rollout_by_loops(layers, residual, heads), rtol=1e-13, atol=1e-16
    )


def test_rollout_by_hand() -> None:
    first, second = ([[1, 0], [0.5, 0.5]], [[0.5, 0.5], [0, 1]])
    # half identity: [[1, 0], [¼, ¾]], then [[¾, ¼], [0, 1]]; the second times the first
    flow = study.rollout([np.array([[first]]), np.array([[second]])])
    np.testing.assert_array_equal(flow, [[[0.8125, 0.1875], [0.25, 0.75]]])
    calls = [call_with([[first]], [[first]], "0"), call_with([[second]], [[second]], "1")]
    np.testing.assert_array_equal(study.rollout(calls), flow)
    np.testing.assert_array_equal(study.rollout(tuple(map(Tensor, ([[first]], [[second]])))), flow)


@given(st.integers(0, 10**6), st.sampled_from(list(FUSED)), st.floats(0, 1))
def test_rows_of_a_rollout_sum_to_one_and_positions_may_be_renamed(
    seed: int, heads: str, residual: float
) -> None:
    rng = np.random.default_rng(seed)
    layers = random_weights(rng)
    flow = study.rollout(layers, residual=residual, heads=heads)
    np.testing.assert_allclose(flow.sum(axis=-1), 1, rtol=1e-12)
    assert (flow >= 0).all()
    order = rng.permutation(4)
    renamed = [P[:, rng.permutation(P.shape[1])][:, :, order][..., order] for P in layers]
    np.testing.assert_allclose(
        study.rollout(renamed, residual=residual, heads=heads),
        flow[:, order][..., order],
        rtol=1e-12,
        atol=1e-15,
    )


@pytest.mark.parametrize("name", ["GPT", "Llama"])
def test_a_causal_model_draws_on_nothing_later(name: str) -> None:
    calls, _ = asked(name)
    for flow in (study.rollout(calls), study.relevance(calls)):
        assert flow.shape == (2, 5, 5)
        assert not np.triu(flow, 1).any()
        assert np.tril(flow, -1).any()


def test_a_query_that_sees_nothing_draws_on_itself() -> None:
    weights = np.array([[[[0.0, 0.0], [0.25, 0.75]]]])
    np.testing.assert_array_equal(study.rollout([weights])[0], [[1, 0], [0.125, 0.875]])
    np.testing.assert_array_equal(study.rollout([weights], residual=0), weights[:, 0])


# ── relevance ────────────────────────────────────────────────────────────────────────────────────
def positive_by_loops(call: study.Call) -> Array:
    """Eq. 5, element by element."""
    B, H, T, S = call.weights.shape
    part = np.zeros((B, T, S))
    for b, h, i, j in product(range(B), range(H), range(T), range(S)):
        part[b, i, j] += max(call.weights[b, h, i, j] * call.gradient[b, h, i, j], 0.0) / H
    return part


def relevance_by_loops(calls: Sequence[study.Call]) -> Array:
    """Eq. 6, element by element."""
    B, _, T, _ = calls[0].weights.shape
    flow = np.stack([np.eye(T)] * B)
    for call in calls:
        part, before = positive_by_loops(call), flow.copy()
        for b, i, j, k in product(range(B), range(T), range(T), range(T)):
            flow[b, i, j] += part[b, i, k] * before[b, k, j]
    return flow


@pytest.mark.parametrize("name", ["GPT", "Llama", "BERT", "ViT"])
def test_relevance_is_what_the_paper_says(name: str) -> None:
    calls, _ = asked(name)
    flow = study.relevance(calls)
    np.testing.assert_allclose(flow, relevance_by_loops(calls), rtol=1e-12, atol=1e-15)
    assert np.abs(flow - np.eye(flow.shape[-1])).max() > 1e-3


def test_relevance_by_hand() -> None:
    first = call_with([[[[0.5, 0.5], [1, 0]]]], [[[[2, -2], [3, 5]]]], "0")  # Ā = [[1, 0], [3, 0]]
    second = call_with(
        [[[[0.5, 0.5], [0, 1]], [[1, 0], [1, 0]]]], [[[[0, 4], [1, 2]], [[-1, 0], [2, 0]]]], "1"
    )  # Ā = [[0, 1], [1, 1]]
    # I + Ā₁ = [[2, 0], [3, 1]]; times I + Ā₂ = [[1, 1], [1, 2]]
    np.testing.assert_array_equal(study.relevance([first, second]), [[[5, 1], [8, 2]]])
    np.testing.assert_array_equal(study.relevance([second, first]), [[[2, 2], [4, 5]]])


def test_without_gradients_everything_speaks_for_itself_alone(rng: np.random.Generator) -> None:
    weights = random_weights(rng)
    for factor in (0, -1):  # no gradient, and weights that all speak against the logit
        calls = [call_with(P, np.full(P.shape, factor), str(i)) for i, P in enumerate(weights)]
        np.testing.assert_array_equal(study.relevance(calls), [np.eye(4)] * 2)


def test_relevance_of_one_sequence_does_not_depend_on_the_others() -> None:
    calls, _ = asked("ViT")
    model = in_double(vit())
    with study.observed(model) as alone:
        logits = model(IMAGES[1:])
    logits[0, 3].backward()
    np.testing.assert_allclose(study.relevance(calls)[1:], study.relevance(alone), rtol=1e-12)


# ── relevance of a source ────────────────────────────────────────────────────────────────────────
def halves(calls: Sequence[study.Call]) -> list[list[study.Call]]:
    return [[c for c in calls if c.name.startswith(part)] for part in ("encoder", "decoder")]


def normalised_by_loops(flow: Array) -> Array:
    """Eq. 8 and 9, element by element."""
    result = flow.copy()
    for b, i in np.ndindex(flow.shape[:2]):
        rest = [flow[b, i, j] - (i == j) for j in range(flow.shape[2])]
        for j, x in enumerate(rest):
            result[b, i, j] = (x / sum(rest) if sum(rest) else 0.0) + (i == j)
    return result


def cross_relevance_by_loops(encoder: Sequence[study.Call], decoder: Sequence[study.Call]) -> Array:
    """Eq. 7 and 10, element by element."""
    source = normalised_by_loops(relevance_by_loops(encoder))
    B, T, S = len(source), decoder[0].weights.shape[2], source.shape[1]
    target, flow = np.stack([np.eye(T)] * B), np.zeros((B, T, S))
    for call in decoder:
        part, flow_before, target_before = positive_by_loops(call), flow.copy(), target.copy()
        for b, i, k in product(range(B), range(T), range(T)):
            if call.cross:
                weight = normalised_by_loops(target)[b, k, i]  # transposed
                for j, m in product(range(S), range(S)):
                    flow[b, i, j] += weight * part[b, k, m] * source[b, m, j]
            else:
                flow[b, i] += part[b, i, k] * flow_before[b, k]
                target[b, i] += part[b, i, k] * target_before[b, k]
    return flow


def test_relevance_of_a_source_is_what_the_paper_says() -> None:
    calls, _ = asked("Transformer")
    encoder, decoder = halves(calls)
    flow = study.cross_relevance(encoder, decoder)
    assert flow.shape == (2, 3, 5)
    np.testing.assert_allclose(
        flow, cross_relevance_by_loops(encoder, decoder), rtol=1e-12, atol=1e-15
    )
    assert flow.max() > 1e-3
    assert not flow[1, :, 3:].any()  # padding


def test_relevance_of_a_source_by_hand() -> None:
    encoder = [call_with([[[[0.5, 0.5], [1, 0]]]], [[[[0, 6], [0, 1]]]], "e")]  # Ā = [[0, 3], 0]
    cross = call_with([[[[0.25, 0.75]]]], [[[[4, 4]]]], "d", cross=True)  # Ā = [[1, 3]]
    # eq. 8 and 9 make [[1, 1], [0, 1]] of the encoder's [[1, 3], [0, 1]]
    np.testing.assert_array_equal(study.cross_relevance(encoder, [cross]), [[[1, 4]]])


# ── what is refused ──────────────────────────────────────────────────────────────────────────────
def ones(*shape: int) -> Array:
    return np.ones(shape)


def known(*shape: int, name: str = "attn", cross: bool = False) -> study.Call:
    return call_with(ones(*shape), ones(*shape), name, cross)


def anything(value: Any) -> Any:
    """`value`, of which a type checker knows nothing."""
    return value


SELF, CROSS = known(1, 2, 3, 3, name="self"), known(1, 2, 3, 5, name="cross", cross=True)
ENCODER = known(1, 2, 5, 5, name="encoder")
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no calls": (lambda: study.rollout([]), ShapeError, "call the model inside `observed`"),
    "one call": (lambda: study.rollout(anything(SELF)), DTypeError, "a list of calls"),
    "text": (lambda: study.rollout("ab"), DTypeError, "got a str"),
    "lists of calls": (lambda: study.rollout([[SELF]]), DTypeError, "got a list"),
    "one layer's weights": (
        lambda: study.rollout(ones(2, 3, 3)),
        ShapeError,
        r"expected the weights \(B, heads, T, T\) of self-attention, got \(3, 3\) from layer 0",
    ),
    "no batch": (lambda: study.rollout([ones(2, 3, 3)]), ShapeError, r"got \(2, 3, 3\)"),
    "no head": (lambda: study.rollout([ones(1, 0, 3, 3)]), ShapeError, r"\(1, 0, 3, 3\)"),
    "different lengths": (
        lambda: study.rollout([ones(1, 2, 3, 5)]),
        ShapeError,
        r"\(1, 2, 3, 5\) from layer 0",
    ),
    "cross-attention": (
        lambda: study.rollout([SELF, known(1, 2, 3, 3, name="cross", cross=True)]),
        ShapeError,
        r"rollout: cross is cross-attention \(1, 2, 3, 3\); leave it out",
    ),
    "another encoder": (
        lambda: study.rollout([SELF, known(1, 2, 5, 5, name="other")]),
        ShapeError,
        r"other has weights \(1, 2, 5, 5\) but self \(1, 2, 3, 3\)",
    ),
    "another batch": (
        lambda: study.rollout([ones(1, 2, 3, 3), ones(2, 2, 3, 3)]),
        ShapeError,
        r"layer 1 has weights \(2, 2, 3, 3\) but layer 0 \(1, 2, 3, 3\)",
    ),
    "two passes": (
        lambda: study.rollout([SELF, ENCODER, SELF, ENCODER]),
        ShapeError,
        r"self was called 2 times; give the calls of one pass, such as the last, calls\[-2:\]",
    ),
    "residual": (lambda: study.rollout([SELF], residual=1.5), ShapeError, "from 0 to 1, got .*1.5"),
    "heads": (
        lambda: study.rollout([SELF], heads="sum"),
        ShapeError,
        "'mean', 'max', 'min'.*'sum'",
    ),
    "relevance of weights": (
        lambda: study.relevance([anything(ones(1, 2, 3, 3))]),
        DTypeError,
        "expected calls that `observed` collected.* got a ndarray",
    ),
    "relevance of cross-attention": (
        lambda: study.relevance([SELF, CROSS]),
        ShapeError,
        "cross is cross-attention",
    ),
    "relevance of two passes": (
        lambda: study.relevance([SELF, SELF]),
        ShapeError,
        r"self was called 2 times.*calls\[-1:\]",
    ),
    "no cross-attention": (
        lambda: study.cross_relevance([ENCODER], [SELF]),
        ShapeError,
        "no cross-attention among the decoder's calls",
    ),
    "no decoder": (lambda: study.cross_relevance([ENCODER], []), ShapeError, "there are no calls"),
    "another encoder's decoder": (
        lambda: study.cross_relevance([known(1, 2, 7, 7, name="encoder")], [SELF, CROSS]),
        ShapeError,
        r"cross has weights \(1, 2, 3, 5\), expected .* \(1, 3, 7\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_input_is_named(name: str) -> None:
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        call()


def test_what_stands_for_the_refused_is_accepted() -> None:
    assert study.rollout([SELF]).shape == (1, 3, 3)
    assert study.rollout(ones(2, 1, 4, 3, 3)).shape == (1, 3, 3)  # layers in one array
    assert study.cross_relevance([ENCODER], [SELF, CROSS]).shape == (1, 3, 5)
    assert study.rollout([ones(0, 2, 3, 3)]).shape == (0, 3, 3)
    assert study.rollout([ones(2, 2, 0, 0)]).shape == (2, 0, 0)
