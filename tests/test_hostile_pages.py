"""Hostile labels on the anatomy page, in the film, on the demo's page, in plots, on a terminal."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hostile import LABELS, shown, titled
from inert import Reader, data_of, inert_pdf, refuse_controls, same_structure, whole_png
from named import Affine, allowed

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn, viz
from tinygrad_attn.cli import main, predict
from tinygrad_attn.cli import page as demo_page
from tinygrad_attn.cli.anatomy import findings
from tinygrad_attn.viz import figures, plots
from tinygrad_attn.viz.anatomy import Page
from tinygrad_attn.viz.anatomy.film import Film
from tinygrad_attn.viz.anatomy.payload import FULL_LIMIT, TITLE_LIMIT

CALM = [f"w{i}" for i in range(len(LABELS))]


# ── the anatomy page (its derivation sheet: test_anatomy_derivation.py) ───────────────────────────
COUNT, T = -(-len(LABELS) // 3), 3
Words = tuple[str, ...]


class Around(nn.Module):
    """A layer whose name in the model is given."""

    def __init__(self, name: str) -> None:
        self.name = name
        setattr(self, name, nn.MultiHeadAttention(2, 1, rng=np.random.default_rng(1)))

    def forward(self, x: Any) -> Tensor:
        out: Tensor = getattr(self, self.name)(Tensor(x))
        return out


def page_of(name: str, targets: Words, words: Words, title: str) -> Page:
    """A layer called `name` on texts of three `words` each."""
    x = np.random.default_rng(2).standard_normal((len(words) // T, T, 2))

    def run(model: nn.Module) -> dict[str, Tensor]:
        y = model(x)
        return {target: (k + 1.5) * (y * y).sum() for k, target in enumerate(targets)}

    examples = [words[i : i + T] for i in range(0, len(words), T)]
    return viz.anatomy(
        Around(name), run, examples=examples, title=title, cells=[(0, 1, 0)], numeric_limit=0
    )


def test_tokens_of_an_anatomy() -> None:
    words = (*LABELS, *LABELS)[: COUNT * T]
    page = page_of("attn", ("loss",), words, "")
    source = page.to_html()
    same_structure(source, page_of("attn", ("loss",), (*CALM, *CALM)[: len(words)], "").to_html())
    data = data_of(source)
    for i, example in enumerate(data["examples"]):
        own = words[T * i : T * i + T]
        assert example["queries"] == example["keys"] == list(map(shown, own))
        assert example["title"] == shown(" ".join(own), TITLE_LIMIT)
        full = [shown(label, FULL_LIMIT) for label in own]
        assert (example["full"] or example)["keys"] == full
    assert data["targets"][1]["name"] == shown(f"Y[0, “{words[1]}”, 0]")


def test_targets_of_an_anatomy() -> None:
    targets, words = LABELS[::2], ("a", "b", "c")
    source = page_of("attn", targets, words, "").to_html()
    same_structure(source, page_of("attn", tuple(CALM[: len(targets)]), words, "").to_html())
    names = [target["name"] for target in data_of(source)["targets"]]
    assert names == [*map(shown, targets), "Y[“b”, 0]"]


def test_titles_and_layers_of_an_anatomy() -> None:
    page = page_of("attn", ("loss",), ("a", "b", "c"), "calm")
    calm = page.to_html()
    for label in LABELS[1::2]:
        layer = replace(page.recording.layer, name=label)
        source = Page(replace(page.recording, title=label, layer=layer)).to_html()
        assert [source.count(sign) for sign in "<>"] == [calm.count(sign) for sign in "<>"]
        data = data_of(source)
        assert data["title"] == shown(label, TITLE_LIMIT)
        assert data["layer"]["name"] == shown(label)
        head = Reader(source.partition("<style>")[0])
        assert head.text["title"] == [shown(label, TITLE_LIMIT)]


def test_a_layer_of_a_hostile_name_is_found() -> None:
    for label in filter(allowed, LABELS[::4]):
        page = page_of(label, (label,), ("a", "b", "c"), label)
        assert page.recording.layer.name == label
        refuse_controls(repr(page))
        refuse_controls("\n".join(findings(page)))


# ── the training film ────────────────────────────────────────────────────────────────────────────
class Played(nn.Module):
    """Attention under one name, and a weight under each of the others."""

    def __init__(self, names: Words) -> None:
        self.names = tuple(filter(allowed, names))
        first, *others = self.names
        setattr(self, first, nn.MultiHeadAttention(2, 1, rng=np.random.default_rng(1)))
        for name in others:
            setattr(self, name, Affine())

    def forward(self, x: Any) -> Tensor:
        y = getattr(self, self.names[0])(Tensor(x))
        for name in self.names[1:]:
            y = getattr(self, name)(y)
        return (y * y).sum()


def film_of(names: Words, words: Words, title: str, target: str) -> Film:
    """Two snapshots."""
    x = np.random.default_rng(2).standard_normal((len(words) // T, T, 2))
    examples = [words[i : i + T] for i in range(0, len(words), T)]
    film = Film(
        Played(names), lambda m: m(x), examples=examples, title=title, target=target, most=2
    )
    film.snap(0)
    film.snap(1)
    return film


def test_tokens_and_modules_of_a_film() -> None:
    words = (*LABELS, *LABELS)[: COUNT * T]
    calm = tuple(f"w{i}" if allowed(label) else f".{i}" for i, label in enumerate(LABELS))
    film = film_of(LABELS, words, "<b>", "<i>")
    source = film.to_html()
    same_structure(source, film_of(calm, words, "calm", "loss").to_html())
    refuse_controls(repr(film))
    data = data_of(source)
    names = list(filter(allowed, LABELS))
    assert data["layers"][0]["name"] == shown(names[0])
    assert set(data["modules"]) >= {titled(name) for name in names[1:] if name}
    for i, example in enumerate(data["layers"][0]["examples"]):
        own = words[T * i : T * i + T]
        assert example["queries"] == example["keys"] == list(map(shown, own))
        full = [shown(label, FULL_LIMIT) for label in own]
        assert (example["full"] or example)["queries"] == full
        assert example["title"] == shown(" ".join(own), TITLE_LIMIT)


def test_titles_and_targets_of_a_film() -> None:
    film = film_of(("attn",), ("a", "b", "c"), "calm", "loss")
    calm = film.to_html()
    for label in LABELS:
        film.title = film.target = label
        source = film.to_html()
        assert [source.count(sign) for sign in "<>"] == [calm.count(sign) for sign in "<>"]
        data = data_of(source)
        assert data["title"] == shown(label, TITLE_LIMIT)
        assert data["target"] == shown(label or "loss")
        head = Reader(source.partition("<style>")[0])
        assert head.text["title"] == [shown(label, TITLE_LIMIT)]


def test_several_targets_of_a_film() -> None:
    x = np.ones((1, 2, 2))

    def film_with(name: str, target: str | None = None) -> Film:
        return Film(Played(("attn",)), lambda m: {name: m(x)}, target=target)

    for label in LABELS[::4]:
        film = film_with(label)
        film.snap(0)
        assert data_of(film.to_html())["target"] == shown(label or "loss")
        with pytest.raises(ta.GraphError, match="to return a target") as caught:
            film_with(label, f"{label}?").snap(0)
        refuse_controls(str(caught.value))


# ── the demo's page, and what is printed ─────────────────────────────────────────────────────────
def demo_of(label: str) -> str:
    """Every part of the page with this label."""
    return demo_page.page(
        label,
        [
            demo_page.paragraph(label),
            demo_page.section(label, demo_page.bars([(1.0, label), (2.0, label)], 0)),
            demo_page.pair(demo_page.figure("loss.png", label, label)),
            demo_page.table((label, "x"), [(label, label)]),
            demo_page.listing(label),
            demo_page.links([("graph.svg", label)]),
        ],
        label,
    )


def test_the_page_of_the_demo() -> None:
    calm = demo_of("calm")
    for label in LABELS:
        if not 0 < len(label) < 100:  # an empty caption is left out
            continue
        found = same_structure(demo_of(label), calm)
        written = "\n".join(shown(line, 10**6) for line in label.split("\n"))
        for tag in ("title", "h1", "p", "h2", "footer", "figcaption", "td", "th", "pre"):
            assert found.text[tag][0] == written, (tag, ascii(label)[:40])
        assert ("alt", written) in found.values


def test_where_it_comes_from(tmp_path: Path) -> None:
    """The table and the picture of the paths."""
    page = page_of("attn", ("loss",), LABELS[:12], "")
    for paths in page.paths[0]:
        refuse_controls(str(paths))
    seen = plotted(page.paths[0][3].save(tmp_path / "paths.svg", at="X"))
    assert {token(label) for label in LABELS[9:12]} <= {*seen}
    for label in LABELS:
        text = str(replace(page.paths[0][0], title=label))
        assert text.startswith(shown(label, 200) + "\n")


def test_mistakes_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for label in LABELS[::4]:
        for command in (["anatomy", "--layer"], ["predict"], ["nothing"]):
            arguments = [*command, f"?{label}", "--out", f"{label}/x"]
            with suppress(SystemExit):
                assert main(arguments) == 2
            told = capsys.readouterr()
            refuse_controls(told.err)
            assert not told.out
            assert told.err.startswith("tinygrad-attn")
            assert told.err.count("\n") == 1


def test_mistakes_name_the_layer() -> None:
    x = np.ones((1, 2, 2))
    for label in filter(allowed, LABELS[::4]):
        with pytest.raises((ta.GraphError, ta.IndexingError), match="call") as never:
            viz.anatomy(Around(label), lambda m: m(x).sum(), call=3)
        with pytest.raises(ta.GraphError, match="outside no_grad") as silent, ta.no_grad():
            viz.anatomy(Around(label), lambda m: m(x).sum())
        for caught in (never, silent):
            refuse_controls(str(caught.value))
            assert titled(label or "MultiHeadAttention") in str(caught.value)


def test_answers_on_a_terminal() -> None:
    for line, label in zip(predict.lines(LABELS, LABELS, LABELS), LABELS, strict=True):
        refuse_controls(line)
        assert f"→  {shown(label, 200)}   right" in line
    for line in predict.lines(["asked"] * len(LABELS), ["x." * 3] * len(LABELS), LABELS):
        refuse_controls(line)


# ── plots ────────────────────────────────────────────────────────────────────────────────────────
SHORT = 16  # characters of a token in a plot


def token(label: str) -> str:
    """What is to be seen of a token in a plot."""
    text = shown(label, SHORT)
    return text if text.strip() else "␣" * len(text)


def plotted(path: Path) -> list[str]:
    """The lines of text in a plot."""
    root = ElementTree.parse(path).getroot()
    for node in root.iter():
        kind = node.tag.rpartition("}")[2]
        assert kind not in ("script", "a", "foreignObject")
        assert kind != "style" or node.text == "*{stroke-linejoin: round; stroke-linecap: butt}"
        assert not any(key.startswith("on") for key in node.attrib)
        links = [value for key, value in node.attrib.items() if key.endswith("href")]
        assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    return [node.text or "" for node in root.iter() if node.tag.endswith("}text")]


def test_tokens_of_plots(tmp_path: Path) -> None:
    for i in (0, 2):
        rows, columns = LABELS[i::4], LABELS[i + 1 :: 4]
        values = np.zeros((len(rows), len(columns)))
        path = plots.heatmap(values, tmp_path / "m.svg", rows=rows, columns=columns)
        assert {token(label) for label in (*rows, *columns)} - {""} <= {*plotted(path)}


def test_titles_of_plots(tmp_path: Path) -> None:
    with figures.figure(tmp_path / "titles.svg") as (fig, save):
        for i, label in enumerate(LABELS):
            fig.text(0.0, i / len(LABELS), figures.wrapped(label, 5.0, 12.0))
        seen = plotted(save())
    whole = "".join("".join(seen).split())
    for label in LABELS:
        assert "".join(shown(label, TITLE_LIMIT).split()) in whole, ascii(label)[:50]


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_plots_in_other_formats(suffix: str, tmp_path: Path) -> None:
    part = LABELS[::4]
    path = plots.heatmap(
        np.eye(len(part)), tmp_path / f"m.{suffix}", rows=part, columns=part, title=" ".join(part)
    )
    (whole_png if suffix == "png" else inert_pdf)(path.read_bytes())


def test_a_legend_keeps_every_name(tmp_path: Path) -> None:
    """To matplotlib a name with an underscore before it means: leave it out."""
    for label in ["__proto__", "_x_", "_{*}", "$x^2$", "\ud800"]:
        path = plots.loss_curve(
            [1, 2], [3, 2], [], tmp_path / "m.svg", baseline=2.5, baseline_label=label, unit=label
        )
        seen = plotted(path)
        assert {f"{shown(label)}, 2.500", shown(label)} <= {*seen}
        assert any(line.startswith("training, ") for line in seen)
