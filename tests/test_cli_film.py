"""`tinygrad-attn film`: what it writes is a film of the pronouns, and mistakes get a sentence."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_attn.cli import film, main


def read(path: Path) -> dict[str, Any]:
    (text,) = re.findall(r'id="film-data">(.*?)</script>', path.read_text(encoding="utf-8"))
    return json.loads(text)


def filmed(path: Path, *options: str) -> dict[str, Any]:
    assert main(["film", "--out", str(path), *options]) == 0
    return read(path)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The data of a film of seven steps in four snapshots."""
    path = tmp_path_factory.mktemp("film") / "it.html"
    return filmed(path, "--steps", "7", "--snapshots", "4", "--seed", "2")


def test_the_film_shows_the_famous_pair_from_the_first_step_to_the_last(short: Any) -> None:
    assert [short["curve"]["steps"][at] for at in short["frames"]] == [0, 2, 5, 7]
    assert short["training"]["steps"] == list(range(1, 8))
    assert [layer["name"] for layer in short["layers"]] == [
        "blocks.0.self_attn",
        "blocks.1.self_attn",
    ]
    titles = [example["title"] for example in short["layers"][1]["examples"]]
    assert titles == [film.FAMOUS.format(why) for why in ("tired", "wide")]
    assert short["layers"][0]["shape"] == [4, 2, 2, 11, 11]
    assert np.diff(short["curve"]["values"]).max() < 0  # it learns
    assert "blocks.1.self_attn" in short["modules"]


def test_the_first_layer_may_look_three_words_away(short: Any) -> None:
    first, second = short["layers"]
    allowed = np.frombuffer(base64.b64decode(first["allowed"]["data"]), "u1").reshape(2, 1, 11, 11)
    distance = np.abs(np.subtract.outer(np.arange(11), np.arange(11)))
    np.testing.assert_array_equal(allowed[1, 0], distance <= 3)
    assert second["allowed"] is None


def test_the_same_seed_gives_the_same_film(short: Any, tmp_path: Path) -> None:
    options = ("--steps", "7", "--snapshots", "4")
    assert filmed(tmp_path / "again.html", *options, "--seed", "2") == short
    other = filmed(tmp_path / "other.html", *options, "--seed", "3")
    assert other["curve"]["values"] != short["curve"]["values"]


def test_it_says_what_it_wrote_and_tells_of_its_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.htm"
    filmed(path, "--steps", "1", "--snapshots", "60")
    shown = capsys.readouterr()
    assert re.fullmatch(
        rf"{re.escape(str(path))}   2 snapshots, 0\.\d MB\nunseen sentences, noun right: \d+%\n",
        shown.out,
    )
    assert "step 1 of 1" in shown.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "0"], "expected an integer from 1 to 100,000, got '0'"),
        (["--snapshots", "1"], "expected an integer from 2 to 500, got '1'"),
        (["--out", "film.svg"], "expected a name that ends in .html, got 'film.svg'"),
        (["--out", "no/such/film.html"], "--out: there is no folder no/such"),
    ],
)
def test_mistakes_are_answered_by_a_sentence_before_the_work_begins(
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(film, "filmed", lambda *given: pytest.fail("it trained"))
    try:
        code: Any = main(["film", *options])
    except SystemExit as exit_:
        code = exit_.code
    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
