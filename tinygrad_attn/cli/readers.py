"""Asking a trained model, and showing where it looks: what `train` and `predict` have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import CheckpointError
from ..data import DataError, Vocabulary, image
from ..engine import Array
from ..models import BERT, Seq2Seq, Transformer, ViT
from ..nn import Module
from ..study import observed, relevance, rollout
from ..train import Reading, translated, understood
from ..viz import plots

MOST_TEXTS, MOST_IMAGES = 4, 10  # in one picture


class Reader(ABC):
    """A trained model, and what came with it.

    Args:
        model: the model.
        state: what its task recorded beside it.

    Attributes:
        takes: what it can be asked, in a few words.
    """

    takes = ""

    def __init__(self, model: Any, state: dict[str, Any]) -> None:
        self.model, self.state = model.eval(), state

    @property
    def examples(self) -> list[tuple[Any, str]]:
        """Held-out questions with their right answers."""
        return [(question, answer) for question, answer in self.state["examples"]]

    def asked(self, text: str) -> Any:
        """The question that a user's text asks."""
        return text

    def label(self, number: int, question: Any) -> str:
        """The held-out question of this number, from 1, as text."""
        return str(question)

    @abstractmethod
    def answers(self, questions: Sequence[Any]) -> list[str]:
        """The model's answer to each."""

    @abstractmethod
    def draw(self, questions: Sequence[Any], path: Path) -> Path:
        """Where the model looks while it answers the first few, as a picture."""


class Translator(Reader):
    """A Seq2Seq or a Transformer."""

    takes = "texts like those it has learnt from"

    def found(self, questions: Sequence[str]) -> list[tuple[str, Array]]:
        """Answers and weights."""
        vocabulary = Vocabulary(self.state["vocabulary"])
        return translated(self.model, vocabulary, questions, self.state["steps"])

    def answers(self, questions: Sequence[str]) -> list[str]:
        """What the model writes."""
        return [text for text, _ in self.found(questions)]

    def draw(self, questions: Sequence[str], path: Path) -> Path:
        """The weights with which each written character looks at the source."""
        shown = [(q, *f) for q, f in zip(questions, self.found(questions), strict=True) if f[0]]
        if not shown:
            raise DataError("the model wrote nothing, so that there is nothing to draw")
        shown = shown[:MOST_TEXTS]
        return plots.alignments(
            [weights for _, _, weights in shown],
            path,
            rows=[list(text) for _, text, _ in shown],
            columns=[list(source) for source, _, _ in shown],
            titles=[f"{source} → {text}" for source, text, _ in shown],
            title="Where each character that is written looks",
        )


class DigitReader(Reader):
    """A ViT that reads digits."""

    takes = "pictures of one digit each (PNG files)"

    @property
    def examples(self) -> list[tuple[Array, str]]:
        """Images from 0 to 1."""
        return [
            (np.array(pixels, np.float32) / 16, label) for pixels, label in self.state["examples"]
        ]

    def asked(self, text: str) -> Array:
        """The picture in a file."""
        return image(text, self.model.config.image_size)

    def label(self, number: int, question: Array) -> str:
        """A picture has no text."""
        return f"image {number}"

    def answers(self, questions: Sequence[Array]) -> list[str]:
        """The digits."""
        return [str(digit) for digit in self.model.predict(np.stack(questions))]

    def draw(self, questions: Sequence[Array], path: Path) -> Path:
        """Rollout, and relevance for the digit that was read, over the images."""
        images = np.stack(questions[:MOST_IMAGES])
        with observed(self.model) as calls:
            logits = self.model(images)
        read = logits.data.argmax(axis=-1)
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
            titles=[f"read: {digit}" for digit in read],
            title="What the class token draws on, and what speaks for the digit",
        )


class PronounReader(Reader):
    """A BERT that knows what "it" means."""

    def found(self, questions: Sequence[str]) -> list[Reading]:
        """What it makes of each sentence."""
        return understood(self.model, Vocabulary(self.state["vocabulary"]), questions)

    def answers(self, questions: Sequence[str]) -> list[str]:
        """The nouns."""
        return [reading.noun for reading in self.found(questions)]

    def draw(self, questions: Sequence[str], path: Path) -> Path:
        """From "it", the weights of the head that looks for its noun."""
        shown = self.found(questions[:MOST_TEXTS])
        layer, head = self.state["head"]
        return plots.word_links(
            [reading.words for reading in shown],
            [reading.weights[layer, head] for reading in shown],
            path,
            queries=[reading.pronoun for reading in shown],
            marked=[
                reading.words.index(reading.noun) if reading.noun in reading.words else None
                for reading in shown
            ],
            titles=[f"it = {reading.noun}" for reading in shown],
            title=f"Where “it” looks: layer {layer}, head {head}",
        )


READERS: dict[type[Module], type[Reader]] = {
    Seq2Seq: Translator,
    Transformer: Translator,
    ViT: DigitReader,
    BERT: PronounReader,
}


def reader(model: Module, state: dict[str, Any]) -> Reader:
    """The reader for a trained model.

    Raises:
        CheckpointError: there is none, or the model came without what it takes.
    """
    kind = READERS.get(type(model))
    if kind is None or "examples" not in state:
        names = ", ".join(cls.__name__ for cls in READERS)
        raise CheckpointError(
            f"expected a model that `tinygrad-attn train` made, one of {names}; got a "
            f"{type(model).__name__}{'' if kind is None else ' without its examples'}"
        )
    return kind(model, state)
