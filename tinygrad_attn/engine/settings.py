"""What is switched on right now: one record in one ContextVar.

A plain global would let `no_grad` in one thread stop another thread's recording.
"""

from __future__ import annotations

import os
from contextlib import ContextDecorator
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


@dataclass(slots=True)
class Settings:
    """The switches that operations and the walk read; never changed, but replaced.

    Not frozen, and no tuple: making one, or reading a switch, would cost several times as much.
    """

    recording: bool = True  # record a graph at all?
    keep_values: bool = False  # nodes keep the value they produced
    keep_grads: bool = False  # nodes keep the gradient that reached them
    scope: Scope | None = None  # where in the program we are
    guard: Any = None  # is shown every result and gradient (anomaly/guard.py)
    dtype: np.dtype[Any] = FLOAT32  # for Python data and new parameters
    kernels: str = os.environ.get("TINYGRAD_ATTN_KERNELS") or "auto"  # which set (kernels/sets.py)
    threads: int | None = None  # for kernels; None: as many as the process may use

    def within(self, scope: Scope | None) -> Settings:
        """The same in another scope; a fifth of what `replace` costs, for every module's call."""
        return Settings(
            self.recording, self.keep_values, self.keep_grads, scope, self.guard, self.dtype,
            self.kernels, self.threads,
        )  # fmt: skip


DEFAULTS = Settings()
SETTINGS: ContextVar[Settings] = ContextVar("tinygrad_attn", default=DEFAULTS)


class changed(ContextDecorator):
    """Apply `changes` to the settings inside a `with` block or a decorated function."""

    def __init__(self, **changes: Any) -> None:
        self.changes = changes
        self.before: list[dict[str, Any]] = []  # one for each time it is entered

    def __enter__(self) -> None:
        settings = SETTINGS.get()
        self.before.append({name: getattr(settings, name) for name in self.changes})
        SETTINGS.set(replace(settings, **self.changes))

    def __exit__(self, *_: object) -> None:
        # Only what was changed here: a default_dtype set meanwhile stays.
        SETTINGS.set(replace(SETTINGS.get(), **self.before.pop()))


def no_grad() -> Any:
    """Nothing is recorded inside: results have no graph and need no memory for one."""
    return changed(recording=False)


def keep_values() -> Any:
    """Every node recorded inside keeps its value, for drawings and studies."""
    return changed(keep_values=True)


def keep_grads() -> Any:
    """Nodes recorded inside keep value and gradient; nodes only walked inside keep the gradient."""
    return changed(keep_values=True, keep_grads=True)


class scope(ContextDecorator):
    """Operations recorded inside belong to the part of the program called `name`.

    The `with` statement gives the Scope that was entered.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise DTypeError(f"scope: the name must be a string, got {name!r:.80}")
        self.name = name

    def __enter__(self) -> Scope:
        settings = SETTINGS.get()
        entered = Scope(self.name, settings.scope)
        SETTINGS.set(settings.within(entered))
        return entered

    def __exit__(self, *_: object) -> None:
        settings = SETTINGS.get()
        assert settings.scope is not None
        SETTINGS.set(settings.within(settings.scope.parent))


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
