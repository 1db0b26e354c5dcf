"""Which kernels run: a set of them, chosen by `use`, by the environment or by the size of the work.

    "off"      none: every operation is its definition in primitives
    "numpy"    kernels in NumPy
    "numba"    kernels compiled by numba; NumPy's where numba has none
    "auto"     numba's where it is installed and the work is large, else NumPy's

The environment variable TINYGRAD_ATTN_KERNELS says where a process starts; "auto" without it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

from ..engine.errors import DTypeError, ShapeError
from ..engine.kernel import Kernel
from ..engine.settings import SETTINGS
from ..extras import need

SETS = ("auto", "numba", "numpy", "off")
LARGE = 1 << 14  # elements: from here on "auto" finds loading numba worth while


class use:
    """Let this set of kernels run: "auto", "numba", "numpy" or "off".

    Takes effect at once, in this thread (a new thread starts as the process did); as a context
    manager (`with use("off"):`) it restores the earlier choice on exit.

    Args:
        kernels: the set; None leaves it as it is.
        threads: how many threads the kernels may use; None leaves that as it is.

    Raises:
        ShapeError: there is no such set, or threads is not 1 or more.
        ExtraError: "numba", and it is not installed.
    """

    def __init__(self, kernels: str | None = None, *, threads: int | None = None) -> None:
        settings = SETTINGS.get()
        kernels = checked(settings.kernels if kernels is None else kernels, "kernels.use")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise ShapeError(f"kernels.use: threads must be 1 or more, got {threads!r}")
        threads = settings.threads if threads is None else threads
        self.before = settings.kernels, settings.threads
        SETTINGS.set(settings._replace(kernels=kernels, threads=threads))

    def __enter__(self) -> None:
        """Nothing is left to do."""

    def __exit__(self, *_: object) -> None:
        kernels, threads = self.before
        SETTINGS.set(SETTINGS.get()._replace(kernels=kernels, threads=threads))


def checked(kernels: Any, who: str) -> str:
    """`kernels`, if it is a set that can run here."""
    if not isinstance(kernels, str):
        raise DTypeError(f"{who}: expected one of {SETS}, got {kernels!r:.80}")
    if kernels not in SETS:
        raise ShapeError(f"{who}: expected one of {SETS}, got {kernels!r:.80}")
    if kernels == "numba":
        compiled()
    return kernels


def chosen(name: str, size: int) -> Kernel | None:
    """The kernel of the operation `name` for arrays of so many elements; None: its definition."""
    wanted = SETTINGS.get().kernels
    if wanted == "numba" or (wanted == "auto" and size >= LARGE and installed()):
        return compiled().get(name)
    if wanted == "off":
        return None
    if wanted not in SETS:  # from the environment
        checked(wanted, "TINYGRAD_ATTN_KERNELS")
    return plain().get(name)


def finder(name: str) -> Callable[[int], Kernel | None]:
    """`chosen` for one operation."""
    return partial(chosen, name)


@cache
def installed() -> bool:
    """Is numba there?"""
    return find_spec("numba") is not None


@cache
def plain() -> dict[str, Kernel]:
    """NumPy's kernels by operation."""
    from .with_numpy import KERNELS

    return KERNELS


@cache
def compiled() -> dict[str, Kernel]:
    """numba's kernels by operation, NumPy's where it has none; here alone numba is imported."""
    need("numba", 'the kernels "numba"', "fast")
    from .with_numba import KERNELS

    return {**plain(), **KERNELS}
