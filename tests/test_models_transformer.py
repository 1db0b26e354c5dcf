"""Transformer: gradients, causality, padding, learning, generation, and wrong input."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from derivatives import of_parameters, worst_error

from tinygrad_attn import DTypeError, IndexingError, ShapeError, Tensor, optim
from tinygrad_attn.models import Transformer, TransformerConfig
from tinygrad_attn.nn import KVCache

CONFIG = TransformerConfig(
    source_vocab=11, target_vocab=9, max_length=6, num_layers=2, num_heads=2, d_model=6, d_ff=7
)
SOURCE = np.array([[10, 3, 8, 4, 0], [5, 5, 0, 0, 0], [6, 7, 3, 9, 4]])
TARGET = np.array([[3, 8, 5], [4, 0, 0], [6, 7, 0]])
Array = np.ndarray[Any, Any]


def tiny(**changes: Any) -> Transformer:
    model = Transformer(
        TransformerConfig(**{**vars(CONFIG), **changes}), rng=np.random.default_rng(0)
    )
    return model.eval()


def sharp(**changes: Any) -> Transformer:
    """Random weights large enough for clear predictions."""
    model, rng = tiny(**changes).astype(np.float64), np.random.default_rng(4)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data = rng.standard_normal(parameter.shape)
    return model


# ── gradients ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    "changes",
    [{"norm_first": True, "tied": True, "positions": "learned"}, {"num_heads": 1}],
    ids=["pre-norm", "post-norm"],
)
def test_every_gradient(changes: dict[str, Any], order: int, rng: np.random.Generator) -> None:
    model = tiny(
        num_layers=1,
        d_model=2,
        d_ff=2,
        source_vocab=4,
        target_vocab=4,
        max_length=2,
        activation="tanh",
        **changes,
    ).astype(np.float64)
    for parameter in model.parameters():
        parameter.data = rng.standard_normal(parameter.shape) / 2
    source, target = np.array([[3, 1], [2, 0]]), np.array([[3], [0]])
    f, weights = of_parameters(model, lambda: model.loss(source, target))
    if model.config.tied:
        assert model.output.weight is model.source_embedding.weight
    assert worst_error(f, weights, order) < 1e-12


# ── what sees what ───────────────────────────────────────────────────────────────────────────────


def test_no_position_sees_a_later_target() -> None:
    """Bit for bit, in float32."""
    for norm_first in (False, True):
        model = tiny(norm_first=norm_first)
        before = model(SOURCE, TARGET).data
        assert before.shape == (3, 4, 9)
        for at in range(3):
            changed = TARGET.copy()
            changed[:, at] = 3 + (changed[:, at] + 1) % 6
            after = model(SOURCE, changed).data
            np.testing.assert_array_equal(before[:, : at + 1], after[:, : at + 1])
            assert (before[:, at + 1 :] != after[:, at + 1 :]).any(-1).all()


def test_every_position_sees_the_source() -> None:
    model, changed = tiny(), SOURCE.copy()
    changed[:, 1] = [4, 6, 9]
    assert (model(SOURCE, TARGET).data != model(changed, TARGET).data).any(-1).all()


def test_padding_is_inert() -> None:
    """More of it changes no prediction, no loss, no gradient; its embedding gets none."""
    model = sharp()
    found = []
    for extra in (0, 1):
        source, target = (np.pad(x, ((0, 0), (0, extra))) for x in (SOURCE, TARGET))
        loss = model.loss(source, target)
        model.zero_grad()
        loss.backward()
        found.append(
            [
                loss.data,
                model(source, target).data[:, :4],
                *(p.grad.data for p in model.parameters()),
            ]
        )
    for first, second in zip(*found, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-10, atol=1e-12)
    assert not model.source_embedding.weight.grad.data[0].any()
    assert not model.target_embedding.weight.grad.data[0].any()


def test_each_sequence_is_alone() -> None:
    model = sharp()
    together = model(SOURCE, TARGET).data
    for row, (s, t) in enumerate(((4, 3), (2, 1), (5, 2))):
        alone = model(SOURCE[row : row + 1, :s], TARGET[row : row + 1, :t]).data
        np.testing.assert_allclose(together[row, : t + 1], alone[0], rtol=1e-11, atol=1e-12)


def test_an_empty_source_gives_finite_gradients() -> None:
    model, source = tiny(), SOURCE.copy()
    source[1] = 0
    for rows in (source, SOURCE[:, :0]):
        model.zero_grad()
        model.loss(rows, TARGET).backward()
        assert all(np.isfinite(p.grad.data).all() for p in model.parameters() if p.grad is not None)


def test_weights_say_where_the_decoder_looked() -> None:
    model = tiny().astype(np.float64)
    logits, weights = model(SOURCE, TARGET, return_weights=True)
    np.testing.assert_allclose(logits.data, model(SOURCE, TARGET).data, rtol=1e-10)
    assert weights.shape == (3, 2, 4, 5)
    np.testing.assert_allclose(weights.data.sum(-1), 1, rtol=1e-6)
    kept = np.broadcast_to((SOURCE != 0)[:, None, None], weights.shape)
    np.testing.assert_array_equal(weights.data > 0, kept)


# ── loss ─────────────────────────────────────────────────────────────────────────────────────────


def test_loss_counts_every_token_and_the_end() -> None:
    model = sharp()
    logits = model(SOURCE, TARGET).data
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = [
        log_p[0, 0, 3],
        log_p[0, 1, 8],
        log_p[0, 2, 5],
        log_p[0, 3, 2],
        log_p[1, 0, 4],
        log_p[1, 1, 2],
        log_p[2, 0, 6],
        log_p[2, 1, 7],
        log_p[2, 2, 2],
    ]
    assert abs(model.loss(SOURCE, TARGET).item() + np.mean(expected)) < 1e-12
    counted = log_p[[0, 0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 3, 0, 1, 0, 1, 2]]
    smooth = 0.9 * np.mean(expected) + 0.1 * counted.mean()
    assert abs(model.loss(SOURCE, TARGET, label_smoothing=0.1).item() + smooth) < 1e-12


def test_a_new_model_knows_nothing() -> None:
    for norm_first in (False, True):
        model = tiny(d_model=64, d_ff=64, norm_first=norm_first)
        assert abs(model.loss(SOURCE, TARGET).item() - np.log(9)) < 0.5


@pytest.fixture(scope="module")
def reverser() -> Transformer:
    """A model that has learnt to write a sequence backwards."""
    rng = np.random.default_rng(0)
    model = Transformer(
        TransformerConfig(8, 8, 6, 1, 2, 16, 32, norm_first=True), rng=np.random.default_rng(1)
    )
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    for step in range(250):
        optimizer.groups[0]["lr"] = 0.01 * (1 - step / 250)
        loss = model.loss(*reversals(rng, 32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def test_it_learns_to_reverse(reverser: Transformer) -> None:
    """A task that needs cross-attention: the first token to write is the last one read."""
    source, target = reversals(np.random.default_rng(2), 100)
    tokens, weights = reverser.generate(source, 6, return_weights=True)
    right = (tokens[:, :5] == target).all(1) & (tokens[:, 5] == 0)
    assert right.mean() > 0.9
    looked = weights.mean(1)[np.arange(100), 0].argmax(-1)
    assert (abs(looked + 1 - (source != 0).sum(1)) <= 1).mean() > 0.8


def reversals(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Rows of 1 to 5 tokens, and the same backwards, filled up with padding."""
    source = np.zeros((count, 5), np.int64)
    target = source.copy()
    for row, length in enumerate(rng.integers(1, 6, count)):
        source[row, :length] = rng.integers(3, 8, length)
        target[row, :length] = source[row, :length][::-1]
    return source, target


