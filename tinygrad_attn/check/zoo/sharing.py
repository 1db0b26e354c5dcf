"""Work for several processes, the results in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def shared(
    work: Callable[[Item], Result], items: Sequence[Item], jobs: int, chunk: int
) -> Iterator[Result]:
    """work(item) for each item, done by `jobs` processes, each given `chunk` items at a time.

    The processes are started afresh (a fork would copy the threads of a progress bar, and their
    locks); for few items that does not pay, and this one does the work.
    """
    if jobs == 1 or len(items) <= chunk:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(work, items, chunksize=chunk)
