"""What our reading says of a file, and whether safetensors agrees."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from warnings import catch_warnings, simplefilter

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from tinygrad_attn.checkpoint import CheckpointError, load
from tinygrad_attn.files import DTYPES, FormatError, arrays_of, header_of

from . import checkpoints, files

MOST_SECONDS = 1.0
CHECKPOINTS = 4  # one file in so many is a checkpoint


class WrongError(Exception):
    """Our reading did what it must not; says what."""


def judged(seed: int, numbers: range, folder: Path) -> Iterator[tuple[int, str, bytes]]:
    """Make files and read them: (number, what came of it, the file).

    Args:
        seed: of all of them.
        numbers: of the files.
        folder: where each is written for a moment.
    """
    parts = [checkpoints.taken_apart(content) for content in checkpoints.right()]
    for number in numbers:
        random = Random(f"{seed} {number}")
        is_checkpoint = number % CHECKPOINTS == 0
        content = checkpoints.made(parts, random) if is_checkpoint else files.made(random)
        path = folder / "file"
        path.write_bytes(content)
        began = time.process_time()
        try:
            outcome = judge_checkpoint(path) if is_checkpoint else judge_file(path, content)
            if time.process_time() - began > MOST_SECONDS:
                raise WrongError(f"it took {time.process_time() - began:.1f} seconds")
        except Exception as error:
            outcome = f"WRONG: {type(error).__name__}: {error}"
        yield number, outcome, content


def judge_checkpoint(path: Path) -> str:
    """A checkpoint loads, or is refused by CheckpointError; whatever else is raised is wrong."""
    try:
        with catch_warnings():
            simplefilter("error")
            load(path)
    except CheckpointError:
        return "checkpoint refused"
    return "checkpoint loaded"


def judge_file(path: Path, content: bytes) -> str:
    """A file is refused by FormatError, or its arrays are those that safetensors finds."""
    try:
        load(path)
    except CheckpointError:
        pass
    else:
        raise WrongError("a file without a digest was loaded")
    theirs: dict[str, dict[str, object]] | None = None
    with suppress(SafetensorError):
        theirs = dict(deserialize(content))
    try:
        header = header_of(content)
    except FormatError:
        return "refused by both" if theirs is None else "refused by us alone"
    if theirs is None:
        return "refused by safetensors alone"
    compare(path, content, theirs)
    try:
        arrays = arrays_of(content, header, "this")
    except FormatError:  # no dtype of NumPy's, or bytes that are no booleans
        return "accepted by both, not as NumPy's arrays"
    for name, array in arrays.items():
        entry = header.entries[name]
        found = np.frombuffer(theirs[name]["data"], DTYPES[entry.dtype])  # type: ignore[call-overload]
        if entry.dtype == "BF16":
            found = (found.astype(np.uint32) << 16).view(np.float32)
        if array.tobytes() != found.tobytes() or array.shape != entry.shape:
            raise WrongError(f"the array {name!r} has other values")
    return "accepted by both"


def compare(path: Path, content: bytes, theirs: dict[str, dict[str, object]]) -> None:
    """Refuse a difference of names, dtypes, shapes, bytes or metadata."""
    header, end = header_of(content), 8 + int.from_bytes(content[:8], "little")
    ours = {
        name: {
            "dtype": entry.dtype, "shape": list(entry.shape),
            "data": content[end + entry.start : end + entry.stop],
        }
        for name, entry in header.entries.items()
    }  # fmt: skip
    found = {name: {**value, "data": bytes(value["data"])} for name, value in theirs.items()}  # type: ignore[arg-type]
    if ours != found:
        raise WrongError(f"safetensors reads {found}, and we read {ours}")
    with safe_open(path, "numpy") as file:
        if (file.metadata() or {}) != header.metadata:
            raise WrongError(f"safetensors reads the metadata {file.metadata()}")


def tally(seed: int, numbers: range, folder: Path, kept: Path | None = None) -> Counter[str]:
    """How many files had which outcome; those that were judged wrongly are kept."""
    outcomes: Counter[str] = Counter()
    for number, outcome, content in judged(seed, numbers, folder):
        outcomes[outcome] += 1
        if kept is not None and outcome.startswith("WRONG"):
            kept.mkdir(parents=True, exist_ok=True)
            (kept / f"{seed}-{number}.safetensors").write_bytes(content)
    return outcomes
