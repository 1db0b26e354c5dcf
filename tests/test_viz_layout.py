"""The layout of pictures: nothing is cut off, nothing overlaps, cells and lines are alike."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_viz_pictures import drawn, weights

import tinygrad_attn as ta
from tinygrad_attn.viz import figures

plots = ta.viz.plots
LONG = "What is written above a picture may be much longer than the picture itself is wide"
IMAGE = np.arange(16.0).reshape(1, 4, 4)


def box(artist: Any) -> Any:
    """Where it stands, in dots."""
    return artist.get_window_extent()


def headings(fig: Any) -> list[Any]:
    """The titles above the panels."""
    found = [title for ax in fig.axes for title in (ax.title, ax._left_title)]
    return [title for title in found if title.get_text().strip()]


# ── titles ───────────────────────────────────────────────────────────────────────────────────────
PICTURES: dict[str, Callable[[Path], Path]] = {
    "one alignment": lambda p: plots.alignments([weights(10, 1)], p, title=LONG, titles=[LONG]),
    "narrow alignments": lambda p: plots.alignments(
        [weights(30, 2)] * 4, p, title=LONG, titles=["W" * 50, LONG, "a → b", "W " * 25]
    ),
    "many alignments": lambda p: plots.alignments(
        [weights(60, 1)] * 7, p, rows=[[""] * 60] * 7, title=LONG, titles=[LONG] * 7
    ),
    "one head": lambda p: plots.attention_maps(weights(2, 2), "ab", p, title=LONG),
    "eight heads": lambda p: plots.attention_maps(weights(8, 2, 1), None, p, title=LONG),
    "a heatmap": lambda p: plots.heatmap(np.eye(2), p, title=LONG),
    "one image": lambda p: plots.overlays(IMAGE, {"m": IMAGE}, p, title=LONG, titles=["0"]),
    "one word": lambda p: plots.word_links([["it"]], [np.eye(1)], p, title=LONG, titles=[LONG]),
    "a curve": lambda p: plots.loss_curve([0, 1], [2.0, 1.0], [], p, title="W" * 99),
}


@pytest.mark.parametrize("name", PICTURES)
def test_titles_are_whole_and_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fig = drawn(monkeypatch, PICTURES[name], tmp_path / "p.png")
    titles = [box(title) for title in (fig._suptitle, *headings(fig))]
    for i, title in enumerate(titles):
        assert fig.bbox.x0 <= title.x0 < title.x1 <= fig.bbox.x1
        assert fig.bbox.y0 <= title.y0 < title.y1 <= fig.bbox.y1
        assert not any(title.overlaps(other) for other in titles[:i])
        assert not any(title.overlaps(ax.bbox) for ax in fig.axes if ax.images)


def test_titles_keep_their_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fig = drawn(monkeypatch, PICTURES["one alignment"], tmp_path / "p.png")
    for title in (fig._suptitle, *headings(fig)):
        assert title.get_text().split() == LONG.split()


@pytest.mark.parametrize("title", ["", "   ", " " * 99, "\u3000" * 99], ids=len)
def test_no_title_takes_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, title: str
) -> None:
    heights = [
        drawn(
            monkeypatch,
            lambda p, text=text: plots.alignments([weights(9, 9)], p, title=text, titles=[title]),  # type: ignore[misc]
            tmp_path / "p.png",
        ).get_size_inches()[1]
        for text in (title, "above")
    ]
    assert heights[1] - heights[0] == pytest.approx(0.3)


@pytest.mark.parametrize("text", ["W" * 40, "i" * 60 + "W" * 60, "a few words of a line", ""])
def test_lines_are_as_wide_as_there_is_room(tmp_path: Path, text: str) -> None:
    with figures.figure(tmp_path / "p.png"):
        lines = figures.wrapped(text, 1.0, 9).split("\n")
        assert max(figures.text_inches(line, size=9) for line in lines) <= 1.0
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


# ── cells, lines and labels ──────────────────────────────────────────────────────────────────────
def test_a_cell_is_as_large_in_each_alignment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = [(3, 5), (7, 2), (2, 2), (5, 7), (1, 9)]
    fig = drawn(
        monkeypatch,
        lambda p: plots.alignments([weights(*shape) for shape in shapes], p),
        tmp_path / "a.png",
    )
    axes = [ax for ax in fig.axes if ax.images]
    assert [ax.images[0].get_array().shape for ax in axes] == shapes
    cells = [np.ptp(ax.transData.transform([(0, 0), (1, 1)]), axis=0) for ax in axes]
    np.testing.assert_allclose(cells, np.full((5, 2), cells[0][0]), rtol=1e-6)
    for ax, (n, m) in zip(axes, shapes, strict=True):
        assert ax.get_xlim()[1] >= m - 0.5
        assert ax.get_ylim()[0] >= n - 0.5
        assert [len(axis.get_ticklabels()) for axis in (ax.yaxis, ax.xaxis)] == [n, m]
    assert len({ax.images[0].get_clim() for ax in axes}) == 1


@pytest.mark.parametrize(("n", "m"), [(31, 33), (100, 3), (3, 100)])
def test_each_character_of_a_long_pair_is_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, m: int
) -> None:
    fig = drawn(
        monkeypatch,
        lambda p: plots.alignments(
            [weights(n, m)] * 2, p, rows=["W" * n] * 2, columns=["␣" * m] * 2, title="all"
        ),
        tmp_path / "a.png",
    )
    for ax in (ax for ax in fig.axes if ax.images):
        across, down = ax.xaxis.get_ticklabels(), ax.yaxis.get_ticklabels()
        assert (len(down), len(across)) == (n, m)
        assert all(a.get_fontsize() >= 5 for a in (*across, *down))
        assert all(box(a).x1 <= box(b).x0 for a, b in pairwise(across))
        assert all(box(a).y0 >= box(b).y1 - 1 for a, b in pairwise(down))


@pytest.mark.parametrize("heads", [1, 2])
def test_labels_of_many_rows_do_not_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heads: int
) -> None:
    names = [f"r{i}" for i in range(150)]
    fig = drawn(
        monkeypatch,
        lambda p: plots.attention_maps(weights(heads, 150, 150), names, p),
        tmp_path / "a.png",
    )
    labels = fig.axes[0].yaxis.get_ticklabels()
    assert len(labels) >= 50
    assert all(box(a).y0 >= box(b).y1 - 1 for a, b in pairwise(labels))


def test_words_do_not_run_into_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["a", "mmmmmmmmmmmmmmmm", "street", "WWWWWWWWWWWWWWWW"]
    fig = drawn(
        monkeypatch,
        lambda p: plots.word_links([words, words], [weights(4, 4)] * 2, p, queries=[0, 1]),
        tmp_path / "w.png",
    )
    panels = [[box(text) for text in ax.texts if text.get_text()] for ax in fig.axes]
    for panel in panels:
        for i, one in enumerate(panel):
            assert not any(one.overlaps(other) for other in panel[:i])
    assert max(word.x1 for word in panels[0]) < min(word.x0 for word in panels[1])


def test_lines_of_panels_are_as_high(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = [list("abcde"), list("abcdefg")]
    fig = drawn(
        monkeypatch,
        lambda p: plots.word_links(sentences, [np.eye(5), np.eye(7)], p),
        tmp_path / "w.png",
    )
    heights = [ax.transData.transform([(0, i) for i in range(5)])[:, 1] for ax in fig.axes]
    np.testing.assert_allclose(heights[0], heights[1])


# ── the scale, and images ────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("n", [1, 2, 10])
def test_an_image_stands_above_its_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    images = np.repeat(IMAGE, n, axis=0)
    fig = drawn(
        monkeypatch,
        lambda p: plots.overlays(images, {"a": images, "b": images}, p, title="all"),
        tmp_path / "o.png",
    )
    rows = np.array([ax.get_position().bounds for ax in fig.axes[: 3 * n]]).reshape(3, n, 4)
    np.testing.assert_allclose(rows[1:, :, [0, 2, 3]], rows[:2, :, [0, 2, 3]])
    scale = fig.axes[-1].get_position()
    assert scale.height == pytest.approx(rows[0, 0, 1] + rows[0, 0, 3] - rows[-1, 0, 1], rel=0.2)
    assert scale.x0 > rows[0, -1, 0] + rows[0, -1, 2]


def test_what_is_too_large_for_a_page_keeps_its_proportions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fig = drawn(
        monkeypatch,
        lambda p: plots.attention_maps(weights(30, 99, 99), None, p, title="all"),
        tmp_path / "a.png",
    )
    width, height = fig.get_size_inches()
    assert height == pytest.approx(figures.HIGHEST + 0.3)  # the title
    assert width < 14
