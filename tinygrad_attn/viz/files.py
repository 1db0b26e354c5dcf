"""Writing pictures: a file is either whole or untouched."""

from __future__ import annotations

import os
from pathlib import Path

from .. import files
from .errors import RenderError
from .labels import clean

PATH_LIMIT = 1000  # of a path in a message
FilePath = str | os.PathLike[str]


def suffix_of(path: FilePath, known: tuple[str, ...]) -> str:
    """The ending of `path`, one of `known`, in lower case and without its dot."""
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in known:
        raise RenderError(
            f"cannot tell the format from {clean(path, PATH_LIMIT)!r}: its name must end in "
            f"{', '.join('.' + name for name in known)}"
        )
    return suffix


def write_whole(path: FilePath, content: bytes) -> Path:
    """Put a file with this content at `path`, whole; returns the path.

    Raises:
        RenderError: the place cannot be written; what was there before is untouched.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise RenderError(f"cannot write {clean(path, PATH_LIMIT)!r}: it is not a file")
        files.write_whole(path, [content])
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise RenderError(
            f"cannot write {clean(path, PATH_LIMIT)!r}: {reason}; choose another "
            "place, or create its folder first"
        ) from error
    return Path(path)
