"""Which kernels run: a set of them, chosen by `use`, by the environment or by the size of the work.

    "off"      none: every operation is its definition in primitives
    "numpy"    kernels in NumPy
    "numba"    kernels compiled by numba; NumPy's where numba has none
    "auto"     numba's where it is installed and the work is large, else NumPy's

The environment variable TINYGRAD_ATTN_KERNELS says where a process starts; "auto" without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from operator import index
from re import findall
from typing import Any, SupportsIndex

from ..engine.errors import DTypeError, ShapeError
from ..engine.kernel import Kernel
from ..engine.settings import SETTINGS
from ..extras import ExtraError, need

SETS = ("auto", "numba", "numpy", "off")
OLDEST = 0, 62  # numba; on x86 the code of an older one ends the process: LLVM ERROR
LARGE = 1 << 14  # elements: from here on "auto" finds loading numba worth while


class use:
    """Let this set of kernels run: "auto", "numba", "numpy" or "off".

    Takes effect at once, in this thread (a new thread starts as the process did); as a context
    manager (`with use("off"):`) it restores the earlier choice on exit.

    Args:
        kernels: the set; None leaves it as it is.
        threads: how many threads the kernels may use; None leaves that as it is.

    Raises:
        DTypeError: kernels is not a string, or threads is not an integer.
        ShapeError: there is no such set, or threads is less than 1.
        ExtraError: "numba", and it is not installed, or too old.
    """

    def __init__(self, kernels: str | None = None, *, threads: int | None = None) -> None:
        settings = SETTINGS.get()
        kernels = checked(settings.kernels if kernels is None else kernels, "kernels.use")
        threads = settings.threads if threads is None else counted(threads)
        self.before = settings.kernels, settings.threads
        SETTINGS.set(replace(settings, kernels=kernels, threads=threads))

    def __enter__(self) -> None:
        """Nothing is left to do."""

    def __exit__(self, *_: object) -> None:
        kernels, threads = self.before
        SETTINGS.set(replace(SETTINGS.get(), kernels=kernels, threads=threads))


def counted(threads: Any) -> int:
    """A number of threads, if it is one."""
    if isinstance(threads, bool) or not isinstance(threads, SupportsIndex):
        raise DTypeError(f"kernels.use: threads must be an integer, got {threads!r:.80}")
    number = index(threads)
    if number < 1:
        raise ShapeError(f"kernels.use: threads must be 1 or more, got {number}")
    return number


def checked(kernels: Any, who: str) -> str:
    """`kernels`, if it is a set that can run here."""
    if not isinstance(kernels, str):
        raise DTypeError(f"{who}: expected one of {SETS}, got {kernels!r:.80}")
    if kernels not in SETS:
        raise ShapeError(f"{who}: expected one of {SETS}, got {kernels!r:.80}")
    if kernels == "numba":
        numba_kernels()
    return kernels


def chosen(name: str, size: int) -> Kernel | None:
    """The kernel of the operation `name` for arrays of so many elements; None: its definition."""
    wanted = SETTINGS.get().kernels
    if wanted == "numba" or (wanted == "auto" and size >= LARGE and installed()):
        return numba_kernels().get(name)
    if wanted == "off":
        return None
    if wanted not in SETS:  # from the environment
        checked(wanted, "TINYGRAD_ATTN_KERNELS")
    return numpy_kernels().get(name)


def finder(name: str) -> Callable[[int], Kernel | None]:
    """`chosen` for one operation."""
    return partial(chosen, name)


@cache
def installed() -> bool:
    """Is numba there, and new enough?"""
    from importlib.util import find_spec  # these imports would double the package's own

    return find_spec("numba") is not None and recent(numba_version())


def numba_version() -> str:
    """The installed one's; "unknown" where its package does not say."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("numba")
    except PackageNotFoundError:
        return "unknown"


def recent(version: str) -> bool:
    """Is this version of numba one that the kernels can use?"""
    return tuple(map(int, findall(r"\d+", version)[:2])) >= OLDEST


@cache
def numpy_kernels() -> dict[str, Kernel]:
    """NumPy's kernels by operation."""
    from .with_numpy import KERNELS

    return KERNELS


@cache
def numba_kernels() -> dict[str, Kernel]:
    """numba's kernels by operation, NumPy's where it has none; here alone numba is imported."""
    need("numba", 'the kernels "numba"', "fast")
    version = numba_version()
    if not recent(version):
        raise ExtraError(
            f'the kernels "numba" need numba {OLDEST[0]}.{OLDEST[1]} or newer, got {version}; '
            'run: pip install "tinygrad_attn[fast]"',
            name="numba",
        )
    from .with_numba import KERNELS

    return {**numpy_kernels(), **KERNELS}
