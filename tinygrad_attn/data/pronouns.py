"""Sentences whose pronoun needs the rest of the sentence to be understood.

    the animal didn't cross the street because it was too tired     it = the animal
    the animal didn't cross the street because it was too wide      it = the street

One word decides, and it may stand anywhere: what attention is for.  With this pair Google presented
the Transformer (J. Uszkoreit, 2017); such sentences are called Winograd schemas.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..engine import Array
from .errors import check_share, whole
from .vocabulary import Vocabulary

AGENTS = (
    "animal",
    "dog",
    "cat",
    "horse",
    "child",
    "rabbit",
    "elephant",
    "sheep",
    "fox",
    "bird",
    "goat",
    "bear",
)
FEELINGS = ("tired", "sleepy", "hungry", "scared")  # as many as obstacles: half is chance


class Deed(NamedTuple):
    """What one does, in two forms, what it is done to, and what about that stands in the way."""

    verb: str
    participle: str
    things: tuple[str, ...]
    obstacles: tuple[str, ...]


DEEDS = (
    Deed(
        "cross",
        "crossed",
        ("street", "river", "bridge", "field", "railway"),
        ("wide", "long", "busy", "slippery"),
    ),
    Deed(
        "climb",
        "climbed",
        ("wall", "hill", "ladder", "tower", "fence"),
        ("high", "steep", "smooth", "slippery"),
    ),
    Deed(
        "enter",
        "entered",
        ("cave", "house", "tunnel", "barn", "garden"),
        ("dark", "narrow", "crowded", "muddy"),
    ),
    Deed(
        "carry",
        "carried",
        ("box", "stone", "bag", "log", "basket"),
        ("heavy", "large", "sharp", "bulky"),
    ),
    Deed(
        "eat",
        "eaten",
        ("apple", "bread", "cheese", "pear", "carrot"),
        ("hard", "sour", "rotten", "salty"),
    ),
)
NOUNS = frozenset((*AGENTS, *(thing for deed in DEEDS for thing in deed.things)))
FORMS = (
    "the {agent} didn't {verb} the {thing} because it was too {why}",
    "the {thing} wasn't {participle} by the {agent} because it was too {why}",
    "because it was too {why} the {agent} didn't {verb} the {thing}",
)


@dataclass(frozen=True)
class Sentence:
    """One sentence.

    Attributes:
        words: the words, without punctuation.
        pronoun: position of "it".
        nouns: positions of the two nouns, in the order in which they stand.
        answer: position of the noun that "it" means; one of `nouns`.
    """

    words: tuple[str, ...]
    pronoun: int
    nouns: tuple[int, int]
    answer: int

    def __str__(self) -> str:
        return " ".join(self.words)


@dataclass(frozen=True, repr=False)
class Pronouns:
    """Sentences in two parts; no two nouns that meet in one part meet in the other.

    Attributes:
        train, test: the parts.
        vocabulary: all their words.
    """

    train: list[Sentence]
    test: list[Sentence]
    vocabulary: Vocabulary

    def __repr__(self) -> str:
        return f"Pronouns({len(self.train):,} to learn from, {len(self.test):,} held out)"

    def rows(self, sentences: Sequence[Sentence]) -> Rows:
        """`sentences` as arrays.

        Raises:
            DataError: a word is not in the vocabulary.
        """
        fill = self.vocabulary.symbols[0]  # as good as any: the lengths tell what is real
        tokens, lengths = self.vocabulary.rows([s.words for s in sentences], fill)
        places = [(s.pronoun, *s.nouns, s.answer) for s in sentences]
        pronoun, first, second, answer = np.array(places, np.int64).reshape(-1, 4).T
        return Rows(tokens, lengths, pronoun, np.stack([first, second], 1), answer)


@dataclass(frozen=True)
class Rows:
    """Sentences as arrays, int64.

    Attributes:
        tokens: (N, T), filled up at the end.
        lengths: (N,), numbers of words.
        pronoun, nouns, answer: positions as in Sentence, (N,), (N, 2) and (N,).
    """

    tokens: Array
    lengths: Array
    pronoun: Array
    nouns: Array
    answer: Array

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: Any) -> Rows:
        """Some of them, by a slice or an array."""
        return Rows(*(array[index] for array in vars(self).values()))

    @property
    def meant(self) -> Array:
        """The noun that "it" means: tokens (N,)."""
        nouns: Array = self.tokens[np.arange(len(self)), self.answer]
        return nouns

    @property
    def others(self) -> Array:
        """All words but "it": tokens (N, T), and −100 in its place and after the end."""
        place = np.arange(self.tokens.shape[1])
        real = (place < self.lengths[:, None]) & (place != self.pronoun[:, None])
        return np.where(real, self.tokens, -100)


def pronouns(test: float = 0.2, seed: int = 0) -> Pronouns:
    """All sentences in random order; `test` of the pairs of nouns are kept for the test part.

    The seed decides which; the animal and the street are always in the test part.

    Raises:
        DataError: a share that leaves one part empty, or a seed that is no whole number.
    """
    check_share("pronouns", test)
    rng = np.random.default_rng(whole("pronouns: seed", seed))
    pairs = [(agent, thing) for agent in AGENTS for deed in DEEDS for thing in deed.things]
    order = [0, *(1 + rng.permutation(len(pairs) - 1))]  # the first is the animal and the street
    held_out = {pairs[i] for i in order[: round(len(pairs) * test)]}
    parts: tuple[list[Sentence], list[Sentence]] = [], []
    for pair, sentence in sentences():
        parts[pair in held_out].append(sentence)
    train, tested = ([part[i] for i in rng.permutation(len(part))] for part in parts)
    return Pronouns(train, tested, Vocabulary.of(s.words for s in train + tested))


def sentences() -> Iterator[tuple[tuple[str, str], Sentence]]:
    """Every sentence with its two nouns."""
    for deed in DEEDS:
        for agent, thing, form, why in product(
            AGENTS, deed.things, FORMS, FEELINGS + deed.obstacles
        ):
            sentence = form.format(agent=agent, thing=thing, why=why, **deed._asdict())
            words = tuple(sentence.split())
            meant = words.index(agent if why in FEELINGS else thing)
            first, second = sorted((words.index(agent), words.index(thing)))
            yield (agent, thing), Sentence(words, words.index("it"), (first, second), meant)
