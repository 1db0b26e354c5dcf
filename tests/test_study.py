"""Studies: what is observed is what happened, and nothing else changes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from numeric import by_complex_step, error
from studied import ASKED, NAMES, TOKENS, Array, asked, bert, call_with, gpt, in_double

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, GraphError, ShapeError, Tensor, models, nn, study

STEPS = sys.modules["tinygrad_attn.nn.functional.attention"]
DIGITS = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-13}
Same = Callable[[Any, Any], None]


@pytest.fixture(params=["off", None], ids=["definitions", "kernels"])
def same(request: pytest.FixtureRequest) -> Iterator[Same]:
    """Refuses what is not alike: what is observed are definitions, and kernels round otherwise."""
    with ta.kernels.use(request.param):
        yield np.testing.assert_array_equal if request.param == "off" else alike


def alike(actual: Array, expected: Array) -> None:
    tolerance = DIGITS[expected.dtype] * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


# ── what is observed ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", ASKED)
def test_every_layer_of_every_model_is_observed_and_nothing_changes(name: str, same: Same) -> None:
    make, inputs = ASKED[name]
    model = make().eval()
    expected = model(*inputs).data
    with study.observed(model) as calls:
        same(model(*inputs).data, expected)
    assert [call.name for call in calls] == NAMES[name]
    assert [call.cross for call in calls] == ["multihead" in call.name for call in calls]
    for call in calls:
        np.testing.assert_allclose(call.weights.sum(axis=-1), 1, rtol=1e-5)
        assert call.weights.shape[:2] == (2, 2)
    model(*inputs)
    assert len(calls) == len(NAMES[name])  # observed no more
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("name", ["GPT", "BERT", "ViT", "Transformer"])
def test_the_same_weights_are_dropped(name: str, same: Same) -> None:
    make, inputs = ASKED[name]
    plain, watched = make(dropout=0.4), make(dropout=0.4)
    expected = plain(*inputs).data
    with study.observed(watched):
        same(watched(*inputs).data, expected)
    assert not np.array_equal(plain.eval()(*inputs).data, expected)


@pytest.mark.parametrize("name", ASKED)
def test_gradients_of_the_parameters_do_not_change(name: str, same: Same) -> None:
    make, inputs = ASKED[name]
    one, other = in_double(make()), in_double(make())
    g = np.random.default_rng(4).standard_normal(one(*inputs).shape)
    one(*inputs).backward(g)
    with study.observed(other):
        other(*inputs).backward(g)
    ours, theirs = ([p.grad for p in model.parameters()] for model in (one, other))
    assert [g is None for g in ours] == [g is None for g in theirs]
    same(*(np.concatenate([g.data.ravel() for g in gs if g is not None]) for gs in (theirs, ours)))


def test_weights_are_those_the_model_returns() -> None:
    model = bert().eval()
    with study.observed(model) as calls:
        _, returned = model(TOKENS, return_weights=True)
    for call, weights in zip(calls, returned, strict=True):
        np.testing.assert_array_equal(call.weights, weights.data)


def test_callers_of_a_layer_get_what_they_ask_for(rng: np.random.Generator) -> None:
    layer = nn.MultiHeadAttention(6, 2, rng=np.random.default_rng(0))
    x, keys, mask = (
        Tensor(rng.standard_normal((2, 3, 6))),
        rng.standard_normal((2, 5, 6)),
        np.eye(3, 5) > 0,
    )
    arguments: list[tuple[list[Any], dict[str, Any]]] = [
        ([x], {"causal": True}),
        ([x, keys], {}),
        ([x, keys, keys, mask], {}),
        ([x], {"keys": keys, "mask": mask}),
        ([], {"x": x}),
        ([x, x], {}),
    ]
    with study.observed(layer) as calls:
        for args, options in arguments:
            out, weights = layer(*args, **options, return_weights=True)
            same, stages = layer(*args, **options, return_stages=True, return_weights=True)
            assert isinstance(stages, nn.Stages)
            np.testing.assert_array_equal(layer(*args, **options).data, out.data)
            np.testing.assert_array_equal(same.data, out.data)
            np.testing.assert_array_equal(weights.data, stages.weights.data)
    assert [call.name for call in calls] == ["MultiHeadAttention"] * 18
    assert [call.cross for call in calls[::3]] == [False, True, True, True, False, False]
    for args, options in arguments:
        np.testing.assert_array_equal(
            layer(*args, **options, return_weights=True)[1].data, calls.pop(0).weights
        )
        del calls[:2]


def test_blocks_inside_each_other() -> None:
    model = gpt()
    with study.observed(model) as outer:
        model(TOKENS)
        with study.observed(model.blocks[1]) as inner:
            model(TOKENS)
        model(TOKENS)
    model(TOKENS)
    assert [call.name for call in outer] == NAMES["GPT"] * 3
    assert [call.name for call in inner] == ["attn"]
    assert inner[0].stages is outer[3].stages


def test_an_error_inside_leaves_nothing_behind() -> None:
    model = gpt()

    def failing() -> None:
        with study.observed(model), study.observed(model.blocks[0]):
            model(TOKENS)
            model(TOKENS + 7)

    with pytest.raises(ta.IndexingError):
        failing()
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_call_that_fails_is_not_counted() -> None:
    layer = nn.MultiHeadAttention(6, 2)
    with study.observed(layer) as calls, pytest.raises(ShapeError):
        layer(np.ones((2, 3, 5)))
    assert calls == []


def test_generation_is_observed_step_by_step() -> None:
    model = gpt()
    expected = model.generate(TOKENS[:, :3], 3, temperature=0)
    with study.observed(model) as calls:
        np.testing.assert_array_equal(model.generate(TOKENS[:, :3], 3, temperature=0), expected)
    assert [call.weights.shape[2:] for call in calls[::2]] == [(3, 3), (1, 4), (1, 5)]


# ── the gradient of the weights ──────────────────────────────────────────────────────────────────
def moved_weights(monkeypatch: pytest.MonkeyPatch, place: int, step: Array) -> None:
    """Add `step` to the weights of the attention that is computed at this place of a pass."""
    normalised = STEPS.normalised
    seen: list[None] = []

    def inner(*args: Any) -> Any:
        seen.append(None)
        weights = normalised(*args)
        return weights + Tensor(step) if len(seen) == place + 1 else weights

    monkeypatch.setattr(STEPS, "normalised", inner)


def gradient_errors(name: str, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Of the gradients of the weights of each layer, against what moving the weights does."""
    make, inputs = ASKED[name]
    inputs = [x[:1] if x.ndim > 2 else x[:1, :3] for x in inputs]
    model = in_double(make())
    with study.observed(model) as calls:
        out = model(*inputs)
    g = np.random.default_rng(5).standard_normal(out.shape)
    out.backward(g)

    def moved(place: int) -> Callable[[Array], Array]:
        def f(step: Array) -> Array:
            with monkeypatch.context() as patch, ta.kernels.use("off"), ta.no_grad():
                moved_weights(patch, place, step)
                return model(*inputs).data

        return f

    return [
        error(call.gradient, by_complex_step(moved(i), [np.zeros(call.weights.shape)], [g], 0))
        for i, call in enumerate(calls)
    ]


