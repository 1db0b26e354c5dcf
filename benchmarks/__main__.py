"""Command line of the benchmarks: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tinygrad_attn.extras import ExtraError, need

from .cases import CASES, KERNELS, PEERS, Case
from .harness import cores
from .runs import run_point

ABOUT = """This library and others on the same work, in turn (A B C A B C …), in a process each.

Before anything is timed, all must compute the same numbers from the same values: losses, every
gradient, and the losses of the first steps.  All use the same number of threads and the same dtype.
The rounds are spread over several launches: at each, all processes are started anew and warmed up,
because a process stays faster or slower by where it finds its memory and threads.
A ratio is the median, over the rounds, of our time over theirs within a round, with its quartiles;
below 1, this library is faster (or smaller).  Peers come with: pip install ".[peers]"; those that
are not installed are left out."""


def arguments(given: list[str] | None) -> argparse.Namespace:
    """The options; wrong ones are refused in a sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="show the cases and peers, and end")
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES),
                        metavar="CASE", help=f"of {', '.join(CASES)} (default: all)")  # fmt: skip
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS),
                        metavar="NAME", help=f"of {', '.join(PEERS)} (default: all)")  # fmt: skip
    parser.add_argument("--kernels", nargs="+", choices=list(KERNELS), default=installed_kernels(),
                        metavar="SET", help="kernel sets of this library, each a contestant: of "
                        f"{', '.join(KERNELS)} (default: those installed)")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=12, metavar="N",
                        help="to count, at least 5 (default: %(default)s)")  # fmt: skip
    parser.add_argument("--launches", type=int, default=3, metavar="N",
                        help="of every contestant, among which the rounds are divided "
                        "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--threads", type=int, default=min(2, cores()), metavar="N",
                        help="that everyone may use, but for cases too small for more than one "
                        "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"), metavar="FOLDER",
                        help="for figures.json and charts (default: %(default)s)")  # fmt: skip
    args = parser.parse_args(given)
    if args.list:
        return args  # nothing is measured or written
    for name in ("only", "peers", "kernels"):
        setattr(args, name, list(dict.fromkeys(getattr(args, name))))  # each once
    if args.rounds < 5:
        parser.error(f"--rounds: expected at least 5, got {args.rounds}")
    if not 1 <= args.launches <= args.rounds:
        parser.error(f"--launches: expected 1 to {args.rounds} (--rounds), got {args.launches}")
    if not 1 <= args.threads <= cores():
        parser.error(f"--threads: expected 1 to {cores()}, got {args.threads}")
    for name in args.kernels:
        if find_spec(KERNELS[name]) is None:
            parser.error(f"--kernels: {name} is not installed; run: pip install "
                         '"tinygrad_attn[fast]"')  # fmt: skip
    try:
        need("rich", "the table of results")
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "figures.json").touch()  # before the work, not after it
    except ExtraError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"--out: {args.out} cannot be written ({error.strerror})")
    return args


def installed_kernels() -> list[str]:
    """The sets that can run here."""
    return [name for name in ("numpy", "numba") if find_spec(name) is not None]


def show_list() -> None:
    """The cases, and who is installed."""
    width = max(map(len, (*CASES, *PEERS)))
    print("cases")
    for name, case in CASES.items():
        print(f"  {name:{width}}  {case.title}")
    print("peers")
    for name, peer in PEERS.items():
        state = "" if peer.installed else f"  (not installed: pip install {peer.package})"
        print(f"  {name:{width}}  {peer.label}{state}")
    print(f"kernel sets installed: {', '.join(installed_kernels())}")


def run_case(name: str, case: Case, args: argparse.Namespace, bars: Any) -> list[Any]:
    """All points of a case, with a bar."""
    threads = case.threads or args.threads
    peers = [peer for peer in args.peers if PEERS[peer].installed]
    task = bars.add_task(name, total=args.rounds * len(case.points))
    measured = []
    for k, point in enumerate(case.points):
        bars.update(task, description=f"{name} {point.label}".strip())
        result = run_point(
            case, point, peers=peers, kernels=args.kernels, rounds=args.rounds,
            launches=args.launches, threads=threads, tick=lambda: bars.advance(task),
        )  # fmt: skip
        bars.update(task, completed=args.rounds * (k + 1))
        measured.append((point, result))
    bars.remove_task(task)
    return measured


def main(given: list[str] | None = None) -> None:
    """Measure, print the tables, write the figures and the charts."""
    args = arguments(given)
    if args.list:
        show_list()
        return
    from rich.console import Console
    from rich.progress import Progress

    from . import charts, report

    console, records, failed = Console(), [], False
    if not console.is_terminal:
        console.width = 120
    missing = [PEERS[peer].label for peer in args.peers if not PEERS[peer].installed]
    if missing:
        console.print(f"left out, not installed: {', '.join(missing)}")
    settings = {"rounds": args.rounds, "launches": args.launches, "threads": args.threads,
                "kernels": args.kernels, "not_installed": missing}  # fmt: skip
    with Progress(transient=True, console=console) as bars:
        for name in args.only:
            case = CASES[name]
            measured = run_case(name, case, args, bars)
            for made in (report.table(case, measured), report.memory_table(measured)):
                if made is not None:
                    console.print(made)
            for note in report.notes(measured):
                console.print(f"[dim]{name}: {note}[/]")
            failed |= any(result.failed for _, result in measured)
            records.append(report.record(name, case, case.threads or args.threads, measured))
            document = report.document(records, settings)
            text = json.dumps(document, indent=1, ensure_ascii=False)
            (args.out / "figures.json").write_text(text + "\n", encoding="utf-8")
            try:
                charts.draw(records[-1], args.out / f"{name}.png")
            except ExtraError as error:
                console.print(f"[dim]{name}: no chart: {error}[/]")
    console.print(f"figures and charts: {args.out}")
    if failed:
        sys.exit("something failed: see the notes above")


if __name__ == "__main__":
    main()
