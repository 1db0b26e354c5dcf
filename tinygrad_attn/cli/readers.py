"""Asking a trained model, and showing where it looks: what `train` and `predict` have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np

from ..checkpoint import CheckpointError
from ..data import DataError, image
from ..data.pairs import SPECIAL
from ..engine import Array
from ..models import BERT, Seq2Seq, Transformer, ViT
from ..nn import Module
from ..study import observed, relevance, rollout
from ..train import Reading, translated, understood
from ..viz import plots
from .saved import needed, vocabulary_of

Answers = Sequence[str] | None
MOST_TEXTS, MOST_IMAGES = 4, 10  # in one picture


class Reader(ABC):
    """A trained model, and what came with it.

    Args:
        path: where it stands, for messages.
        model: the model.
        state: what its task recorded beside it.

    Raises:
        CheckpointError: something is missing there, or of another kind.
    """

    def __init__(self, path: Path, model: Any, state: dict[str, Any]) -> None:
        self.model = model.eval()
        examples = needed(path, state, "examples", list)
        if not examples or any(not isinstance(x, list) or len(x) != 2 for x in examples):
            raise CheckpointError(
                f"{path}: expected pairs among the examples; train the model again"
            )
        self.examples: list[tuple[Any, str]] = [(asked, str(answer)) for asked, answer in examples]

    def question(self, text: str) -> Any:
        """What a user's text asks."""
        return text

    def label(self, number: int, question: Any) -> str:
        """The held-out question of this number, from 1, as text."""
        return str(question)

    @abstractmethod
    def answers(self, questions: Sequence[Any]) -> list[str]:
        """The model's answer to each."""

    @abstractmethod
    def draw(self, questions: Sequence[Any], path: Path, right: Answers = None) -> Path:
        """Where the model looks while it answers the first few, as a picture.

        Args:
            right: the right answers, where they are known: the picture tells where one was missed.
        """


class Translator(Reader):
    """A Seq2Seq or a Transformer."""

    def __init__(self, path: Path, model: Any, state: dict[str, Any]) -> None:
        super().__init__(path, model, state)
        self.vocabulary = vocabulary_of(path, state, model.config.source_vocab)
        self.steps = needed(path, state, "steps", int)

    def question(self, text: str) -> str:
        """The text as the model has read texts: without blanks around it."""
        text = normalize("NFC", text.strip())
        if not text:
            raise DataError("expected a text, got an empty one")
        if set(text) & set(SPECIAL):
            raise DataError(f"expected a text without {' '.join(SPECIAL)}, got {text!r}")
        most = getattr(self.model.config, "max_length", len(text))
        if len(text) > most:
            raise DataError(f"expected at most {most} characters, got {len(text):,}: {text[:20]}…")
        return text

    def found(self, questions: Sequence[str]) -> list[tuple[str, Array]]:
        """Answers and weights."""
        return translated(self.model, self.vocabulary, questions, self.steps)

    def answers(self, questions: Sequence[str]) -> list[str]:
        """What the model writes."""
        return [text for text, _ in self.found(questions)]

    def draw(self, questions: Sequence[str], path: Path, right: Answers = None) -> Path:
        """The weights with which each written character looks at the source."""
        found = self.found(questions)
        told = verdicts([text for text, _ in found], right)
        shown = [(q, *f, v) for q, f, v in zip(questions, found, told, strict=True) if f[0]]
        if not shown:
            raise DataError("the model wrote nothing, so that there is nothing to draw")
        shown = shown[:MOST_TEXTS]
        return plots.alignments(
            [weights for _, _, weights, _ in shown],
            path,
            rows=[list(text) for _, text, _, _ in shown],
            columns=[list(source) for source, _, _, _ in shown],
            titles=[f"{source} → {text}{verdict}" for source, text, _, verdict in shown],
            title="Where each character that is written looks",
            row_axis="written",
            column_axis="source",
        )


