"""`tinygrad-attn bench`: how fast are the kernels on this machine?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import numpy as np

from ..engine import Array
from ..environment import environment, limited_blas
from ..kernels import installed, threads, use
from .options import Parser, UsageError, file_to_write, integer, subparser
from .tables import print_table, watched
from .workloads import Workload, workloads

SUMMARY = "measure the kernels on this machine"
TEXT = """Say what is installed and which kernels run, and measure every operation that has kernels,
forward and backward, and a whole training step, on the sizes of nanoGPT's configuration for a
CPU: as its definition in primitives ("off"), with the kernels in NumPy and, where numba is
installed, with those that it compiles.  They take turns, round by round.  Where a set has no
kernel of its own, it runs the one before: in NumPy, clipping and AdamW are the definition's (their
ratio shows how exact the figures are); with numba, linear is NumPy's.

A ratio is the median, over the rounds, of a set's time over the definition's within a round,
with its quartiles; below 1, the kernels are faster.  "differ" is the largest difference from the
definition, relative to the largest number.

Where other libraries stand beside this one: python -m benchmarks, in the project's repository."""
EXAMPLES = """
attention --rounds 21
"training step" --threads 1 --out figures.json"""
HEADINGS = ("what", "size", "off ms", "kernels", "ms", "ratio (quartiles)", "differ")


@dataclass(frozen=True)
class Row:
    """What was measured of one workload with one set of kernels.

    Attributes:
        name, sizes: of the workload.
        kernels: the set.
        off, seconds: medians for the definition and for the set.
        ratio, quartiles: of seconds over off, within a round.
        difference: from the definition, relative to the largest number; None where each run starts
            from other values.
    """

    name: str
    sizes: str
    kernels: str
    off: float
    seconds: float
    ratio: float
    quartiles: tuple[float, float]
    difference: float | None

    def cells(self) -> tuple[str, ...]:
        """One line of the table."""
        low, high = self.quartiles
        return (
            self.name,
            self.sizes,
            f"{1e3 * self.off:.3f}",
            self.kernels,
            f"{1e3 * self.seconds:.3f}",
            f"{self.ratio:.2f} ({low:.2f} … {high:.2f})",
            "" if self.difference is None else f"{self.difference:.0e}",
        )


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add this command's options."""
    parser = subparser(commands, "bench", SUMMARY, TEXT, EXAMPLES)
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="measure only what has this in its name"
    )
    parser.add_argument(
        "--rounds",
        type=integer(5, 10_000),
        default=9,
        metavar="N",
        help="rounds to count, 5 or more (default: 9)",
    )
    parser.add_argument(
        "--threads",
        type=integer(1, 1_000),
        metavar="N",
        help="threads of the kernels and, with threadpoolctl, of the BLAS (default: as many as "
        "the process may use)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON too")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Measure, print the table and write the figures."""
    file_to_write("--out", options.out)
    with limited_blas(options.threads):
        ground = environment()
        print("\n".join(introduction(ground)) + "\n")
        works = named(options.name)
        sets = ("numpy", "numba") if installed() else ("numpy",)
        found = watched("measuring", rows(works, sets, options.rounds), len(sets) * len(works))
        table = list(found)
    print_table(HEADINGS, [row.cells() for row in table], ["" for _ in table])
    if options.out is not None:
        figures = {"environment": ground, "rows": [asdict(row) for row in table]}
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        print(f"\nfigures: {options.out}")
    return 0


def introduction(ground: dict[str, Any]) -> Iterator[str]:
    """What is installed, and which kernels run."""
    yield (
        f"Python {ground['python']}, NumPy {ground['numpy']}, {ground['machine']}, "
        f"{ground['cpus']} processors"
    )
    count = ground["blas_threads"]
    yield f"BLAS: {ground['blas']}, " + (
        f"{count} threads" if count else "number of threads unknown (threadpoolctl would tell)"
    )
    missing = 'not installed; pip install "tinygrad_attn[fast]" brings it'
    yield f"numba: {ground['numba'] or missing}"
    yield (
        f'kernels: "{ground["kernels"]}", {threads()} threads (ta.kernels.use, or '
        "TINYGRAD_ATTN_KERNELS=auto|numba|numpy|off)"
    )


def named(part: str | None) -> list[Workload]:
    """The workloads that have `part` in their names."""
    every = workloads()
    some = [one for one in every if (part or "").casefold() in one.name.casefold()]
    if not some:
        names = ", ".join(one.name for one in every)
        raise UsageError(f"bench: nothing has {part!r} in its name; there are: {names}")
    return some


def rows(works: Sequence[Workload], sets: Sequence[str], rounds: int) -> Iterator[Row]:
    """One row for each workload and set of kernels."""
    for one in works:
        results: dict[str, list[Array]] = {}
        seconds: dict[str, list[float]] = {name: [] for name in ("off", *sets)}
        for name in seconds:
            with use(name):
                results[name] = one.work()  # compiles, where there is something to compile
        times = repeats(one)
        for _ in range(rounds):
            for name, turns in seconds.items():
                with use(name):
                    turns.append(run(one, times))
        yield from (row(one, name, seconds, results) for name in sets)


def row(
    one: Workload, name: str, seconds: dict[str, list[float]], results: dict[str, list[Array]]
) -> Row:
    """The figures of one set of kernels."""
    ratios = [a / b for a, b in zip(seconds[name], seconds["off"], strict=True)]
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    pairs = list(zip(results[name], results["off"], strict=True))
    return Row(
        one.name,
        one.sizes,
        name,
        median(seconds["off"]),
        median(seconds[name]),
        middle,
        (low, high),
        max(map(difference, *zip(*pairs, strict=True)), default=None) if pairs else None,
    )


def difference(found: Array, expected: Array) -> float:
    """max |found − expected| / max |expected|; 0 where all is 0."""
    return float(np.abs(found - expected).max() / (np.abs(expected).max() or 1.0))


def repeats(one: Workload, least: float = 0.02) -> int:
    """How often to do the work in one turn, so that a turn takes 20 ms or so."""
    with use("off"):
        return max(1, int(least / run(one, 1)))


def run(one: Workload, times: int) -> float:
    """Seconds for one run, of so many."""
    start = perf_counter()
    for _ in range(times):
        one.work()
    return (perf_counter() - start) / times
