"""Curves: the loss over a training run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..engine import Array, ShapeError
from .figures import BLUE, GREY, ORANGE, figure, fit
from .files import FilePath
from .labels import clean


def loss_curve(
    steps: Sequence[float],
    train: Sequence[float],
    evaluations: Sequence[tuple[float, float]],
    path: FilePath,
    *,
    baseline: float | None = None,
    baseline_label: str = "baseline",
    title: str = "",
    unit: str = "loss (nats per token)",
) -> Path:
    """Draw the training loss of every step, the held-out losses, and a baseline as a line across.

    Args:
        steps, train: the training loss at each step, equally many.
        evaluations: (step, loss) on held-out data.
        path: ends in .svg, .png or .pdf.
        baseline: a loss to compare with, such as a bigram model's.
        baseline_label: what the baseline is.
        title, unit: above, and beside the vertical axis.

    Raises:
        ShapeError: another number of steps than of losses, or evaluations that are not pairs.
        RenderError, ExtraError: as in `heatmap`.
    """
    x, y = np.asarray(steps, np.float64), np.asarray(train, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ShapeError(f"loss_curve: expected a loss for each step, got {x.shape} and {y.shape}")
    if any(np.shape(pair) != (2,) for pair in evaluations):
        raise ShapeError("loss_curve: evaluations must be pairs (step, loss)")
    with figure(path) as (fig, save):
        ax = fig.add_subplot()
        if x.size:
            ax.plot(x, y, color=BLUE, alpha=0.25, linewidth=0.8)
            mean = smoothed(y)
            label = f"training, {mean[-1]:.3f} at the end"
            ax.plot(x, mean, color=BLUE, linewidth=1.8, label=label)
        if len(evaluations):
            ax.plot(
                *zip(*evaluations, strict=True),
                color=ORANGE,
                linewidth=1.8,
                marker="o",
                markersize=4,
                label=f"held-out, {evaluations[-1][1]:.3f} at the end",
            )
        if baseline is not None:
            ax.axhline(
                baseline,
                color=GREY,
                linewidth=1.4,
                linestyle=(0, (5, 3)),
                label="baseline",
            )
        ax.set(xlabel="step", ylabel=clean(unit), axisbelow=True)
        ax.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        ax.spines[["top", "right"]].set_visible(False)
        if ax.get_legend_handles_labels()[0]:
            legend = ax.legend(frameon=False)
            if baseline is not None:  # only now: matplotlib leaves out a label "_x"
                legend.get_texts()[-1].set_text(f"{clean(baseline_label)}, {baseline:.3f}")
        fit(fig, title, width=7.2, height=3.9)
        return save()


def smoothed(y: Array, window: float = 0.04) -> Array:
    """The mean over `window` of the curve around each step, over less of it at the ends."""
    at = np.arange(len(y))
    reach = int(window * len(y) / 2)
    good = np.isfinite(y)
    total = np.concatenate([[0.0], np.cumsum(np.where(good, y, 0.0))])
    count = np.concatenate([[0], np.cumsum(good)])
    first, last = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(y))
    seen = count[last] - count[first]
    mean: Array = np.where(seen > 0, (total[last] - total[first]) / np.maximum(seen, 1), np.nan)
    return mean
