"""Text from outside (names, tokens) made fit to be shown: text, on one line, of bounded length.

Replaced is only what no picture can show: a line break becomes ⏎, a tab ⇥; other control characters,
lone surrogates, non-characters and the invisible marks that turn round the direction of the text
after them become U+FFFD (the replacement character).  What is too long ends in an ellipsis.
"""

from __future__ import annotations

from unicodedata import category

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
VISIBLE = {"\n": "⏎", "\t": "⇥"}
UNSHOWABLE = {"Cc", "Cs", "Zl", "Zp"}       # Unicode's general categories
DIRECTIONS = frozenset(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
NAME_LIMIT = 60


def clean(text: object, limit: int = NAME_LIMIT) -> str:
    """`text` on one line of at most `limit` characters, without what cannot be shown."""
    line = str(text)
    if len(line) > limit:
        line = line[:limit - 1] + "…"
    return line if line.isprintable() else "".join(map(showable, line))


def showable(character: str) -> str:
    """The character itself, or what stands for it."""
    if character in VISIBLE:
        return VISIBLE[character]
    code = ord(character)
    noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    hidden = noncharacter or category(character) in UNSHOWABLE or character in DIRECTIONS
    return REPLACEMENT if hidden else character


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as people write it: "3 × 4", and "scalar" for a 0-d array."""
    return " × ".join(map(str, shape)) if shape else "scalar"


def number_text(value: float, digits: int = 3) -> str:
    """So many significant digits, in the shortest form, with a true minus sign."""
    return f"{value:.{digits}g}".replace("-", "−")
