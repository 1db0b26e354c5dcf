"""Transformer and ViT learn what they are for, by the settings recorded beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_attn import Tensor, optim
from tinygrad_attn.data import dates, digits
from tinygrad_attn.data.dates import PADDING
from tinygrad_attn.models import Transformer, TransformerConfig, ViT, ViTConfig
from tinygrad_attn.models.transformer import DATES, DATES_SIZES
from tinygrad_attn.models.vit import DIGITS, DIGITS_SIZES
from tinygrad_attn.train.loop import decay_groups

pytestmark = pytest.mark.slow


def trained(model: Any, preset: dict[str, Any], loss: Callable[[int], Tensor]) -> None:
    """Train a model; `loss` computes that of a step's batch."""
    groups, steps, lr = decay_groups(model), preset["steps"], preset["lr"]
    decay, betas = preset["weight_decay"], preset["betas"]
    optimizer = optim.AdamW(groups, lr, betas, weight_decay=decay)
    schedule = optim.WarmupCosine(
        optimizer, round(preset["warmup"] * steps), steps, preset["lr_end"] * lr
    )
    for step in range(steps):
        optimizer.zero_grad()
        loss(step).backward()
        optim.clip_grad_norm(optimizer.parameters, preset["clip"])
        optimizer.step()
        schedule.step()


def test_dates_are_learnt_and_the_years_digits_look_at_the_year() -> None:
    """One seed, about a minute."""
    corpus, rng = dates(), np.random.default_rng(0)
    size, rows = len(corpus.vocabulary), corpus.vocabulary.rows
    model = Transformer(TransformerConfig(size, size, **DATES_SIZES), rng=rng)
    source, lengths = rows([pair.written for pair in corpus.train], PADDING)
    target, _ = rows([pair.iso for pair in corpus.train], PADDING)

    def loss(step: int) -> Tensor:
        at = rng.integers(len(source), size=DATES["batch"])
        return model.loss(source[at, : lengths[at].max()], target[at])

    trained(model, DATES, loss)
    unseen, _ = rows([pair.written for pair in corpus.test], PADDING)
    expected, _ = rows([pair.iso for pair in corpus.test], PADDING)
    tokens, weights = model.generate(unseen, 11, return_weights=True)
    assert ((tokens[:, :10] == expected).all(1) & (tokens[:, 10] == 0)).mean() >= 0.99
    looked = weights[:, :, :4].mean(1).argmax(-1)  # (B, 4): the digits of the year
    years = np.array([year(pair.written, pair.iso[:4]) for pair in corpus.test])
    assert ((looked >= years[:, :1] - 1) & (looked <= years[:, 1:])).mean() >= 0.95


def year(written: str, digits: str) -> tuple[int, int]:
    """Where the year stands in a date, and where it ends: in full, or two digits at the end."""
    at = written.find(digits)
    return (at, at + 4) if at >= 0 else (len(written) - 2, len(written))


def test_digits_are_learnt() -> None:
    """The mean of three seeds and splits, half a minute each."""
    assert np.mean([accuracy(seed) for seed in range(3)]) >= 0.97


def accuracy(seed: int) -> float:
    """The share of the held-out digits that a trained model gets right."""
    corpus, rng = digits(seed=seed), np.random.default_rng(seed)
    model, size = ViT(ViTConfig(**DIGITS_SIZES), rng=rng), DIGITS["batch"]
    epochs = -(-DIGITS["steps"] * size // len(corpus.train))
    order = np.concatenate([rng.permutation(len(corpus.train)) for _ in range(epochs)])

    def loss(step: int) -> Tensor:
        at = order[step * size : (step + 1) * size]
        images, labels = corpus.train.images[at], corpus.train.labels[at]
        return model.loss(images, labels, label_smoothing=DIGITS["label_smoothing"])

    trained(model, DIGITS, loss)
    return float((model.predict(corpus.test.images) == corpus.test.labels).mean())
