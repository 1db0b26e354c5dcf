"""The keywords that every drawing takes, and what is wrong with those that fit none."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isnan
from typing import Any, TypedDict

from ..engine import DTypeError
from .errors import OptionError

MAX_NODES = 1500
TIME_LIMIT = 60.0


class Keywords(TypedDict, total=False):
    """What may be given; `Options` says what each means."""

    depth: int | None
    roll: bool
    plumbing: bool
    to: str | None
    title: str
    direction: str
    legend: bool
    formulas: bool
    max_nodes: int | None
    time_limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a graph is drawn.

    Attributes:
        depth: leave so many levels of modules open and fold what lies deeper into one box a module;
            0 folds the outermost modules, None folds nothing.
        roll: draw equal siblings in a row once, with their number: "blocks.0–5 ×6".
        plumbing: False hides what only moves elements: reshape, transpose, split, flip …
        to: the name of a parameter or an input: draw only the paths from it to the output.
        title: a caption.
        direction: of a picture, "TB" (top to bottom) or "LR" (left to right).
        legend: say under the drawing what its shapes mean.
        formulas: write on every arrow the rule by which the gradient comes back along it.
        max_nodes: of more boxes than this no picture is made: without a `depth` the graph is folded
            to depth 2 first, and refused if that is too much, too.  None: 1500 for a picture, any
            number for text.
        time_limit: stop the layout of a picture after so many seconds.

    Raises:
        DTypeError: a value of the wrong type.
        OptionError: a value out of range.
    """

    depth: int | None = None
    roll: bool = False
    plumbing: bool = True
    to: str | None = None
    title: str = ""
    direction: str = "TB"
    legend: bool = True
    formulas: bool = False
    max_nodes: int | None = None
    time_limit: float = TIME_LIMIT

    def __post_init__(self) -> None:
        for name in ("roll", "plumbing", "legend", "formulas"):
            self.expect(name, bool)
        for name, optional in (("to", True), ("title", False), ("direction", False)):
            self.expect(name, str, optional=optional)
        for name, least in (("depth", 0), ("max_nodes", 1)):
            self.expect(name, int, optional=True)
            value = getattr(self, name)
            if value is not None and value < least:
                raise OptionError(f"{name}: expected {least} or more, or None, got {value}")
        self.expect("time_limit", (int, float))
        if isnan(self.time_limit) or self.time_limit <= 0:
            raise OptionError(f"time_limit: expected seconds above 0, got {self.time_limit}")
        if self.direction not in ("TB", "LR"):
            raise OptionError(f'direction: expected "TB" or "LR", got {self.direction!r}')

    def expect(self, name: str, kind: type | tuple[type, ...], *, optional: bool = False) -> None:
        """Refuse a value of another type; True and False are no numbers."""
        value = getattr(self, name)
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if fits or (optional and value is None):
            return
        kinds = kind if isinstance(kind, tuple) else (kind,)
        names = " or ".join([k.__name__ for k in kinds] + ["None"] * optional)
        raise DTypeError(f"{name}: expected {names}, got {type(value).__name__}")


def options(keywords: Any) -> Options:
    """The Options of these keywords; an unknown one is told which there are."""
    known = [field.name for field in fields(Options)]
    unknown = [name for name in keywords if name not in known]
    if unknown:
        raise DTypeError(f"a drawing has no option {unknown[0]!r}; it has {', '.join(known)}")
    return Options(**keywords)
