"""Language models, GPT and Llama alike: causality, the cache, generation, and wrong input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, IndexingError, ShapeError, nn
from tinygrad_attn.models import GPT, GPTConfig, Llama, LlamaConfig

Array = np.ndarray[Any, Any]
TOKENS = np.array([[3, 0, 6, 2], [1, 1, 5, 4], [5, 2, 2, 0]])


def gpt(**changes: Any) -> GPT:
    sizes = {"vocab_size": 7, "max_length": 9, "num_layers": 2, "num_heads": 2, "d_model": 6}
    return GPT(GPTConfig(**{**sizes, **changes}), rng=np.random.default_rng(0))


def llama(num_kv_heads: int = 4, **changes: Any) -> Llama:
    sizes = {"vocab_size": 7, "max_length": 9, "num_layers": 2, "num_heads": 4, "d_model": 8}
    config = LlamaConfig(**{"d_ff": 11, "num_kv_heads": num_kv_heads, **sizes, **changes})
    return Llama(config, rng=np.random.default_rng(0))


MODELS: dict[str, Callable[..., Any]] = {
    "GPT": gpt,
    "GPT without biases": lambda **changes: gpt(bias=False, **changes),
    "Llama": llama,
    "Llama, grouped heads": lambda **changes: llama(2, **changes),
    "Llama, one key head, tied": lambda **changes: llama(1, tied=True, **changes),
}
every_model = pytest.mark.parametrize("name", MODELS)
both = pytest.mark.parametrize("made", [gpt, llama], ids=["GPT", "Llama"])


def sharp(model: Any, dtype: type = np.float64) -> Any:
    """Weights so large that the tokens matter."""
    for parameter in model.astype(dtype).parameters():
        parameter.data = parameter.data * 10
    return model


# ── causality ────────────────────────────────────────────────────────────────────────────────────
@every_model
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_future_token_changes_no_earlier_output_bit_for_bit(name: str, dtype: type) -> None:
    model = sharp(MODELS[name](), dtype)
    sequence = np.random.default_rng(0).integers(0, 7, (3, 9))
    before = model(sequence).data
    for at in range(9):
        changed = sequence.copy()
        changed[:, at:] = (changed[:, at:] + 1) % 7
        after = model(changed).data
        np.testing.assert_array_equal(after[:, :at], before[:, :at])
        assert (after[:, at] != before[:, at]).any(-1).all()


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_at_sizes_where_products_are_computed_in_blocks(made: Any, dtype: type) -> None:
    model = sharp(made(max_length=131, d_model=64, num_heads=4), dtype)
    sequence = np.random.default_rng(0).integers(0, 7, (2, 131))
    before = model(sequence).data
    for at in (1, 64, 130):
        changed = sequence.copy()
        changed[:, at:] = (changed[:, at:] + 3) % 7
        np.testing.assert_array_equal(model(changed).data[:, :at], before[:, :at])


# ── cache ────────────────────────────────────────────────────────────────────────────────────────
@every_model
@pytest.mark.parametrize("sizes", [(1,) * 9, (4, 1, 3, 1), (9,)])
def test_logits_with_the_cache_equal_those_without(name: str, sizes: tuple[int, ...]) -> None:
    model = sharp(MODELS[name]())
    sequence = np.random.default_rng(0).integers(0, 7, (3, 9))
    cache, parts = model.new_cache(), []
    for part in np.split(sequence, np.cumsum(sizes)[:-1], axis=1):
        parts.append(model(part, cache).data)
    whole = model(sequence).data
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=1e-12, atol=1e-12)
    assert repr(cache[0]) == "KVCache(9 of 9 positions)"


OPTIONS = ({}, {"temperature": 0}, {"top_k": 3}, {"top_p": 0.8}, {"temperature": 3.0, "top_k": 5})


@every_model
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_generation_with_the_cache_equals_generation_without(
    name: str, options: dict[str, Any]
) -> None:
    """Also beyond max_length, where positions move and the cache no longer helps."""
    model = sharp(MODELS[name]())
    out, again = (
        model.generate(TOKENS, 14, rng=np.random.default_rng(3), use_cache=use, **options)
        for use in (True, False)
    )
    np.testing.assert_array_equal(out, again)
    assert len(np.unique(out[:, 4:])) > 2


@every_model
def test_logits_of_generation_are_those_of_the_last_tokens(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step by step what the model says to the last max_length tokens, cached or not."""
    model, seen = sharp(MODELS[name]()), []
    following = model.following

    def watched(*args: Any) -> Array:
        seen.append(following(*args))
        return seen[-1]

    monkeypatch.setattr(model, "following", watched)
    out = model.generate(TOKENS, 9, rng=np.random.default_rng(3))
    for end, logits in enumerate(seen, start=4):
        expected = model(out[:, max(0, end - 9) : end]).data[:, -1]
        np.testing.assert_allclose(logits, expected, rtol=1e-12, atol=1e-12)
    assert len(seen) == 9


