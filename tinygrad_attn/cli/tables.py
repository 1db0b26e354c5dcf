"""Tables, and bars for what takes a while."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from ..extras import ExtraError, need


class Named(Protocol):
    """What a progress bar can tell of."""

    @property
    def name(self) -> str:
        """Its name."""


Item = TypeVar("Item", bound=Named)


def watched(doing: str, found: Iterable[Item], expected: int) -> Iterator[Item]:
    """The rows as they come, with a progress bar where there is a terminal."""
    with counted(doing, expected) as advance:
        for row in found:
            advance(f"{row.name[:30]:30}")
            yield row


@contextmanager
def counted(doing: str, expected: int) -> Iterator[Callable[..., None]]:
    """A progress bar where there is a terminal; call what it gives once for each step done.

    Yields:
        A function that takes what is written beside the bar, or nothing to leave that as it is.
    """
    bar = live_bar()
    if bar is None:
        yield lambda text=None: None
        return
    with bar:
        task = bar.add_task(doing, total=expected)
        yield lambda text=None: bar.update(task, advance=1, description=text)


def live_bar() -> Any:
    """A rich progress bar on standard error; None where there is no terminal, or no rich."""
    try:
        console = need("rich.console", "a progress bar").Console(stderr=True)
        bar = need("rich.progress", "a progress bar").Progress(console=console, transient=True)
    except ExtraError:
        return None
    return bar if console.is_terminal else None


def print_table(
    headings: Sequence[str], lines: Sequence[Sequence[str]], styles: Sequence[str]
) -> None:
    """Print a table, in colour where rich is installed and there is a terminal.

    Args:
        styles: one for the last cell of each line.
    """
    try:
        box = need("rich.box", "a table").SIMPLE_HEAD
        table: Any = need("rich.table", "a table").Table(box=box)
        console = need("rich.console", "a table").Console(file=sys.stdout)
    except ExtraError:
        widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
        for line in (headings, *lines):
            print("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)))
        return
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    text = need("rich.text", "a table").Text
    for line, style in zip(lines, styles, strict=True):
        table.add_row(*map(text, line[:-1]), text(line[-1], style))
    if not console.is_terminal:
        console.width = 1_000  # a file has no edge to wrap at
    console.print(table)
