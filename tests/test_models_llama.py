"""Llama: its definition, gradients, saving, and wrong sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from derivatives import of_parameters, worst_error

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, checkpoint, interop, optim
from tinygrad_attn.models import Llama, LlamaConfig
from tinygrad_attn.nn import functional

CONFIG = LlamaConfig(
    vocab_size=7, max_length=5, num_layers=2, num_heads=4, d_model=8, d_ff=3, num_kv_heads=2
)
TOKENS = np.array([[3, 1, 4], [1, 5, 2]])


def tiny(**changes: Any) -> Llama:
    model = Llama(LlamaConfig(**{**vars(CONFIG), **changes}), rng=np.random.default_rng(0)).eval()
    rng = np.random.default_rng(1)
    for parameter in model.astype(np.float64).parameters():
        parameter.data = rng.standard_normal(parameter.shape) / 2
    return model


# ── definition ───────────────────────────────────────────────────────────────────────────────────
def test_a_block_step_by_step(rng: np.random.Generator) -> None:
    block: Any = tiny().blocks[0]
    x = rng.standard_normal((2, 3, 8))
    mean_square = (x * x).mean(-1, keepdims=True)
    normed = x / np.sqrt(mean_square + 1e-6) * block.norm1.weight.data
    between = ta.Tensor(x) + block.attn(ta.Tensor(normed), causal=True)
    y = block.norm2(between).data
    gate = y @ block.mlp.gate.weight.data.T
    inside = gate / (1 + np.exp(-gate)) * (y @ block.mlp.up.weight.data.T)
    expected = between.data + inside @ block.mlp.down.weight.data.T
    np.testing.assert_allclose(block(ta.Tensor(x)).data, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("tied", [True, False])
def test_logits_come_from_the_embedding_or_a_head_of_their_own(tied: bool) -> None:
    model: Any = tiny(tied=tied, num_layers=1)
    weight = model.embed.weight if tied else model.head.weight
    x = model.norm(model.blocks[0](model.embed(TOKENS)))
    expected = functional.linear(x, weight).data
    np.testing.assert_allclose(model(TOKENS).data, expected, rtol=0, atol=1e-13)
    assert ("head.weight" in model.state_dict()) != tied


def test_groups_of_heads_share_keys() -> None:
    """A Llama whose key heads are repeated for each query head is the same one."""
    model: Any = tiny(num_layers=1)
    wide: Any = tiny(num_layers=1, num_kv_heads=4)
    state, attn = model.state_dict(), model.blocks[0].attn
    twice = [
        np.repeat(w.data.reshape(2, 2, 8), 2, axis=0).reshape(8, 8)
        for w in (attn.k_proj_weight, attn.v_proj_weight)
    ]
    state["blocks.0.attn.in_proj_weight"] = np.concatenate([attn.q_proj_weight.data, *twice])
    for letter in "qkv":
        del state[f"blocks.0.attn.{letter}_proj_weight"]
    wide.load_state_dict(state)
    np.testing.assert_allclose(wide(TOKENS).data, model(TOKENS).data, rtol=0, atol=1e-13)


def test_only_distances_count(rng: np.random.Generator) -> None:
    """Nine positions later, queries and keys turn further, and score as before."""
    positions: Any = tiny().blocks[0].attn.positions
    x = rng.standard_normal((4, 3, 2))
    first, later = positions(ta.Tensor(x)), positions(ta.Tensor(x), 9)
    assert abs(first.data - later.data).max() > 0.1
    np.testing.assert_allclose((first @ first.mT).data, (later @ later.mT).data, atol=1e-13)


@pytest.mark.parametrize("changes", [{}, {"tied": True}, {"num_kv_heads": None}])
def test_gradients_of_every_parameter(changes: dict[str, Any]) -> None:
    model = tiny(num_layers=1, **changes)
    f, weights = of_parameters(model, lambda: model.loss(TOKENS, TOKENS[:, ::-1]))
    assert worst_error(f, weights) < 1e-12


def test_it_learns_two_sentences_and_writes_them() -> None:
    model = Llama(CONFIG, rng=np.random.default_rng(0))
    optimizer = optim.Adam(model.parameters(), 0.03)
    targets = np.array([[1, 4, 6], [5, 2, 0]])
    for _ in range(60):
        optimizer.zero_grad()
        model.loss(TOKENS, targets).backward()
        optimizer.step()
    assert model.loss(TOKENS, targets).item() < 0.05
    written = model.generate(TOKENS[:, :1], 3, temperature=0)
    np.testing.assert_array_equal(written, np.concatenate([TOKENS, targets[:, -1:]], 1))


# ── saving ───────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("tied", [True, False])
def test_it_travels(tied: bool, kv_heads: int, tmp_path: Path) -> None:
    model = tiny(tied=tied, num_kv_heads=kv_heads, rope_base=500.0, eps=1e-5)
    back: Any = interop.load(interop.save(model, tmp_path / "folder"))
    assert back.config == model.config
    ours, read = model.state_dict(), back.state_dict()
    assert ours.keys() == read.keys()
    assert all(ours[name].tobytes() == read[name].tobytes() for name in ours)
    saved: Any = checkpoint.load(checkpoint.save(tmp_path / "file", model=model)).model
    assert saved.config == model.config
    np.testing.assert_allclose(saved(TOKENS).data, model(TOKENS).data, rtol=0, atol=1e-4)


def rewritten(folder: Path, without: tuple[str, ...] = (), **changes: Any) -> Path:
    values = json.loads((folder / "config.json").read_text()) | changes
    kept = {name: value for name, value in values.items() if name not in without}
    (folder / "config.json").write_text(json.dumps(kept))
    return folder


def test_older_settings_are_read(tmp_path: Path) -> None:
    """The base of the angles beside the others, and no word about groups."""
    interop.save(tiny(num_kv_heads=None), tmp_path)
    without = ("rope_parameters", "num_key_value_heads", "head_dim")
    model: Any = interop.load(rewritten(tmp_path, without, rope_theta=50.0, rope_scaling=None))
    assert model.config.rope_base == 50
    assert model.config.kv_heads == 4


def test_settings_it_has_not_are_listed(tmp_path: Path) -> None:
    interop.save(tiny(), tmp_path)
    rope = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0}
    rewritten(tmp_path, head_dim=4, attention_bias=True, hidden_act="gelu", rope_parameters=rope)
    with pytest.raises(interop.InteropError) as caught:
        interop.load(tmp_path)
    assert caught.value.problems == [
        "head_dim is 4, expected None or 2",
        "hidden_act is 'gelu', expected 'silu' or 'swish'",
        "attention_bias is True, expected False",
        "rope_type is 'llama3', expected 'default'",
    ]


# ── wrong sizes ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_heads": 3, "num_kv_heads": 3}, "num_heads must divide d_model into even widths"),
        ({"num_heads": 8, "num_kv_heads": 8}, "into even widths"),
        ({"num_kv_heads": 3}, "num_kv_heads=3"),
        ({"d_ff": 0}, "d_ff must be an integer of 1 or more"),
        ({"num_kv_heads": 0}, "num_kv_heads must be an integer of 1 or more"),
        ({"rope_base": -1.0}, "rope_base must be positive and finite, got -1.0"),
        ({"rope_base": np.inf}, "rope_base must be positive and finite, got inf"),
        ({"eps": -1e-6}, "eps must be 0 or more, got -1e-06"),
    ],
)
def test_wrong_sizes(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ShapeError, match=f"LlamaConfig: .*{words}"):
        LlamaConfig(**{**vars(CONFIG), **changes})


@pytest.mark.parametrize("name", ["rope_base", "eps"])
def test_numbers_of_a_wrong_kind(name: str) -> None:
    with pytest.raises(DTypeError, match=f"LlamaConfig: {name} must be a number, got 'x'"):
        LlamaConfig(**{**vars(CONFIG), name: "x"})
