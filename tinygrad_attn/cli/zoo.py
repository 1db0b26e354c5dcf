"""`tinygrad-attn zoo`: which gradient check catches which bug?"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from textwrap import fill, indent

from ..check import Report
from ..check.zoo import BUGS, SIZES, Bug, bug_named
from ..check.zoo.alarms import Outcome, outcomes
from ..check.zoo.checkers import CHECKERS
from ..check.zoo.matrix import OURS, SIGHTS, Bend, Trial, bends, smallest_caught, trials, tried
from ..environment import limited_blas
from ..viz.files import write_whole
from .options import Parser, UsageError, add_seed, file_to_write, integer, subparser
from .tables import counted, print_table, watched

ENOUGH = 0.9  # of the wrong ones must be named rightly
PROMISED = {"ours, complex step": 1e-10, "ours, Richardson": 1e-8}  # errors that must be caught
FINEST = " or ".join(f"{e:.0e} ({name.removeprefix('ours, ')})" for name, e in PROMISED.items())
SUMMARY = "show which gradient check catches which bug"
TEXT = f"""Plant {len(BUGS)} bugs that people make in gradient rules, one at a time, and see who
catches them at {len(SIZES)} sizes each:

  differences    central differences as tutorials write them: the sum of the outputs is the loss
  PyTorch's      the rule and the tolerances of torch.autograd.gradcheck
  its fast mode  random projections
  ours           tinygrad_attn.check.gradcheck, which also names the operation and the cause

Then the smallest error that each always catches, the exact GELU with the slope of its tanh
form at 200 random points, and false alarms: random checks of right gradients.

The exit code is 1 if ours misses a bug, names fewer than {100 * ENOUGH:.0f} % of the wrong ones
rightly, overlooks an error of {FINEST},
does not catch and name the slope of the other GELU at every point, or raises a false alarm."""
EXAMPLES = """
--list
--bug softmax-diagonal
--checks 10000 --markdown zoo.md"""

HEADINGS = ("bug", "planted in", *CHECKERS, "ours says", "ours")
POINTS = 200  # of the GELU trial
COMPARED = 200  # random checks that the other checkers are asked about too
CHECKS = 300  # of right gradients, if nothing else is said
WIDTH = 98


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add this command's options."""
    parser = subparser(commands, "zoo", SUMMARY, TEXT, EXAMPLES)
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--list", action="store_true", help="only print the bugs and their lessons")
    one.add_argument("--bug", metavar="NAME", help="only show this one: its lines and the report")
    parser.add_argument(
        "--checks",
        type=integer(0, 1_000_000),
        metavar="N",
        help=f"random checks of right gradients (default: {CHECKS})",
    )
    parser.add_argument(
        "--jobs",
        type=integer(1, 256),
        metavar="N",
        help="processes that share the work (default: the number of cores, at most 4)",
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the tables to FILE too, for a page"
    )
    add_seed(parser, "the points and the random checks", None)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Show the list, one bug, or everything."""
    if options.list or options.bug is not None:
        for name in ("checks", "jobs", "markdown"):
            if getattr(options, name) is not None:
                raise UsageError(f"--{name} is for the whole zoo, without --list and --bug")
    if options.list:
        if options.seed is not None:
            raise UsageError("--seed is for what is planted, and --list plants nothing")
        print("\n\n".join(described(bug) for bug in BUGS.values()))
        return 0
    with limited_blas(1):
        if options.bug is not None:
            show(bug_named(options.bug), options.seed or 0)
            return 0
        return visit(options)


# ── one bug ──────────────────────────────────────────────────────────────────────────────────────
def described(bug: Bug) -> str:
    """A bug's name and lesson."""
    return f"{bug.name}\n{indent(fill(bug.lesson, WIDTH), '  ')}"


def show(bug: Bug, seed: int) -> None:
    """One bug in full: lesson, lines, report, and who catches it."""
    print(f"{described(bug)}\n\n{indent(bug.source, '    ')}\n")
    trial = tried(bug.name, seed)
    print(f"{trial.reports[0]}\n")
    for checker, count in trial.caught.items():
        print(f"  {checker:14} {verdict(trial, checker)} ({count} of {len(SIZES)} sizes)")


# ── everything ───────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Visit:
    """What a walk through the zoo found.

    Attributes:
        trials: each bug before every checker.
        sights: the smallest error that each checker always catches.
        bends: the GELU trial.
        outcomes: the random checks of right gradients.
    """

    trials: Sequence[Trial]
    sights: dict[str, float]
    bends: Sequence[Bend]
    outcomes: Sequence[Outcome]

    @property
    def wrong(self) -> list[Trial]:
        """The trials of what is wrong; nobody can judge the others."""
        return [trial for trial in self.trials if trial.bug.verdict == "wrong"]


def visit(options: argparse.Namespace) -> int:
    """Walk through the zoo, print what is seen, and say whether all is as claimed."""
    file_to_write("--markdown", options.markdown)
    seed, jobs = options.seed or 0, options.jobs or min(os.cpu_count() or 1, 4)
    checks = CHECKS if options.checks is None else options.checks
    seen = Visit(
        list(watched("planting bugs", trials(seed, jobs), len(BUGS))),
        sights(),
        list(watched("bending", bends(POINTS, seed, jobs), POINTS)),
        list(watched("checking", outcomes(checks, seed, COMPARED, jobs), checks)),
    )
    for area, rows in groupby(seen.trials, key=lambda trial: trial.bug.area):
        several = list(rows)
        print(f"\n{area}")
        print_table(HEADINGS, [cells(trial) for trial in several], [style(t) for t in several])
    print_table(SUMS, sums(seen), ["bold"] * len(sums(seen)))
    report_alarms(seen.outcomes)
    broken = failures(seen)
    print(
        "\n".join([*broken, "" if broken else "ours caught every bug, and raised no false alarm"])
    )
    if options.markdown is not None:
        write_whole(options.markdown, markdown(seen).encode("utf-8"))
        print(f"the tables are in {options.markdown}")
    return 1 if broken else 0