class DigitReader(Reader):
    """A ViT that reads digits."""

    def __init__(self, path: Path, model: Any, state: dict[str, Any]) -> None:
        super().__init__(path, model, state)
        size = model.config.image_size
        try:
            images = [(np.array(pixels, np.float32) / 16, label) for pixels, label in self.examples]
        except (ValueError, TypeError) as error:
            raise CheckpointError(
                f"{path}: expected images of numbers; train the model again"
            ) from error
        if any(image.shape != (size, size) for image, _ in images):
            raise CheckpointError(
                f"{path}: expected images of {size}×{size}; train the model again"
            )
        self.examples = images

    def question(self, text: str) -> Array:
        """The picture in a file."""
        return image(text, self.model.config.image_size)

    def label(self, number: int, question: Array) -> str:
        """A picture has no text."""
        return f"image {number}"

    def answers(self, questions: Sequence[Array]) -> list[str]:
        """The digits."""
        return [str(digit) for digit in self.model.predict(np.stack(questions))]

    def draw(self, questions: Sequence[Array], path: Path, right: Answers = None) -> Path:
        """Rollout, and relevance for the digit that was read, over the images."""
        images = np.stack(questions[:MOST_IMAGES])
        with observed(self.model) as calls:
            logits = self.model(images)
        read = logits.data.argmax(axis=-1)
        told = verdicts([str(digit) for digit in read], right)
        logits[np.arange(len(images)), read].sum().backward()
        self.model.zero_grad()
        n = self.model.config.image_size // self.model.config.patch_size
        maps = {
            "rollout": rollout(calls)[:, 0, 1:].reshape(-1, n, n),  # from the class token
            "relevance": relevance(calls)[:, 0, 1:].reshape(-1, n, n),
        }
        return plots.overlays(
            images,
            maps,
            path,
            titles=[f"read: {d}{v}" for d, v in zip(read, told, strict=True)],
            title="What the class token draws on, and what speaks for the digit",
        )


class PronounReader(Reader):
    """A BERT that knows what "it" means."""

    def __init__(self, path: Path, model: Any, state: dict[str, Any]) -> None:
        super().__init__(path, model, state)
        self.vocabulary = vocabulary_of(path, state, model.config.vocab_size)
        head, config = needed(path, state, "head", list), model.config
        layers, heads = range(config.num_layers), range(config.num_heads)
        if len(head) != 2 or head[0] not in layers or head[1] not in heads:
            raise CheckpointError(
                f"{path}: expected a layer and a head, got {head}; train the model again"
            )
        self.layer, self.head = head

    def found(self, questions: Sequence[str]) -> list[Reading]:
        """What it makes of each sentence."""
        return understood(self.model, self.vocabulary, questions)

    def answers(self, questions: Sequence[str]) -> list[str]:
        """The nouns."""
        return [reading.noun for reading in self.found(questions)]

    def draw(self, questions: Sequence[str], path: Path, right: Answers = None) -> Path:
        """From "it", the weights of the head that looks for its noun."""
        shown = self.found(questions[:MOST_TEXTS])
        told = verdicts([reading.noun for reading in shown], right)
        return plots.word_links(
            [reading.words for reading in shown],
            [reading.weights[self.layer, self.head] for reading in shown],
            path,
            queries=[reading.pronoun for reading in shown],
            marked=[reading.words.index(reading.noun) for reading in shown],
            titles=[f"it = {r.noun}{v}" for r, v in zip(shown, told, strict=True)],
            title=f"Where “it” looks: layer {self.layer}, head {self.head}",
        )


def verdicts(answers: Sequence[str], right: Answers) -> list[str]:
    """What follows each answer in a title: what is right, where another was given."""
    expected = answers if right is None else right[: len(answers)]
    return ["" if a == r else f", is {r}" for a, r in zip(answers, expected, strict=True)]


READERS: dict[type[Module], type[Reader]] = {
    Seq2Seq: Translator,
    Transformer: Translator,
    ViT: DigitReader,
    BERT: PronounReader,
}


def reader(path: Path, model: Module, state: dict[str, Any]) -> Reader:
    """The reader for a trained model, which stands at `path`.

    Raises:
        CheckpointError: there is none, or the model came without what it takes.
    """
    kind = READERS.get(type(model))
    if kind is None:
        names = ", ".join(cls.__name__ for cls in READERS)
        raise CheckpointError(f"{path}: expected one of {names}, got a {type(model).__name__}")
    return kind(path, model, state)
