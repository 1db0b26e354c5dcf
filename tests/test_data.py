"""Data: splits that share nothing, the same for the same seed, and sentences for what is wrong."""

import builtins
import re
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tinygrad_attn import data
from tinygrad_attn.data.dates import FORMATS, year_in
from tinygrad_attn.data.text import split
from tinygrad_attn.extras import ExtraError


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
        (b"\xff\xfe" + b"x\0" * 999, "expected UTF-8 text, but byte 0 is not part of any; convert"),
        (b"caf\xe9 " * 999, "expected UTF-8 text, but byte 3"),
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
    for make in (
        data.windows(np.arange(5), length, 2),
        data.batches(np.arange(5), length, 2, np.random.default_rng(0)),
    ):
        with pytest.raises(data.DataError, match=f"one window of {length} tokens, got 5"):
            next(make)


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


def test_bigram_of_english_is_about_2_3_nats(english):
    loss = data.Bigram(english.train, len(english.vocabulary)).loss(english.held_out)
    assert 2.1 < loss < 2.5


# ── digits ──────────────────────────────────────────────────────────────────────────────────────
def test_digits_are_split_evenly_and_share_no_place():
    drawn, again, other = data.digits(seed=3), data.digits(seed=3), data.digits(seed=4)
    assert len(drawn.train) + len(drawn.test) == 1_797
    assert drawn.train.images.shape[1:] == (8, 8)
    assert drawn.train.images.dtype == np.float32
    assert drawn.train.images.min() == 0
    assert drawn.train.images.max() == 1
    shares = np.bincount(drawn.test.labels) / np.bincount(
        np.concatenate([drawn.train.labels, drawn.test.labels])
    )
    np.testing.assert_allclose(shares, 0.2, atol=0.004)
    assert (drawn.train.images == again.train.images).all()
    assert (drawn.test.labels != other.test.labels).any()


def test_digits_are_all_there_once():
    drawn = data.digits()
    rows = np.concatenate([drawn.train.images, drawn.test.images]).reshape(-1, 64) * 16
    labels = np.concatenate([drawn.train.labels, drawn.test.labels])
    assert sorted(map(tuple, np.column_stack([rows, labels]))) == sorted(
        map(tuple, np.column_stack([load_digits().data, load_digits().target]))
    )


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ExtraError, match=r'scikit-learn.*: pip install "tinygrad_attn\[demo\]"'):
        data.digits()


# ── dates ───────────────────────────────────────────────────────────────────────────────────────
def test_dates_share_no_day_and_come_from_the_seed():
    drawn = data.dates(900, 300, seed=5)
    days = [[p.target for p in part] for part in (drawn.train, drawn.test)]
    assert list(map(len, days)) == [900, 300]
    assert len(set(days[0] + days[1])) == 1_200
    assert drawn.train == data.dates(900, 300, seed=5).train
    assert drawn.train != data.dates(900, 300, seed=6).train
    assert all(date.fromisoformat(day) for day in days[0])


def test_every_date_can_be_spelt_with_the_vocabulary():
    drawn = data.dates(30_000, 6_525)
    everything = [p.source for p in drawn.train + drawn.test] + [p.target for p in drawn.test]
    rows, lengths = drawn.vocabulary.rows(everything, fill="␀")
    assert rows.shape == (len(everything), lengths.max())
    assert drawn.vocabulary.symbols[:3] == ("␀", "␂", "␃")


def test_date_formats():
    written = [form(date(2021, 5, 3)) for form in FORMATS]
    assert written[0] == "3 May 2021"
    assert "Monday, May 3rd, 2021" in written
    assert "3.5.2021" in written
    assert "5/3/2021" in written
    assert len(set(written)) == len(FORMATS) == 13
    assert [FORMATS[3](date(2021, 5, n)).split()[1] for n in (1, 2, 11, 12, 13, 21, 30)] == [
        "1st",
        "2nd",
        "11th",
        "12th",
        "13th",
        "21st",
        "30th",
    ]


def test_no_two_days_are_written_alike():
    drawn = data.dates(36_525, 0)
    readings: dict[str, set[str]] = {}
    for pair in drawn.train:
        readings.setdefault(pair.source.lower(), set()).add(pair.target)
    assert all(len(days) == 1 for days in readings.values())


@pytest.mark.parametrize("numbers", [(-1, 5), (5, -1), (36_000, 526)])
def test_too_many_dates(numbers):
    with pytest.raises(data.DataError, match="expected at most 36,525 pairs"):
        data.dates(*numbers)


def test_the_year_stands_where_it_says():
    for pair in data.dates(2_000, 0).train:
        place = year_in(pair)
        shown = pair.source[place.start : place.stop]
        assert shown == pair.target[4 - len(place) : 4]


# ── pairs of one's own ───────────────────────────────────────────────────────────────────────────
WORDS = ["red\trouge", "blue\tbleu", "", "green\tvert", "red\tétait", " tree \t arbre\r"]


