"""What a kernel is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


def nothing(*_: Any, **__: Any) -> tuple[Any, ...]:
    """The backward of an optimiser's step: nobody differentiates it."""
    return ()


class Kernel(NamedTuple):
    """A forward function and its backward, on arrays (see the package's docstring)."""

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[..., tuple[Any, ...]] = nothing
