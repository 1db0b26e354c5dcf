"""Data: splits that share nothing, the same for the same seed, and sentences for what is wrong."""

import builtins
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygrad_attn import data
from tinygrad_attn.data.text import split


@pytest.fixture(scope="module")
def english():
    return data.text()


def english_paragraphs(tokens, vocabulary):
    return {p.strip() for p in vocabulary.decode(tokens).split("\n\n") if len(p.strip()) >= 40}


# ── text ────────────────────────────────────────────────────────────────────────────────────────
def test_the_embedded_text_is_english_and_large_enough(english):
    assert len(english.train) > 300_000
    assert len(english.held_out) > 40_000
    shown = english.vocabulary.decode(english.train[:200_000])
    assert shown.count(" the ") > 1_000


def test_no_paragraph_of_the_held_out_text_is_in_the_training_text(english):
    train = english_paragraphs(english.train, english.vocabulary)
    held_out = english_paragraphs(english.held_out, english.vocabulary)
    assert len(held_out) > 100
    assert not train & held_out


def test_split_keeps_everything_else():
    paragraphs = [f"paragraph number {n} of forty characters or more" for n in range(30)]
    whole = "\n\n".join([*paragraphs, paragraphs[3]])
    train, held_out = split(whole)
    assert paragraphs[3] in held_out
    assert paragraphs[3] not in train
    assert all(p in train for p in paragraphs[:3] + paragraphs[4:27])


def test_own_text(tmp_path):
    path = tmp_path / "own.txt"
    path.write_bytes("\ufeff".encode() + "어텐션 is all you need.\r\n".encode() * 60)
    own = data.text(path)
    assert "\ufeff" not in own.vocabulary.token
    assert "\r" not in own.vocabulary.token
    assert own.vocabulary.decode(own.train).startswith("어텐션 is all")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read (No such file or directory); check the path"),
        (b"", "expected text, but the file is empty; give one with at least 1,000 characters"),
        (b" \n\n ", "the file is empty"),
        (b"short" * 20, "expected at least 1,000 characters, got 100; give a longer text"),
        ("café €".encode("utf-16") * 999, "byte 0 is not part of any; convert the file, e.g. with"),
        ("café €".encode("utf-16"), "`iconv -f UTF-16 -t UTF-8`"),
        ("café €".encode("cp1252"), "expected UTF-8 text, but byte 3 is not part of any"),
        ("café €".encode("cp1252"), "`iconv -f WINDOWS-1252 -t UTF-8`"),
    ],
)
def test_a_text_file_that_cannot_be_used(tmp_path, content, sentence):
    path = tmp_path / "own.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(data.DataError, match=re.escape(sentence)) as caught:
        data.text(path)
    assert str(caught.value).startswith(f"{path}: expected")


@pytest.mark.parametrize("path", [".", "nul\0byte"])
def test_a_path_that_is_no_file(path):
    with pytest.raises(data.DataError, match="expected a text file, but it cannot be read"):
        data.text(path)


