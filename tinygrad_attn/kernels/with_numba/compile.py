"""How kernels are compiled: once, kept on disk where possible; they release the GIL."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.extending import intrinsic, overload

F = TypeVar("F", bound=Callable[..., Any])
# x·y + z may be rounded once.  NaN and infinities stay what they are.
EXACT = {"contract"}
# Sums may be reordered too, which vectorises them.
FAST = EXACT | {"reassoc", "nsz"}


def forget_outdated(folder: Path, *others: Path) -> None:
    """Remove machine code beside the source that is older than a file of `folder` or of `others`.

    numba looks at the time of the file a kernel stands in, not at those of the functions and
    constants it takes from elsewhere, which are compiled into it.  What numba keeps in another
    place (NUMBA_CACHE_DIR, or the user's cache where it may not write here) stays.
    """
    sources = [*folder.glob("*.py"), *others]
    newest = max((source.stat().st_mtime for source in sources), default=0.0)
    for index in folder.glob("__pycache__/*.nbi"):
        with suppress(OSError):  # not ours to change, or another process was faster
            if index.stat().st_mtime < newest:
                index.unlink()


HERE = Path(__file__).parent
forget_outdated(HERE, *HERE.parent.glob("with_numpy/activations.py"))  # constants, a polynomial


def compiled(function: F) -> F:
    """`function` as machine code, made when it is first called with given types.

    Division by zero gives infinity or NaN as in NumPy: Python's exception would be a branch in
    every loop, and no loop with a branch out of it is vectorised.
    """
    return made(function, FAST)


def elementwise(function: F) -> F:
    """`compiled`, without reordering: where a formula meets infinities the order matters."""
    return made(function, EXACT)


def made(function: F, fastmath: set[str]) -> F:
    """`function` compiled with these liberties."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
    try:
        fast: F = njit(cache=True, **options)(function)
    except RuntimeError:  # nowhere to keep it: neither beside the source nor in the user's cache
        fast = njit(**options)(function)
    return fast


def compiled_for_kinds(function: Callable[..., Any]) -> Callable[[F], F]:
    """A decorator: for each type of arguments, compiled code calls what the decorated returns."""
    options = {"error_model": "numpy", "fastmath": EXACT, "forceinline": True}
    decorator: Callable[[F], F] = overload(function, jit_options=options)
    return decorator


def instruction(function: Callable[..., Any]) -> Callable[..., Any]:
    """What compiled code calls, given as instructions of LLVM."""
    decorated: Callable[..., Any] = intrinsic(function)
    return decorated
