"""The presets: each learns what it is for, and its score means what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_attn import train
from tinygrad_attn.data import Pair, Pairs, Vocabulary, dates, digits
from tinygrad_attn.data.dates import year_in
from tinygrad_attn.data.pairs import SPECIAL
from tinygrad_attn.engine import no_grad
from tinygrad_attn.train import presets
from tinygrad_attn.train.task import shuffled


def trained(name: str, task: train.Task, rng: np.random.Generator) -> train.Evaluation:
    """The score on everything held out after the preset's training."""
    trainer = train.Trainer(task, presets.SETTINGS[name], rng)
    for _ in trainer:
        pass
    return trainer.evaluate()


def looks_at_the_year(task: train.Translation) -> float:
    """Share of the year's digits written while looking at the year, or one character beside it."""
    pairs = task.corpus.test
    found = train.translated(
        task.model, task.corpus.vocabulary, [pair.source for pair in pairs], task.steps
    )
    hits = [
        year_in(pair).start - 1 <= place <= year_in(pair).stop
        for pair, (_, weights) in zip(pairs, found, strict=True)
        for place in weights[:4].argmax(axis=-1)
    ]
    return float(np.mean(hits))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("seq2seq", {"attention": "bahdanau"}),
        ("seq2seq", {"attention": "luong"}),
        ("transformer", {}),
    ],
)
def test_dates_are_learnt_and_the_years_digits_look_at_the_year(
    name: str, options: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    task = getattr(presets, name)(dates(), rng, **options)
    right = trained(name, task, rng).right
    assert right is not None
    assert right >= 0.99
    assert looks_at_the_year(task) >= 0.95


@pytest.mark.slow
def test_digits_are_learnt() -> None:
    """The mean of three seeds and splits, half a minute each."""
    rights = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rights.append(trained("vit", presets.vit(digits(seed=seed), rng), rng).right)
    assert np.mean(rights) >= 0.97


# ── batches and scores ───────────────────────────────────────────────────────────────────────────
def test_every_example_comes_once_before_any_comes_again(rng: np.random.Generator) -> None:
    groups = shuffled(7, 3, rng)
    drawn = np.concatenate([next(groups) for _ in range(7)])
    for start in (0, 7, 14):
        assert sorted(drawn[start : start + 7]) == list(range(7))
    assert not (drawn[:7] == drawn[7:14]).all()


class Parrot:
    """A model that writes what it is told to."""

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows = rows

    def loss(self, source: Any, target: Any) -> Any:
        return np.float64(source.shape[1] * 10 + target.shape[1])

    def generate(self, source: Any, steps: int) -> Any:
        return np.array([row + [0] * (steps - len(row)) for row in self.rows])[: len(source)]


def small_pairs() -> Pairs:
    """Targets of 2 and 1 characters; tokens a=3, b=4, c=5."""
    test = [Pair("abc", "ab"), Pair("ab", "c")]
    return Pairs("small", [Pair("aa", "b")], test, Vocabulary([*SPECIAL, *"abc"]))


@pytest.mark.parametrize(
    ("rows", "right"),
    [
        ([[3, 4], [5]], 1.0),
        ([[3, 4], [5, 3]], 0.5),  # went on after the end
        ([[3, 4], []], 0.5),
        ([[3, 4, 4], [5]], 0.5),  # did not stop
        ([[3], [5, 5]], 0.0),
    ],
)
def test_right_means_written_without_a_fault(rows: list[list[int]], right: float) -> None:
    model: Any = Parrot(rows)
    assert train.Translation(model, small_pairs()).score().right == right


def test_a_score_of_some_examples_is_of_the_first(rng: np.random.Generator) -> None:
    task = presets.seq2seq(dates(30, 20), rng, width=6)
    with no_grad():
        whole, some = task.score(), task.score(7)
        assert some == task.score(7)
        assert some.loss != whole.loss
        means = [
            task.model.loss(task.unseen[i : i + 1], task.expected[i : i + 1]) for i in range(7)
        ]
    assert some.loss == pytest.approx(np.mean([mean.item() for mean in means]), rel=1e-5)


def test_groups_do_not_change_a_score(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = presets.transformer(dates(30, 20), rng, width=8, heads=2, dropout=0.0)
    with no_grad():
        at_once = task.score()
        monkeypatch.setattr("tinygrad_attn.train.translation.GROUP", 6)
        in_groups = task.score()
    assert in_groups.loss == pytest.approx(at_once.loss, rel=1e-5)
    assert in_groups.right == at_once.right


def test_what_a_checkpoint_carries(rng: np.random.Generator) -> None:
    corpus = dates(30, 20)
    state = presets.transformer(corpus, rng, width=8, heads=2).state()
    assert state["vocabulary"] == list(corpus.vocabulary.symbols)
    assert state["steps"] == 11
    assert state["examples"][0] == [corpus.test[0].source, corpus.test[0].target]
    images = presets.vit(digits(), rng, width=8, heads=2).state()["examples"]
    assert [label for _, label in images] == list("0123456789")
    held_out = digits().test
    for image, label in images:
        (at,) = np.flatnonzero((held_out.images == np.float32(image) / 16).all(axis=(1, 2)))
        assert str(held_out.labels[at]) == label


def test_every_preset_has_settings() -> None:
    for name in presets.SETTINGS:
        assert callable(getattr(presets, name))