# ── generation ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("most", [3, 6])
def test_generation_is_greedy_and_ends(reverser: Transformer, most: int) -> None:
    source, _ = reversals(np.random.default_rng(3), 30)
    tokens, weights = reverser.generate(source, most, return_weights=True)
    assert tokens.shape == (30, most)
    assert weights.shape == (30, 2, most, 5)
    lengths = (tokens != 0).sum(1)
    assert set(lengths) == set(range(1, min(most, 5) + 1))
    for row, length in enumerate(lengths):
        written = tokens[row, :length]
        logits, seen = reverser(source[row : row + 1], written[None, :5], return_weights=True)
        choices = 2 + logits.data[0, :, 2:].argmax(-1)  # padding and start cannot follow
        np.testing.assert_array_equal(choices[:length], written)
        if length < most:
            assert choices[length] == reverser.config.end
        np.testing.assert_allclose(weights[row, :, :length], seen.data[0, :, :length], atol=1e-5)
        assert not tokens[row, length:].any()
        assert not weights[row, :, length:].any()


def test_generation_uses_a_cache_and_loses_nothing(reverser: Transformer) -> None:
    """Token by token, in float64, to 1e-12."""
    model = deepcopy(reverser).astype(np.float64)
    source, target = reversals(np.random.default_rng(4), 20)
    logits, weights = model(source, target, return_weights=True)
    memory, keep = model.read(source)
    tokens = np.hstack([np.full((20, 1), model.config.start), target])
    caches = [KVCache() for _ in model.decoder.layers]
    for at in range(6):
        row, seen = model.write(tokens[:, at : at + 1], memory, keep, True, caches)
        np.testing.assert_allclose(row.data[:, 0], logits.data[:, at], rtol=0, atol=1e-12)
        np.testing.assert_allclose(seen.data[:, :, 0], weights.data[:, :, at], rtol=0, atol=1e-12)


