"""GPT: gradients, initial values, learning, memory, and wrong sizes."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from derivatives import of_parameters, worst_error

import tinygrad_attn as ta
from tinygrad_attn import ShapeError, nn, optim
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
                gc.collect()  # what was imported or compiled on the way, and Python's free lists
                early = tracemalloc.get_traced_memory()[0]
        in_cycles = gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - early
    finally:
        tracemalloc.stop()
        gc.enable()
    assert in_cycles < 20
    assert abs(grown) < 50_000  # a leak would show 950 times


# ── wrong sizes ──────────────────────────────────────────────────────────────────────────────────


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
