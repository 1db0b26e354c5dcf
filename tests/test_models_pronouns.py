"""A BERT learns what "it" means, and from "it" its attention goes to the noun that is meant.

Nothing says where to look: the loss counts words alone.  Every sentence of the test part brings two
nouns together that never met in the training part.
"""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_attn import ShapeError, train
from tinygrad_attn.data import DataError, pronouns
from tinygrad_attn.data.pronouns import AGENTS
from tinygrad_attn.train import presets


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_from_it_a_head_looks_at_the_noun_that_is_meant(seed: int) -> None:
    """The head is chosen by training sentences, and one for all of them."""
    rng = np.random.default_rng(seed)
    task = presets.pronouns(pronouns(seed=seed), rng)
    trainer = train.Trainer(task, presets.SETTINGS["pronouns"], rng)
    for _ in trainer:
        pass
    right = trainer.evaluate().right
    assert right is not None
    assert right >= 0.99
    layer, head = task.head()
    assert layer == 1
    assert task.looks(task.unseen)[layer, head] >= 0.95
    famous = [i for i, s in enumerate(task.corpus.test) if {"animal", "street"} <= {*s.words}]
    assert len(famous) == 24
    assert task.looks(task.unseen[famous])[layer, head] == 1


# ── the task ─────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def task() -> train.Reference:
    """A small model of random weights, large enough that its answers differ."""
    rng = np.random.default_rng(5)
    task = presets.pronouns(pronouns(), rng, width=8, heads=2)
    for parameter in task.model.parameters():
        parameter.data = rng.normal(0, 0.6, parameter.shape)
    task.model.astype(np.float64).eval()
    return task


def test_the_loss_is_of_the_noun_and_of_the_words(task: train.Reference) -> None:
    rows = task.known[:3]
    parts: list[list[float]] = [[], []]
    for i, sentence in enumerate(task.corpus.train[:3]):
        n = len(sentence.words)
        logits = task.model.logits(task.model(rows.tokens[i : i + 1, :n])).data[0]
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        for t, word in enumerate(sentence.words):
            wanted = sentence.words[sentence.answer] if word == "it" else word
            token = task.corpus.vocabulary.token[wanted]
            parts[word == "it"].append(-log_p[t, token])
    expected = np.mean(parts[0]) + np.mean(parts[1])
    assert task.loss(rows).item() == pytest.approx(expected, rel=1e-12)


def test_looks_counts_the_largest_weight(task: train.Reference) -> None:
    rows, sentences = task.unseen[:40], task.corpus.test[:40]
    found = train.understood(task.model, task.corpus.vocabulary, list(map(str, sentences)))
    hits = [
        reading.weights[:, :, s.pronoun].argmax(-1) == s.answer
        for reading, s in zip(found, sentences, strict=True)
    ]
    np.testing.assert_array_equal(task.looks(rows), np.mean(hits, axis=0))
    assert len(np.unique(task.looks(rows))) > 1


def test_to_look_disturbs_no_training() -> None:
    """No dropout, no draw from the generator, and the model's own mode afterwards."""
    rng = np.random.default_rng(5)
    task = presets.pronouns(pronouns(), rng, width=8, heads=2, dropout=0.5)
    task.model.train()
    before = rng.bit_generator.state
    first = task.looks(task.unseen[:40])
    np.testing.assert_array_equal(first, task.looks(task.unseen[:40]))
    task.state()
    train.understood(task.model, task.corpus.vocabulary, ["it cat"])
    assert rng.bit_generator.state == before
    assert task.model.training


def test_a_score_is_of_held_out_sentences(task: train.Reference) -> None:
    some = task.score(60)
    found = train.understood(
        task.model, task.corpus.vocabulary, [str(s) for s in task.corpus.test[:60]]
    )
    likeliest = []
    for s in task.corpus.test[:60]:
        tokens = task.corpus.vocabulary.encode(s.words)[None]
        scores = task.model.logits(task.model(tokens)).data[0, s.pronoun]
        likeliest.append(task.corpus.vocabulary.symbols[scores.argmax()] == s.words[s.answer])
    assert some.right == np.mean(likeliest)
    assert some.examples == 60
    assert all(r.noun in s.words for r, s in zip(found, task.corpus.test, strict=False))
    assert some.loss == task.loss(task.unseen[:60]).item()