@pytest.mark.parametrize("name", ASKED)
def test_gradients_are_what_moving_the_weights_does(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = gradient_errors(name, monkeypatch)
    assert len(errors) == len(NAMES[name])
    assert max(errors) < 1e-11


def test_a_planted_fault_in_the_gradient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with ta.matmul.replaced_vjp("a", lambda g, b: 1.001 * g @ b.mT):
        assert max(gradient_errors("GPT", monkeypatch)) > 1e-4


def test_attribution_is_what_is_lost_without_a_weight() -> None:
    (call, *_), _ = asked("BERT")
    assert call.attribution.shape == (2, 2, 5, 5)
    for index in np.ndindex(call.weights.shape):
        assert call.attribution[index] == call.weights[index] * call.gradient[index]


def test_without_backward_there_is_no_gradient() -> None:
    model = gpt()
    with study.observed(model) as calls:
        loss = model.loss(TOKENS, TOKENS)
    message = r"blocks\.0\.attn: no gradient has reached .* \.backward\(\)"
    for what in ("gradient", "attribution"):
        with pytest.raises(GraphError, match=message):
            getattr(calls[0], what)
    with pytest.raises(GraphError, match=message):
        study.relevance(calls)
    loss.backward()
    assert calls[0].gradient.any()
    with study.observed(model) as calls, ta.no_grad():
        model(TOKENS)
    assert calls[0].weights.any()
    with pytest.raises(GraphError, match="outside no_grad"):
        study.relevance(calls)


def test_a_second_order_gradient_is_a_plain_array_too() -> None:
    model = gpt()
    with study.observed(model) as calls:
        model.loss(TOKENS, TOKENS).backward(create_graph=True)
    assert type(calls[0].gradient) is type(calls[0].weights) is np.ndarray
    model.zero_grad()


def test_what_a_call_says_of_itself() -> None:
    assert [field.name for field in fields(study.Call)] == ["name", "stages", "cross"]
    call = call_with(np.ones((1, 2, 3, 3)), np.ones((1, 2, 3, 3)), "blocks.0.attn")
    assert repr(call) == "Call('blocks.0.attn', weights=(1, 2, 3, 3), cross=False)"


# ── what is refused ──────────────────────────────────────────────────────────────────────────────
REFUSED: dict[str, tuple[Any, str]] = {
    "not a module": (3, "expected an nn.Module, got a int"),
    "no attention": (nn.Linear(2, 3), "no nn.MultiHeadAttention in this Linear"),
    "Seq2Seq": (
        models.Seq2Seq(models.Seq2SeqConfig(5, 7)),
        r"in this Seq2Seq.* model\.generate\(\.\.\., return_weights=True\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_observed_is_named(name: str) -> None:
    model, message = REFUSED[name]
    with pytest.raises(DTypeError, match=message), study.observed(model):
        pass
