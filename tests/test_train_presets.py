"""The presets: each learns what it is for, and its score means what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.learning import looks
from tinygrad_attn import train
from tinygrad_attn.cli.train import KINDS
from tinygrad_attn.data import DataError, Pair, Pairs, Shuffled, Vocabulary, dates, digits
from tinygrad_attn.data.pairs import SPECIAL
from tinygrad_attn.engine import no_grad
from tinygrad_attn.environment import limited_blas
from tinygrad_attn.train import presets


def trained(name: str, task: train.Task, rng: np.random.Generator) -> train.Evaluation:
    """The score on everything held out after the preset's training."""
    trainer = train.Trainer(task, presets.SETTINGS[name], rng)
    with limited_blas(1):  # as the command line does: products this small lose by more threads
        for _ in trainer:
            pass
        return trainer.evaluate()


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
    assert looks(task) >= 0.95


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
    groups = Shuffled(7, 3, rng)
    drawn = np.concatenate([next(groups)[0] for _ in range(7)])
    for start in (0, 7, 14):
        assert sorted(drawn[start : start + 7]) == list(range(7))
    assert not (drawn[:7] == drawn[7:14]).all()


def test_nothing_to_learn_from(rng: np.random.Generator) -> None:
    task = presets.seq2seq(dates(0, 5), rng, width=4)
    with pytest.raises(DataError, match="there is nothing to learn from"):
        next(task.batches(3, rng))


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
        assert (whole.examples, some.examples, task.score(99).examples) == (20, 7, 20)
        assert some == task.score(7)
        assert some.loss != whole.loss
        means = [
            task.model.loss(task.unseen[i : i + 1], task.expected[i : i + 1]) for i in range(7)
        ]
    assert some.loss == pytest.approx(np.mean([mean.item() for mean in means]), rel=1e-5)


@pytest.mark.parametrize("size", [1, 6])
def test_groups_do_not_change_a_score(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Targets of 1 to 7 characters: each counts alike, and so does each end."""
    test = [Pair("abc"[: 1 + n % 3], "cab"[n % 3] * (1 + n % 7)) for n in range(20)]
    corpus = Pairs("several lengths", test, test, Vocabulary([*SPECIAL, *"abc"]))
    task = presets.transformer(corpus, rng, width=8, heads=2, dropout=0.0)
    task.model.astype(np.float64)
    with no_grad():
        at_once = task.score()
        monkeypatch.setattr("tinygrad_attn.train.translation.GROUP", size)
        in_groups = task.score()
    assert in_groups.loss == pytest.approx(at_once.loss, rel=1e-12)
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
    assert presets.SETTINGS.keys() == KINDS.keys()
    for name, kind in KINDS.items():
        assert kind.prepare is getattr(presets, name)
