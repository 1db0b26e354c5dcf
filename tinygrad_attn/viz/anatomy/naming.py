"""The labels of queries and keys, as the user gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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
    if examples is None:
        numbers = [tuple(map(str, range(n))) for n in (queries, keys)]
        return [Names(f"example {b}", numbers[0], numbers[1]) for b in range(count)]
    if isinstance(examples, str) or len(examples) != count:
        raise ShapeError(
            f"{who}: the batch has {count} examples, but there are labels for "
            f"{1 if isinstance(examples, str) else len(examples)}"
        )
    return [named(who, b, labels, queries, keys) for b, labels in enumerate(examples)]


def named(who: str, number: int, labels: Any, time: int, keys: int) -> Names:
    """The names of one example."""
    parts = tuple(labels) if isinstance(labels, Sequence) else None
    if parts is None or isinstance(labels, str):
        raise DTypeError(
            f"{who}: expected a list of labels for example {number}, got {labels!r:.80}"
        )
    pair = len(parts) == 2 and all(
        isinstance(part, Sequence) and not isinstance(part, str) for part in parts
    )
    sides = [tuple(map(str, part)) for part in (parts if pair else (parts, parts))]
    for what, side, expected in zip(("queries", "keys"), sides, (time, keys), strict=True):
        if len(side) != expected:
            raise ShapeError(
                f"{who}: example {number} has {expected} {what}, but {len(side)} labels; give "
                "one for each, padding included, or a pair of lists: for queries and for keys"
            )
    return Names(" ".join(sides[0]), *sides)
