"""Memory of this process in MiB: what it has, and the most that it ever had."""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]  # checked below

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def figures() -> dict[str, float]:
    """The most that this process ever had, and what it has now (where unknown: the most)."""
    most = peak()
    return {"peak": most, "resident": status("VmRSS", most)}


def peak() -> float:
    """The most resident memory so far, or since `forget`.

    Raises:
        OSError: the system does not tell.
    """
    if resource is None:
        raise OSError("the peak of memory cannot be measured on this system")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2 ** (20 if sys.platform == "darwin" else 10)


def forget() -> None:
    """Let the peak begin anew from what there is now, where the system can (Linux)."""
    try:
        CLEAR.write_text("5")
    except OSError:
        return


def status(field: str, otherwise: float) -> float:
    """A field of /proc/self/status, which counts in KiB."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return otherwise
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))
