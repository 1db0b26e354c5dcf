"""A bug: a wrong gradient that can be switched on, and what a right diagnosis says of it.

Most bugs are one wrong gradient rule: the decorator `plants` makes one from the rule, whose name is
the bug's and whose docstring is its lesson.  In the others every rule is right, and the function
itself is wrong for differentiation: `misuses`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..causes import Cause
from ..compare import Verdict


class Size(NamedTuple):
    """Lengths of axes: batch, heads, queries, keys, width."""

    B: int
    H: int
    T: int
    S: int
    D: int


SIZES = (Size(2, 2, 3, 4, 5), Size(3, 2, 4, 3, 2), Size(2, 3, 2, 5, 3))


class Subject(NamedTuple):
    """What is checked: a function and its inputs."""

    f: Callable[..., Any]
    inputs: tuple[Any, ...]


Draw = np.random.Generator
Made = Callable[[Size, Draw], Subject]
Rule = Callable[..., Any]


class Plantable(Protocol):
    """An operation in which another rule can be planted."""

    def replaced_vjp(
        self, argument: int | str, rule: Callable[..., Any]
    ) -> AbstractContextManager[None]:
        """Plant it inside the block."""


@dataclass(frozen=True)
class Bug:
    """A wrong gradient that can be switched on.

    Attributes:
        name: of the bug.
        area: part of a network that it lives in.
        plant: gives a context manager; inside its block the bug is there.
        made: size and generator -> what is checked.
        op: the operation to blame; None where every rule is right.
        causes: what is wrong with it; some errors have two right names.
        lesson: what one sees, and why people make it.
        written: the wrong function.
        verdict: what a right check says: "wrong", or "undecided" where nobody can judge.
    """

    name: str
    area: str
    plant: Callable[[], AbstractContextManager[None]]
    made: Made
    op: str | None
    causes: tuple[Cause, ...]
    lesson: str
    written: Callable[..., Any]
    verdict: Verdict = "wrong"

    @property
    def source(self) -> str:
        """The wrong lines, without decorators and docstring."""
        source = inspect.getsource(self.written)
        head, body = source[source.index("def ") :].split('"""')[::2]
        return head.rstrip() + body.rstrip()

    def subject(self, size: Size, seed: int = 0) -> Subject:
        """What is checked at this size; the same numbers each time."""
        return self.made(size, np.random.default_rng([seed, *self.name.encode(), *size]))


class Cage:
    """The bugs of one area, in the order in which they are written down."""

    def __init__(self, area: str) -> None:
        self.area, self.bugs = area, list[Bug]()

    def plants(
        self, op: Plantable, argument: int | str, made: Made, *causes: Cause
    ) -> Callable[[Rule], Rule]:
        """Make the decorated rule a bug: planted in `op` for `argument`, seen in a subject."""

        def add(rule: Rule) -> Rule:
            self.add(rule, lambda: op.replaced_vjp(argument, rule), made, name_of(op), causes)
            return rule

        return add

    def misuses(
        self, made: Made, cause: Cause, verdict: Verdict = "wrong"
    ) -> Callable[[Made], Made]:
        """Make the decorated function a bug: the subject that stands in for the right one."""

        def add(wrong: Made) -> Made:
            on: list[None] = []

            @contextmanager
            def switched() -> Iterator[None]:
                on.append(None)
                try:
                    yield
                finally:
                    on.pop()

            def either(size: Size, rng: Draw) -> Subject:
                return (wrong if on else made)(size, rng)

            self.add(wrong, switched, either, None, (cause,), verdict)
            return wrong

        return add

    def add(
        self,
        written: Callable[..., Any],
        plant: Callable[[], AbstractContextManager[None]],
        made: Made,
        op: str | None,
        causes: tuple[Cause, ...],
        verdict: Verdict = "wrong",
    ) -> None:
        """The bug that a function's name, docstring and lines describe."""
        name, lesson = written.__name__.replace("_", "-"), inspect.cleandoc(written.__doc__ or "")
        lesson = " ".join(lesson.split())
        self.bugs.append(Bug(name, self.area, plant, made, op, causes, lesson, written, verdict))


def name_of(op: Any) -> str:
    """What reports call an operation: an adapter by the name of its primitive."""
    name: str = (getattr(op, "primitive", None) or op).__name__
    return name
