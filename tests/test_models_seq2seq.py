"""Sequence to sequence: teacher forcing, greedy writing, padding, gradients, learning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from derivatives import of_parameters, worst_error

from tinygrad_attn import DTypeError, IndexingError, ShapeError, optim
from tinygrad_attn.models import Seq2Seq, Seq2SeqConfig

Array = np.ndarray[Any, Any]
CONFIGS = {
    "bahdanau": Seq2SeqConfig(11, 7, 3, 4),
    "luong dot": Seq2SeqConfig(11, 7, 3, 4, "luong", "dot"),
    "luong general": Seq2SeqConfig(11, 7, 3, 4, "luong", "general"),
    "luong concat": Seq2SeqConfig(11, 7, 3, 4, "luong", "concat"),
}
every_model = pytest.mark.parametrize("name", CONFIGS)
SOURCE = np.array([[5, 3, 10, 4, 9], [6, 0, 3, 0, 0], [8, 7, 0, 0, 0]])
LENGTHS = np.array([5, 3, 2])
TARGET = np.array([[3, 6, 5, 4], [4, 0, 0, 0], [5, 5, 3, 0]])


def made(name: str, **changes: Any) -> Seq2Seq:
    config = replace(CONFIGS[name], **changes)
    return Seq2Seq(config, rng=np.random.default_rng(6)).astype(np.float64)


# ── reading and writing ──────────────────────────────────────────────────────────────────────────


@every_model
def test_shapes_and_weights(name: str) -> None:
    logits, weights = made(name)(SOURCE, TARGET, return_weights=True)
    assert logits.shape == (3, 5, 7)
    assert weights.shape == (3, 5, 5)
    np.testing.assert_allclose(weights.data.sum(-1), 1, rtol=1e-12)
    for row, length in zip(weights.data, LENGTHS, strict=True):
        assert not row[:, length:].any()
        assert (row[:, :length] > 0).all()


@every_model
def test_loss_is_that_of_the_tokens_and_the_end(name: str) -> None:
    model = made(name)
    logits = model(SOURCE, TARGET).data
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    wanted = [[3, 6, 5, 4, 2], [4, 2], [5, 5, 3, 2]]
    losses = [-log_p[b, t, token] for b, row in enumerate(wanted) for t, token in enumerate(row)]
    np.testing.assert_allclose(model.loss(SOURCE, TARGET).item(), np.mean(losses), rtol=1e-12)


def test_labels_can_be_smoothed() -> None:
    """Mixed with the mean over all tokens, where there is one to predict."""
    model = made("bahdanau")
    logits = model(SOURCE, TARGET).data
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    counted = [log_p[b, t].mean() for b, length in enumerate([5, 2, 4]) for t in range(length)]
    wanted = 0.9 * model.loss(SOURCE, TARGET).item() - 0.1 * np.mean(counted)
    smooth = model.loss(SOURCE, TARGET, label_smoothing=0.1).item()
    np.testing.assert_allclose(smooth, wanted, rtol=1e-12)


@every_model
def test_padding_changes_nothing(name: str) -> None:
    model = made(name)
    loss = model.loss(SOURCE, TARGET).item()
    wide, long = np.pad(SOURCE, ((0, 0), (0, 3))), np.pad(TARGET, ((0, 0), (0, 2)))
    np.testing.assert_allclose(model.loss(wide, long).item(), loss, rtol=1e-12)
    np.testing.assert_allclose(model.loss(SOURCE, TARGET, LENGTHS).item(), loss, rtol=1e-13)
    dirty = np.where(np.arange(5) < LENGTHS[:, None], SOURCE, 9)
    np.testing.assert_allclose(model.loss(dirty, TARGET, LENGTHS).item(), loss, rtol=1e-13)
    alone = [model(SOURCE[b : b + 1], TARGET[b : b + 1]).data[0] for b in range(3)]
    np.testing.assert_allclose(model(SOURCE, TARGET).data, alone, rtol=1e-10)


@every_model
def test_no_prediction_sees_the_target_to_come(name: str) -> None:
    model = made(name)
    before = model(SOURCE, TARGET).data
    for t in range(4):
        changed = TARGET.copy()
        changed[:, t:] = 3 + (changed[:, t:] + 2) % 4
        after = model(SOURCE, changed).data
        np.testing.assert_array_equal(after[:, : t + 1], before[:, : t + 1])
        assert (after[:, t + 1] != before[:, t + 1]).any()


@every_model
def test_what_is_generated_is_the_most_probable_in_teacher_forcing(name: str) -> None:
    model = made(name)
    tokens, weights = model.generate(SOURCE, 6, return_weights=True)
    assert (tokens.shape, weights.shape) == ((3, 6), (3, 6, 5))
    logits, forced = model(SOURCE, tokens, return_weights=True)
    scores = logits.numpy()
    scores[..., [0, 1]] = -np.inf
    best = scores.argmax(-1)
    for b, row in enumerate(tokens):
        written = int((row != 0).sum())
        assert not row[written:].any()
        np.testing.assert_array_equal(best[b, :written], row[:written])
        assert written == 6 or best[b, written] == model.config.end
        np.testing.assert_allclose(weights[b, :written], forced.data[b, :written], rtol=1e-9)
        assert not weights[b, written:].any()


@every_model
def test_generating_stops_at_the_end_and_never_writes_padding(name: str) -> None:
    model = made(name)
    bias = model.decoder.output.bias
    bias.data = [9.0, 9.0, 5.0, 0.0, 0.0, 0.0, 0.0]
    tokens, weights = model.generate(SOURCE, 3, return_weights=True)
    assert not tokens.any()
    assert not weights.any()
    bias.data = [9.0, 9.0, 0.0, 0.0, 5.0, 0.0, 0.0]
    assert (model.generate(SOURCE, 3) == 4).all()
    assert model.generate(SOURCE, 0).shape == (3, 0)


def test_dropout_is_for_training_only() -> None:
    model = made("bahdanau", dropout=0.5)
    assert model.loss(SOURCE, TARGET).item() != model.loss(SOURCE, TARGET).item()
    np.testing.assert_array_equal(model.generate(SOURCE, 4), model.generate(SOURCE, 4))
    assert model.training
    model.eval()
    assert model.loss(SOURCE, TARGET).item() == model.loss(SOURCE, TARGET).item()


@every_model
def test_sizes_at_the_edge(name: str) -> None:
    model = made(name)
    assert model(SOURCE[:0], TARGET[:0]).shape == (0, 5, 7)
    assert model(SOURCE, TARGET[:, :0]).shape == (3, 1, 7)
    assert model(SOURCE[:, :1], TARGET).shape == (3, 5, 7)
    loss = model.loss(SOURCE * np.array([[1], [0], [1]]), TARGET)  # one source is empty
    loss.backward()
    assert np.isfinite(loss.item())
    assert all(np.isfinite(p.grad.data).all() for p in model.parameters())
    assert np.isfinite(model.loss(SOURCE[:, :0], TARGET).item())
    assert model.generate(SOURCE[:0], 3).shape == (0, 3)


# ── gradients and learning ───────────────────────────────────────────────────────────────────────


@every_model
def test_every_gradient(name: str) -> None:
    model = made(name, source_vocab=4, target_vocab=4, d_embed=2, d_hidden=2)
    source, target = np.array([[1, 3, 2], [2, 3, 0]]), np.array([[3, 3], [3, 0]])
    loss, weights = of_parameters(model, lambda: model.loss(source, target))
    assert worst_error(loss, weights) < 1e-12


@every_model
def test_it_learns_to_write_backwards(name: str, rng: np.random.Generator) -> None:
    config = replace(CONFIGS[name], source_vocab=8, target_vocab=8, d_embed=8, d_hidden=24)
    model = Seq2Seq(config, rng=rng)
    source = rng.integers(3, 8, (60, 4))
    source[:, 3] *= rng.random(60) < 0.5
    target = np.array([[*row[row > 0][::-1], 0][:4] for row in source])
    optimizer = optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.loss(source, target)
        loss.backward()
        optimizer.step()
    assert (model.generate(source, 5)[:, :4] == target).mean() > 0.97


def test_one_seed_decides_everything() -> None:
    config = Seq2SeqConfig(11, 7)
    first, second = (Seq2Seq(config, rng=np.random.default_rng(3)).state_dict() for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


# ── wrong input ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("source", "target", "error", "message"),
    [
        (SOURCE[0], TARGET, ShapeError, r"expected source tokens \(B, time\), got \(5,\)"),
        (SOURCE, TARGET[0], ShapeError, r"expected target tokens \(B, time\), got \(4,\)"),
        (SOURCE, TARGET[:2], ShapeError, "source has 3 sequences but target has 2"),
        (SOURCE + 1, TARGET, IndexingError, r"source must lie in \[0, 11\), got 1 … 11"),
        (SOURCE, TARGET + 1, IndexingError, r"target must lie in \[0, 7\), got 1 … 7"),
        (SOURCE * 1.0, TARGET, DTypeError, "source must be an array of integers, got float64"),
    ],
)
def test_wrong_tokens_are_refused(source: Any, target: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=f"Seq2Seq: {message}"):
        made("bahdanau").loss(source, target)


def test_wrong_lengths_and_steps_are_refused() -> None:
    model = made("bahdanau")
    with pytest.raises(ShapeError, match="lengths must lie between 0 and the 5 steps"):
        model.loss(SOURCE, TARGET, [5, 6, 1])
    with pytest.raises(ShapeError, match=r"expected lengths \(3,\)"):
        model.generate(SOURCE, 2, 3)
    with pytest.raises(
        ShapeError, match=r"Seq2Seq.generate: expected max_steps of 0 or more, got -1"
    ):
        model.generate(SOURCE, -1)
    for steps in (2.5, True, "3", None):
        with pytest.raises(
            DTypeError, match=r"Seq2Seq.generate: max_steps must be an integer, got "
        ):
            model.generate(SOURCE, steps)


def test_a_model_that_has_diverged() -> None:
    model = made("luong dot")
    model.decoder.output.bias.data = np.full(7, np.nan)
    with pytest.raises(ShapeError, match=r"Seq2Seq.generate: the logits are not finite; look for"):
        model.generate(SOURCE, 2)


@pytest.mark.parametrize("token", [1, 2])
def test_a_target_with_the_start_or_the_end_is_refused(token: int) -> None:
    target = TARGET.copy()
    target[2, 1] = token
    for use in (made("bahdanau"), made("luong dot").loss):
        with pytest.raises(ShapeError, match=r"Seq2Seq: .* without the start 1 and the end 2"):
            use(SOURCE, target)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": "dot"}, r"attention must be one of \('bahdanau', 'luong'\).* got 'dot'"),
        ({"score": "cosine"}, "score one of .*'cosine'"),
        ({"d_hidden": 5}, "d_hidden must be even, got 5"),
        ({"d_embed": 0}, "d_embed must be an integer of 1 or more, got 0"),
        ({"end": 1}, r"three different tokens in \[0, 7\), got \(0, 1, 1\)"),
        ({"start": 7}, r"three different tokens in \[0, 7\), got \(0, 7, 2\)"),
        ({"padding": 5, "source_vocab": 4}, r"of the source too, in \[0, 4\), got 5"),
        ({"dropout": 1.0}, r"must lie in \[0, 1\), got 1.0"),
    ],
)
def test_wrong_sizes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=f"Seq2SeqConfig: .*{message}"):
        replace(CONFIGS["bahdanau"], **changes)
