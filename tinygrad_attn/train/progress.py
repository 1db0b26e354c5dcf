"""What a run shows while it runs: a live bar on a terminal, plain lines elsewhere.

The bar needs rich; without it there are plain lines too.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self, TextIO

from ..extras import ExtraError, need
from .loop import Evaluation, Record, Step


class Progress:
    """Shows records: `with Progress(600) as progress: progress.show(record)`.

    Args:
        steps: number of steps in all.
        file: where to write; standard error where None.
        done: how many of them are behind.
    """

    def __init__(self, steps: int, file: TextIO | None = None, done: int = 0) -> None:
        self.steps, self.file = steps, file or sys.stderr
        self.loss: float | None = None  # smoothed
        self.held_out = shown(None)
        self.bar = live_bar(self.file)
        self.task = self.bar and self.bar.add_task(
            "training", total=steps, completed=done, loss=shown(None), held_out=shown(None)
        )

    def show(self, record: Record) -> None:
        """Take one record into the picture."""
        if isinstance(record, Step):
            before = record.loss if self.loss is None else self.loss
            self.loss = 0.95 * before + 0.05 * record.loss
        else:
            self.held_out = scored(record)
        if self.bar:
            self.bar.update(
                self.task,
                completed=record.step,
                loss=shown(self.loss),
                held_out=self.held_out,
            )
        elif isinstance(record, Evaluation):
            step = f"{record.step:>{len(str(self.steps))}}"
            print(
                f"step {step} of {self.steps}   loss {shown(self.loss)}   held-out {self.held_out}",
                file=self.file,
                flush=True,
            )

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar:
            self.bar.stop()


def shown(loss: float | None) -> str:
    """A loss in three decimals; a dash where there is none yet."""
    return "–" if loss is None else f"{loss:.3f}"


def scored(evaluation: Evaluation) -> str:
    """The held-out loss, and the share that is right where the task counts it."""
    right = "" if evaluation.right is None else f", {evaluation.right:.0%} right"
    return shown(evaluation.held_out) + right


def live_bar(file: TextIO) -> Any:
    """A rich progress bar on `file`; None where there is no terminal, or no rich."""
    try:
        rich = need("rich.progress", "a progress bar")
        console = need("rich.console", "a progress bar").Console(file=file)
    except ExtraError:
        return None
    if not console.is_terminal or console.is_dumb_terminal:
        return None
    text, columns = rich.TextColumn, [rich.BarColumn(None), rich.TimeElapsedColumn()]
    return rich.Progress(
        text("step {task.completed}/{task.total}"),
        columns[0],
        text("loss {task.fields[loss]}"),
        text("held-out [bold]{task.fields[held_out]}[/]"),
        columns[1],
        text("left"),
        rich.TimeRemainingColumn(),
        console=console,
    )
