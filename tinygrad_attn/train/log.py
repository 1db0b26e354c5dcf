"""The log of training: one JSON object a line, only ever appended to.

    {"kind": "start", "config": {...}, "environment": {...}, ...}
    {"kind": "step", "step": 1, "loss": 4.71, "lr": 6e-05, "grad_norm": 2.3, "seconds": 0.06}
    {"kind": "evaluation", "step": 100, "held_out": 2.32, "right": null, "examples": 100, ...}
    {"kind": "end", ...}

A run that goes into the same file adds to it; `read_log` returns the last one.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .errors import TrainError

Line = dict[str, Any]


class Log:
    """Appends to the file at `path`, one line for every call of `write`; each is on disk at once.

    Raises:
        TrainError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise TrainError(
                f"{path}: the log cannot be written ({error.strerror}); choose another folder"
            ) from error
        if self.ends_mid_line(path):
            self.file.write("\n")  # a run was killed while it wrote

    @staticmethod
    def ends_mid_line(path: Path) -> bool:
        """Is there a last line without its line break?"""
        return path.read_bytes()[-1:] not in (b"", b"\n")

    def write(self, kind: str, **values: Any) -> None:
        """One line.  Numbers must be finite: JSON has no others."""
        line = json.dumps({"kind": kind, **values}, ensure_ascii=False, allow_nan=False)
        self.file.write(line + "\n")
        self.file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()


def read_log(path: str | Path) -> list[Line]:
    """The lines of the last run in the file; a line that was cut short is left out.

    Raises:
        TrainError: the file cannot be read, or holds no run.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise TrainError(f"{path}: expected a log, but it cannot be read ({error})") from error
    lines = [line for line in map(parsed, text.split("\n")) if line is not None]
    starts = [at for at, line in enumerate(lines) if line.get("kind") == "start"]
    if not starts:
        raise TrainError(f"{path}: expected a log of training, but no line starts a run")
    return lines[starts[-1] :]


def parsed(line: str) -> Line | None:
    """The object on a line; None where there is none."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
