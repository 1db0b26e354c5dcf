"""Pairs of short texts, one to be turned into the other, character by character.

    corpus = dates()              # see dates.py
    corpus = pairs("words.tsv")   # or your own file: a source, a tab, its target on each line

No source is in both parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

import numpy as np

from .errors import DataError, check_share, whole
from .text import read
from .vocabulary import Vocabulary

PADDING, START, END = "␀", "␂", "␃"  # beside the characters, for sequence models
SPECIAL = (PADDING, START, END)
FEWEST_PAIRS = 20
LONGEST = 200  # characters: recurrent models read one after the other


@dataclass(frozen=True)
class Pair:
    """A text, and what it shall become."""

    source: str
    target: str


@dataclass(frozen=True, repr=False)
class Pairs:
    """Pairs in two parts that share no source, and all characters after the three special symbols.

    Attributes:
        name: where they come from.
        train, test: the parts.
        vocabulary: padding, start and end (tokens 0, 1, 2), then the characters.
    """

    name: str
    train: list[Pair]
    test: list[Pair]
    vocabulary: Vocabulary

    def __repr__(self) -> str:
        return (
            f"Pairs({self.name!r}, {len(self.train):,} to learn from, {len(self.test):,} held out)"
        )

    @property
    def longest_source(self) -> int:
        """Characters of the longest source."""
        return max(len(pair.source) for pair in self.train + self.test)

    @property
    def longest_target(self) -> int:
        """Characters of the longest target."""
        return max(len(pair.target) for pair in self.train + self.test)


def pairs(path: str | Path, test: float = 0.1, seed: int = 0) -> Pairs:
    """The pairs in a UTF-8 file with tabs, in random order; a share `test` of them is held out.

    A source that comes several times counts once, with its first target; empty lines do not count.

    Raises:
        DataError: the file cannot be read, has no tab in a line or several, too few lines, too long
            ones or special symbols; or a share or a seed cannot be used.
    """
    check_share("pairs", test)
    rng = np.random.default_rng(whole("pairs: seed", seed))
    path = Path(path)
    found: dict[str, str] = {}
    for number, line in enumerate(read(path, 1).split("\n"), 1):
        if line.strip():
            pair = parsed(line, f"{path}, line {number}")
            found.setdefault(pair.source, pair.target)
    if len(found) < FEWEST_PAIRS:
        raise DataError(
            f"{path}: expected at least {FEWEST_PAIRS} lines with different sources, "
            f"got {len(found)}"
        )
    every = [Pair(source, target) for source, target in found.items()]
    order = rng.permutation(len(every))
    drawn = [every[i] for i in order]
    cut = max(1, round(test * len(drawn)))
    characters = {c for pair in drawn for c in pair.source + pair.target}
    vocabulary = Vocabulary([*SPECIAL, *sorted(characters)])
    return Pairs(str(path), drawn[cut:], drawn[:cut], vocabulary)


def parsed(line: str, place: str) -> Pair:
    """The pair on a line, its letters composed (NFC): é is one symbol, however it was typed."""
    line = normalize("NFC", line)
    parts = [part.strip() for part in line.split("\t")]
    if len(parts) != 2 or not all(parts):
        number = f"got {len(parts)} part{'s' if len(parts) > 1 else ''}"
        wrong = "but one of them is empty" if len(parts) == 2 else number
        raise DataError(
            f"{place}: expected a source, one tab and its target, {wrong}: {line[:40]!r}"
        )
    if max(map(len, parts)) > LONGEST:
        raise DataError(
            f"{place}: expected at most {LONGEST} characters on either side, got "
            f"{max(map(len, parts))}; shorten or leave out the line"
        )
    if set(line) & set(SPECIAL):
        raise DataError(f"{place}: {' '.join(SPECIAL)} are reserved; leave them out")
    return Pair(*parts)