@both
def test_gradients_flow_through_the_cache(made: Any) -> None:
    """Two halves one after the other, the second seeing the first, give the whole's gradients."""
    model, again = sharp(made()), sharp(made())
    targets = np.roll(TOKENS, -1, axis=1)
    model.loss(TOKENS, targets).backward()
    cache = again.new_cache()
    logits = ta.concat([again(TOKENS[:, :3], cache), again(TOKENS[:, 3:], cache)], 1)
    nn.functional.cross_entropy(logits, targets).backward()
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        np.testing.assert_allclose(one.grad.data, other.grad.data, rtol=1e-10, atol=1e-13)


@both
def test_a_cache_that_does_not_fit_is_refused_and_left_alone(made: Any) -> None:
    model, name = made(), made.__name__.replace("gpt", "GPT").replace("llama", "Llama")
    for wrong in (nn.KVCache(), [None, None]):
        with pytest.raises(DTypeError, match=rf"{name}: expected a list .* as model.new_cache\(\)"):
            model(TOKENS, cache=wrong)
    cache = model.new_cache()
    model(TOKENS, cache)
    with pytest.raises(ShapeError, match=rf"{name}: .* for each of 2 blocks, got .* \[4\]"):
        model(TOKENS, cache[:1])
    with pytest.raises(ShapeError, match=r"for each of 2 blocks, got the lengths \[\]"):
        model(TOKENS, [])
    with pytest.raises(ShapeError, match=r"max_length=9 tokens in a row, got \(3, 6\) after 4 in"):
        model(np.zeros((3, 6), int), cache)
    with pytest.raises(ShapeError, match="KVCache: holds keys"):
        model(TOKENS[:2], cache)
    assert [one.length for one in cache] == [4, 4]


# ── generation ───────────────────────────────────────────────────────────────────────────────────
@both
def test_generation_continues_the_tokens_and_restores_the_mode(made: Any) -> None:
    model = made()
    model.blocks[0].eval()
    modes = [module.training for module in model.modules()]
    out = model.generate(TOKENS, 6, rng=np.random.default_rng(0))
    assert out.shape == (3, 10)
    np.testing.assert_array_equal(out[:, :4], TOKENS)
    assert out.min() >= 0
    assert out.max() < 7
    assert [module.training for module in model.modules()] == modes
    assert set(modes) == {True, False}
    np.testing.assert_array_equal(out, model.generate(TOKENS, 6, rng=np.random.default_rng(0)))
    assert (out != model.generate(TOKENS, 6, rng=np.random.default_rng(1))).any()
    assert model(TOKENS).requires_grad


@every_model
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_stream_draws_what_generation_draws(name: str, options: dict[str, Any]) -> None:
    """Also beyond max_length; each token is the caller's own to change."""
    model, drawn = sharp(MODELS[name]()), []
    for token in model.stream(TOKENS, 8, rng=np.random.default_rng(3), **options):
        drawn.append(token.copy())
        token[:] = 0
    out = model.generate(TOKENS, 8, rng=np.random.default_rng(3), **options)
    np.testing.assert_array_equal(np.stack(drawn, 1), out[:, 4:])
    assert {token.dtype for token in drawn} == {np.dtype(np.int64)}


