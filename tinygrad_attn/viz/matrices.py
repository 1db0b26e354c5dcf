"""Matrices as colours: one with its numbers, one for each head, several with their own labels."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Array, ShapeError
from .figures import (
    INK,
    Labels,
    add_scale,
    as_numbers,
    as_plain,
    cell_inches,
    check_labels,
    figure,
    fit,
    text_inches,
    token_text,
    wrapped,
)
from .files import FilePath
from .labels import clean, number_text

SEQUENTIAL, DIVERGING = "Blues", "PuOr_r"
MOST_NUMBERS = 144
HEADING = 2.0  # inches that a panel's heading has at least
ROW_INCHES = 11.0  # a row of panels takes no more, if several fit


def heatmap(
    matrix: Any,
    path: FilePath,
    *,
    rows: Labels = None,
    columns: Labels = None,
    title: str = "",
    signed: bool = False,
) -> Path:
    """Draw a matrix (n, m) as colours with its scale, and its numbers where it is small.

    Args:
        matrix: array or Tensor of two axes.
        path: ends in .svg, .png or .pdf.
        rows, columns: one label each; numbered when left out.
        title: stands above.
        signed: two colours centred at 0 (for gradients), instead of one from 0 up (for weights).

    Raises:
        ShapeError: not two axes, or a wrong number of labels.
        RenderError: the suffix is unknown or the file cannot be written.
        ExtraError: matplotlib is not installed.
    """
    values = as_numbers("heatmap", matrix, 2, "(rows, columns)")
    check_labels("heatmap", rows, values.shape[0], "rows")
    check_labels("heatmap", columns, values.shape[1], "columns")
    with figure(path) as (fig, save):
        ax = fig.add_subplot()
        cell = cell_inches(max(values.shape)) / max(values.shape)
        image = draw_matrix(ax, values, rows, columns, limits(values, signed), cell, signed)
        if values.size <= MOST_NUMBERS:
            write_numbers(ax, values, image)
        n, m = map(cell_inches, values.shape)
        add_scale(fig, image, ax, width=m, height=n)
        fit(fig, title, width=2.2 + 1.2 * m, height=0.9 + 1.2 * n)
        return save()


def attention_maps(
    weights: Any, tokens: Labels, path: FilePath, *, keys: Labels = None, title: str = ""
) -> Path:
    """Draw attention weights (H, T, S), one panel a head: row i shows where query i looks.

    Args:
        weights: array or Tensor of heads, queries and keys; (T, S) is taken as one head.
        tokens: a label for each query (None: numbered).
        path: ends in .svg, .png or .pdf.
        keys: a label for each key; left out, the `tokens` where queries and keys are equally many.
        title: stands above all panels.

    Raises:
        ShapeError: other axes, no head, or a wrong number of labels.
        RenderError, ExtraError: as in `heatmap`.
    """
    array = as_plain(weights)
    array = array[None] if array.ndim == 2 else array
    values = as_numbers("attention_maps", array, 3, "(heads, queries, keys)")
    heads, T, S = values.shape
    keys = tokens if keys is None and T == S else keys
    check_labels("attention_maps", tokens, T, "queries")
    check_labels("attention_maps", keys, S, "keys")
    across = min(heads, 4 if S <= 24 else 2)  # many keys need room for their labels
    down = -(-heads // across)
    with figure(path) as (fig, save):
        cell = cell_inches(max(T, S)) / max(T, S)
        cell *= fit(
            fig,
            title,
            width=1.9 + across * (0.3 + cell_inches(S)),
            height=1.0 + down * (0.6 + cell_inches(T)),
        )
        axes = list(fig.subplots(down, across, squeeze=False).ravel())
        for head, ax in enumerate(axes[:heads]):
            image = draw_matrix(ax, values[head], tokens, keys, limits(values, signed=False), cell)
            ax.set_title(f"head {head}" if heads > 1 else "", loc="left")
            ax.tick_params(labelleft=head % across == 0)
        for ax in axes[heads:]:
            ax.remove()
        size = {"width": across * cell * S, "height": down * cell * T}
        add_scale(fig, image, axes[:heads], **size, label="weight")
        fig.supxlabel("key (what is looked at)", fontsize=10)
        fig.supylabel("query (who looks)", fontsize=10)
        return save()


def alignments(
    matrices: Sequence[Any],
    path: FilePath,
    *,
    rows: Sequence[Labels] | None = None,
    columns: Sequence[Labels] | None = None,
    titles: Sequence[str] | None = None,
    title: str = "",
    row_axis: str = "",
    column_axis: str = "",
    label: str = "weight",
    signed: bool = False,
) -> Path:
    """Draw several matrices beside each other, with labels of their own and one scale.

    Such as the weights with which a translation looks at its source: a row for each written symbol.

    Args:
        matrices: arrays or Tensors (n, m), each of its own shape.
        path: ends in .svg, .png or .pdf.
        rows, columns: for each matrix its labels, or None: numbered.
        titles: one for each matrix.
        title: stands above all.
        row_axis, column_axis: what the rows and the columns are, such as "written" and "source".
        label: what the colours show; stands beside their scale.
        signed: as in `heatmap`.

    Raises:
        ShapeError: no matrix, one without two axes, or a wrong number of labels or titles.
        RenderError, ExtraError: as in `heatmap`.
    """
    panels = [as_numbers("alignments", matrix, 2, "(rows, columns)") for matrix in matrices]
    if not panels:
        raise ShapeError("alignments: expected at least one matrix, got none")
    check_labels("alignments", titles, len(panels), "matrices (titles)")
    sides = [side_labels(panels, *side) for side in ((rows, 0, "rows"), (columns, 1, "columns"))]
    scale = limits(np.concatenate([values.ravel() for values in panels]), signed)
    heights, widths = arranged([values.shape for values in panels])
    down, across = len(heights), len(widths)
    cell = cell_inches(max(heights + widths)) / max(heights + widths)
    room = [max(m, HEADING / cell) for m in widths]
    with figure(path) as (fig, save):

        def heading(i: int) -> str:
            return wrapped("" if titles is None else titles[i], room[i % across] * cell, 9)

        above = 0.3 + 0.15 * max(heading(i).count("\n") for i in range(len(panels)))
        beside, below = (0.15 + longest(labels) for labels in sides)
        cell *= fit(
            fig,
            title,
            width=1.4 + cell * sum(room) + across * beside + 0.3 * bool(row_axis),
            height=0.3 + cell * sum(heights) + down * (above + below) + 0.3 * bool(column_axis),
        )
        axes = fig.subplots(
            down, across, squeeze=False, height_ratios=heights, width_ratios=room
        ).ravel()
        for i, (ax, values) in enumerate(zip(axes, panels, strict=False)):
            image = draw_matrix(ax, values, sides[0][i], sides[1][i], scale, cell, signed)
            leave_room(ax, values.shape, (heights[i // across], room[i % across]))
            ax.set_title(heading(i), loc="left", fontsize=9)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        size = {"width": cell * sum(room), "height": cell * sum(heights)}
        add_scale(fig, image, axes, **size, label=clean(label))
        fig.supxlabel(clean(column_axis), fontsize=10)
        fig.supylabel(clean(row_axis), fontsize=10)
        return save()


def side_labels(
    panels: Sequence[Array], given: Sequence[Labels] | None, axis: int, what: str
) -> list[Sequence[object]]:
    """The labels of each matrix along `axis`: those that are given, else numbers."""
    given = [None] * len(panels) if given is None else given
    check_labels("alignments", given, len(panels), f"matrices ({what})")
    for values, labels in zip(panels, given, strict=True):
        check_labels("alignments", labels, values.shape[axis], what)
    return [
        range(values.shape[axis]) if labels is None else labels
        for values, labels in zip(panels, given, strict=True)
    ]


def arranged(shapes: Sequence[tuple[int, ...]]) -> tuple[list[int], list[int]]:
    """Cells that each row of panels needs downwards, and each column of panels across."""
    widest = max(HEADING, cell_inches(max(m for _, m in shapes))) + 0.5
    down = -(-len(shapes) // max(1, int(ROW_INCHES / widest)))
    across = -(-len(shapes) // down)
    heights = [max(n for n, _ in shapes[i : i + across]) for i in range(0, len(shapes), across)]
    return heights, [max(m for _, m in shapes[i::across]) for i in range(across)]


def longest(labels: Sequence[Sequence[object]]) -> float:
    """Inches that the longest label takes."""
    return max(
        text_inches(text, size=8) for text in {token_text(x) for each in labels for x in each}
    )


def leave_room(ax: Any, shape: tuple[int, ...], room: tuple[float, float]) -> None:
    """A matrix of `shape` in axes for one of `room`, so that cells are as large in each panel."""
    bottom, right = (cells - 0.5 for cells in shape)
    ax.set(xlim=(-0.5, room[1] - 0.5), ylim=(room[0] - 0.5, -0.5), aspect="equal")
    ax.spines["bottom"].set_position(("data", bottom))  # labels stand at the frame
    ax.spines["right"].set_position(("data", right))
    for side, end in (("bottom", right), ("top", right), ("left", bottom), ("right", bottom)):
        ax.spines[side].set_bounds(-0.5, end)


# ── the matrix ───────────────────────────────────────────────────────────────────────────────────
def draw_matrix(
    ax: Any,
    values: Array,
    rows: Labels,
    columns: Labels,
    scale: tuple[float, float],
    cell: float,
    signed: bool = False,
) -> Any:
    """Draw `values` (n, m) with its labels, `cell` inches for each; what is not finite is grey."""
    from matplotlib import colormaps

    colours = colormaps[DIVERGING if signed else SEQUENTIAL].with_extremes(bad="#c8c8c8")
    narrow = max(values.shape) > 8 * min(values.shape)
    image = ax.imshow(
        np.ma.masked_invalid(values),
        cmap=colours,
        vmin=scale[0],
        vmax=scale[1],
        interpolation="nearest",
        aspect="auto" if narrow else "equal",
    )
    size = min(8.0, max(5.0, 60 * cell))
    label_axis(ax.xaxis, columns, values.shape[1], size / 72 / cell)
    label_axis(ax.yaxis, rows, values.shape[0], size / 72 / cell)
    upright = columns is None or max(len(token_text(label)) for label in columns) == 1
    ax.tick_params(axis="x", rotation=0 if upright else 90)
    ax.tick_params(length=0, labelsize=size)
    ax.spines[:].set_color("#d0d0d0")
    return image


def label_axis(axis: Any, labels: Labels, cells: int, height: float) -> None:
    """A label for each cell, or for every so-many-th where they, `height` cells high, overlap."""
    from matplotlib.ticker import MaxNLocator

    if labels is None:
        axis.set_major_locator(MaxNLocator(min(cells, 8), steps=[1, 2, 5, 10], integer=True))
        return
    shown = range(0, cells, ceil(height))
    axis.set_ticks(list(shown), [token_text(labels[i]) for i in shown])


def write_numbers(ax: Any, values: Array, image: Any) -> None:
    """Each value in its cell, light on dark and dark on light."""
    for (i, j), value in np.ndenumerate(values):
        red, green, blue, _ = image.to_rgba(value)
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
        ax.text(
            j,
            i,
            number_text(value, 2),
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else INK,
        )


def limits(values: Array, signed: bool) -> tuple[float, float]:
    """The ends of the scale: symmetric about 0 when signed, else from at most 0 to the greatest."""
    finite = values[np.isfinite(values)]
    if not finite.size or not finite.any():
        return (-1.0 if signed else 0.0), 1.0
    if signed:
        high = float(np.abs(finite).max())
        return -high, high
    return min(0.0, float(finite.min())), max(0.0, float(finite.max()))