def test_padding_and_start_are_never_generated() -> None:
    model = tiny()
    model.output.bias.data = [9, 9, 0, 0, 0, 0, 0, 1, 0]
    np.testing.assert_array_equal(model.generate(SOURCE, 6), 7)


def test_generation_is_without_dropout_and_restores_the_mode() -> None:
    model = tiny(dropout=0.5).train()
    assert (model(SOURCE, TARGET).data != model(SOURCE, TARGET).data).any()
    model.decoder.eval()
    tokens = model.generate(SOURCE, 6)
    assert model.encoder.training
    assert not model.decoder.training
    np.testing.assert_array_equal(tokens, model.generate(SOURCE, 6))
    np.testing.assert_array_equal(tokens[:, :2], model.generate(SOURCE, 2))
    assert model.generate(SOURCE, 0).shape == (3, 0)
    assert model.generate(SOURCE[:0], 3).shape == (0, 3)


# ── names, sizes, dropout ────────────────────────────────────────────────────────────────────────


def test_names_and_sizes() -> None:
    names = [name for name, _ in tiny(norm_first=True).named_parameters()]
    assert names[:3] == [
        "source_embedding.weight",
        "target_embedding.weight",
        "encoder.layers.0.self_attn.in_proj_weight",
    ]
    assert {
        "encoder.norm.weight",
        "decoder.norm.bias",
        "decoder.layers.1.multihead_attn.out_proj.weight",
        "decoder.layers.1.norm3.weight",
    } < set(names)
    assert names[-2:] == ["output.weight", "output.bias"]
    assert not any(".norm." in name for name, _ in tiny().named_parameters())
    tied = tiny(tied=True, target_vocab=11)
    assert tied.target_embedding.weight is tied.output.weight is tied.source_embedding.weight
    assert "output.weight" not in tied.state_dict()
    assert not any("bias" in name for name in tiny(bias=False).state_dict())
    learned = tiny(positions="learned").state_dict()
    assert learned["source_positions.weight"].shape == (6, 6)
    assert learned["target_positions.weight"].shape == (6, 6)


def test_initial_embeddings_are_as_large_as_the_positions() -> None:
    model = tiny(d_model=256, source_vocab=100, target_vocab=100)
    for part in (model.source_embedding, model.target_embedding):
        assert abs(part.weight.data.std() * 16 - 1) < 0.05


# ── wrong input ──────────────────────────────────────────────────────────────────────────────────


