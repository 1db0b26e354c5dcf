"""Work shared among a few Python threads: NumPy and compiled code release the GIL.

No thread waits spinning, so they do not fight the BLAS, and two callers at once are no danger; that
rules out numba's own thread layers.  Work is cut by its size alone, never by the number of threads:
results are the same to the last bit with any number of them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import cache
from typing import TYPE_CHECKING

from ..engine.settings import SETTINGS

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


def threads() -> int:
    """How many threads kernels use: by `use`, by OMP_NUM_THREADS, or one for each core."""
    return SETTINGS.get().threads or default_threads()


@cache
def default_threads() -> int:
    """OMP_NUM_THREADS, or the number of cores this process may run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(asked) if asked.isdecimal() and int(asked) else cores or 1


@cache
def pool(workers: int) -> ThreadPoolExecutor:
    """So many threads beside the caller's."""
    from concurrent.futures import ThreadPoolExecutor  # late: a tenth of the package's import

    return ThreadPoolExecutor(workers, thread_name_prefix="tinygrad_attn")


if hasattr(os, "register_at_fork"):  # a child has the pool but not its threads
    os.register_at_fork(after_in_child=pool.cache_clear)


def share(work: Callable[[int, int], object], n: int, grain: int) -> None:
    """Call `work(start, stop)` for parts of range(n), `grain` long but for the last.

    Parts may run at once and in any order: each must write where no other does.
    """
    starts = iter(range(0, n, grain))  # taking the next from it is atomic, under the GIL

    def drain() -> None:
        try:
            for start in starts:
                work(start, min(start + grain, n))
        finally:
            deque(starts, maxlen=0)  # after an error no further part begins

    helpers = min(threads(), -(-n // grain)) - 1
    if helpers < 1:
        return drain()
    from concurrent.futures import wait

    running = [pool(threads() - 1).submit(copy_context().run, drain) for _ in range(helpers)]
    try:
        drain()
    finally:
        begun = [helper for helper in running if not helper.cancel()]
        wait(begun)  # the caller's arrays must outlive them
    for helper in begun:
        helper.result()
    return None
