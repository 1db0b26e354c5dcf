"""Command line of the benchmarks: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from . import chain
from .harness import Result, machine, measure

CASES = {"chain": chain.case}


def main() -> None:
    """Measure, print the table, write the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), default=sorted(CASES),
                        help="the cases to run (default: all)")  # fmt: skip
    parser.add_argument("--peers", nargs="+", default=[], metavar="NAME",
                        help="compare with these only, e.g. --peers PyTorch")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=41, help="rounds to count (at least 5)")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    args = parser.parse_args()
    if args.rounds < 5:
        parser.error(f"--rounds: expected at least 5, got {args.rounds}")
    results = []
    with Progress(transient=True) as progress:
        for name in args.only:
            case = CASES[name](args.peers)
            case.verify()
            task = progress.add_task(case.title, total=args.rounds + 2)
            results.append(measure(case, args.rounds, lambda task=task: progress.advance(task)))
    Console().print(table(results))
    if args.out is not None:
        rows = [row for result in results for row in result.rows()]
        args.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


def table(results: list[Result]) -> Table:
    """Ours beside each peer: medians, and the paired ratio with its quartiles."""
    shown = Table("case", "peer", "peer ms", "ours ms", "ours / peer", "quartiles")
    for row in (row for result in results for row in result.rows()):
        low, high = row["quartiles"]
        shown.add_row(row["case"], row["peer"], ms(row["seconds"]), ms(row["ours"]),
                      f"{row['ratio']:.2f}", f"{low:.2f} … {high:.2f}")  # fmt: skip
    return shown


def ms(seconds: Any) -> str:
    """Seconds as milliseconds."""
    return f"{1000 * seconds:.3f}"


if __name__ == "__main__":
    main()