@both
@pytest.mark.parametrize(("use_cache", "lengths"), [(True, [4, 1, 1]), (False, [4, 5, 6])])
def test_a_stream_computes_each_position_once(
    made: Any, use_cache: bool, lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = made(), []
    forward = type(model).forward

    def watched(self: Any, tokens: Array, cache: Any = None) -> Any:
        seen.append(tokens.shape[1])
        return forward(self, tokens, cache)

    monkeypatch.setattr(type(model), "forward", watched)
    assert len(list(model.stream(TOKENS, 3, use_cache=use_cache))) == 3
    assert seen == lengths


@both
def test_between_two_tokens_everything_is_the_callers(made: Any) -> None:
    """Its mode, and the recording of its operations; also where it stops early or switches."""
    model = made()
    model.blocks[0].eval()
    modes = [module.training for module in model.modules()]
    stream = model.stream(TOKENS, 5)
    for _ in range(2):
        next(stream)
        assert [module.training for module in model.modules()] == modes
        assert model(TOKENS).requires_grad
    with ta.no_grad():
        next(stream)
        assert not model(TOKENS).requires_grad
    assert model(TOKENS).requires_grad
    model.train()
    stream.close()
    assert all(module.training for module in model.modules())
    model.eval()
    assert len(list(model.stream(TOKENS, 2))) == 2
    assert not any(module.training for module in model.modules())


def test_a_stream_drops_nothing_though_the_model_is_training() -> None:
    model = sharp(gpt(dropout=0.5))
    drawn = [next(model.stream(TOKENS, 1, temperature=0)) for _ in range(3)]
    assert model.training
    for token in drawn:
        np.testing.assert_array_equal(token, model.eval().generate(TOKENS, 1, temperature=0)[:, 4])


def test_generation_does_not_drop() -> None:
    model = sharp(gpt(dropout=0.5))
    out = model.generate(TOKENS, 4, temperature=0)
    assert model.training
    np.testing.assert_array_equal(out, model.eval().generate(TOKENS, 4, temperature=0))


@both
def test_greedy_generation_takes_the_most_probable_token(made: Any) -> None:
    model = sharp(made(max_length=5))
    out = model.generate(TOKENS, 4, temperature=0)
    for length in range(4, 8):
        logits = model(out[:, max(0, length - 5) : length]).data[:, -1]
        np.testing.assert_array_equal(out[:, length], logits.argmax(-1))
    for options in ({"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-320}):
        np.testing.assert_array_equal(out, model.generate(TOKENS, 4, **options))


def test_options_may_be_numpys() -> None:
    model = sharp(gpt(vocab_size=300, max_length=200))
    out = model.generate(np.repeat(TOKENS, 40, 1), np.int8(3), temperature=0)
    assert out.shape == (3, 163)
    options: dict[str, Any] = {"temperature": 0.5, "top_k": 3, "top_p": 0.5}
    ours = model.generate(TOKENS, 3, rng=np.random.default_rng(0), **options)
    kinds = {"temperature": ta.Tensor(0.5), "top_k": np.uint8(3), "top_p": np.float32(0.5)}
    again = model.generate(TOKENS, np.uint8(3), rng=np.random.default_rng(0), **kinds)
    np.testing.assert_array_equal(ours, again)


def test_draws_follow_the_distribution() -> None:
    model = gpt(max_length=5)
    for parameter in model.parameters():
        parameter.data = parameter.data * 8
    many = np.repeat(TOKENS[:1], 4000, axis=0)
    logits = model(TOKENS[:1]).data[0, -1].astype(float)
    draws = model.generate(many, 1, temperature=2.0, rng=np.random.default_rng(0))[:, -1]
    p = np.exp(logits / 2) / np.exp(logits / 2).sum()
    np.testing.assert_allclose(np.bincount(draws, minlength=7) / 4000, p, atol=0.03)
    even = model.generate(many, 1, temperature=np.inf, rng=np.random.default_rng(0))[:, -1]
    np.testing.assert_allclose(np.bincount(even, minlength=7) / 4000, 1 / 7, atol=0.03)
    few = model.generate(many, 1, top_k=3, rng=np.random.default_rng(0))[:, -1]
    assert set(few) == set(np.argsort(logits)[-3:])
    order, p = np.argsort(-logits), np.exp(logits) / np.exp(logits).sum()
    total = p[order[:3]].sum()
    for top_p, count in ((total - 1e-6, 3), (total + 1e-6, 4), (1e-9, 1), (1.0, 7)):
        most = model.generate(many, 1, top_p=top_p, rng=np.random.default_rng(0))[:, -1]
        assert set(most) == set(order[:count])
    both = model.generate(many, 1, top_k=3, top_p=0.999, rng=np.random.default_rng(0))[:, -1]
    np.testing.assert_array_equal(both, few)


@both
@pytest.mark.parametrize("use_cache", [True, False])
def test_a_prompt_longer_than_the_model_sees(made: Any, use_cache: bool) -> None:
    model = sharp(made(max_length=3))
    out = model.generate(TOKENS, 2, temperature=0, use_cache=use_cache)
    expected = model.generate(TOKENS[:, -3:], 2, temperature=0, use_cache=use_cache)
    np.testing.assert_array_equal(out[:, 1:], expected)


@both
def test_each_sequence_of_a_batch_is_alone(made: Any) -> None:
    model = sharp(made())
    out = model.generate(TOKENS, 7, temperature=0)
    for i in range(3):
        alone = model.generate(TOKENS[i : i + 1], 7, temperature=0)
        np.testing.assert_array_equal(alone[0], out[i])


@both
@pytest.mark.parametrize("use_cache", [True, False])
def test_no_step_and_no_sequence(made: Any, use_cache: bool) -> None:
    model = made()
    out = model.generate(TOKENS, 0, use_cache=use_cache)
    np.testing.assert_array_equal(out, TOKENS)
    out[:] = 0
    assert TOKENS.any()  # the result is a new array
    options: dict[str, Any] = {"use_cache": use_cache, "top_k": 2, "top_p": 0.5}
    assert model.generate(TOKENS[:0], 6, **options).shape == (0, 10)
    assert model(TOKENS[:0]).shape == (0, 4, 7)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint64, np.ndarray.tolist, ta.Tensor])
def test_tokens_of_any_kind_of_integer(kind: Any) -> None:
    model = sharp(gpt())
    given = (
        TOKENS.astype(kind) if isinstance(kind, type) and kind is not ta.Tensor else kind(TOKENS)
    )
    out = model.generate(given, 3, temperature=0)
    assert out.dtype == np.int64
    np.testing.assert_array_equal(out, model.generate(TOKENS, 3, temperature=0))


# ── wrong input ──────────────────────────────────────────────────────────────────────────────────
@both
def test_wrong_tokens(made: Any) -> None:
    model = made()
    name = type(model).__name__
    uses = (model, lambda tokens: model.generate(tokens, 3), lambda tokens: model.stream(tokens, 3))
    for use in uses:
        with pytest.raises(IndexingError, match=rf"{name}: tokens must lie in \[0, 7\), got 0 … 7"):
            use([[0, 7]])
        with pytest.raises(IndexingError, match=r"got -1 … 3"):
            use([[3, -1]])
        for wrong in ([[0.5]], [[True]], [["a"]], None):
            with pytest.raises(DTypeError, match=f"{name}: tokens must be an array of integers"):
                use(wrong)
        for wrong in (np.ones(2, int), np.zeros((1, 1, 1), int)):
            with pytest.raises(ShapeError, match=rf"{name}: expected tokens \(B, T\), got"):
                use(wrong)
        with pytest.raises(ShapeError, match=f"{name}: tokens must all have one length; pad"):
            use([[1], [1, 2]])
    for use in uses[1:]:
        with pytest.raises(ShapeError, match=rf"{name}.generate: expected at least one token to"):
            use(np.zeros((1, 0), int))
    with pytest.raises(ShapeError, match=rf"{name}: expected at most max_length=9 .* \(1, 10\)"):
        model(np.zeros((1, 10), int))


@both
@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
def test_no_sequences_and_no_tokens(made: Any, shape: tuple[int, int]) -> None:
    model, tokens = made(), np.zeros(shape, int)
    logits = model(tokens)
    assert logits.shape == (*shape, 7)
    loss = model.loss(tokens, tokens)
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.data.any() for p in model.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"temperature": np.nan},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": np.nan},
        {"steps": -1},
    ],
)
@pytest.mark.parametrize("way", ["generate", "stream"])
def test_wrong_options_of_generate(way: str, options: dict[str, Any]) -> None:
    """A stream refuses them when it is made, before a token is asked for."""
    with pytest.raises(ShapeError, match="expected temperature ≥ 0, steps ≥ 0, top_k ≥ 1 and 0 <"):
        getattr(gpt(), way)(TOKENS, **{"steps": 1, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3.0}, "generate: steps must be an integer, got 3.0"),
        ({"steps": None}, "generate: steps must be an integer, got None"),
        ({"steps": True}, "generate: steps must be an integer, got True"),
        ({"top_k": "a"}, "generate: top_k must be an integer, got 'a'"),
        ({"top_k": 2.5}, "generate: top_k must be an integer, got 2.5"),
        ({"temperature": "a"}, "generate: temperature must be a number, got 'a'"),
        ({"temperature": None}, "generate: temperature must be a number, got None"),
        ({"top_p": "a"}, "generate: top_p must be a number, got 'a'"),
        ({"rng": 3}, "rng: expected an np.random.Generator or None, got int"),
    ],
)
@pytest.mark.parametrize("way", ["generate", "stream"])
def test_options_of_generate_of_a_wrong_kind(
    way: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DTypeError, match=message):
        getattr(gpt(), way)(TOKENS, **{"steps": 1, **options})


@both
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_has_diverged(made: Any, value: float) -> None:
    """The mode is restored after an error too."""
    model = made()
    list(model.parameters())[-1].data = np.full_like(list(model.parameters())[-1].data, value)
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ShapeError, match="generate: the logits are not finite; look for NaN"),
    ):
        model.generate(TOKENS, 1)
    assert model.training
