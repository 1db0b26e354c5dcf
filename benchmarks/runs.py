"""Run a case: start its contestants, see that they agree, let them take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from .cases import Case, Entry, Point, entries
from .contestant import Contestant, ContestantError
from .harness import DisagreementError, Numbers, Result, measure, verify

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
        result.rounds = {contestant.name: [] for contestant in contestants}
        if case.unit != "MiB":
            measure(contestants, result, rounds, tick)
    if case.unit == "MiB":
        result.repeats = dict.fromkeys(result.rounds, STEPS)
        for _ in range(FRESH):
            for entry in still(taking_part, result):
                with leaving_out(entry, result):
                    result.rounds[entry.name].append(peak_memory(entry, threads, limit))
            tick()
    if case.small is not None:
        for entry in still(taking_part, result):
            with leaving_out(entry, result):
                result.extra[entry.name] = extra_memory(entry, case.small, threads, limit)
    return result


def still(taking_part: Sequence[Entry], result: Result) -> list[Entry]:
    """Those that have not been left out."""
    return [entry for entry in taking_part if entry.name in result.rounds]


@contextmanager
def leaving_out(one: Entry | Contestant, result: Result) -> Iterator[None]:
    """Leave a contestant out of the result if it fails inside."""
    try:
        yield
    except ContestantError as error:
        result.leave_out(one.name, error)


def started(
    taking_part: Sequence[Entry], result: Result, stack: ExitStack, threads: int, limit: float
) -> list[Contestant]:
    """The processes of those that can build their work."""
    found = []
    for entry in taking_part:
        with leaving_out(entry, result):
            found.append(stack.enter_context(process(entry, threads, limit)))
    return found


def process(entry: Entry, threads: int, limit: float) -> Contestant:
    """A fresh process."""
    return Contestant(
        entry.name, entry.make, entry.options,
        threads=threads, kernels=entry.kernels, limit=limit,
    )  # fmt: skip


def checked(contestants: list[Contestant], result: Result) -> dict[str, Numbers]:
    """The numbers of those that can compute them; the others are taken out of the list."""
    numbers = {}
    for contestant in list(contestants):
        with leaving_out(contestant, result):
            numbers[contestant.name] = contestant.check()
        if contestant.name not in numbers:
            contestants.remove(contestant)
    return numbers


def peak_memory(entry: Entry, threads: int, limit: float) -> float:
    """MiB that a whole process has at most, which does nothing else than train."""
    with process(entry, threads, limit) as contestant:
        contestant.run(STEPS)
        return contestant.memory()["peak"]


def extra_memory(entry: Entry, small: Point, threads: int, limit: float) -> float:
    """MiB that a first run takes beyond its inputs, in a fresh process that has warmed up."""
    warming = replace(entry, options={**entry.options, "sizes": small.sizes})
    with process(warming, threads, limit) as contestant:
        contestant.run(1)
        contestant.build(entry.make, entry.options, threads)
        before = contestant.memory(forget=True)["resident"]
        contestant.run(1)
        return contestant.memory()["peak"] - before