def test_a_python_without_the_topics(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(data.DataError, match="this Python came without it; give a text of"):
        data.text()


def test_batches_are_windows_and_the_token_after_each_and_come_from_the_seed():
    tokens = np.arange(100) * 3
    first, again, other = (data.batches(tokens, 7, 5, np.random.default_rng(s)) for s in (1, 1, 2))
    for _ in range(50):
        x, y = next(first)
        assert x.shape == y.shape == (5, 7)
        assert (np.diff(x) == 3).all()
        assert (y == x + 3).all()
        assert (next(again)[0] == x).all()
        assert (next(other)[0] != x).any()


def test_batches_reach_both_ends():
    drawn = data.batches(np.arange(11), 3, 400, np.random.default_rng(0))
    x, y = next(drawn)
    assert x.min() == 0
    assert y.max() == 10


@pytest.mark.parametrize("n", [8, 35, 36, 37, 41, 42])
def test_windows_make_every_token_a_target_once(n):
    tokens = np.arange(n)
    pairs = list(data.windows(tokens, 7, 2))
    targets = np.concatenate([y.ravel() for _, y in pairs])
    assert targets.tolist() == list(range(1, n))
    assert all((y == x + 1).all() for x, y in pairs)


def test_fewer_windows_are_spread_evenly_and_fixed():
    tokens = np.arange(1_000)
    parts = [
        np.concatenate([x for x, _ in data.windows(tokens, 10, 4, at_most=9)]) for _ in range(2)
    ]
    assert parts[0].shape == (9, 10)
    assert (parts[0] == parts[1]).all()
    assert parts[0][0, 0] == 0
    assert parts[0][-1, 0] == 980
    assert set(np.diff(parts[0][:, 0])) <= {120, 130}


@pytest.mark.parametrize("length", [0, 5, 9])
def test_windows_longer_than_the_text(length):
    for draw in (
        lambda: next(data.windows(np.arange(5), length, 2)),
        lambda: data.batches(np.arange(5), length, 2, np.random.default_rng(0)),
    ):
        with pytest.raises(data.DataError, match=f"one window of {length} tokens, got 5"):
            draw()


# ── vocabulary ──────────────────────────────────────────────────────────────────────────────────
def test_vocabulary_goes_both_ways():
    vocabulary = data.Vocabulary.of(["hello", "world"])
    assert vocabulary.symbols == tuple("dehlorw")
    assert vocabulary.decode(vocabulary.encode("whole")) == "whole"
    rows, lengths = vocabulary.rows(["ole", "", "h"], fill="w")
    assert rows.tolist() == [[4, 3, 1], [6, 6, 6], [2, 6, 6]]
    assert lengths.tolist() == [3, 0, 1]


def test_vocabulary_names_the_symbol_it_does_not_know():
    with pytest.raises(data.DataError, match=r"the 2 known symbols \(ab\), got '한'; leave it out"):
        data.Vocabulary("ab").encode("ab한")


def test_what_is_not_in_the_vocabulary_is_named():
    vocabulary = data.Vocabulary("ab")
    with pytest.raises(data.DataError, match=r"known symbols \(ab\), got 'z'"):
        vocabulary.rows(["a", "b"], "z")
    assert vocabulary.decode([]) == ""
    assert vocabulary.decode(np.array([0, 1])) == "ab"
    for tokens in ([0, 2], [-1], [7, 0]):
        with pytest.raises(data.DataError, match="expected tokens from 0 to 1, got"):
            vocabulary.decode(tokens)


@pytest.mark.parametrize("symbols", ["", "aba"])
def test_vocabulary_needs_distinct_symbols(symbols):
    with pytest.raises(data.DataError, match="expected distinct symbols"):
        data.Vocabulary(symbols)


# ── bigram ──────────────────────────────────────────────────────────────────────────────────────
def test_bigram_is_counting():
    tokens = np.array([0, 1, 0, 2, 0, 1])
    model = data.Bigram(tokens, 3, smoothing=0.5)
    p = np.array([[0.5, 2.5, 1.5], [1.5, 0.5, 0.5], [1.5, 0.5, 0.5]])
    p /= p.sum(axis=1, keepdims=True)
    held_out = np.array([2, 2, 1, 0, 1])
    expected = np.log(p[held_out[:-1], held_out[1:]])
    np.testing.assert_allclose(model.log_probability(held_out), expected, rtol=1e-15)
    assert model.loss(held_out) == pytest.approx(-expected.mean(), rel=1e-15)


@pytest.mark.parametrize("n", [0, 1])
def test_bigram_needs_a_pair(n):
    tokens = np.zeros(n, np.int64)
    model = data.Bigram(np.array([0, 1, 0]), 2)
    for use in (model.loss, model.log_probability, lambda t: data.Bigram(t, 2)):
        with pytest.raises(data.DataError, match=f"at least 2 tokens, got {n}"):
            use(tokens)


def test_bigram_of_english_is_about_2_3_nats(english):
    loss = data.Bigram(english.train, len(english.vocabulary)).loss(english.held_out)
    assert 2.1 < loss < 2.5


# ── arguments, and what is opened ───────────────────────────────────────────────────────────────
@pytest.mark.parametrize("make", [data.pronouns, data.digits])
@pytest.mark.parametrize("share", [0, 1, float("nan"), "0.2", None])
def test_shares_that_leave_nothing(make, share):
    with pytest.raises(data.DataError, match=r"expected a test share from 0\.01 to 0\.99"):
        make(share)


NUMBERS = [
    (lambda x: data.dates(x, 2), 0, [-1, 1.5, "1", None]),
    (lambda x: data.dates(2, x), 0, [-1, 2.0]),
    (lambda x: data.dates(2, 2, seed=x), 0, [-1, None]),
    (lambda x: data.digits(seed=x), 0, [-1, 0.5]),
    (lambda x: data.pronouns(seed=x), 0, [-1, "a"]),
    (lambda x: data.pairs("none.tsv", seed=x), 0, [-1, None]),
    (lambda x: data.image("none.png", x), 1, [0, -8, 8.0]),
    (lambda x: next(data.windows(np.arange(9), 3, x)), 1, [0, -1, 1.5]),
    (lambda x: next(data.windows(np.arange(9), 3, 2, x)), 1, [0, -1, 1.5]),
    (lambda x: data.Shuffled(3, x, np.random.default_rng(0)), 1, [0, -1, 2.0, None]),
    (lambda x: data.batches(np.arange(9), 3, x, np.random.default_rng(0)), 1, [0, 2.0]),
]


@pytest.mark.parametrize(("use", "least", "values"), NUMBERS)
def test_numbers_that_are_not_whole_or_too_small(use, least, values):
    for value in values:
        sentence = f"expected a whole number, {least} or more, got {value!r}"
        with pytest.raises(data.DataError, match=re.escape(sentence)):
            use(value)


def test_nothing_is_read_from_outside(monkeypatch, english):
    """The embedded inputs open no socket and read no file but Python's and scikit-learn's own."""
    opened = []
    plain = builtins.open
    monkeypatch.setattr(builtins, "open", lambda f, *a, **k: opened.append(f) or plain(f, *a, **k))
    monkeypatch.setattr("socket.socket", None)
    data.text(), data.dates(20, 10), data.pronouns()
    assert not [path for path in map(str, opened) if not Path(path).is_relative_to(sys.prefix)]
