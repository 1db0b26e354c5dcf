"""Run a case: start its contestants, see that they agree, let them take turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from .cases import Case, Entry, Point, entries
from .contestant import Contestant, ContestantError
from .harness import DisagreementError, Result, extra_memory, measure, verify

STEPS = 30  # of training, in the processes whose memory is measured
FRESH = 5  # such processes of each contestant
Tick = Callable[[], None]


def run_point(
    case: Case,
    point: Point,
    *,
    peers: list[str],
    kernels: list[str],
    rounds: int,
    threads: int,
    tick: Tick,
    limit: float = 600.0,
) -> Result:
    """Measure one size.  What goes wrong stands in the result's notes, and in `failed`."""
    taking_part = entries(case, point, peers, kernels)
    result = Result([entry.name for entry in taking_part if entry.ours])
    with ExitStack() as stack:
        contestants = started(taking_part, result, stack, threads, limit)
        try:
            verify(checked(contestants, result))
        except DisagreementError as error:
            result.fail(f"not measured: {error}")
            return result
        if case.extra:
            for contestant in contestants:
                result.extra[contestant.name] = extra_memory(contestant)
        if case.unit != "MiB":
            measure(contestants, result, rounds, tick)
    if case.unit == "MiB":
        names = [contestant.name for contestant in contestants]
        able = [entry for entry in taking_part if entry.name in names]
        measure_memory(able, result, threads, limit, tick)
    return result


def started(
    taking_part: Sequence[Entry], result: Result, stack: ExitStack, threads: int, limit: float
) -> list[Contestant]:
    """The processes of those that can build their work."""
    found = []
    for entry in taking_part:
        try:
            found.append(stack.enter_context(process(entry, threads, limit)))
        except ContestantError as error:
            result.leave_out(entry.name, error)
    return found


def process(entry: Entry, threads: int, limit: float) -> Contestant:
    """A fresh process."""
    return Contestant(
        entry.name, entry.make, entry.options,
        threads=threads, kernels=entry.kernels, limit=limit,
    )  # fmt: skip


def checked(contestants: list[Contestant], result: Result) -> dict[str, dict]:
    """The numbers of those that can compute them; the others are taken out of the list."""
    numbers = {}
    for contestant in list(contestants):
        try:
            numbers[contestant.name] = contestant.check()
        except ContestantError as error:
            contestants.remove(contestant)
            result.leave_out(contestant.name, error)
    return numbers


def measure_memory(
    taking_part: Sequence[Entry], result: Result, threads: int, limit: float, tick: Tick
) -> None:
    """Fill `result` with the peak of whole processes, in turn."""
    result.rounds = {entry.name: [] for entry in taking_part}
    result.repeats = {entry.name: STEPS for entry in taking_part}
    for _ in range(FRESH):
        for entry in taking_part:
            with process(entry, threads, limit) as contestant:
                contestant.run(STEPS)
                result.rounds[entry.name].append(contestant.memory()["peak"])
        tick()
