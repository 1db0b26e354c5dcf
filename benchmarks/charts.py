"""Charts of what was measured, one file a case, drawn from the records in figures.json."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tinygrad_attn.viz.figures import BLUE, GREY, INK, ORANGE, figure, fit

from .cases import PEERS
from .report import converted

Record = dict[str, Any]
Line = list[tuple[float, float]]
COLOURS = (ORANGE, BLUE, "#009e73", "#f0e442")  # kernel sets, in the order in which they are given
PEER_COLOURS = ("#111111", "#56b4e9", "#cc79a7", "#e69f00")  # Okabe and Ito
FLOOR = PEERS["floor"].label
OVER_FLOOR = "time / time of the products"


def draw(record: Record, path: Path) -> Path | None:
    """A case's chart: lines where a size grows, bars elsewhere; None if nothing was measured."""
    points = [point for point in record["points"] if point["contestants"]]
    if not points:
        return None
    record = {**record, "points": points}
    panels = list(lines(record) if points[0]["x"] else ())
    with figure(path) as (fig, save):
        if panels:
            draw_lines(fig, record, panels)
        else:
            draw_bars(fig, record)
        return save()


# ── bars ─────────────────────────────────────────────────────────────────────────────────────────
def draw_bars(fig: Any, record: Record) -> None:
    """One panel a point: everybody's median with its quartiles."""
    points = record["points"]
    rows = max(len(point["contestants"]) for point in points)
    axes = fig.subplots(1, len(points), squeeze=False)[0]
    for ax, point in zip(axes, points, strict=True):
        bars(ax, record["unit"], point)
    fit(fig, record["title"], width=7.2 * len(points), height=0.8 + 0.36 * rows)


def bars(ax: Any, unit: str, point: Record) -> None:
    """One bar for each contestant, the value and our ratios beside it."""
    contestants = point["contestants"]
    ours = [name for name, figures in contestants.items() if figures["ours"]]
    longest = 0.0
    for row, (name, figures) in enumerate(contestants.items()):
        rounds = chain.from_iterable(figures["rounds"])
        values = [converted(unit, point["per"], value) for value in rounds]
        low, middle, high = quantiles(values, n=4, method="inclusive")
        color = COLOURS[ours.index(name) % len(COLOURS)] if name in ours else "#b9b9b9"
        ax.barh(row, middle, height=0.66, color=color)
        ax.plot([low, high], [row, row], color=INK, linewidth=1.2, solid_capstyle="butt")
        digits = ",.0f" if middle >= 100 else "#.3g"
        label = f"  {middle:{digits}}{ratios(point, ours, name)}"
        ax.text(max(middle, high), row, label, va="center", fontsize=9)
        longest = max(longest, middle, high)
    ax.set_yticks(range(len(contestants)), list(contestants))
    ax.set(ylim=(len(contestants) - 0.4, -0.6), xlim=(0, 1.45 * longest), xlabel=unit)
    ax.set_title(point["label"])
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def ratios(point: Record, ours: list[str], peer: str) -> str:
    """Our paired ratios to a peer, in the order of our contestants."""
    found = {row["ours"]: row["ratio"] for row in point["ratios"] if row["peer"] == peer}
    shown = " and ".join(f"{found[name]:.2f}" for name in ours if name in found)
    return f"   (ours {shown} ×)" if shown else ""


# ── lines ────────────────────────────────────────────────────────────────────────────────────────
def lines(record: Record) -> Iterator[tuple[str, str, dict[str, Line]]]:
    """The panels: title, vertical axis, and a line for each contestant.

    Where the floor takes part in training steps, times are shown as multiples of it.
    """
    series = list(dict.fromkeys(name for point in record["points"] for name in point["x"]))
    over_floor = len(series) > 2
    for name in series:
        points = [(point["x"][name], point) for point in record["points"] if name in point["x"]]
        if over_floor:
            yield name, OVER_FLOOR, gathered(points, times_the_floor)
        else:
            yield name, record["unit"], gathered(points, milliseconds)
    if any("extra_mib" in f for point in record["points"] for f in point["contestants"].values()):
        name = series[-1]
        points = [(point["x"][name], point) for point in record["points"] if name in point["x"]]
        yield name, "MiB beyond the inputs", gathered(points, extra)


