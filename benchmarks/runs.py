"""Run a case: launch its contestants, see that they agree, let them take turns; launch again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from .cases import Case, Entry, Point, entries
from .contestant import Contestant, ContestantError
from .harness import DisagreementError, Numbers, Result, measure, verify

STEPS = 30  # of training, in the processes whose memory is measured
FRESH = 5  # such processes of each contestant
Tick = Callable[[], None]
Start = Callable[[Entry], Contestant]


def run_point(
    case: Case,
    point: Point,
    *,
    peers: list[str],
    kernels: list[str],
    rounds: int,
    launches: int,
    threads: int,
    tick: Tick,
    limit: float = 600.0,
) -> Result:
    """Measure one size.  What goes wrong stands in the result's notes, and in `failed`."""
    taking_part = entries(case, point, peers, kernels)
    result = Result([entry.name for entry in taking_part if entry.ours])
    start = partial(process, threads=threads, limit=limit)
    spread = [] if case.unit == "MiB" else shares(rounds, case.launches or launches)
    try:
        agreed_and_timed(taking_part, result, start, tick, spread)
    except DisagreementError as error:
        result.fail(f"not measured: {error}")
        return result
    if case.unit == "MiB":
        measure_memory(taking_part, result, start, tick)
    if case.small is not None:
        for entry in still(taking_part, result):
            with leaving_out(entry, result):
                result.extra[entry.name] = extra_memory(entry, case.small, start)
    return result


def agreed_and_timed(
    taking_part: Sequence[Entry], result: Result, start: Start, tick: Tick, spread: list[int]
) -> None:
    """See that all compute the same numbers, then let them take turns: so many rounds a launch.

    Raises:
        DisagreementError: they do not; nothing is timed then.
    """
    with launched(taking_part, result, start) as contestants:
        verify(checked(contestants, result))
        result.rounds = {contestant.name: [] for contestant in contestants}
        for rounds in spread[:1]:
            measure(contestants, result, rounds, tick)
    for rounds in spread[1:]:
        with launched(still(taking_part, result), result, start) as contestants:
            measure(contestants, result, rounds, tick)


def shares(rounds: int, launches: int) -> list[int]:
    """How many of the rounds each launch has: equally many, the first ones perhaps one more."""
    return [rounds // launches + (k < rounds % launches) for k in range(launches)]


@contextmanager
def launched(
    taking_part: Sequence[Entry], result: Result, start: Start
) -> Iterator[list[Contestant]]:
    """Fresh processes, one each, that end with the `with`."""
    with ExitStack() as stack:
        contestants = []
        for entry in taking_part:
            with leaving_out(entry, result):
                contestants.append(stack.enter_context(start(entry)))
        yield contestants


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


def process(entry: Entry, *, threads: int, limit: float) -> Contestant:
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


def measure_memory(taking_part: Sequence[Entry], result: Result, start: Start, tick: Tick) -> None:
    """Fill `result` with the peaks of whole processes, MiB, which do nothing else than train."""
    result.repeats = dict.fromkeys(result.rounds, STEPS)
    for _ in range(FRESH):
        for entry in still(taking_part, result):
            with leaving_out(entry, result), start(entry) as contestant:
                contestant.run(STEPS)
                result.rounds[entry.name].append(contestant.memory()["peak"])
        result.launches.append(1)
        tick()


def extra_memory(entry: Entry, small: Point, start: Start) -> float:
    """MiB that a first run takes beyond its inputs, in a fresh process that has warmed up."""
    warming = replace(entry, options={**entry.options, "sizes": small.sizes})
    with start(warming) as contestant:
        contestant.run(1)
        contestant.build(entry.make, entry.options)
        before = contestant.memory(forget=True)["resident"]
        contestant.run(1)
        return contestant.memory()["peak"] - before
