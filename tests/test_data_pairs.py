"""Dates, pairs of one's own and pronouns: two parts that share nothing, the same for a seed."""

from datetime import date

import numpy as np
import pytest

from tinygrad_attn import data
from tinygrad_attn.data.dates import FORMATS, year_in


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


@pytest.mark.parametrize("numbers", [(36_526, 0), (36_000, 526)])
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
        ([], "the file is empty; give one with at least 1 character$"),
        (["a\tb"] * 30, "at least 20 lines with different sources, got 1"),
        (["a b"], r"line 1: expected a source, one tab and its target, got 1 part: 'a b'"),
        (["", "a\tb\tc"], "line 2: expected a source, one tab and its target, got 3 parts"),
        (["a\t"], "one tab and its target, but one of them is empty: 'a"),
        (["\tb"], "line 1: expected a source, one tab and its target, but one of them is empty"),
        (["a" * 201 + "\tb"], "line 1: expected at most 200 characters on either side, got 201"),
        (["a\tb␃"], "line 1: ␀ ␂ ␃ are reserved"),
    ],
)
def test_lines_that_are_no_pairs(tmp_path, lines, sentence):
    with pytest.raises(data.DataError, match=sentence):
        data.pairs(written_pairs(tmp_path, lines))


def test_letters_are_composed(tmp_path):
    lines = [f"e\u0301{i}\t\u1112\u1161\u11ab" for i in range(20)]
    drawn = data.pairs(written_pairs(tmp_path, lines))
    assert {pair.source[0] for pair in drawn.train + drawn.test} == {"é"}
    assert {pair.target for pair in drawn.train + drawn.test} == {"한"}


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