def gathered(points: list[tuple[float, Record]], value: Any) -> dict[str, Line]:
    """A line for each contestant: (x, value) wherever there is one."""
    found: dict[str, Line] = {}
    for x, point in points:
        for name in point["contestants"]:
            y = value(point, name)
            if y is not None:
                found.setdefault(name, []).append((x, y))
    return found


def milliseconds(point: Record, name: str) -> float:
    """Of one run."""
    return 1000.0 * point["contestants"][name]["median"]


def extra(point: Record, name: str) -> float | None:
    """MiB of one run; what cannot be told from nothing counts as one."""
    found = point["contestants"][name].get("extra_mib")
    return None if found is None else max(found, 1.0)


def times_the_floor(point: Record, name: str) -> float | None:
    """The paired ratio of a contestant to the floor; None for the floor itself."""
    contestants = point["contestants"]
    if name == FLOOR or FLOOR not in contestants:
        return None
    both = (chain.from_iterable(contestants[one]["rounds"]) for one in (name, FLOOR))
    return median(a / b for a, b in zip(*both, strict=True))


def draw_lines(fig: Any, record: Record, panels: list[tuple[str, str, dict[str, Line]]]) -> None:
    """One panel a series, all against logarithmic sizes; one legend for all."""
    names = list(dict.fromkeys(name for *_, drawn in panels for name in drawn))
    ours = {name for point in record["points"] for name, f in point["contestants"].items()
            if f["ours"]}  # fmt: skip
    styles = dict(zip(names, styled(names, ours), strict=True))
    handles: dict[str, Any] = {}
    same = len({unit for _, unit, _ in panels}) == 1
    axes = fig.subplots(1, len(panels), squeeze=False, sharey=same)[0]
    for ax, (title, unit, drawn) in zip(axes, panels, strict=True):
        for name, line in drawn.items():
            handles[name] = ax.plot(*zip(*line, strict=True), **styles[name])[0]
        decorate(ax, title, unit, sorted({x for line in drawn.values() for x, _ in line}))
        if same:
            ax.label_outer()
    fig.legend(handles.values(), handles, loc="outside lower center", ncols=4, frameon=False)
    fit(fig, record["title"], width=3.6 * len(panels), height=3.6)


def decorate(ax: Any, title: str, unit: str, ticks: list[float]) -> None:
    """Scales, grid and labels; what is measured is logarithmic, ratios are not."""
    ax.set(xscale="log", xlabel=title, ylabel=unit)
    ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
    if unit == OVER_FLOOR:
        ax.set_ylim(bottom=0)
    else:
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        steps = [m * 10.0**e for e in range(-4, 7) for m in (1, 2, 5)]
        shown = [y for y in steps if low <= y <= high]
        ax.set_yticks(shown, [f"{y:g}" for y in shown])
    ax.minorticks_off()
    ax.grid(color="#e6e6e6", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def styled(names: list[str], ours: set[str]) -> Iterator[dict[str, Any]]:
    """How each line looks: ours thick and coloured, the floor dashed and grey."""
    own, other = iter(COLOURS), iter(PEER_COLOURS)
    for name in names:
        if name in ours:
            yield {"color": next(own, BLUE), "linewidth": 2.2, "marker": "o", "markersize": 5}
        elif name == FLOOR:
            yield {"color": GREY, "linewidth": 1.4, "linestyle": (0, (4, 3)), "marker": "."}
        else:
            yield {"color": next(other, INK), "linewidth": 1.4, "marker": "s", "markersize": 3.5}
