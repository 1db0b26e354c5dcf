"""`tinygrad-attn check`: is every gradient right, of the library or of somebody's own function?"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ..check.gradcheck import METHODS, reports
from ..check.report import Report, ordinal
from ..check.suite import Row, named, rows
from ..environment import limited_blas
from ..viz.files import write_whole
from .options import (
    Parser,
    UsageError,
    add_seed,
    choice,
    file_to_write,
    integer,
    number,
    subparser,
)
from .own import INPUTS, check_count, function_named, inputs, is_file, told
from .tables import print_table, watched

SUMMARY = "check the gradient of every operation and layer, or of a function of yours"
TEXT = f"""Compare gradients with numeric derivatives (complex step where a function is analytic,
Richardson's extrapolation elsewhere), in float64, and print the measured errors.

Without a NAME, that of every operation and layer of this library, at first and second order.
With MODULE:FUNCTION or FILE.py:FUNCTION that of a function of yours, which takes Tensors and
returns one or several; of a module's parameters too ('MODULE:Layer()' makes one).

{INPUTS}

The error is max |analytic - numeric| / max(1, |numeric|).  The exit code is 1 if a gradient is
wrong, and 3 if a function of yours cannot be judged: at a kink, or if it is random."""
EXAMPLES = """
softmax
attention --order 3
--list
my_module:score --input 2x3,5x3
'model.py:Block()' --input 2x5x8 --order 2 --html report.html"""
STYLES = {"right": "green", "wrong": "bold red", "undecided": "yellow"}
HEADINGS = ("operation or layer", "order", "method", "error", "allowed", "verdict")
EXITS = {"right": 0, "wrong": 1, "undecided": 3}


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add this command's options."""
    parser = subparser(commands, "check", SUMMARY, TEXT, EXAMPLES)
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="check only what has this in its name (default: everything); or MODULE:FUNCTION",
    )
    parser.add_argument(
        "--order",
        type=integer(1, 3),
        metavar="N",
        help="highest order of derivatives, 1 to 3 (default: 2; of a function of yours 1)",
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="only print the names of all operations and layers, one a line",
    )
    own = parser.add_argument_group("for a function of yours")
    own.add_argument("--input", metavar="SHAPES", help="shapes of its inputs, as 3x4,4; see above")
    add_seed(own, "the random inputs", None)
    own.add_argument(
        "--method",
        type=choice(*METHODS),
        metavar="NAME",
        help="of the numeric derivative: auto, complex or richardson (default: auto)",
    )
    own.add_argument(
        "--tolerance",
        type=number(0, 1, above=True),
        metavar="E",
        help="largest error allowed (default: 1e-12 for the complex step, else 1e-10)",
    )
    own.add_argument("--html", type=Path, metavar="FILE", help="write the report there as a page")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Check what is asked for."""
    if options.name and ":" in options.name:
        if options.list:
            raise UsageError("--list is for the library's names, not for a function of yours")
        return check_own(options)
    if options.name and is_file(options.name):
        raise UsageError(f"name the function: {options.name}:FUNCTION")
    for option in ("input", "seed", "method", "tolerance", "html"):
        if getattr(options, option) is not None:
            raise UsageError(f"--{option} is for a function of yours: MODULE:FUNCTION")
    if options.list and options.order is not None:
        raise UsageError("--order is for checks, and --list makes none; leave one out")
    return check_library(options)


# ── the library ──────────────────────────────────────────────────────────────────────────────────
def check_library(options: argparse.Namespace) -> int:
    """Check, print the table, and tell what is not right."""
    names, order = named(options.name), options.order or 2
    if options.list:
        print("\n".join(names))
        return 0
    with limited_blas(1):
        found = list(watched("checking", rows(options.name, order), order * len(names)))
    print_table(HEADINGS, [cells(row) for row in found], [STYLES[row.verdict] for row in found])
    bad = [row for row in found if row.verdict != "right"]
    for row in bad:
        print(f"\n{row.name}\n{row.report}")
    worst = max(row.max_error for row in found)
    print(
        f"\n{len(names)} operations and layers, {len(found)} checks in "
        f"{sum(row.seconds for row in found):.1f} s; largest error {worst:.1e}; "
        + (f"{len(bad)} not right" if bad else "all right")
    )
    return 1 if bad else 0


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table."""
    return (
        row.name,
        str(row.order),
        row.method,
        f"{row.max_error:.1e}",
        f"{row.tolerance:.0e}",
        row.verdict,
    )


# ── a function of one's own ──────────────────────────────────────────────────────────────────────
def check_own(options: argparse.Namespace) -> int:
    """Check a function at random inputs, print its reports, and write a page if asked to."""
    name, given = options.name, inputs(options.input or "")
    file_to_write("--html", options.html)
    f = function_named(name)
    check_count(f, name, given)
    rng = np.random.default_rng(options.seed or 0)
    with limited_blas(1), told(name):
        judged = list(
            reports(
                f,
                *(each.drawn(rng) for each in given),
                order=options.order or 1,
                method=options.method or "auto",
                tolerance=options.tolerance,
            )
        )
    print(*judged, sep="\n\n")
    print(f"\n{verdict(name, judged)}")
    if options.html is not None:
        write_whole(options.html, judged[-1].to_html().encode())
        print(options.html)
    return EXITS[judged[-1].verdict]


def verdict(name: str, judged: list[Report]) -> str:
    """The outcome in a sentence."""
    last = judged[-1]
    if last.verdict == "wrong":
        return f"{name} has a wrong gradient"
    if last.verdict == "undecided":
        return f"{name} could not be judged: {last.reason}"
    worst = max(report.max_error for report in judged)
    orders = " and ".join(ordinal(report.order) for report in judged)
    return f"{name} is right: {orders} order, largest error {worst:.1e}"
