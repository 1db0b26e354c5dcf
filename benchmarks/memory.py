"""Memory of this process in MiB: what it has, and the most that it ever had."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]  # asked for in `peak`

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def figures() -> dict[str, float]:
    """The most that this process ever had, and what it has now (where unknown: the most)."""
    most, now = peak(), status("VmRSS")
    return {"peak": most, "resident": most if now is None else now}


def peak() -> float:
    """The most resident memory so far, or since `forget`.

    Raises:
        OSError: the system does not tell.
    """
    most = status("VmHWM")  # on Linux, ru_maxrss begins with the parent's
    if most is not None:
        return most
    if resource is None:
        raise OSError("the peak of memory cannot be measured on this system")
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(used) / 2 ** (20 if sys.platform == "darwin" else 10)


def forget() -> None:
    """Let the peak begin anew from what there is now, where the system can (Linux)."""
    with suppress(OSError):
        CLEAR.write_text("5")


def status(field: str) -> float | None:
    """A field of /proc/self/status, which counts in KiB; None where there is no such file."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith(field)), None)
