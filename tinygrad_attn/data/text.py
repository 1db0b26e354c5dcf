"""English that every Python carries, or a text of one's own, character by character.

    corpus = text()                       # 465,000 characters: Python's own language reference
    corpus = text("shakespeare.txt")      # or any UTF-8 file
    for x, y in batches(corpus.train, length=64, size=12, rng=rng): ...

The last tenth is held out.  Paragraphs that occur in it word for word are taken out of the training
part (the language reference repeats itself), so that a low loss there cannot come from remembering.
"""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from ..engine import Array
from .errors import DataError, whole
from .sources import RandomWindows
from .vocabulary import Vocabulary

HELD_OUT = 0.1  # part of the text kept for evaluation
FEWEST = 1_000  # characters below which there is nothing to learn from
REMEMBERED = 40  # characters from which on a repeated paragraph counts as one
Windows = Iterator[tuple[Array, Array]]


@dataclass(frozen=True)
class Text:
    """A text as tokens.

    Attributes:
        name: where it comes from.
        train, held_out: tokens, int64; no paragraph is in both.
        vocabulary: its characters.
    """

    name: str
    train: Array
    held_out: Array
    vocabulary: Vocabulary


def text(path: str | Path | None = None) -> Text:
    """The embedded English text, or the UTF-8 file at `path`, split 90 / 10.

    Raises:
        DataError: the file is missing, cannot be read, is empty, too short or not UTF-8.
    """
    characters = embedded() if path is None else read(Path(path))
    train, held_out = split(characters)
    vocabulary = Vocabulary.of([characters])
    return Text(
        "Python's language reference" if path is None else str(path),
        vocabulary.encode(train),
        vocabulary.encode(held_out),
        vocabulary,
    )


def embedded() -> str:
    """The help texts of CPython, topic after topic."""
    try:
        topics: dict[str, str] = import_module("pydoc_data.topics").topics
    except ImportError as error:
        raise DataError(
            "the embedded English text: expected Python's pydoc_data.topics, but "
            "this Python came without it; give a text of your own"
        ) from error
    return "\n\n".join(topics[name] for name in sorted(topics))


def read(path: Path, fewest: int = FEWEST) -> str:
    """The characters of a UTF-8 file that has at least `fewest`."""
    if path.is_char_device():
        raise DataError(f"{path}: expected a text file, but it is a device that never ends")
    try:
        characters = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        marked = error.object[:2] in (BOM_UTF16_LE, BOM_UTF16_BE)
        raise DataError(
            f"{path}: expected UTF-8 text, but byte {error.start} is not part of any; convert the "
            f"file, e.g. with `iconv -f {'UTF-16' if marked else 'WINDOWS-1252'} -t UTF-8`"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"{path}: expected a text file, but it cannot be read ({reason}); check the path"
        ) from error
    if not characters.strip():
        raise DataError(
            f"{path}: expected text, but the file is empty; "
            f"give one with at least {fewest:,} character{'s' if fewest > 1 else ''}"
        )
    if len(characters) < fewest:
        raise DataError(
            f"{path}: expected at least {fewest:,} characters, "
            f"got {len(characters):,}; give a longer text"
        )
    return characters


def split(characters: str) -> tuple[str, str]:
    """The first nine tenths, without the paragraphs that the last tenth repeats, and that tenth."""
    cut = round(len(characters) * (1 - HELD_OUT))
    held_out = characters[cut:]
    repeated = {p for p in map(str.strip, held_out.split("\n\n")) if len(p) >= REMEMBERED}
    kept = [p for p in characters[:cut].split("\n\n") if p.strip() not in repeated]
    return "\n\n".join(kept), held_out


def batches(tokens: Array, length: int, size: int, rng: np.random.Generator) -> RandomWindows:
    """Endless random windows of `tokens`: inputs and the tokens after them, both (size, length).

    Raises:
        DataError: no window fits into the text, or `size` is not a whole number from 1 on.
    """
    need_window(tokens, length)
    return RandomWindows(tokens, length, size, rng)


def windows(tokens: Array, length: int, size: int, at_most: int | None = None) -> Windows:
    """`tokens` cut into consecutive windows: every token but the first is a target exactly once.

    Args:
        size: windows in a batch; the last batch may have fewer, and the last window be shorter.
        at_most: only this many full windows, spread evenly; the same ones every time.

    Raises:
        DataError: no window fits into the text, or a number is not a whole one from 1 on.
    """
    need_window(tokens, length)
    size = whole("windows: size", size, 1)
    if at_most is not None:
        at_most = whole("windows: at_most", at_most, 1)
    full = (len(tokens) - 1) // length
    starts = np.arange(full) * length
    if at_most is not None and at_most < full:
        starts = starts[np.linspace(0, full - 1, at_most).round().astype(int)]
    for group in range(0, len(starts), size):
        index = starts[group : group + size, None] + np.arange(length)
        yield tokens[index], tokens[index + 1]
    if len(starts) == full and full * length < len(tokens) - 1:
        tail = tokens[None, full * length :]
        yield tail[:, :-1], tail[:, 1:]


def need_window(tokens: Array, length: int) -> None:
    """Raise DataError unless one window and the token after it fit into `tokens`."""
    if not 1 <= length < len(tokens):
        raise DataError(
            f"expected more than one window of {length} tokens, got {len(tokens):,}"
            "; give a longer text or a smaller length (at least 1)"
        )