def written_pairs(tmp_path, lines):
    path = tmp_path / "words.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_pairs_of_ones_own(tmp_path):
    more = [f"n{i}\t{i * i}" for i in range(26)]
    path = written_pairs(tmp_path, WORDS + more)
    drawn = data.pairs(path, test=0.2, seed=3)
    every = drawn.train + drawn.test
    assert (len(drawn.train), len(drawn.test)) == (24, 6)
    assert {("red", "rouge"), ("tree", "arbre"), ("n25", "625")} <= {
        (pair.source, pair.target) for pair in every
    }
    assert len({pair.source for pair in every}) == 30
    assert (drawn.longest_source, drawn.longest_target) == (5, 5)
    assert drawn.test == data.pairs(path, test=0.2, seed=3).test
    assert drawn.test != data.pairs(path, test=0.2, seed=4).test
    assert drawn.vocabulary.symbols[:3] == ("␀", "␂", "␃")
    drawn.vocabulary.rows([pair.target for pair in every], "␀")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "the file is empty"),
        (["a\tb"] * 30, "at least 20 lines with different sources, got 1"),
        (["a b"], r"line 1: expected a source, one tab and its target, got 1 part: 'a b'"),
        (["", "a\tb\tc"], "line 2: expected a source, one tab and its target, got 3 parts"),
        (["a\t"], "line 1: expected a source, one tab and its target"),
        (["a" * 201 + "\tb"], "line 1: expected at most 200 characters on either side, got 201"),
        (["a\tb␃"], "line 1: ␀ ␂ ␃ are reserved"),
    ],
)
def test_lines_that_are_no_pairs(tmp_path, lines, sentence):
    with pytest.raises(data.DataError, match=sentence):
        data.pairs(written_pairs(tmp_path, lines))


# ── a picture of a digit ─────────────────────────────────────────────────────────────────────────
def saved_image(tmp_path, pixels):
    from matplotlib.image import imsave

    path = tmp_path / "digit.png"
    imsave(path, pixels, cmap="gray", vmin=0, vmax=1)
    return path


@pytest.mark.parametrize("ground", [0, 1])
def test_a_picture_becomes_a_digit_of_8_by_8(tmp_path, ground):
    """A bar: cut out, centred in a square of its height, each cell the mean of what it covers."""
    pixels = np.full((50, 70), float(ground))
    pixels[5:45, 20:30] = 1 - ground  # 40 × 10 in a square of 40: two columns of 5 in the middle
    small = data.image(saved_image(tmp_path, pixels))
    expected = np.zeros((8, 8))
    expected[:, 3:5] = 1
    np.testing.assert_allclose(small, expected, atol=1e-6)
    assert small.dtype == np.float32


def test_uneven_areas_are_shared(tmp_path):
    pixels = np.zeros((5, 9))
    pixels[1:4, 3:6] = [[1, 1, 1], [1, 0.5, 1], [1, 1, 1]]
    small = data.image(saved_image(tmp_path, pixels), 2)
    mean = (1 + 0.5 + 0.5 + 0.25 * 0.5) / 2.25
    np.testing.assert_allclose(small, np.full((2, 2), mean / mean), atol=0.01)


def test_a_transparent_ground_is_white(tmp_path):
    from matplotlib.image import imsave

    pixels = np.zeros((10, 10, 4))
    pixels[2:8, 2:8, 3] = 1  # black on nothing
    path = tmp_path / "digit.png"
    imsave(path, pixels)
    np.testing.assert_allclose(data.image(path), np.ones((8, 8)), atol=1e-6)


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"words", "expected a picture"), (None, "expected a picture")]
)
def test_a_file_that_is_no_picture(tmp_path, content, sentence):
    path = tmp_path / "digit.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(data.DataError, match=sentence):
        data.image(path)


def test_an_empty_picture(tmp_path):
    with pytest.raises(data.DataError, match="nothing stands out"):
        data.image(saved_image(tmp_path, np.ones((9, 9))))


# ── pronouns ────────────────────────────────────────────────────────────────────────────────────
def test_pronouns_point_at_the_right_noun():
    drawn = data.pronouns()
    found = {str(s): s.words[s.answer] for s in drawn.train + drawn.test}
    assert found["the animal didn't cross the street because it was too tired"] == "animal"
    assert found["the animal didn't cross the street because it was too wide"] == "street"
    assert found["the wall wasn't climbed by the fox because it was too steep"] == "wall"
    assert found["because it was too heavy the dog didn't carry the stone"] == "stone"
    for s in drawn.train + drawn.test:
        assert s.words[s.pronoun] == "it"
        assert s.answer in s.nouns
        assert s.nouns[0] < s.nouns[1]


def test_position_alone_does_not_give_the_answer():
    drawn = data.pronouns()
    first = np.mean([s.answer == s.nouns[0] for s in drawn.train])
    assert 0.35 < first < 0.65


def test_pronouns_share_no_pair_of_nouns_and_come_from_the_seed():
    drawn, again, other = (data.pronouns(seed=s) for s in (1, 1, 2))
    pairs = [
        {frozenset(s.words[n] for n in s.nouns) for s in part} for part in (drawn.train, drawn.test)
    ]
    assert not pairs[0] & pairs[1]
    assert len(pairs[1]) == 60
    assert drawn.test == again.test
    assert drawn.test != other.test
    assert all(drawn.vocabulary.encode(s.words).size == len(s.words) for s in drawn.test)


@pytest.mark.parametrize("make", [data.pronouns, data.digits])
@pytest.mark.parametrize("share", [0, 1, float("nan")])
def test_shares_that_leave_nothing(make, share):
    with pytest.raises(data.DataError, match=r"expected a test share from 0\.01 to 0\.99"):
        make(share)


def test_nothing_is_read_from_outside(monkeypatch, english):
    """The embedded inputs open no socket and read no file but Python's and scikit-learn's own."""
    opened = []
    plain = builtins.open
    monkeypatch.setattr(builtins, "open", lambda f, *a, **k: opened.append(f) or plain(f, *a, **k))
    monkeypatch.setattr("socket.socket", None)
    data.text(), data.dates(20, 10), data.pronouns()
    assert not [path for path in map(str, opened) if not Path(path).is_relative_to(sys.prefix)]
