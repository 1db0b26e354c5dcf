"""GPT: gradients, causality, learning, generation, memory, and wrong input."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from derivatives import of_parameters, worst_error

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, IndexingError, ShapeError, nn, optim
from tinygrad_attn.models import GPT, GPTConfig

CONFIG = GPTConfig(vocab_size=7, max_length=5, num_layers=2, num_heads=2, d_model=6)
TOKENS = np.array([[3, 0, 6, 2], [1, 1, 5, 4]])
TARGETS = np.array([[0, 6, 2, 2], [1, 5, 4, -100]])


def tiny(**changes: object) -> GPT:
    return GPT(GPTConfig(**{**vars(CONFIG), **changes}), rng=np.random.default_rng(0))


@pytest.mark.parametrize("order", [1, 2])
def test_every_gradient(order: int, rng: np.random.Generator) -> None:
    model = tiny(num_layers=1, d_model=2, vocab_size=7, max_length=4).astype(np.float64)
    for parameter in model.parameters():
        parameter.data = rng.standard_normal(parameter.shape) / 2
    f, weights = of_parameters(model, lambda: model.loss(TOKENS, TARGETS))
    assert worst_error(f, weights, order) < 1e-12


def test_names_and_sizes() -> None:
    model = tiny()
    names = [name for name, _ in model.named_parameters()]
    assert names[:6] == [
        "wte.weight",
        "wpe.weight",
        "blocks.0.ln_1.weight",
        "blocks.0.ln_1.bias",
        "blocks.0.attn.in_proj_weight",
        "blocks.0.attn.in_proj_bias",
    ]
    assert names[-2:] == ["ln_f.weight", "ln_f.bias"]
    width, inside = 6, 12 * 6 * 6 + 13 * 6
    assert sum(p.size for p in model.parameters()) == (7 + 5) * width + 2 * inside + 2 * width
    assert not any("bias" in name for name, _ in tiny(bias=False).named_parameters())


def test_initial_values_are_gpt2s() -> None:
    model = tiny(d_model=64, num_layers=8)
    state = model.state_dict()
    for name, array in state.items():
        if array.ndim == 2:
            joins = name.endswith(("out_proj.weight", "down.weight"))
            assert abs(array.std() / (0.005 if joins else 0.02) - 1) < 0.2, name
        else:
            np.testing.assert_array_equal(array, 0 if name.endswith("bias") else 1)
    assert abs(tiny().loss(TOKENS, TARGETS).item() - np.log(7)) < 0.02


def test_no_position_sees_the_future(rng: np.random.Generator) -> None:
    model, changed = tiny(), TOKENS.copy()
    before = model(TOKENS).data
    changed[:, 2] = (changed[:, 2] + 1) % 7
    after = model(changed).data
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert (before[:, 2] != after[:, 2]).all()
    assert (before[:, 3] != after[:, 3]).all()


def test_it_learns_to_repeat_a_sentence() -> None:
    model = tiny(d_model=16)
    sentence = np.array([[3, 0, 6, 2, 5, 1]])
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(150):
        loss = model.loss(sentence[:, :-1], sentence[:, 1:])
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.1
    np.testing.assert_array_equal(model.generate(sentence[:, :1], 5, temperature=0), sentence)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_training_repeats_bit_by_bit_from_a_seed(dropout: float) -> None:
    def losses() -> list[float]:
        ta.seed(11)
        model = GPT(GPTConfig(**{**vars(CONFIG), "dropout": dropout}))
        optimizer = optim.AdamW(model.parameters(), lr=0.01)
        found = []
        for _ in range(5):
            loss = model.loss(TOKENS, TARGETS)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            found.append(loss.item())
        return found

    assert losses() == losses()
    assert len(set(losses())) == 5


def test_dropout_acts_in_training_alone() -> None:
    model = tiny(dropout=0.5)
    assert (model(TOKENS).data != model(TOKENS).data).any()
    model.eval()
    np.testing.assert_array_equal(model(TOKENS).data, model(TOKENS).data)


# ── generation ───────────────────────────────────────────────────────────────────────────────────


def test_generation_continues_the_tokens_and_restores_the_mode() -> None:
    model = tiny(dropout=0.5)
    model.blocks[0].eval()
    out = model.generate(TOKENS, 6, rng=np.random.default_rng(0))
    assert out.shape == (2, 10)
    assert out.dtype == TOKENS.dtype
    np.testing.assert_array_equal(out[:, :4], TOKENS)
    assert out.min() >= 0
    assert out.max() < 7
    assert model.training
    assert not model.blocks[0].training
    assert model.blocks[1].training
    np.testing.assert_array_equal(out, model.generate(TOKENS, 6, rng=np.random.default_rng(0)))
    assert (out != model.generate(TOKENS, 6, rng=np.random.default_rng(1))).any()
    np.testing.assert_array_equal(model.generate(TOKENS, 0), TOKENS)


def test_greedy_generation_takes_the_most_probable_token() -> None:
    model = tiny()
    for parameter in model.parameters():
        parameter.data = parameter.data * 20
    out = model.generate(TOKENS, 4, temperature=0)
    for length in range(4, 8):
        logits = model(out[:, max(0, length - 5) : length]).data[:, -1]
        np.testing.assert_array_equal(out[:, length], logits.argmax(-1))
    np.testing.assert_array_equal(out, model.generate(TOKENS, 4, top_k=1))


def test_draws_follow_the_distribution() -> None:
    model = tiny()
    for parameter in model.parameters():
        parameter.data = parameter.data * 8
    many = np.repeat(TOKENS[:1], 4000, axis=0)
    logits = model(TOKENS[:1]).data[0, -1].astype(float)
    draws = model.generate(many, 1, temperature=2.0, rng=np.random.default_rng(0))[:, -1]
    p = np.exp(logits / 2) / np.exp(logits / 2).sum()
    np.testing.assert_allclose(np.bincount(draws, minlength=7) / 4000, p, atol=0.03)
    few = model.generate(many, 1, top_k=3, rng=np.random.default_rng(0))[:, -1]
    assert set(few) == set(np.argsort(logits)[-3:])
    order, p = np.argsort(-logits), np.exp(logits) / np.exp(logits).sum()
    total = p[order[:3]].sum()
    for top_p, count in ((total - 1e-6, 3), (total + 1e-6, 4), (1e-9, 1), (1.0, 7)):
        most = model.generate(many, 1, top_p=top_p, rng=np.random.default_rng(0))[:, -1]
        assert set(most) == set(order[:count])
    both = model.generate(many, 1, top_k=3, top_p=0.999, rng=np.random.default_rng(0))[:, -1]
    np.testing.assert_array_equal(both, few)


@pytest.mark.parametrize("options", [{}, {"temperature": 0}, {"top_k": 3}, {"top_p": 0.8}], ids=str)
def test_generation_with_the_cache_equals_generation_without(options: dict) -> None:
    """Also beyond max_length, where positions move and the cache no longer helps."""
    model = tiny(max_length=9).astype(np.float64)
    for parameter in model.parameters():
        parameter.data = parameter.data * 10
    out, again = (
        model.generate(TOKENS, 14, rng=np.random.default_rng(3), use_cache=use, **options)
        for use in (True, False)
    )
    np.testing.assert_array_equal(out, again)
    assert len(np.unique(out)) > 2


def test_logits_with_the_cache_equal_those_without_token_by_token() -> None:
    model = tiny(max_length=9).astype(np.float64)
    for parameter in model.parameters():
        parameter.data = parameter.data * 10
    sequence = np.random.default_rng(0).integers(0, 7, (3, 9))
    whole = model(sequence).data
    for sizes in ((1,) * 9, (4, 1, 2, 2), (9,)):
        cache, at = model.new_cache(), 0
        for size in sizes:
            part = model(sequence[:, at : at + size], cache).data
            np.testing.assert_allclose(part, whole[:, at : at + size], rtol=1e-12, atol=1e-12)
            at += size
    assert repr(cache[0]) == "KVCache(9 of 9 positions)"
    with pytest.raises(ShapeError, match=r"max_length=9 tokens in a row, got \(3, 1\) after 9 in"):
        model(sequence[:, :1], cache)
    with pytest.raises(ShapeError, match=r"for each of 2 blocks, got the lengths \[9\]"):
        model(sequence[:, :1], cache[:1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_future_token_changes_no_earlier_output_bit_for_bit(dtype: type) -> None:
    model = tiny(max_length=9, d_model=32).astype(dtype)
    sequence = np.random.default_rng(0).integers(0, 7, (3, 9))
    before = model(sequence).data
    for at in range(1, 9):
        changed = sequence.copy()
        changed[:, at:] = (changed[:, at:] + 1) % 7
        np.testing.assert_array_equal(model(changed).data[:, :at], before[:, :at])


def test_gradients_flow_through_the_cache() -> None:
    """Two halves one after the other, the second seeing the first, give the whole's gradients."""
    model, again = tiny().astype(np.float64), tiny().astype(np.float64)
    model.loss(TOKENS, TARGETS).backward()
    cache = again.new_cache()
    logits = ta.concat([again(TOKENS[:, :3], cache), again(TOKENS[:, 3:], cache)], 1)
    nn.functional.cross_entropy(logits, TARGETS).backward()
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        np.testing.assert_allclose(one.grad.data, other.grad.data, rtol=1e-10, atol=1e-14)


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


