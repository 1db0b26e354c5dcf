"""Tables, and bars for what takes a while."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
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
    try:
        console = need("rich.console", "a progress bar").Console(stderr=True)
        bar = need("rich.progress", "a progress bar").Progress(console=console, transient=True)
    except ExtraError:
        yield from found
        return
    if not console.is_terminal:
        yield from found
        return
    with bar:
        task = bar.add_task(doing, total=expected)
        for row in found:
            bar.update(task, advance=1, description=f"{row.name[:30]:30}")
            yield row


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
