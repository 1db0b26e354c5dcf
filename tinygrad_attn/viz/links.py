"""Lines between words: the picture by which self-attention is usually explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, IndexingError, ShapeError
from .figures import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    as_numbers,
    check_labels,
    figure,
    fit,
    text_inches,
    token_text,
    wrapped,
)
from .files import FilePath

LINE = 0.27  # inches from word to word
GAP, MARGIN, NUMBER = 1.7, 0.15, 0.4  # inches between the words, around a panel, for a percentage
LEAST = 0.005  # a smaller weight has no line
THICKEST = 6.0  # points, for a weight of 1


def word_links(
    words: Sequence[Sequence[object]],
    weights: Sequence[Any],
    path: FilePath,
    *,
    queries: Sequence[int | None] | None = None,
    titles: Sequence[str] | None = None,
    title: str = "",
    marked: Sequence[int | None] | None = None,
) -> Path:
    """Draw each sentence twice, and a line from a word to each that it attends to.

    Args:
        words: the words of each sentence; a panel for each.
        weights: for each the weights (T, T) of one head, or of a mean of heads: row i is of word i.
        path: ends in .svg, .png or .pdf.
        queries: for each panel the place of the word whose lines are drawn, or None: of all words.
        titles: one for each panel.
        title: stands above all.
        marked: for each panel the place of a word that stands out on the right side, or None.

    Raises:
        ShapeError: no panel, no words, weights that are not (T, T) or not from 0 to 1, or another
            number of one thing than of panels.
        IndexingError: no word stands in a place of `queries` or `marked`.
        DTypeError: weights are not real numbers, or places not integers.
        RenderError, ExtraError: as in `heatmap`.
    """
    if len(words) != len(weights) or not len(words):
        raise ShapeError(
            "word_links: expected words and weights for each panel, at least one, got "
            f"{len(words)} and {len(weights)}"
        )
    chosen = [
        places(name, given, words) for name, given in (("queries", queries), ("marked", marked))
    ]
    check_labels("word_links", titles, len(words), "panels")
    panels = [
        Panel([token_text(w) for w in sentence], checked_links(i, matrix, sentence), *picked)
        for i, (sentence, matrix, *picked) in enumerate(zip(words, weights, *chosen, strict=True))
    ]
    with figure(path) as (fig, save):
        widths = [panel.width for panel in panels]
        axes = fig.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0]
        most = max(len(panel.words) for panel in panels)
        for i, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
            panel.draw(ax, f"panel{i}", most)
            if titles is not None:
                ax.set_title(wrapped(titles[i], panel.width, 9), loc="left", fontsize=9)
        fit(fig, title, width=sum(widths), height=LINE * (most + 1) + 0.4)
        return save()


@dataclass(frozen=True)
class Panel:
    """One sentence: its words, their weights, whose lines are drawn, and which word stands out."""

    words: list[str]
    weights: Array
    query: int | None
    marked: int | None

    @property
    def column(self) -> float:
        """Inches that the longest word takes."""
        return max(text_inches(word, weight="bold") for word in self.words)

    @property
    def width(self) -> float:
        """Inches that the panel takes."""
        return 2 * (self.column + MARGIN) + GAP + NUMBER

    def draw(self, ax: Any, name: str, most: int) -> None:
        """Draw it into `ax`, which has room for `most` words; an SVG calls a line `name`-i-j."""
        ax.set_axis_off()
        ax.set(xlim=(0, self.width), ylim=(most - 0.5, -1.5))
        left = MARGIN + self.column
        right = left + GAP
        for x, side, heading in ((left, "right", "query"), (right, "left", "key")):
            ax.text(x, -1, heading, ha=side, va="center", fontsize=8, color=GREY)
        for i, word in enumerate(self.words):
            self.write(ax, left, i, word, "right", INK if i == self.query else None)
            self.write(ax, right, i, word, "left", ORANGE if i == self.marked else None)
        for i, j in np.argwhere(self.weights >= LEAST):
            if self.query in (None, i):
                self.link(ax, (left, right), i, j, f"{name}-{i}-{j}")

    def write(self, ax: Any, x: float, y: int, word: str, side: str, strong: str | None) -> None:
        """A word, in bold and in the colour `strong` if there is one."""
        quiet = INK if self.query is None or side == "left" else "#777777"
        style = {"color": strong or quiet, "fontweight": "bold" if strong else "normal"}
        ax.text(x, y, word, ha=side, va="center", **style)

    def link(self, ax: Any, ends: tuple[float, float], i: int, j: int, name: str) -> None:
        """The line from word i to word j, and its weight in figures where lines do not mix."""
        weight = float(self.weights[i, j])
        colour = ORANGE if j == self.marked else BLUE
        (line,) = ax.plot(
            (ends[0] + 0.07, ends[1] - 0.07),
            (i, j),
            color=colour,
            alpha=0.25 + 0.75 * weight,
            linewidth=max(THICKEST * weight, 0.6),
            solid_capstyle="butt",
            zorder=2 + weight,
        )
        line.set_gid(name)
        if self.query is not None:
            x = ends[1] + self.column + 0.1
            ax.text(x, j, f"{weight:.0%}", va="center", fontsize=8, color=colour)


def places(
    name: str, given: Sequence[int | None] | None, words: Sequence[Sequence[object]]
) -> list[int | None]:
    """For each panel the place of a word of it, from 0, or None."""
    given = [None] * len(words) if given is None else given
    if len(given) != len(words):
        raise ShapeError(
            f"word_links: expected {name} for each of the {len(words)} panels, got {len(given)}"
        )
    found: list[int | None] = []
    for i, (place, sentence) in enumerate(zip(given, words, strict=True)):
        try:
            found.append(None if place is None else index(place))
        except TypeError:
            raise DTypeError(
                f"word_links: {name} of panel {i} must be an integer or None, got {place!r}"
            ) from None
        if place is not None and not 0 <= place < len(sentence):
            raise IndexingError(
                f"word_links: {name} of panel {i} is {place}, but its words are 0 to "
                f"{len(sentence) - 1}"
            )
    return found


def checked_links(i: int, weights: Any, words: Sequence[object]) -> Array:
    """The weights of a panel (T, T), if they fit its words."""
    array = as_numbers("word_links", weights, 2, "(words, words)")
    if isinstance(words, str) or array.shape != (len(words), len(words)):
        raise ShapeError(
            f"word_links: expected a list of words and their weights (T, T) for panel {i}, got "
            f"{len(words)} words ({type(words).__name__}) and weights {array.shape}"
        )
    if not ((array >= 0) & (array <= 1 + 1e-6)).all():
        raise ShapeError(f"word_links: the weights of panel {i} must be from 0 to 1")
    return np.minimum(array, 1.0)
