"""Layout: Graphviz's `dot` where it is on the PATH, else the one that pygraphviz brings along.

Both run in a process of their own and for a limited time, so that neither a layout without end nor
a crash of Graphviz can take the caller with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from tempfile import TemporaryFile
from time import monotonic
from typing import IO

from .errors import RenderError
from .labels import clean

ADVICE = (
    "install Graphviz (https://graphviz.org/download) so that `dot` is on the PATH, "
    "or run: pip install pygraphviz"
)
PYGRAPHVIZ = """
import sys, pygraphviz
graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode("utf-8"))
sys.stdout.buffer.write(graph.draw(format=sys.argv[1][2:], prog="dot"))
"""
LARGEST = 1 << 28  # bytes that a picture may have
STEP = 0.1  # seconds between two looks at what was written
STARTS = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}


class NoEngineError(RenderError):
    """Neither `dot` nor pygraphviz is there."""


def engines() -> dict[str, list[str]]:
    """The layout engines of this machine, best first, with the command that starts each."""
    found = {}
    if program := shutil.which("dot"):
        found["dot"] = [program]
    if find_spec("pygraphviz"):
        found["pygraphviz"] = [sys.executable, "-P", "-c", PYGRAPHVIZ]
    return found


def layout(dot: str, suffix: str, time_limit: float) -> bytes:
    """DOT text laid out and drawn as "svg", "png" or "pdf".

    Raises:
        NoEngineError: there is no layout engine; the message says how to get one.
        RenderError: it took longer than `time_limit` seconds, or every engine failed.
    """
    if suffix == "png":  # twice the usual resolution
        dot = dot.replace("{", "{\n  graph [dpi=144];", 1)
    reasons = []
    for name, command in engines().items():
        try:
            content, reason = run([*command, f"-T{suffix}"], dot.encode(), time_limit)
        except subprocess.TimeoutExpired as error:
            raise RenderError(
                f"the layout took longer than {time_limit:g} s and was stopped; fold "
                "modules with depth=1, draw a part, or raise time_limit="
            ) from error
        if not reason and content.startswith(STARTS[suffix]):
            return content
        reasons.append(f"{name} {reason or f'gave no {suffix.upper()}'}")
    if reasons:
        raise RenderError(f"no picture could be made: {', and '.join(reasons)}")
    raise NoEngineError(f"no layout engine was found; to get pictures, {ADVICE}")


def run(command: list[str], given: bytes, time_limit: float) -> tuple[bytes, str]:
    """(what the command wrote, why it failed or ""); it and its children are ended in time.

    It reads and writes files, not pipes, so that neither a child which outlives it nor output
    without end can keep us waiting or fill the memory.
    """
    with TemporaryFile() as source, TemporaryFile() as content, TemporaryFile() as complaint:
        source.write(given)
        source.seek(0)
        try:
            process = subprocess.Popen(
                command, stdin=source, stdout=content, stderr=complaint, start_new_session=True
            )
        except OSError as error:
            return b"", f"cannot be started ({error.strerror or error})"
        try:
            whole = ended(process, (content, complaint), time_limit)
        finally:  # out of time, interrupted from the keyboard, or done: nobody stays behind
            stop(process)
        if not whole:
            return b"", f"wrote more than {LARGEST >> 20} MB"
        if process.returncode == 0:
            return contents(content), ""
        if process.returncode < 0:
            return b"", f"was ended by signal {-process.returncode}"
        last = contents(complaint).decode(errors="replace").strip().rpartition("\n")[2]
        why = f" ({clean(last, 200)})" if last else ""
        return b"", f"failed with exit status {process.returncode}{why}"


def ended(
    process: subprocess.Popen[bytes], written: Iterable[IO[bytes]], time_limit: float
) -> bool:
    """Wait for the end of a process; False once it has written more than a picture can be.

    Raises:
        TimeoutExpired: it takes longer than `time_limit` seconds.
    """
    end = monotonic() + time_limit
    while True:
        try:
            process.wait(max(min(STEP, end - monotonic()), 0))
        except subprocess.TimeoutExpired:
            if monotonic() >= end:
                raise
        if any(os.fstat(file.fileno()).st_size > LARGEST for file in written):
            return False
        if process.returncode is not None:
            return True


def contents(file: IO[bytes]) -> bytes:
    """All that was written to a file."""
    file.seek(0)
    return file.read()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and the children it started."""
    with suppress(ProcessLookupError, PermissionError):  # all have ended
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
