"""BERT: its definition, gradients, padding, saving, and wrong input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from derivatives import of_parameters, worst_error
from safetensors.numpy import load_file, save_file

from tinygrad_attn import DTypeError, IndexingError, ShapeError, checkpoint, interop, nn
from tinygrad_attn.models import BERT, BERTConfig
from tinygrad_attn.nn import functional

CONFIG = BERTConfig(
    vocab_size=7, max_length=5, num_layers=2, num_heads=2, d_model=4, d_ff=3, num_token_types=3
)
TOKENS = np.array([[3, 1, 4], [1, 5, 2]])
TYPES = np.array([[0, 1, 1], [2, 2, 0]])


def tiny(**changes: Any) -> BERT:
    model = BERT(BERTConfig(**{**vars(CONFIG), **changes}), rng=np.random.default_rng(0)).eval()
    rng = np.random.default_rng(1)
    for parameter in model.astype(np.float64).parameters():
        parameter.data = rng.standard_normal(parameter.shape) / 2
    return model


def same(a: BERT, b: BERT) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(
        ours[name].tobytes() == theirs[name].tobytes() for name in ours
    )


# ── definition ───────────────────────────────────────────────────────────────────────────────────
def test_the_embeddings_are_added_and_normalised_before_the_layers() -> None:
    model: Any = tiny(num_layers=1)
    total = (
        model.word_embeddings.weight.data[TOKENS]
        + model.token_type_embeddings.weight.data[TYPES]
        + model.position_embeddings.weight.data[:3]
    )
    normed = functional.layer_norm(total, model.norm.weight, model.norm.bias, 1e-12)
    np.testing.assert_allclose(
        model(TOKENS, token_types=TYPES).data, model.blocks[0](normed).data, rtol=0, atol=1e-14
    )


def test_the_pooler_reads_the_first_token(rng: np.random.Generator) -> None:
    model: Any = tiny()
    features = rng.standard_normal((2, 3, 4))
    expected = np.tanh(features[:, 0] @ model.pooler.weight.data.T + model.pooler.bias.data)
    np.testing.assert_allclose(model.pooled(features).data, expected, rtol=0, atol=1e-14)


def test_logits_are_products_with_the_word_embedding(rng: np.random.Generator) -> None:
    model: Any = tiny()
    features = rng.standard_normal((2, 3, 4))
    expected = features @ model.word_embeddings.weight.data.T
    np.testing.assert_allclose(model.logits(features).data, expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(model.logits(features[0, 1]).data, expected[0, 1], atol=1e-14)


def test_gradients_through_the_logits() -> None:
    model = tiny(num_layers=1, pooler=False, window=1)
    f, weights = of_parameters(model, lambda: model.logits(model(TOKENS, token_types=TYPES)))
    assert worst_error(f, weights) < 1e-12


@pytest.mark.parametrize(
    "mask",
    [
        None,
        nn.Mask.lengths(np.array([3, 5])),
        np.arange(5) < np.array([3, 5])[:, None, None],
        np.where(np.arange(5) < np.array([3, 5])[:, None, None], 0.25, -np.inf),
    ],
    ids=["none", "lengths", "boolean", "added"],
)
def test_the_first_layer_sees_what_is_near(mask: Any) -> None:
    model = tiny(window=1)
    tokens = np.array([[3, 1, 4, 1, 5], [2, 6, 5, 3, 0]])
    _, weights = model(tokens, mask=mask, return_weights=True)
    _, everywhere = tiny()(tokens, mask=mask, return_weights=True)
    near = abs(np.subtract.outer(np.arange(5), np.arange(5))) <= 1
    real = everywhere[0].data > 0  # (B, heads, T, T)
    assert ((weights[0].data > 0) == (real & near)).all()
    assert ((weights[1].data > 0) == real).all()


def test_token_types_are_zeros_unless_said() -> None:
    model = tiny()
    np.testing.assert_array_equal(
        model(TOKENS).data, model(TOKENS, token_types=np.zeros_like(TOKENS)).data
    )
    assert abs(model(TOKENS).data - model(TOKENS, token_types=TYPES).data).max() > 1e-3


def test_gradients_of_every_parameter() -> None:
    model = tiny(num_layers=1)
    f, weights = of_parameters(model, lambda: model.pooled(model(TOKENS, token_types=TYPES)))
    assert worst_error(f, weights) < 1e-12


def test_padding_changes_nothing() -> None:
    model = tiny()
    changed = TOKENS.copy()
    changed[1, 2] = 6
    mask = nn.Mask.lengths(np.array([3, 2]))
    before, after = model(TOKENS, mask=mask).data, model(changed, mask=mask).data
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1, :2], after[1, :2])
    assert (before[1, 2] != after[1, 2]).all()
    keep = np.array([[[True, True, True]], [[True, True, False]]])
    np.testing.assert_array_equal(model(TOKENS, mask=keep).data, before)


def test_weights_of_every_layer() -> None:
    model = tiny()
    features, weights = model(TOKENS, return_weights=True)
    np.testing.assert_allclose(features.data, model(TOKENS).data, rtol=0, atol=1e-13)
    assert [w.shape for w in weights] == [(2, 2, 3, 3)] * 2
    np.testing.assert_allclose(weights[0].data.sum(-1), 1, rtol=0, atol=1e-14)


def test_initial_values() -> None:
    model: Any = BERT(BERTConfig(97, 31, 1, 3, 60, 70), rng=np.random.default_rng(0))
    for name, array in model.state_dict().items():
        if array.ndim == 2:
            assert array.std() == pytest.approx(0.02, rel=0.1), name
        else:
            assert (array == (0 if name.endswith("bias") else 1)).all(), name


def test_one_token_and_no_sequence() -> None:
    model = tiny()
    assert model(TOKENS[:, :1]).shape == (2, 1, 4)
    assert model(TOKENS[:0]).shape == (0, 3, 4)


# ── saving ───────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("pooler", [True, False])
def test_it_travels(pooler: bool, tmp_path: Path) -> None:
    model = tiny(pooler=pooler, dropout=0.25, activation="gelu_tanh", eps=1e-6)
    back: Any = interop.load(interop.save(model, tmp_path / "folder"))
    assert same(model, back)
    assert back.config == model.config
    saved: Any = checkpoint.load(checkpoint.save(tmp_path / "file", model=model)).model
    assert saved.config == model.config
    np.testing.assert_allclose(saved(TOKENS).data, model(TOKENS).data, rtol=0, atol=1e-5)


def test_names_of_the_first_files_are_read(tmp_path: Path) -> None:
    """With "gamma" and "beta", and a head of pre-training."""
    model = tiny()
    path = interop.save(model, tmp_path) / "model.safetensors"
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): array
        for name, array in load_file(path).items()
    }
    save_file(old | {"cls.predictions.bias": np.zeros(7)}, path)
    assert sum(name.endswith("gamma") for name in old) == 1 + 2 * 2
    back: Any = interop.load(tmp_path)
    assert same(model, back)


def test_a_missing_part_of_q_k_v_is_named(tmp_path: Path) -> None:
    path = interop.save(tiny(), tmp_path) / "model.safetensors"
    state = load_file(path)
    name = "encoder.layer.1.attention.self.key.weight"
    save_file({k: v for k, v in state.items() if k != f"bert.{name}"}, path)
    with pytest.raises(interop.InteropError) as caught:
        interop.load(tmp_path)
    assert caught.value.problems == [f"{name} is missing, expected (4, 4)"]


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_no_sequences_and_no_tokens(shape: tuple[int, int]) -> None:
    model = tiny()
    features = model(np.zeros(shape, int))
    assert features.shape == (*shape, 4)
    features.sum().backward()
    assert all(p.grad is None or not p.grad.data.any() for p in model.parameters())


# ── wrong input ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("tokens", "types", "error", "words"),
    [
        (np.zeros((2, 6), int), None, ShapeError, r"max_length=5, got \(2, 6\)"),
        (np.zeros(3, int), None, ShapeError, r"expected tokens \(B, T\)"),
        (np.full((2, 3), 7), None, IndexingError, r"tokens must lie in \[0, 7\)"),
        (np.ones((2, 3)), None, DTypeError, "must be an array of integers"),
        (TOKENS, np.full((2, 3), 3), IndexingError, r"token_types must lie in \[0, 3\)"),
        (TOKENS, TYPES[:, :2], ShapeError, r"of the tokens' shape \(2, 3\), got \(2, 2\)"),
    ],
)
def test_wrong_input(tokens: Any, types: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        tiny()(tokens, token_types=types)


def test_what_follows_the_tokens_is_named() -> None:
    """Else a mask, second elsewhere, would be taken for token types of the same shape."""
    with pytest.raises(TypeError, match="positional argument"):
        tiny()(TOKENS, np.ones_like(TOKENS))


def test_no_pooler() -> None:
    model = tiny(pooler=False)
    with pytest.raises(ShapeError, match="pooler=False"):
        model.pooled(model(TOKENS))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_heads": 3}, "num_heads must divide d_model, got 3 and 4"),
        ({"d_ff": 0}, "d_ff must be an integer of 1 or more"),
        ({"num_token_types": 0}, "num_token_types must be an integer of 1 or more"),
        ({"window": 0}, "window must be an integer of 1 or more"),
        ({"activation": "step"}, "activation must be one of"),
        ({"dropout": 1.0}, r"must lie in \[0, 1\)"),
        ({"eps": -1e-6}, "eps must be 0 or more"),
    ],
)
def test_wrong_sizes(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        tiny(**changes)
