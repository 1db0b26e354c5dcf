"""Pictures of attention: alignments, maps over images, lines between words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, IndexingError, ShapeError

plots = ta.viz.plots
Array = np.ndarray[Any, Any]
SVG = "{http://www.w3.org/2000/svg}"
START = ["the", "animal", "didn't", "cross", "the", "street", "because", "it", "was", "too"]
TIRED, WIDE = [*START, "tired"], [*START, "wide"]


def weights(*shape: int) -> Array:
    out: Array = ta.softmax(np.random.default_rng(0).normal(size=shape))
    return out


def texts(path: Path) -> list[str]:
    return [node.text or "" for node in ElementTree.parse(path).iter(SVG + "text")]


def drawn_links(path: Path) -> dict[str, dict[str, str]]:
    """The style of each line between words, by its name."""
    groups = [g for g in ElementTree.parse(path).iter(SVG + "g") if "-" in g.get("id", "")]
    return {
        g.get("id", ""): dict(
            part.strip().split(": ") for part in found.get("style", "").split(";") if part.strip()
        )
        for g in groups
        if (found := g.find(SVG + "path")) is not None
    }


# ── alignments ───────────────────────────────────────────────────────────────────────────────────
def test_each_alignment_has_labels_of_its_own(tmp_path: Path) -> None:
    path = plots.alignments(
        [weights(2, 3), ta.Tensor(weights(3, 5))],
        tmp_path / "a.svg",
        rows=[["r0", "r1"], ["s0", "s1", "s2"]],
        columns=[["a", "b", " "], None],
        titles=["3 mar → 03-03", "$x$"],
        title="all",
    )
    found = texts(path)
    assert {"r0", "r1", "s0", "s1", "s2", "a", "b", "␣", "3 mar → 03-03", "$x$", "all"} <= {*found}
    counts = [found.count(str(i)) for i in range(6)]
    assert counts == [1, 1, 1, 1, 1, 0]  # the columns without names


def test_labels_may_stand_in_arrays(tmp_path: Path) -> None:
    names: Any = np.array(["a", "b"])
    pictures = [
        plots.alignments([EYE], tmp_path / "a.svg", rows=[names], titles=names[:1]),
        plots.overlays(IMAGES[:2], {"m": np.ones((2, 1, 1))}, tmp_path / "o.svg", titles=names),
        plots.word_links([names], [EYE], tmp_path / "w.svg", titles=names[1:]),
    ]
    assert [[texts(path).count(name) for name in names] for path in pictures] == [
        [2, 1],
        [1, 1],
        [2, 3],
    ]


def drawn(monkeypatch: pytest.MonkeyPatch, draw: Callable[[Path], Path], path: Path) -> Any:
    """The matplotlib figure that was written."""
    from tinygrad_attn.viz import figures

    seen: list[Any] = []
    saved = figures.saved

    def noting(fig: Any, *rest: Any) -> Path:
        seen.append(fig)
        path = saved(fig, *rest)
        fig.draw_without_rendering()  # so that its parts are where they are in the file
        return path

    monkeypatch.setattr(figures, "saved", noting)
    draw(path)
    return seen[0]


def test_signed_alignments_share_a_scale_around_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrices = [np.array([[0.5, -1.0]]), np.array([[3.0], [0.0]])]
    fig = drawn(
        monkeypatch, lambda p: plots.alignments(matrices, p, signed=True), tmp_path / "a.png"
    )
    assert {ax.images[0].get_clim() for ax in fig.axes if ax.images} == {(-3.0, 3.0)}


def test_alignments_say_what_their_axes_and_colours_are(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    assert {"weight"} <= {*texts(plots.alignments([EYE], path))}
    names = {"row_axis": "$written$", "column_axis": "so\nurce", "label": "dP"}
    found = texts(plots.alignments([EYE, EYE], path, **names))
    assert [found.count(name) for name in ("$written$", "so⏎urce", "dP", "weight")] == [1, 1, 1, 0]


# ── maps over images ─────────────────────────────────────────────────────────────────────────────
IMAGES = np.arange(3 * 4 * 6.0).reshape(3, 4, 6)
MAPS = {"rollout": weights(3, 2, 3), "relevance": np.arange(3 * 4 * 2).reshape(3, 4, 2)}


@pytest.mark.parametrize("ink", [True, False])
def test_a_row_for_the_images_and_one_for_each_kind_of_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ink: bool
) -> None:
    fig = drawn(
        monkeypatch,
        lambda p: plots.overlays(IMAGES, MAPS, p, titles=[7, "$2$", "x"], title="all", ink=ink),
        tmp_path / "o.svg",
    )
    assert {"image", "rollout", "relevance", "7", "$2$", "x", "all", "0", "greatest"} == {
        *texts(tmp_path / "o.svg")
    }
    layers = [[image.get_array() for image in ax.images] for ax in fig.axes[:9]]
    assert [len(found) for found in layers] == [1] * 3 + [2] * 6
    for i, found in enumerate(layers):
        np.testing.assert_array_equal(found[0], IMAGES[i % 3])
    for kind, values in enumerate(MAPS.values()):
        for i in range(3):
            colours = layers[3 + 3 * kind + i][1]
            assert colours.shape == (*values.shape[1:], 4)
            np.testing.assert_allclose(colours[..., 3], 0.85 * values[i] / values[i].max())
            assert {tuple(c) for c in colours[..., :3].reshape(-1, 3)} == {(0.835, 0.369, 0.0)}
            ends = fig.axes[3 + 3 * kind + i].images[1].get_extent()
            assert tuple(ends) == (-0.5, 5.5, 3.5, -0.5)  # over the whole image, the right way up
    grey = fig.axes[0].images[0]
    dark, light = (
        grey.to_rgba(np.array([x]))[0, 0] for x in ((0.0, 23.0) if not ink else (23.0, 0.0))
    )
    assert dark == pytest.approx(0)
    assert light == pytest.approx(1)
    under = fig.axes[3].images[0]
    assert 0.4 < np.ptp(under.to_rgba(np.array([0.0, 23.0]))[:, 0]) < 0.6


@pytest.mark.parametrize(
    ("images", "values"),
    [
        (np.zeros((1, 2, 2)), np.zeros((1, 1, 1))),
        (np.full((2, 1, 7), 3.0), np.ones((2, 1, 7))),
        (np.ones((1, 2, 2), bool), ta.Tensor(np.ones((1, 2, 1)))),
    ],
)
def test_images_and_maps_of_every_kind(tmp_path: Path, images: Array, values: Any) -> None:
    assert plots.overlays(images, {"": values}, tmp_path / "o.png").stat().st_size > 1000


# ── lines between words ──────────────────────────────────────────────────────────────────────────
def test_lines_from_one_word_are_as_strong_as_its_weights(tmp_path: Path) -> None:
    P = weights(11, 11)
    P[7] = [0, 0.75, 0.004, 0, 0, 0.2, 0, 0.046, 0, 0, 0]
    path = plots.word_links(
        [TIRED], [P], tmp_path / "w.svg", queries=[7], marked=[1], titles=["head 2"], title="all"
    )
    found = drawn_links(path)
    assert set(found) == {"panel0-7-1", "panel0-7-5", "panel0-7-7"}  # 0.004 is no line
    lines = [found[f"panel0-7-{j}"] for j in (1, 5, 7)]
    assert [style["stroke"] for style in lines] == ["#d55e00", "#0072b2", "#0072b2"]
    opacities = [float(style["stroke-opacity"]) for style in lines]
    assert opacities == pytest.approx([0.25 + 0.75 * w for w in (0.75, 0.2, 0.046)])
    widths = [float(style["stroke-width"]) for style in lines]
    assert widths == pytest.approx([6 * 0.75, 6 * 0.2, 0.6])
    words = texts(path)
    assert [words.count(word) for word in ("the", "animal", "it", "tired")] == [4, 2, 2, 2]
    assert {"75%", "20%", "5%", "query", "key", "head 2", "all"} <= {*words}
    assert "0%" not in words


def test_lines_from_every_word(tmp_path: Path) -> None:
    P = np.eye(3) * 0.5 + np.full((3, 3), 0.5 / 3)
    path = plots.word_links([["a", "b", "c"]], [ta.Tensor(P)], tmp_path / "w.svg")
    found = drawn_links(path)
    assert set(found) == {f"panel0-{i}-{j}" for i in range(3) for j in range(3)}
    assert {style["stroke"] for style in found.values()} == {"#0072b2"}
    assert not [text for text in texts(path) if "%" in text]


def test_a_panel_for_each_sentence(tmp_path: Path) -> None:
    path = plots.word_links(
        [TIRED, WIDE[:9]],
        [np.eye(11), np.eye(9)[::-1]],
        tmp_path / "w.svg",
        queries=[7, None],
        marked=[None, 5],
    )
    found = drawn_links(path)
    assert [name for name in found if name.startswith("panel0")] == ["panel0-7-7"]
    assert len(found) == 10
    assert found["panel1-3-5"]["stroke"] == "#d55e00"
    assert [style["stroke"] for style in found.values()].count("#d55e00") == 1


@pytest.mark.parametrize(
    "sentence",
    [["it"], ["", " "], ["$x^2$", "<b>", "</svg>", "&amp;"], ["나는", "간다"], ["x" * 99, 7, None]],
)
def test_words_of_every_kind(tmp_path: Path, sentence: list[object]) -> None:
    n = len(sentence)
    path = plots.word_links([sentence], [np.full((n, n), 1 / n)], tmp_path / "w.svg", queries=[0])
    assert len(drawn_links(path)) == n
    tags = {node.tag.rpartition("}")[2] for node in ElementTree.parse(path).iter()}
    assert not {"script", "a", "foreignObject"} & tags


def test_the_same_picture_is_the_same_file(tmp_path: Path) -> None:
    draws: list[Callable[[Path], Path]] = [
        lambda p: plots.alignments([weights(2, 3)], p),
        lambda p: plots.overlays(IMAGES, MAPS, p),
        lambda p: plots.word_links([["a", "b"]], [np.eye(2)], p, queries=[1]),
    ]
    for draw in draws:
        first, second = (draw(tmp_path / f"{i}.svg").read_bytes() for i in range(2))
        assert first == second


# ── what is refused ──────────────────────────────────────────────────────────────────────────────
TWO, EYE = ["a", "b"], np.eye(2)
REFUSED: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "no matrix": (lambda p: plots.alignments([], p), ShapeError, "at least one matrix, got none"),
    "a vector": (lambda p: plots.alignments([np.ones(3)], p), ShapeError, r"got shape \(3,\)"),
    "text": (lambda p: plots.alignments([[["a"]]], p), DTypeError, "real numbers"),
    "one list of rows": (
        lambda p: plots.alignments([EYE, EYE, EYE], p, rows=[TWO, TWO]),
        ShapeError,
        r"each of the 3 matrices \(rows\), got 2",
    ),
    "rows": (
        lambda p: plots.alignments([EYE, np.ones((3, 2))], p, rows=[TWO, TWO]),
        ShapeError,
        "each of the 3 rows, got 2",
    ),
    "columns": (
        lambda p: plots.alignments([np.ones((2, 3))], p, columns=[TWO]),
        ShapeError,
        "each of the 3 columns, got 2",
    ),
    "titles": (
        lambda p: plots.alignments([EYE], p, titles=TWO),
        ShapeError,
        r"1 matrices \(titles\), got 2",
    ),
    "one image": (lambda p: plots.overlays(IMAGES[0], MAPS, p), ShapeError, r"3 axes .*\(4, 6\)"),
    "an image without numbers": (
        lambda p: plots.overlays(IMAGES * np.nan, MAPS, p),
        ShapeError,
        "images must be finite",
    ),
    "no map": (lambda p: plots.overlays(IMAGES, {}, p), ShapeError, "one kind of map, got none"),
    "too few maps": (
        lambda p: plots.overlays(IMAGES, {"rollout": weights(2, 2, 3)}, p),
        ShapeError,
        r"'rollout' of shape \(3, rows, columns\).* got \(2, 2, 3\)",
    ),
    "patches that do not fit": (
        lambda p: plots.overlays(IMAGES, {"rollout": weights(3, 3, 3)}, p),
        ShapeError,
        "rows that divide 4 and columns that divide 6",
    ),
    "a negative map": (
        lambda p: plots.overlays(IMAGES, {"dP": -weights(3, 2, 3)}, p),
        ShapeError,
        "values of 'dP' must be finite and 0 or more",
    ),
    "a map that is not a number": (
        lambda p: plots.overlays(IMAGES, {"dP": weights(3, 2, 3) * np.nan}, p),
        ShapeError,
        "must be finite",
    ),
    "a map of text": (
        lambda p: plots.overlays(IMAGES, {"dP": [[["a"]]]}, p),
        DTypeError,
        "real numbers",
    ),
    "titles of images": (
        lambda p: plots.overlays(IMAGES, MAPS, p, titles=TWO),
        ShapeError,
        "3 images, got 2",
    ),
    "no sentence": (lambda p: plots.word_links([], [], p), ShapeError, "at least one, got 0 and 0"),
    "a sentence too many": (
        lambda p: plots.word_links([TWO, TWO], [EYE], p),
        ShapeError,
        "for each panel, at least one, got 2 and 1",
    ),
    "no words": (lambda p: plots.word_links([[]], [np.ones((0, 0))], p), ShapeError, "non-empty"),
    "text for words": (
        lambda p: plots.word_links(["ab"], [EYE], p),
        ShapeError,
        r"a list of words .* got 2 words \(str\)",
    ),
    "words": (
        lambda p: plots.word_links([["a"]], [EYE], p),
        ShapeError,
        r"for panel 0, got 1 words \(list\) and weights \(2, 2\)",
    ),
    "cross-attention": (
        lambda p: plots.word_links([TWO], [np.ones((2, 3))], p),
        ShapeError,
        r"\(T, T\) for panel 0.*\(2, 3\)",
    ),
    "all heads": (
        lambda p: plots.word_links([TWO], [np.ones((4, 2, 2))], p),
        ShapeError,
        r"2 axes \(words, words\), got shape \(4, 2, 2\)",
    ),
    "weights beyond 1": (
        lambda p: plots.word_links([TWO, TWO], [EYE, 2 * EYE], p),
        ShapeError,
        "weights of panel 1 must be from 0 to 1",
    ),
    "weights below 0": (lambda p: plots.word_links([TWO], [-EYE], p), ShapeError, "from 0 to 1"),
    "no numbers": (lambda p: plots.word_links([TWO], [EYE * np.nan], p), ShapeError, "from 0 to 1"),
    "too few queries": (
        lambda p: plots.word_links([TWO, TWO], [EYE, EYE], p, queries=[1]),
        ShapeError,
        "queries for each of the 2 panels, got 1",
    ),
    "a query that is not there": (
        lambda p: plots.word_links([TWO], [EYE], p, queries=[2]),
        IndexingError,
        "queries of panel 0 is 2, but its words are 0 to 1",
    ),
    "a mark from the end": (
        lambda p: plots.word_links([TWO], [EYE], p, marked=[-1]),
        IndexingError,
        "marked of panel 0 is -1",
    ),
    "a query by its word": (
        lambda p: plots.word_links([TWO], [EYE], p, queries=["a"]),  # type: ignore[list-item]
        DTypeError,
        "queries of panel 0 must be an integer or None, got 'a'",
    ),
    "titles of panels": (
        lambda p: plots.word_links([TWO], [EYE], p, titles=TWO),
        ShapeError,
        "1 panels, got 2",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_input_is_named_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    draw, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        draw(tmp_path / "picture.png")
    assert list(tmp_path.iterdir()) == []


def test_rounding_beyond_one_is_no_error(tmp_path: Path) -> None:
    path = plots.word_links([TWO], [np.eye(2, dtype=np.float32) * 1.0000001], tmp_path / "w.svg")
    assert {style.get("stroke-opacity", "1") for style in drawn_links(path).values()} == {"1"}
