"""Whose line it was: the innermost one outside this library, NumPy and Python's own modules."""

from __future__ import annotations

import linecache
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from ..engine import Node
from ..engine.recompute import rerecorded
from ..engine.settings import SETTINGS

LIBRARIES = (
    str(Path(__file__).parents[1]) + os.sep,
    str(Path(np.__file__).parent) + os.sep,
    "<frozen ",
)
STANDARD = os.path.dirname(os.__file__) + os.sep


class Place(NamedTuple):
    """A line of somebody's code; `text` is "" where the source is not at hand."""

    file: str
    line: int
    text: str


class Files(dict[str, bool]):
    """File name -> is it this library's, NumPy's or Python's own?"""

    def __missing__(self, file: str) -> bool:
        ours = file.startswith(LIBRARIES) or (file.startswith(STANDARD) and "-packages" not in file)
        self[file] = ours
        return ours


OURS = Files()


def users_line() -> tuple[str, int] | None:
    """Where the innermost frame outside this library is; for a node recorded again, its own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if not OURS[code.co_filename]:
            return code.co_filename, frame.f_lineno
        if code is rerecorded.__code__:
            line: tuple[str, int] | None = frame.f_locals["node"].place
            return line
        frame = frame.f_back
    return None


def placed(line: tuple[str, int] | None) -> Place | None:
    """The line with its text."""
    return line and Place(*line, linecache.getline(*line).strip())


def here() -> dict[str, Any]:
    """Module and line of what runs now."""
    scope = SETTINGS.get().scope
    return {"scope": scope.path if scope else "", "place": placed(users_line())}


def there(node: Node) -> dict[str, Any]:
    """Module and line of what recorded a node."""
    return {"scope": node.scope.path if node.scope else "", "place": placed(node.place)}
