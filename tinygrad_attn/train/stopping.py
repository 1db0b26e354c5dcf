"""Ctrl-C and the system's request to end, heard between two steps.

    with stopping() as stop:
        for record in trainer:
            if stop.requested: ...      # save, then:
            stop.obey("stopped, and saved")

The first signal waits until the run has saved; a second one ends it at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Ctrl-C; a request to end; a closed terminal; Ctrl-Break.  Not every system has every one.
SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
)


class Stopped(KeyboardInterrupt):
    """A run that a signal ended.

    Attributes:
        code: what a program ended by the signal exits with: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, sentence: str, number: int) -> None:
        super().__init__(sentence)
        self.code = 128 + number


class Stop:
    """Whether a signal has come.

    Attributes:
        requested: the signal's number, or None.
        saved: nothing is left to save, so a signal is obeyed at once.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self.saved = False

    def hear(self, number: int, _: FrameType | None) -> None:
        """The handler of a signal."""
        again, self.requested = self.requested is not None, number
        if again or self.saved:
            raise Stopped("stopped at once", number)

    def obey(self, sentence: str) -> None:
        """Raise Stopped if a signal has come."""
        if self.requested is not None:
            raise Stopped(sentence, self.requested)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Hear signals inside; those that somebody handles or ignores already are left alone.

    Only the main thread hears signals; in another the Stop never comes.
    """
    stop, before = Stop(), {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, stop.hear)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
