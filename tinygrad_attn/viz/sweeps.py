"""The saturation lab's picture: what grows with the width of a head, and what with the length."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..engine import Array, ShapeError
from ..extras import need
from .figures import BLUE, INK, ORANGE, figure, fit
from .files import FilePath

WITH, WITHOUT = 0, 1  # rows of what a sweep holds
DASHED, DOTTED = (0, (5, 3)), (0, (1, 1.4))
MOST_TICKS = 6
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LINES = ((WITHOUT, ORANGE, "s", "without 1/√d"), (WITH, BLUE, "o", "with 1/√d"))
PANELS = (  # measure, heading, is the axis logarithmic?
    ("variance", "variance of the scores", True),
    ("largest", "largest score of a row, and its bound", True),
    ("entropy", "entropy of a row of P, nats", False),
    ("entropy_share", "entropy / ln T", False),
    ("jacobian", "‖diag(p) − p pᵀ‖, Frobenius", True),
    ("gradient", "‖dQ‖/√d of the median row", True),
)


class Swept(Protocol):
    """What `saturation` draws; a study.Sweep is one."""

    @property
    def along(self) -> str:
        """ "width" or "length"."""

    @property
    def sizes(self) -> Sequence[int]:
        """What the width or the length went through."""

    @property
    def fixed(self) -> int:
        """The other one."""

    @property
    def measured(self) -> dict[str, Array]:
        """(2, sizes, draws) for each measure."""

    @property
    def theory(self) -> dict[str, Array]:
        """(2, sizes) for those that have a theory; NaN where it does not hold."""


def saturation(sweep: Swept, path: FilePath, *, title: str | None = None) -> Path:
    """Draw a sweep: one panel for each measure, with 1/√d_k and without, and the theory dashed.

    Lines are means over the draws, shades reach from the smallest to the largest draw.

    Args:
        sweep: what study.saturation returned.
        path: ends in .svg, .png or .pdf.
        title: stands above; None: what went up and what stood still.

    Raises:
        ShapeError: there is nothing to draw.
        RenderError, ExtraError: as in `heatmap`.
    """
    if not len(sweep.sizes):
        raise ShapeError("saturation: expected a sweep over one size or more, got none")
    wide = sweep.along == "width"
    up, still = ("d_k", "T") if wide else ("T", "d_k")
    if title is None:
        what = "Wider heads" if wide else "Longer sentences"
        title = f"{what}: {up} goes up, {still} = {sweep.fixed}"
    with figure(path) as (fig, save):
        axes = fig.subplots(2, 3).ravel()
        for ax, panel in zip(axes, PANELS, strict=True):
            draw_panel(ax, sweep, *panel)
        for ax in axes[3:]:
            ax.set_xlabel("width of a head d_k" if wide else "keys T")
        axes[0].plot([], [], color=INK, lw=1.2, ls=DASHED, label="theory, where it holds")
        axes[0].plot([], [], color=INK, lw=1.6, ls=DOTTED, label="root mean square of all rows")
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        fit(fig, title, width=11.0, height=6.2)
        return save()


def draw_panel(ax: Any, sweep: Swept, name: str, heading: str, logarithmic: bool) -> None:
    """One measure against the size that goes up."""
    sizes, several = np.asarray(sweep.sizes), f"{name}_rms" in sweep.measured
    for line, colour, marker, label in LINES:
        draws = sweep.measured[name][line]
        ax.fill_between(sizes, draws.min(-1), draws.max(-1), color=colour, alpha=0.18, lw=0)
        ax.plot(sizes, draws.mean(-1), color=colour, marker=marker, ms=4, lw=1.8, label=label)
        if several:
            rms = sweep.measured[f"{name}_rms"][line].mean(-1)
            ax.plot(sizes, rms, color=colour, lw=1.6, ls=DOTTED)
        if name in sweep.theory:
            ax.plot(sizes, sweep.theory[name][line], color=INK, lw=1.2, ls=DASHED, zorder=3)
    ax.set_title(heading, loc="left", fontsize=10.5)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log" if logarithmic else "linear")
    if not logarithmic:
        ax.set_ylim(bottom=0)
    write_ticks(ax, sizes, logarithmic)
    ax.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def write_ticks(ax: Any, sizes: Array, logarithmic: bool) -> None:
    """Numbers as people write them, at some of the sizes and at powers of ten."""
    ticker = need("matplotlib.ticker", "a plot")
    some = sizes[:: -(-len(sizes) // MOST_TICKS)]
    ax.xaxis.set(major_locator=ticker.FixedLocator(some), minor_locator=ticker.NullLocator())
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:,.0f}"))
    if logarithmic:
        low, high = ax.get_ylim()
        steps = (1.0,) if high / low > 100 else (1.0, 2.0, 5.0)
        ax.yaxis.set(
            major_locator=ticker.LogLocator(subs=steps, numticks=MOST_TICKS),
            minor_locator=ticker.NullLocator(),
        )
        ax.yaxis.set_major_formatter(
            ticker.FuncFormatter(lambda y, _: power_text(y) if y > 0 else "")
        )


def power_text(y: float) -> str:
    """A number of a logarithmic axis: 0.001, 50, 1,000; beyond that as a power of ten."""
    if 1e-3 <= y < 1e5:
        return f"{y:,.0f}" if y >= 1 else f"{y:.1g}"
    power = floor(log10(y) + 1e-9)
    lead = round(y / 10.0**power)
    return ("" if lead == 1 else f"{lead}·") + "10" + str(power).translate(RAISED)