def test_readings_do_not_depend_on_their_neighbours(task: train.Reference) -> None:
    words = task.corpus.vocabulary
    short, long = "it cat", "the street wasn't crossed by the animal because it was too wide"
    alone, (beside, other) = (
        train.understood(task.model, words, s) for s in ([short], [short, long])
    )
    assert alone[0].noun == beside.noun
    assert alone[0].weights.shape == (2, 2, 2, 2)
    np.testing.assert_allclose(alone[0].weights, beside.weights, atol=1e-14)
    assert other.weights.shape == (2, 2, 12, 12)
    assert (other.pronoun, beside.pronoun) == (8, 0)


def test_sentences_as_people_write_them(task: train.Reference) -> None:
    written = "The animal didn’t cross the street, because it was too tired."
    plain = "the animal didn't cross the street because it was too tired"
    one, two = train.understood(task.model, task.corpus.vocabulary, [written, plain])
    assert one.words == two.words == plain.split()
    np.testing.assert_array_equal(one.weights, two.weights)


@pytest.mark.parametrize(
    ("sentence", "error", "message"),
    [
        ("the animal was tired", DataError, 'expected a sentence with "it"'),
        ("", DataError, 'expected a sentence with "it"'),
        ("the cat was purple it", DataError, "got 'purple'; leave it out"),
        ("it was too hard", DataError, 'expected a noun that "it" can mean'),
        ("cat " + "it " * 12, ShapeError, "T up to max_length=12"),
    ],
)
def test_sentences_that_are_refused(
    task: train.Reference, sentence: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train.understood(task.model, task.corpus.vocabulary, [sentence])


def test_the_famous_sentences_travel_with_the_model(task: train.Reference) -> None:
    state = task.state()
    assert [example[1] for example in state["examples"][:2]] == ["animal", "street"]
    assert state["examples"][0][0].endswith("because it was too tired")
    assert len({sentence for sentence, _ in state["examples"]}) == 8
    assert tuple(state["head"]) == task.head()


# ── sentences as arrays ──────────────────────────────────────────────────────────────────────────
def test_rows_say_what_the_sentences_say() -> None:
    corpus = pronouns()
    some, symbols = corpus.test[:50], corpus.vocabulary.symbols
    rows = corpus.rows(some)
    assert rows.tokens.shape == (50, 12)
    assert {len(s.words) for s in some} == {11, 12}
    for i, s in enumerate(some):
        assert tuple(symbols[t] for t in rows.tokens[i, : rows.lengths[i]]) == s.words
        assert (rows.pronoun[i], rows.answer[i]) == (s.pronoun, s.answer)
        assert tuple(rows.nouns[i]) == s.nouns
        assert symbols[rows.meant[i]] == s.words[s.answer]
        kept = [symbols[t] if t >= 0 else "-" for t in rows.others[i]]
        words = ["-" if word == "it" else word for word in s.words]
        assert kept == words + ["-"] * (12 - len(words))


def test_some_rows_and_none() -> None:
    corpus = pronouns()
    rows = corpus.rows(corpus.test[:7])
    chosen = rows[np.array([5, 2, 5])]
    assert len(chosen) == 3
    np.testing.assert_array_equal(chosen.meant, rows.meant[[5, 2, 5]])
    np.testing.assert_array_equal(rows[2:4].nouns, rows.nouns[2:4])
    none = corpus.rows([])
    assert none.nouns.shape == (0, 2)
    assert len(none.meant) == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_animal_and_the_street_meet_in_the_test_part_alone(seed: int) -> None:
    corpus = pronouns(0.01, seed)
    assert not [s for s in corpus.train if {"animal", "street"} <= {*s.words}]
    assert len([s for s in corpus.test if {"animal", "street"} <= {*s.words}]) == 24
    assert len(corpus.test) == 3 * 24


def test_neither_kind_of_noun_is_meant_more_often() -> None:
    corpus = pronouns()
    for part in (corpus.train, corpus.test):
        assert np.mean([s.words[s.answer] in AGENTS for s in part]) == 0.5