def test_wrong_tokens() -> None:
    model = tiny()
    with pytest.raises(IndexingError, match=r"source must lie in \[0, 11\), got 1 … 11"):
        model(SOURCE + 1, TARGET)
    with pytest.raises(IndexingError, match=r"target must lie in \[0, 9\), got 2 … 10"):
        model(SOURCE, TARGET + 2)
    with pytest.raises(DTypeError, match="source must be an array of integers, got float64"):
        model.generate(SOURCE / 2, 3)
    with pytest.raises(
        ShapeError,
        match=r"expected source tokens \(B, time\), at most 6 in a row, "
        r"got \(5,\)",
    ):
        model.generate(SOURCE[0], 3)
    with pytest.raises(ShapeError, match=r"at most 6 in a row, got \(3, 7\)"):
        model(np.zeros((3, 7), int), TARGET)
    with pytest.raises(
        ShapeError,
        match=r"expected target tokens .* at most 5 in a row, got \(3, "
        r"6\)",
    ):
        model.loss(SOURCE, np.full((3, 6), 4))
    with pytest.raises(ShapeError, match="source has 3 sequences but target has 2"):
        model.loss(SOURCE, TARGET[:2])
    for steps in (-1, 7):
        with pytest.raises(ShapeError, match=f"max_steps from 0 to max_length=6, got {steps}"):
            model.generate(SOURCE, steps)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_has_diverged(value: float) -> None:
    """The mode is restored after an error too."""
    model = tiny().train()
    model.output.bias.data = np.full(9, value)
    with pytest.raises(ShapeError, match=r"Transformer.generate: the logits are not finite"):
        model.generate(SOURCE, 2)
    assert model.training


def test_special_tokens_may_be_numpys() -> None:
    """Small integers do not make small tokens."""
    special = {"padding": np.uint8(0), "start": np.uint8(1), "end": np.uint8(2)}
    model = tiny(target_vocab=300, **special)
    model.output.bias.data = np.eye(1, 300, 298)[0] * 9
    np.testing.assert_array_equal(model.generate(SOURCE, 3), 298)
    target = np.where(TARGET, 298, 0)
    assert np.isfinite(model.loss(SOURCE, target).item())


@pytest.mark.parametrize("token", [1, 2])
def test_a_target_with_the_start_or_the_end_is_refused(token: int) -> None:
    target = TARGET.copy()
    target[1, 1] = token
    for use in (tiny(), tiny().loss):
        with pytest.raises(ShapeError, match=r"Transformer: .* without the start 1 and the end 2"):
            use(SOURCE, target)


@pytest.mark.parametrize("steps", [2.5, True, "3", None])
def test_steps_of_a_wrong_kind(steps: Any) -> None:
    with pytest.raises(DTypeError, match=r"Transformer.generate: max_steps must be an integer"):
        tiny().generate(SOURCE, steps)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint64, np.ndarray.tolist, Tensor])
def test_tokens_of_any_kind_of_integer(kind: Any) -> None:
    """Also of one that cannot hold the special tokens."""
    model = tiny(target_vocab=300, start=298, end=299)
    source, target = (
        x.astype(kind) if kind in (np.uint8, np.int32, np.uint64) else kind(x)
        for x in (SOURCE, TARGET)
    )
    assert model.loss(source, target).item() == model.loss(SOURCE, TARGET).item()
    np.testing.assert_array_equal(model.generate(source, np.int8(4)), model.generate(SOURCE, 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 4}, "num_heads must divide d_model, got 4 and 6"),
        ({"num_layers": 0}, "num_layers must be an integer of 1 or more, got 0"),
        ({"d_ff": 1.5}, "d_ff must be an integer of 1 or more, got 1.5"),
        (
            {"end": 1},
            r"padding, start and end must be three different tokens in \[0, 9\), got \(0, 1, 1\)",
        ),
        ({"start": 9}, r"different tokens in \[0, 9\), got \(0, 9, 2\)"),
        ({"start": 1.0}, r"different tokens in \[0, 9\), got \(0, 1.0, 2\)"),
        ({"source_vocab": 3, "padding": 4}, r"of the source too, in \[0, 3\), got 4"),
        ({"tied": True}, "tied embeddings need one vocabulary, got 11 source and 9 target tokens"),
        (
            {"positions": "rotary"},
            r"positions must be one of \('sinusoidal', 'learned'\), got 'rot",
        ),
        ({"activation": "step"}, "activation must be one of .* got 'step'"),
        ({"dropout": -0.1}, r"dropping must lie in \[0, 1\), got -0.1"),
    ],
)
def test_wrong_sizes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=f"TransformerConfig: .*{message}"):
        tiny(**changes)
