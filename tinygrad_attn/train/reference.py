"""A BERT learns what "it" means in a sentence, and where to look for it.

At the place of "it" it shall predict the noun that is meant, at every other place the word that
stands there.  Nothing says where to look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..data import DataError, Pronouns, Shuffled, Source, Vocabulary, digest
from ..data.pronouns import NOUNS, Rows
from ..engine import Array, Tensor
from ..models import BERT
from ..models.evaluation import evaluating
from ..nn import Mask, functional
from .task import EXAMPLES, Score

FAMOUS = {"animal", "street"}  # in the test part, whatever the seed
CHOOSING = 500  # training sentences by which a head is chosen


class Reference:
    """`model`, a BERT with the corpus's vocabulary, and `corpus`; see Task."""

    unit = "nats"
    name = "sentences with a pronoun"
    baseline = None
    settings: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, model: BERT, corpus: Pronouns) -> None:
        self.model, self.corpus = model, corpus
        self.sizes = len(corpus.train), len(corpus.test)
        self.known, self.unseen = corpus.rows(corpus.train), corpus.rows(corpus.test)

    @property
    def about(self) -> str:
        """The sentences in one sentence."""
        return (
            f"Sentences: {self.sizes[0]:,} to learn from and {self.sizes[1]:,} held out, whose two "
            f"nouns never met, such as “{self.corpus.train[0]}”."
        )

    @cached_property
    def digests(self) -> dict[str, str]:
        """Of the sentences to learn from, of those held out, and of the words."""
        return {
            "train": digest(*vars(self.known).values()),
            "held out": digest(*vars(self.unseen).values()),
            "vocabulary": digest(self.corpus.vocabulary.symbols),
        }

    def batches(self, size: int, rng: np.random.Generator) -> Source:
        """Sentences."""
        return Shuffled(self.sizes[0], size, rng, self.chosen)

    def chosen(self, numbers: Array) -> tuple[Rows]:
        """The training sentences of these numbers."""
        return (self.known[numbers],)

    def loss(self, rows: Rows) -> Tensor:
        """Mean cross-entropy of the noun in the place of "it", plus that of the other words."""
        return reference_loss(read(self.model, rows.tokens, rows.lengths)[0], rows)

    def score(self, at_most: int | None = None) -> Score:
        """The loss, and the share in which the noun that is meant is the likeliest word."""
        rows = self.unseen[slice(at_most)]
        logits, _ = read(self.model, rows.tokens, rows.lengths)
        likeliest = logits.data[np.arange(len(rows)), rows.pronoun].argmax(axis=-1)
        right = float((likeliest == rows.meant).mean())
        return Score(reference_loss(logits, rows).item(), len(rows), right)

    def looks(self, rows: Rows) -> Array:
        """Share of sentences in which "it" attends most to the noun that is meant.

        Returns:
            (layers, heads).
        """
        with evaluating(self.model):
            _, weights = read(self.model, rows.tokens, rows.lengths)
        from_it = weights[np.arange(len(rows)), :, :, rows.pronoun]  # (N, layers, heads, T)
        shares: Array = (from_it.argmax(axis=-1) == rows.answer[:, None, None]).mean(axis=0)
        return shares

    def head(self) -> tuple[int, int]:
        """(layer, head) of the head that looks at the right noun most often, in training."""
        shares = self.looks(self.known[:CHOOSING])
        layer, head = np.unravel_index(shares.argmax(), shares.shape)
        return int(layer), int(head)

    def state(self) -> dict[str, Any]:
        """The words, the head that looks at the noun, and a few held-out sentences."""
        famous = [s for s in self.corpus.test if set(s.words) >= FAMOUS]
        famous.sort(
            key=lambda s: (str(s)[:10] != "the animal", s.words[-1] not in ("tired", "wide"))
        )
        others = [s for s in self.corpus.test if s not in famous]
        shown = [*famous[:2], *others][:EXAMPLES]
        return {
            "vocabulary": list(self.corpus.vocabulary.symbols),
            "head": list(self.head()),
            "examples": [[str(s), s.words[s.answer]] for s in shown],
        }


def reference_loss(logits: Tensor, rows: Rows) -> Tensor:
    """Mean cross-entropy of the noun in the place of "it", plus that of the other words."""
    at_it = logits[np.arange(len(rows)), rows.pronoun]
    words: Tensor = functional.cross_entropy(logits, rows.others)
    return words + functional.cross_entropy(at_it, rows.meant)


def read(model: BERT, tokens: Array, lengths: Array) -> tuple[Tensor, Array]:
    """Logits (N, T, words), and the weights (N, layers, heads, T, T)."""
    features, weights = model(tokens, mask=Mask.lengths(lengths), return_weights=True)
    return model.logits(features), np.stack([w.data for w in weights], axis=1)


@dataclass(frozen=True)
class Reading:
    """What a model makes of a sentence.

    Attributes:
        words: the sentence.
        pronoun: position of "it".
        noun: that of its nouns which the model puts most likely in its place.
        weights: (layers, heads, T, T).
    """

    words: list[str]
    pronoun: int
    noun: str
    weights: Array


def understood(model: BERT, vocabulary: Vocabulary, sentences: Sequence[str]) -> list[Reading]:
    """What the model makes of each sentence.

    Raises:
        DataError: a word is not in the vocabulary, or a sentence lacks "it" or any noun.
        ShapeError: a sentence is too long for the model.
    """
    words = [split(sentence) for sentence in sentences]
    tokens, lengths = vocabulary.rows(words, vocabulary.symbols[0])
    with evaluating(model):
        logits, weights = read(model, tokens, lengths)
    found = []
    for sentence, scores, heads in zip(words, logits.data, weights, strict=True):
        place, n = sentence.index("it"), len(sentence)
        nouns = [word for word in sentence if word in NOUNS]
        noun = max(nouns, key=lambda word: scores[place, vocabulary.token[word]])
        found.append(Reading(sentence, place, noun, heads[:, :, :n, :n]))
    return found


def split(sentence: str) -> list[str]:
    """The words of a sentence, in small letters and without signs around them."""
    words = [word.strip('.,;:!?"“”') for word in sentence.lower().replace("’", "'").split()]
    if "it" not in words:
        raise DataError(f'expected a sentence with "it", got {sentence!r}')
    if not NOUNS & set(words):
        raise DataError(
            f'expected a noun that "it" can mean, such as animal or street, got {sentence!r}'
        )
    return [word for word in words if word]