def sights() -> dict[str, float]:
    """The smallest error that each checker always catches."""
    with counted("shrinking an error", len(SIGHTS)) as advance:
        smallest = {}
        for name, passed in SIGHTS.items():
            advance(f"{name:30}")
            smallest[name] = smallest_caught(passed)
        return smallest


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────
def cells(trial: Trial) -> tuple[str, ...]:
    """One line of the kill matrix."""
    others = (verdict(trial, checker) for checker in CHECKERS)
    return trial.name, trial.bug.op or "", *others, said(trial.reports[0]), ours(trial)


def said(report: Report) -> str:
    """The cause that a report names, without particulars."""
    return re.split("[:,(]", report.cause or "")[0].strip()


def verdict(trial: Trial, checker: str) -> str:
    """What became of a bug before a checker."""
    if checker == OURS:
        return ours(trial)
    if trial.bug.verdict == "undecided":
        return "called wrong" if trial.caught[checker] else "called right"
    count = trial.caught[checker]
    return {0: "MISSED", len(SIZES): "caught"}.get(count, f"{count} of {len(SIZES)}")


def ours(trial: Trial) -> str:
    """The same for ours, which names what it catches."""
    if not trial.everywhere(OURS):
        return "MISSED"
    if trial.bug.verdict == "undecided":
        return "undecided"
    return "named" if trial.named else "caught"


def style(trial: Trial) -> str:
    """The colour of what ours says."""
    return {"MISSED": "bold red", "caught": "yellow"}.get(ours(trial), "green")


SUMS = ("", *CHECKERS, OURS)


def sums(seen: Visit) -> list[tuple[str, ...]]:
    """What it comes to: one line for each question, one column for each checker."""
    who = (*CHECKERS, OURS)
    wrong = seen.wrong
    alarms = [[o.alarms[name] for o in seen.outcomes if name in o.alarms] for name in who]
    return [
        (
            f"bugs caught at {len(SIZES)} sizes",
            *(share(sum(t.everywhere(name) for t in wrong), len(wrong)) for name in who),
        ),
        ("… and named", *("" for _ in CHECKERS), share(sum(t.named for t in wrong), len(wrong))),
        (
            "smallest error seen in any of 12 places",
            *(power(seen.sights[name]) for name in CHECKERS),
            "{} (Richardson {})".format(*(power(seen.sights[name]) for name in PROMISED)),
        ),
        (
            "exact GELU, slope of its tanh form",
            *(share(sum(b.caught[name] for b in seen.bends), len(seen.bends)) for name in who),
        ),
        ("… and named", *("" for _ in CHECKERS), share(sum(b.named for b in seen.bends), POINTS)),
        ("false alarms", *(share(sum(found), len(found)) for found in alarms)),
    ]


def share(count: int, of: int) -> str:
    """So many of so many."""
    return f"{count:,} of {of:,}"


def power(error: float) -> str:
    """A power of ten; beyond 1 it is no use to look."""
    return f"{error:.0e}" if error <= 1 else "> 1"


# ── claims ───────────────────────────────────────────────────────────────────────────────────────
def failures(seen: Visit) -> list[str]:
    """A sentence for each claim that does not hold."""
    missed = [trial.name for trial in seen.trials if not trial.everywhere(OURS)]
    unnamed = [trial.name for trial in seen.wrong if not trial.named]
    named = len(seen.wrong) - len(unnamed)
    blind = [name for name, error in PROMISED.items() if seen.sights[name] > error]
    straight = sum(not (bend.caught[OURS] and bend.named) for bend in seen.bends)
    alarms = sum(outcome.alarms[OURS] for outcome in seen.outcomes)
    claims = {
        f"ours misses {', '.join(missed)}": not missed,
        f"ours does not name {', '.join(unnamed)}": named >= ENOUGH * len(seen.wrong),
        f"errors larger than promised escape: {', '.join(blind)}": not blind,
        f"the other GELU's slope is not caught and named at {straight} points": not straight,
        f"ours raises {alarms} false alarms": not alarms,
    }
    return [sentence for sentence, holds in claims.items() if not holds]


def report_alarms(seen: Sequence[Outcome]) -> None:
    """What the random checks took, and every one that ours does not call right."""
    if not seen:
        return
    doubtful = [outcome for outcome in seen if outcome.report is not None]
    took = sum(outcome.seconds for outcome in seen) / len(seen) * 1e3
    undecided = sum(outcome.verdict == "undecided" for outcome in seen)
    print(
        f"{len(seen):,} random checks of right gradients, {took:.1f} ms each; ours is undecided "
        f"about {undecided}"
    )
    for outcome in doubtful[:10]:
        print(f"\n{outcome.name}\n{outcome.report}")


# ── for a page ───────────────────────────────────────────────────────────────────────────────────
def markdown(seen: Visit) -> str:
    """The kill matrix with its lessons, and the sums, as tables of Markdown."""
    rows = [(*cells(trial), trial.bug.lesson) for trial in seen.trials]
    return table(SUMS, sums(seen)) + "\n" + table((*HEADINGS, "lesson"), rows)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """One table of Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)
