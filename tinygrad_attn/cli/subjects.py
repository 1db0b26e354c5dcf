"""What the anatomy page looks at: a trained model, texts for it, and the numbers to differentiate.

A GPT predicts each next character; a BERT that has learnt what "it" means fills in its noun.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import CheckpointError
from ..data import DataError, Pronouns, Vocabulary
from ..data.pronouns import Sentence
from ..engine import Array, Tensor
from ..models import BERT, GPT
from ..nn import Mask, Module, functional
from ..train import understood
from ..train.reference import FAMOUS, reference_loss, split
from .draw import SENTENCE
from .options import UsageError
from .readers import PronounReader
from .saved import opened, vocabulary_of

PADDING = "·"  # the label of what fills up a shorter text
SHOWN = 3  # held-out sentences


@dataclass(frozen=True)
class Subject:
    """A model and what it is run on, as `viz.anatomy` takes them.

    Attributes:
        run: the model's targets: the loss, and one logit or a few.
        examples: the labels of each text.
        cell: (example, row, column) of the layer's result, one more target.
        title: of the page.
    """

    model: Module
    run: Callable[[Any], dict[str, Tensor]]
    examples: list[list[str]]
    cell: tuple[int, int, int]
    title: str


def saved_subject(path: Path, texts: Sequence[str], wanted: Sequence[str]) -> Subject:
    """The model in a checkpoint, on texts of one's own or on what came with it.

    Raises:
        CheckpointError: it holds neither a GPT nor a BERT, or came without what it takes.
        DataError: a text has unknown symbols, or lacks "it" or a noun.
    """
    saved = opened(path)
    if isinstance(saved.model, GPT):
        vocabulary = vocabulary_of(path, saved.state, saved.model.config.vocab_size)
        return of_gpt(
            saved.model, vocabulary, texts or [beginning(saved.model, vocabulary)], wanted
        )
    if not isinstance(saved.model, BERT):
        raise CheckpointError(
            f"{path}: expected a GPT or a BERT, got a {type(saved.model).__name__}; for other "
            "models call tinygrad_attn.viz.anatomy"
        )
    reader = PronounReader(path, saved.model, saved.state)
    answers = [None] * len(texts) if texts else [answer for _, answer in reader.examples]
    asked = list(texts) or [str(sentence) for sentence, _ in reader.examples]
    sentences = [
        sentence_of(saved.model, reader.vocabulary, text, answer)
        for text, answer in list(zip(asked, answers, strict=True))[: len(texts) or SHOWN]
    ]
    return of_bert(saved.model, reader.vocabulary, sentences, wanted)


# ── a GPT ────────────────────────────────────────────────────────────────────────────────────────
def beginning(model: GPT, vocabulary: Vocabulary) -> str:
    """The sentence in characters that a model knows, as far as it can read."""
    known = [c for c in SENTENCE if c in vocabulary.token]
    if len(known) < 2:
        raise UsageError("--text: expected a text, as the model knows too few letters of English")
    return "".join(known[: model.config.max_length + 1])


def of_gpt(
    model: GPT, vocabulary: Vocabulary, texts: Sequence[str], wanted: Sequence[str] = ()
) -> Subject:
    """The loss of texts, and the logit of the character that should follow, or of those wanted."""
    most = model.config.max_length + 1
    for text in texts:
        if not 2 <= len(text) <= most:
            raise UsageError(
                f"--text: expected 2 to {most} characters, got {len(text)}; the model sees "
                f"{most - 1} at once and predicts each next one"
            )
    rows, lengths = vocabulary.rows(texts, vocabulary.symbols[0])
    tokens, after = rows[:, :-1], rows[:, 1:]
    each, last = np.arange(len(texts)), lengths - 2
    real = np.arange(tokens.shape[1]) <= last[:, None]
    following = np.where(real, after, -100)
    asked = scored(vocabulary, wanted, after[each, last], "the last character")

    def run(model: GPT) -> dict[str, Tensor]:
        logits = model(tokens)
        at_end = logits[each, last]
        scores = {name: at_end[each, symbols].sum() for name, symbols in asked.items()}
        return {"loss": functional.cross_entropy(logits, following), **scores}

    labels = [labelled(text[:-1], tokens.shape[1]) for text in texts]
    return Subject(model, run, labels, (0, int(last[0]), 0), f"A GPT reads “{texts[0][:-1]}”")


# ── a BERT that knows what "it" means ────────────────────────────────────────────────────────────
def famous(corpus: Pronouns) -> list[Sentence]:
    """Held-out sentences about the animal and the street: "it" is one, is the other, comes first.

    They have the same length.
    """
    known = [s for s in corpus.test if set(s.words) >= FAMOUS]
    starts = ("the animal didn't", "the animal didn't", "because it")
    ends = ("tired", "wide", "tired")
    return [
        next(s for s in known if str(s).startswith(start) and end in s.words)
        for start, end in zip(starts, ends, strict=True)
    ]


def sentence_of(model: BERT, vocabulary: Vocabulary, text: str, answer: str | None) -> Sentence:
    """A sentence, whose "it" means `answer`, or what the model takes it for."""
    words = tuple(split(text))
    noun = understood(model, vocabulary, [text])[0].noun if answer is None else answer
    if noun not in words:
        raise DataError(f"expected {noun!r} in {text!r}; train the model again")
    place = words.index(noun)
    return Sentence(words, words.index("it"), (place, place), place)


def of_bert(
    model: BERT, vocabulary: Vocabulary, sentences: Sequence[Sentence], wanted: Sequence[str] = ()
) -> Subject:
    """The loss of sentences, and the logit of the noun in the place of "it", or of words wanted."""
    rows = Pronouns([], [], vocabulary).rows(sentences)
    each = np.arange(len(rows))
    asked = scored(vocabulary, wanted, rows.meant, "the noun")

    def run(model: BERT) -> dict[str, Tensor]:
        logits = model.logits(model(rows.tokens, mask=Mask.lengths(rows.lengths)))
        at_it = logits[each, rows.pronoun]
        scores = {name: at_it[each, symbols].sum() for name, symbols in asked.items()}
        return {"loss": reference_loss(logits, rows), **scores}

    labels = [labelled(sentence.words, rows.tokens.shape[1]) for sentence in sentences]
    cell = (0, sentences[0].pronoun, 0)
    return Subject(model, run, labels, cell, "A BERT learns what “it” means")


# ── labels and targets ────────────────────────────────────────────────────────────────────────────
def labelled(tokens: Sequence[str], length: int) -> list[str]:
    """The tokens, and what fills them up."""
    return [*tokens, *[PADDING] * (length - len(tokens))]


def scored(
    vocabulary: Vocabulary, wanted: Sequence[str], right: Array, what: str
) -> dict[str, Array]:
    """For each target its name, and the symbol whose logit it is in each text.

    Args:
        wanted: symbols; where there are none, the `right` ones are taken.
        what: what to call these, where they differ.
    """
    over = f", summed over {len(right)} texts" if len(right) > 1 else ""
    if wanted:
        rows = {symbol: vocabulary.encode([symbol]).repeat(len(right)) for symbol in wanted}
        return {f"logit of “{symbol}”{over}": row for symbol, row in rows.items()}
    symbols = {vocabulary.symbols[token] for token in right}
    name = f"“{symbols.pop()}”" if len(symbols) == 1 else what
    return {f"logit of {name}{over}": right}
