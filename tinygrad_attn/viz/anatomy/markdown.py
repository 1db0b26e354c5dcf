"""Markdown as GitHub reads it: text from outside stays text; tables, blocks, columns of numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ...engine import Array
from ..labels import clean, number_text

BROKEN = (
    "@:"  # an address or a link is recognised by these even where they are written as references
)
# within a word, "blocks.1.self_attn" or "didn't", these begin no list, address or emphasis
INNER = re.compile(r"((?<!www)(?<=[^\W_])[._'](?=[^\W_]))", re.IGNORECASE)


def text(words: object, limit: int = 60) -> str:
    """Text from outside, on one line: its punctuation as references, so that none is markup."""
    line = clean(words, limit)
    parts = INNER.split(line.strip(" "))  # what is kept stands at odd places
    inner = "".join(p if at % 2 else "".join(map(referred, p)) for at, p in enumerate(parts))
    before, after = len(line) - len(line.lstrip(" ")), len(line) - len(line.rstrip(" "))
    return "&#32;" * before + inner + "&#32;" * (after if inner else 0)


def referred(character: str) -> str:
    """The character, or a reference to it; an empty comment parts what could become a link.

    The comment stands behind: one that begins a line would make HTML of the whole line.
    """
    if character.isalnum() or character == " " or not character.isascii():
        return character
    return f"&#{ord(character)};" + ("<!-- -->" if character in BROKEN else "")


def block(*lines: str, language: str = "text") -> str:
    """Lines as they stand, between fences longer than any in them."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence + language, *lines, fence])


def grid(head: Sequence[str], rows: Iterable[Sequence[str]], right: int = 0) -> str:
    """A table, its last `right` columns flush right."""
    rule = ["---"] * (len(head) - right) + ["---:"] * right
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def number(value: float) -> str:
    """Six digits, ∞ for infinity, no negative zero."""
    return number_text(value + 0.0, 6).replace("inf", "∞")


def off(difference: float) -> str:
    """A difference, to one digit."""
    return number_text(difference, 1)


def aligned(rows: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """Rows of a sum in columns: what, how, how much."""
    first, second, third = (max(map(len, column)) for column in zip(*rows, strict=True))
    for name, how, value in rows:
        yield f"  {name:{first}}   {how:>{second}} = {value:>{third}}"


def printed(matrix: Array) -> Iterator[str]:
    """A matrix in columns, with its indices."""
    yield " " * 4 + "".join(f"{j:>10}" for j in range(matrix.shape[1]))
    for i, row in enumerate(matrix):
        yield f"{i:>4}" + "".join(f"{number_text(value + 0.0):>10}" for value in row)
