"""A ViT learns to read handwritten digits."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ..data import Digits, Shuffled, Source, digest
from ..engine import Array, Tensor
from ..models import ViT
from .task import Score


class Recognition:
    """`model`, a ViT for ten classes of 8×8 images, and `corpus`; see Task.

    Args:
        label_smoothing: share of the probability that the targets spread over all classes.
    """

    unit = "nats per image"
    name = "handwritten digits"
    baseline = None

    def __init__(self, model: ViT, corpus: Digits, label_smoothing: float = 0.0) -> None:
        self.model, self.corpus, self.label_smoothing = model, corpus, label_smoothing
        self.sizes = len(corpus.train), len(corpus.test)

    @property
    def about(self) -> str:
        """The images in one sentence."""
        return (
            f"Images: {self.name} of 8×8 pixels, {self.sizes[0]:,} to learn from and "
            f"{self.sizes[1]:,} held out."
        )

    @cached_property
    def digests(self) -> dict[str, str]:
        """Of the images to learn from, and of those held out."""
        parts = {"train": self.corpus.train, "held out": self.corpus.test}
        return {name: digest(part.images, part.labels) for name, part in parts.items()}

    @property
    def settings(self) -> dict[str, float]:
        """The label smoothing."""
        return {"label_smoothing": self.label_smoothing}

    def batches(self, size: int, rng: np.random.Generator) -> Source:
        """Images and labels."""
        return Shuffled(self.sizes[0], size, rng, self.chosen)

    def chosen(self, numbers: Array) -> tuple[Array, Array]:
        """The training images of these numbers, and their labels."""
        return self.corpus.train.images[numbers], self.corpus.train.labels[numbers]

    def loss(self, images: Array, labels: Array) -> Tensor:
        """Mean cross-entropy, with label smoothing."""
        return self.model.loss(images, labels, label_smoothing=self.label_smoothing)

    def score(self, at_most: int | None = None) -> Score:
        """Without label smoothing."""
        test = self.corpus.test
        images, labels = test.images[:at_most], test.labels[:at_most]
        right = float((self.model.predict(images) == labels).mean())
        return Score(self.model.loss(images, labels).item(), len(labels), right)

    def state(self) -> dict[str, Any]:
        """A held-out image of every digit, as integers from 0 to 16, with its label."""
        labels, first = np.unique(self.corpus.test.labels, return_index=True)
        images = (self.corpus.test.images[first] * 16).round().astype(int).tolist()
        pairs = zip(images, map(str, labels), strict=True)
        return {"examples": [list(pair) for pair in pairs]}
