"""What was measured, as a table and as JSON."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from statistics import median
from typing import Any

from rich.table import Table

from .cases import Case, Point
from .harness import Result, machine

Measured = list[tuple[Point, Result]]


def shown(case: Case, point: Point, value: float) -> str:
    """Seconds of a run (or MiB) in the case's unit."""
    return f"{converted(case.unit, point.per, value):,.4g}"


def converted(unit: str, per: int, value: float) -> float:
    """Seconds of a run with so many parts (or MiB) in a unit."""
    return {"ms": 1000 * value, "tokens/s": per / value, "MiB": value}[unit]


def table(case: Case, measured: Measured) -> Table:
    """Everybody's median, and our paired ratios to it with their quartiles."""
    several = any(point.label for point, _ in measured)
    ours = list(dict.fromkeys(name for _, result in measured for name in result.ours))
    columns = [*["size"] * several, "contestant", case.unit, *(f"{name} / it" for name in ours)]
    caption = f"{counted(measured)}; ratios below 1: ours is faster, or smaller"
    made = Table(*columns, title=case.title, title_justify="left", caption=caption)
    for point, result in measured:
        last = len(result.rounds) - 1
        for k, (name, figures) in enumerate(result.rounds.items()):
            cells = [point.label if not k else ""] * several
            ratios = [ratio(result, our, name) for our in ours]
            made.add_row(*cells, name, shown(case, point, median(figures)), *ratios,
                         end_section=several and k == last)  # fmt: skip
    return made


def counted(measured: Measured) -> str:
    """How many rounds there are, in how many launches; the sizes of a case have equally many."""
    launches = next((result.launches for _, result in measured if result.launches), [])
    plural = "" if len(launches) == 1 else "es"
    return f"{sum(launches)} rounds in {len(launches)} launch{plural}"


def ratio(result: Result, ours: str, peer: str) -> str:
    """A ratio with its quartiles; empty where there is none."""
    if peer in result.ours or not {ours, peer} <= result.rounds.keys():
        return ""
    row = result.row(ours, peer)
    return "{:.2f} ({:.2f} … {:.2f})".format(row["ratio"], *row["quartiles"])


def memory_table(measured: Measured) -> Table | None:
    """What one run takes beyond its inputs, in MiB; None where that was not measured."""
    names = list(dict.fromkeys(name for _, result in measured for name in result.extra))
    if not names:
        return None
    made = Table("size", *names, title="extra memory of a run, MiB", title_justify="left")
    for point, result in measured:
        made.add_row(point.label, *(f"{result.extra[n]:,.0f}" if n in result.extra else "–"
                                    for n in names))  # fmt: skip
    return made


def notes(measured: Measured) -> list[str]:
    """What was left out, once each."""
    return list(dict.fromkeys(note for _, result in measured for note in result.notes))


def record(name: str, case: Case, threads: int, measured: Measured) -> dict[str, Any]:
    """A case as plain JSON values."""
    points = [
        {
            "label": point.label,
            "sizes": point.sizes,
            "x": point.x,
            "per": point.per,
            **result.figures(),
        }
        for point, result in measured
    ]
    return {"name": name, "title": case.title, "unit": case.unit, "threads": threads,
             "points": points}  # fmt: skip


def document(records: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    """The whole file; times are seconds of one run."""
    return {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "settings": settings,
        "cases": records,
    }
