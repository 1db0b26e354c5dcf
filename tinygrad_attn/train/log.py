"""The log of training: one JSON object a line, only ever appended to.

    {"kind": "start", "config": {...}, "environment": {...}, "process": 4711, ...}
    {"kind": "step", "step": 1, "loss": 4.71, "lr": 6e-05, "grad_norm": 2.3, "seconds": 0.06}
    {"kind": "evaluation", "step": 100, "held_out": 2.32, "right": null, "examples": 100, ...}
    {"kind": "resume", "step": 100, "evaluated": 100, ...}
    {"kind": "end", ...}

A run that was killed goes on from a checkpoint and does some steps again; their first lines stay in
the file.  `read_log` leaves them out: what it returns is the same as if nothing had happened.  A
run that starts anew in the same file adds to it, and `read_log` returns the last one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from shlex import quote
from sys import float_info
from types import TracebackType
from typing import Any, Self

from ..files import locked
from .errors import TrainError

Line = dict[str, Any]


def is_count(value: Any) -> bool:
    """A number of steps?"""
    return type(value) is int and 0 <= value <= MOST


def is_number(value: Any) -> bool:
    """A finite number?"""
    return type(value) in (int, float) and abs(value) <= float_info.max


MOST = 1 << 53  # steps; beyond it float64 cannot tell them apart
FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "step": {"step": is_count, "loss": is_number},
    "evaluation": {"step": is_count, "held_out": is_number},
    "resume": {
        "step": is_count,
        "evaluated": is_count,
        "config": lambda value: isinstance(value, dict),
    },
}


class Log:
    """Appends to the file at `path`, one line for every call of `write`.

    Each line is handed to the system at once, so that killing the program loses none; `sync` forces
    them to the disk.  As long as it is open no other process can open it.

    Attributes:
        begun: whether a run stood in the file already.

    Raises:
        TrainError: the file cannot be opened, or another run writes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = path.open("a+b", buffering=0)  # what is written is in no buffer of ours
        except OSError as error:
            raise TrainError(
                f"{path}: the log cannot be written ({error.strerror}); choose another folder"
            ) from error
        try:
            alone = locked(self.file.fileno())
        except OSError as error:
            self.file.close()
            raise TrainError(
                f"{path.parent}: the folder cannot be locked ({error.strerror}); choose another, "
                "on a disk of this machine"
            ) from error
        if not alone:
            self.file.close()
            raise TrainError(
                f"{path.parent}: {writer(path)} is writing here; wait for its end, or choose "
                "another folder"
            )
        self.begun = any(line["kind"] == "start" for line in lines_of(path))
        if self.ends_mid_line():
            self.append(b"\n")  # a run was killed while it wrote

    def ends_mid_line(self) -> bool:
        """Is there a last line without its line break?"""
        if not self.file.seek(0, os.SEEK_END):
            return False
        self.file.seek(-1, os.SEEK_END)
        return self.file.read(1) != b"\n"

    def write(self, kind: str, **values: Any) -> None:
        """One line.  Numbers must be finite: JSON has no others.

        Raises:
            TrainError: the disk is full, or broken.
        """
        line = json.dumps({"kind": kind, **values}, ensure_ascii=False, allow_nan=False)
        self.append(line.encode() + b"\n")

    def append(self, content: bytes) -> None:
        """Write all of it."""
        try:
            while content:
                content = content[self.file.write(content) :]
        except OSError as error:
            raise broken(self.path, error) from error

    def sync(self) -> None:
        """Force what is written to the disk: a checkpoint must not be newer than its log."""
        try:
            os.fsync(self.file.fileno())
        except OSError as error:
            raise broken(self.path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()


def broken(path: Path, error: OSError) -> TrainError:
    """What to say when a line cannot be written."""
    return TrainError(
        f"{path}: the log cannot be written ({error.strerror}); the last checkpoint is untouched: "
        f"make room, and resume the run (tinygrad-attn train --resume {quote(str(path.parent))})"
    )


def read_log(path: str | Path) -> list[Line]:
    """The lines of the last run in the file, as they would be had it never been interrupted.

    A line that was cut short is left out, and so are steps that were done again, and the lines that
    say that the run went on.

    Raises:
        TrainError: the file cannot be read, or holds no run.
    """
    try:
        lines = lines_of(Path(path))
    except (OSError, ValueError) as error:
        raise TrainError(f"{path}: expected a log, but it cannot be read ({error})") from error
    starts = [at for at, line in enumerate(lines) if line["kind"] == "start"]
    if not starts:
        raise TrainError(f"{path}: expected a log of training, but no line starts a run")
    return merged(lines[starts[-1] :])


def merged(lines: Iterable[Line]) -> list[Line]:
    """The lines of one run without those that a later "resume" makes void."""
    kept: list[Line] = []
    for line in lines:
        if line["kind"] == "resume":
            kept = [old for old in kept if stays(old, line)]
            kept[0] = {**kept[0], "config": line["config"]}  # it may have got more steps
        else:
            kept.append(line)
    return kept


def stays(line: Line, resume: Line) -> bool:
    """Was `line` written before the checkpoint from which the run went on?"""
    if line["kind"] == "step":
        return bool(line["step"] <= resume["step"])
    if line["kind"] == "evaluation":
        return bool(line["step"] <= resume["evaluated"])
    return bool(line["kind"] == "start")


def lines_of(path: Path) -> list[Line]:
    """All whole lines of a file."""
    return [line for line in map(parsed, path.read_bytes().split(b"\n")) if line is not None]


def parsed(line: bytes) -> Line | None:
    """The object on a line; None where there is none, or not all that its kind has, as it is."""
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        return None
    fields = FIELDS.get(value["kind"], {})
    right = all(name in value and fits(value[name]) for name, fits in fields.items())
    return value if right and is_number(value.get("seconds", 0.0)) else None


def reached(path: Path) -> int:
    """The step to which the run that wrote last has come."""
    steps = [line["step"] for line in lines_of(path) if is_count(line.get("step"))]
    return steps[-1] if steps else 0


def writer(path: Path) -> str:
    """The run that wrote last, in words."""
    for line in reversed(lines_of(path)):
        if line.keys() >= {"process", "began"}:
            return f"another run (process {line['process']}, since {line['began']})"
    return "another run"