def test_a_thousand_steps_leave_nothing_behind() -> None:
    """Every graph is freed by reference counts alone: no cycles, nothing that grows."""
    model = tiny(num_layers=1, num_heads=1, bias=False, dropout=0.1)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    schedule = optim.WarmupCosine(optimizer, 10, 1000)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for step in range(1, 1001):
            model.loss(TOKENS, TARGETS).backward()
            optim.clip_grad_norm(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            if step == 50:
                early = tracemalloc.get_traced_memory()[0]
        grown = tracemalloc.get_traced_memory()[0] - early
    finally:
        tracemalloc.stop()
        gc.enable()
    assert abs(grown) < 100_000
    assert gc.collect() < 20


# ── wrong input ──────────────────────────────────────────────────────────────────────────────────


def test_wrong_tokens() -> None:
    model = tiny()
    with pytest.raises(IndexingError, match=r"GPT: tokens must lie in \[0, 7\), got 0 … 7"):
        model([[0, 7]])
    with pytest.raises(IndexingError, match=r"got -1 … 3"):
        model([[3, -1]])
    with pytest.raises(DTypeError, match="GPT: tokens must be an array of integers, got float64"):
        model([[0.5]])
    for tokens in (np.ones(2, int), np.zeros((1, 0), int), np.zeros((1, 1, 1), int)):
        for use in (model, lambda tokens: model.generate(tokens, 3)):
            with pytest.raises(ShapeError, match=r"GPT: expected tokens \(B, T\), T at least 1"):
                use(tokens)
    with pytest.raises(ShapeError, match=r"at most max_length=5 tokens in a row, got \(1, 6\)"):
        model(np.zeros((1, 6), int))
    with pytest.raises(ShapeError, match="GPT: tokens must all have one length; pad the shorter"):
        model([[1], [1, 2]])
    for cache in (nn.KVCache(), [None, None]):
        with pytest.raises(
            DTypeError, match=r"GPT: expected a list .* as model.new_cache\(\) makes"
        ):
            model(TOKENS, cache=cache)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"temperature": np.nan},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"steps": -1},
    ],
)
def test_wrong_options_of_generate(options: dict) -> None:
    with pytest.raises(ShapeError, match="expected temperature ≥ 0, steps ≥ 0, top_k ≥ 1 and 0 <"):
        tiny().generate(TOKENS, **{"steps": 1, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3.0}, "steps must be an integer, got 3.0"),
        ({"top_k": "a"}, "top_k must be an integer, got 'a'"),
        ({"top_k": 2.5}, "top_k must be an integer, got 2.5"),
        ({"temperature": "a"}, "temperature must be a number, got 'a'"),
        ({"top_p": "a"}, "top_p must be a number, got 'a'"),
    ],
)
def test_options_of_generate_of_a_wrong_kind(options: dict, message: str) -> None:
    with pytest.raises(DTypeError, match=f"generate: {message}"):
        tiny().generate(TOKENS, **{"steps": 1, **options})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 4}, "num_heads must divide d_model, got 4 and 6"),
        ({"num_layers": 0}, "num_layers must be an integer of 1 or more, got 0"),
        ({"vocab_size": 2.0}, "vocab_size must be an integer"),
        ({"dropout": 1.0}, r"must lie in \[0, 1\), got 1.0"),
    ],
)
def test_wrong_sizes(changes: dict, message: str) -> None:
    with pytest.raises(ShapeError, match=f"GPTConfig: .*{message}"):
        tiny(**changes)


def test_the_model_is_made_of_modules() -> None:
    assert repr(tiny()).count("Block(") == 1
    assert {type(module) for module in tiny().modules()} >= {nn.MultiHeadAttention, nn.LayerNorm}
