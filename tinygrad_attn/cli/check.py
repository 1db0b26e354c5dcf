"""`tinygrad-attn check`: is every gradient right?"""

from __future__ import annotations

import argparse

from ..check.suite import Row, named, rows
from ..environment import limited_blas
from .options import Parser, integer, subparser
from .tables import print_table, watched

SUMMARY = "check the gradient of every operation and layer"
TEXT = """Compare the gradient of every operation and every layer with numeric derivatives (complex
step where the operation is analytic, Richardson's extrapolation elsewhere), in float64, at
first and second order, and print the measured errors.

The error is max |analytic - numeric| / max(1, |numeric|).  The exit code is 1 if one is too
large."""
EXAMPLES = """
softmax
attention --order 3
--list"""
STYLES = {"right": "green", "wrong": "bold red", "undecided": "yellow"}
HEADINGS = ("operation or layer", "order", "method", "error", "allowed", "verdict")


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add this command's options."""
    parser = subparser(commands, "check", SUMMARY, TEXT, EXAMPLES)
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="check only what has this in its name (default: everything)",
    )
    parser.add_argument(
        "--order",
        type=integer(1, 3),
        default=2,
        metavar="N",
        help="highest order of derivatives, 1 to 3 (default: 2)",
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="only print the names of all operations and layers, one a line",
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Check, print the table, and tell what is not right."""
    names = named(options.name)
    if options.list:
        print("\n".join(names))
        return 0
    with limited_blas(1):
        found = list(
            watched("checking", rows(options.name, options.order), options.order * len(names))
        )
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
        f"{row.limit:.0e}",
        row.verdict,
    )
