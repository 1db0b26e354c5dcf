"""What is switched on right now: one immutable record in one ContextVar.

A plain global would let `no_grad` in one thread stop another thread's recording.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import DTypeError, reraised


class Scope:
    """One entry into a named part of a program, such as one call of a module.

    Every entry is an object of its own, so two calls of one module can be told apart.
    """

    __slots__ = ("name", "parent")

    def __init__(self, name: str, parent: Scope | None) -> None:
        self.name, self.parent = name, parent

    @property
    def chain(self) -> tuple[Scope, ...]:
        """The scopes from the outermost to this one."""
        links: list[Scope] = []
        scope: Scope | None = self
        while scope is not None:
            links.append(scope)
            scope = scope.parent
        return tuple(reversed(links))

    @property
    def path(self) -> str:
        """The names from the outermost scope to this one, joined by dots."""
        return ".".join(scope.name for scope in self.chain)


FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True, slots=True)
class Settings:
    """The switches that operations and the walk read."""

    recording: bool = True  # record a graph at all?
    keep_values: bool = False  # nodes keep the value they produced
    keep_grads: bool = False  # nodes keep the gradient that reached them
    scope: Scope | None = None  # where in the program we are
    dtype: np.dtype[Any] = FLOAT32  # for Python data and new parameters
    kernels: str = os.environ.get("TINYGRAD_ATTN_KERNELS") or "auto"  # which set (kernels/sets.py)
    threads: int | None = None  # for kernels; None: as many as the process may use


DEFAULTS = Settings()
SETTINGS: ContextVar[Settings] = ContextVar("tinygrad_attn", default=DEFAULTS)


@contextmanager
def changed(**changes: Any) -> Iterator[None]:
    """Apply `changes` to the settings inside a `with` block or a decorated function."""
    before = {name: getattr(SETTINGS.get(), name) for name in changes}
    SETTINGS.set(replace(SETTINGS.get(), **changes))
    try:
        yield
    finally:  # only what was changed here: a default_dtype set meanwhile stays
        SETTINGS.set(replace(SETTINGS.get(), **before))


def no_grad() -> Any:
    """Nothing is recorded inside: results have no graph and need no memory for one."""
    return changed(recording=False)


def keep_values() -> Any:
    """Every node recorded inside keeps its value, for drawings and studies."""
    return changed(keep_values=True)


def keep_grads() -> Any:
    """Nodes recorded inside keep value and gradient; nodes only walked inside keep the gradient."""
    return changed(keep_values=True, keep_grads=True)


@contextmanager
def scope(name: str) -> Iterator[Scope]:
    """Operations recorded inside belong to the part of the program called `name`."""
    entered = Scope(name, SETTINGS.get().scope)
    with changed(scope=entered):
        yield entered


class default_dtype:
    """Make `dtype` (np.float32 or np.float64, say) that of Python data and new parameters.

    Takes effect at once, in this thread (a new thread starts with float32); as a context manager
    (`with default_dtype(np.float64):`) it restores the earlier one on exit.  Called with nothing to
    set it just tells: `default_dtype().dtype`.
    """

    def __init__(self, dtype: npt.DTypeLike | None = None) -> None:
        settings = SETTINGS.get()
        try:
            self.dtype = settings.dtype if dtype is None else np.dtype(dtype)
        except TypeError as error:
            raise reraised(error, "default_dtype") from error
        if self.dtype.kind not in "fc":
            raise DTypeError(
                f"default_dtype: expected a floating dtype such as np.float32, got {self.dtype}"
            )
        self.before = settings.dtype
        SETTINGS.set(replace(settings, dtype=self.dtype))

    def __enter__(self) -> np.dtype[Any]:
        return self.dtype

    def __exit__(self, *_: object) -> None:
        SETTINGS.set(replace(SETTINGS.get(), dtype=self.before))
