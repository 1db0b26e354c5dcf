"""Batches without end, each source able to go on where another of its kind stood.

batches = Shuffled(len(images), 32, rng, lambda chosen: (images[chosen], labels[chosen]))
state = batches.state_dict()      # its position; the generator's state is saved by its owner
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self

import numpy as np

from ..engine import Array
from .errors import DataError, whole

Batch = tuple[Any, ...]
State = Mapping[str, Any]


class Source(Protocol):
    """Draws batches by `rng`, without end."""

    @property
    def rng(self) -> np.random.Generator:
        """What decides the next ones, together with the position."""
        ...

    def __iter__(self) -> Self: ...

    def __next__(self) -> Batch: ...

    def state_dict(self) -> dict[str, Any]:
        """The position: everything but the generator's state."""
        ...

    def load_state_dict(self, state: State) -> None:
        """Go on from the position of a source of the same data."""
        ...


class Endless:
    """What the sources share: they are their own iterators."""

    def __iter__(self) -> Self:
        return self


class Shuffled(Endless):
    """Groups of `size` of `count` examples: each comes once before any comes again.

    Args:
        count: examples.
        size: of a group; one may begin in one round and end in the next.
        rng: shuffles.
        take: makes a batch of the chosen numbers below `count`.

    Raises:
        DataError: there are no examples, or a group has none.
    """

    def __init__(
        self,
        count: int,
        size: int,
        rng: np.random.Generator,
        take: Callable[[Array], Batch] = lambda chosen: (chosen,),
    ) -> None:
        if not count:
            raise DataError(
                "there is nothing to learn from; expected at least one training example"
            )
        self.count, self.rng, self.take = count, rng, take
        self.size = whole("batches: size", size, 1)
        self.waiting = np.empty(0, np.int64)  # what of this round is still to come

    def __next__(self) -> Batch:
        while len(self.waiting) < self.size:
            self.waiting = np.concatenate([self.waiting, self.rng.permutation(self.count)])
        chosen, self.waiting = self.waiting[: self.size], self.waiting[self.size :]
        return self.take(chosen)

    def state_dict(self) -> dict[str, Any]:
        """The numbers that wait for their turn, in their order."""
        return {"waiting": self.waiting.copy()}

    def load_state_dict(self, state: State) -> None:
        """Go on with the numbers that waited there.

        Raises:
            DataError: they are no such numbers; nothing has changed then.
        """
        waiting = np.asarray(state.get("waiting"))
        fitting = waiting.ndim == 1 and (waiting.dtype.kind in "iu" or not waiting.size)
        if not fitting or (waiting.size and not 0 <= waiting.min() <= waiting.max() < self.count):
            raise DataError(
                f'expected a state with numbers below {self.count} under "waiting", '
                f"got {sorted(state)} of another source"
            )
        self.waiting = waiting.astype(np.int64)  # a copy


class RandomWindows(Endless):
    """Random windows of a text: inputs and the tokens after them, both (size, length).

    Args:
        tokens: the text, (N,).
        length: of a window, at least 1 and below N.
        size: windows in a batch.
        rng: chooses where they begin; every place is as likely each time.
    """

    def __init__(self, tokens: Array, length: int, size: int, rng: np.random.Generator) -> None:
        self.tokens, self.length, self.rng = tokens, length, rng
        self.size = whole("batches: size", size, 1)

    def __next__(self) -> tuple[Array, Array]:
        starts = self.rng.integers(0, len(self.tokens) - self.length, (self.size, 1))
        index = starts + np.arange(self.length)
        return self.tokens[index], self.tokens[index + 1]

    def state_dict(self) -> dict[str, Any]:
        """Nothing: each batch depends on the generator alone."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Nothing to do.

        Raises:
            DataError: the state is that of another kind of source.
        """
        if state:
            raise DataError(f"expected the empty state of random windows, got {sorted(state)}")
