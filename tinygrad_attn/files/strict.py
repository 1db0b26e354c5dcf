"""JSON that can mean one thing only, and the error of this part.

What JSON leaves open is refused: a key that comes twice, NaN, more values than anyone needs.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable
from typing import IO, Any, NoReturn

MOST_VALUES = 1 << 18  # each takes up to a hundred bytes of memory
MOST_BYTES = 2 << 20
TEXT = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # to the end where it does not end


class FormatError(ValueError):
    """Bytes that are none of the format they should have."""


def refused(literal: str) -> NoReturn:
    """NaN and Infinity are not JSON."""
    raise FormatError(f"{shown(literal)} is not JSON")


def unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys come once."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise FormatError(f"the key {shown(key)} comes twice")
        found[key] = value
    return found


STRICT = json.JSONDecoder(object_pairs_hook=unique, parse_constant=refused)


def object_of(text: str, called: str = "it") -> dict[str, Any]:
    """The object that a JSON text is; its values are counted before it is read.

    Args:
        text: anything.
        called: what the error calls it.

    Raises:
        FormatError: it is another text.
    """
    if marks(text) > MOST_VALUES < marks(TEXT.sub("", text)):
        raise FormatError(f"{called} holds more than {MOST_VALUES:,} values")
    try:
        found = STRICT.decode(text)
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{called} is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise FormatError(f"{called} is {shown(found)}, not an object")
    return found


def marks(text: str) -> int:
    """How many values a JSON text can hold at most."""
    return sum(map(text.count, ",:[{"))


def read_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        FormatError: it is another file, or a large one.
        OSError: it cannot be read.
    """
    with open(path, "rb", opener=opened) as file:
        if size_of(file) > MOST_BYTES:
            raise FormatError(f"it has more than {MOST_BYTES:,} bytes")
        content = file.read(MOST_BYTES)
    try:
        return object_of(content.decode())
    except UnicodeDecodeError as error:
        raise FormatError(f"it is not UTF-8 ({error.reason} at {error.start})") from error


def opened(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def size_of(file: IO[bytes]) -> int:
    """How many bytes an open file has; what is none has no size."""
    info = os.fstat(file.fileno())
    if not stat.S_ISREG(info.st_mode):
        raise FormatError("this is a pipe or a device, not a file")
    return info.st_size


def shown(value: object) -> str:
    """A value from a file, short enough for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:78]}…"
