"""How kernels are compiled: once, kept on disk where possible, leaving the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])
# Sums may be reordered and fused, which vectorises them; NaN and infinities stay what they are.
FAST = {"reassoc", "contract", "arcp", "nsz", "afn"}


def compiled(function: F) -> F:
    """`function` as machine code, made when it is first called with given types."""
    try:
        fast: F = njit(cache=True, nogil=True, fastmath=FAST)(function)
    except RuntimeError:  # nowhere to keep it: neither beside the source nor in the user's cache
        fast = njit(nogil=True, fastmath=FAST)(function)
    return fast
