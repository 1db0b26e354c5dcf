"""The labels of queries and keys, as the user gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...engine import DTypeError, ShapeError


class Names(NamedTuple):
    """The title of an example, and the labels of its queries and keys."""

    title: str
    queries: tuple[str, ...]
    keys: tuple[str, ...]


def named_examples(
    who: str, examples: Sequence[Any] | None, count: int, queries: int, keys: int
) -> list[Names]:
    """The names of each example; positions 0, 1, 2 … where there are none.

    Args:
        who: the beginning of errors.
        examples: for each example a sequence of labels, or a pair of such: queries, keys.
        count, queries, keys: how many of each there are.

    Raises:
        ShapeError: there are more or fewer labels than positions.
        DTypeError: an example is no sequence of labels.
    """
    labels = sequence(examples)
    if examples is None:
        numbers = [tuple(map(str, range(n))) for n in (queries, keys)]
        return [Names(untitled(b), numbers[0], numbers[1]) for b in range(count)]
    flat = labels is not None and labels and all(isinstance(label, str) for label in labels)
    if labels is None or flat:
        hint = "; put it in a list: [words]" if flat else ""
        raise DTypeError(
            f"{who}: expected a list with one list of labels for each of the {count} examples, "
            f"got {examples!r:.80}{hint}"
        )
    if len(labels) != count:
        raise ShapeError(
            f"{who}: the batch has {count} examples, but there are labels for {len(labels)}"
        )
    return [named(who, b, each, queries, keys) for b, each in enumerate(labels)]


def untitled(number: int) -> str:
    """The title of an example without labels."""
    return f"example {number}"


def sequence(value: Any) -> tuple[Any, ...] | None:
    """A list, a tuple or an array as a tuple; None for a text and everything else."""
    if isinstance(value, str):
        return None
    if isinstance(value, np.ndarray):
        return tuple(value.tolist()) if value.ndim else None
    return tuple(value) if isinstance(value, Sequence) else None


def named(who: str, number: int, labels: Any, time: int, keys: int) -> Names:
    """The names of one example."""
    parts = sequence(labels)
    if parts is None:
        raise DTypeError(
            f"{who}: expected a list of labels for example {number}, got {labels!r:.80}"
        )
    inner = [sequence(part) for part in parts]
    pair = len(parts) == 2 and None not in inner
    sides = [tuple(map(str, part or ())) for part in (inner if pair else (parts, parts))]
    for what, side, expected in zip(("queries", "keys"), sides, (time, keys), strict=True):
        if len(side) != expected:
            raise ShapeError(
                f"{who}: example {number} has {expected} {what}, but {len(side)} labels; give "
                "one for each, padding included, or a pair of lists: for queries and for keys"
            )
    return Names(" ".join(sides[0]), *sides)
