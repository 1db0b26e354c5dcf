"""Hostile names in graphs of modules: folded, rolled, in every format, as titles, in messages."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hostile import LABELS, shown, titled
from inert import inert_pdf, refuse_controls, same_structure, whole_png
from named import Affine, allowed
from test_viz_labels import PARTS

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn, viz
from tinygrad_attn.viz import dot, render, svg
from tinygrad_attn.viz.errors import RenderWarning, UnknownNameError

numbered = pytest.mark.parametrize("part", PARTS, ids=range(len(PARTS)))
DOT_SIGNS = {"\\l": "\n", "\\\\": "\\", '\\"': '"', "&amp;": "&"}
SVG_ELEMENTS = {"svg", "g", "title", "text", "path", "polygon", "polyline", "ellipse"}


# ── graphs of modules ────────────────────────────────────────────────────────────────────────────
class Chain(nn.Module):
    """Parts whose attributes have these names, one after the other."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.order = list(filter(allowed, names))
        for name in self.order:
            setattr(self, name, Affine())

    def forward(self, x: Tensor) -> Tensor:
        for name in self.order:
            x = getattr(self, name)(x)
        return x


@cache
def chained(names: tuple[str, ...]) -> viz.Graph:
    """Forward and backward through modules of these names."""
    model = Chain(names)
    out = model(Tensor([1.0, 2.0], requires_grad=True, name=names[0]))
    return viz.trace(out, backward=True, g=np.array([0.3, 0.7]), model=model)


@cache
def siblings(names: tuple[str, ...]) -> viz.Graph:
    """For each name two equal scopes, whose names differ in a number."""
    outputs = []
    for name in names:
        x = Tensor([1.0, 2.0], requires_grad=True)
        for number in (3, 4):
            with ta.scope(f"{name}‖{number}"):
                x = ta.exp(ta.sin(x))
        outputs.append(x)
    return viz.trace(outputs)


def lines_of(source: bytes | str) -> set[str]:
    """All lines of text in an SVG, which has nothing else but what can be seen."""
    root = ElementTree.fromstring(source)
    for node in root.iter():
        assert node.tag.rpartition("}")[2] in SVG_ELEMENTS
        assert not any("href" in key or key.startswith("on") for key in node.attrib)
        assert "javascript" not in "".join(node.attrib.values())
    texts = [node.text or "" for node in root.iter() if node.tag.endswith("}text")]
    return {text.replace("\u00a0", " ") for text in texts}


def drawn(graph: viz.Graph) -> set[str]:
    """The lines in Graphviz's own drawing of the DOT text, which are those in ours."""
    content = render.layout(graph.to_dot(), "svg", 60)
    raw, ours = lines_of(content), lines_of(svg.finished(content, graph))
    assert {line.strip() for line in ours} == {line.strip() for line in raw}  # arrows have room
    return ours


@numbered
def test_names_of_modules(part: tuple[str, ...]) -> None:
    lines = drawn(chained(part))
    for name in filter(allowed, part):
        assert titled(name or "Affine").replace("\u00a0", " ") in lines
        assert shown(f"{name}.weight" if name else "weight").replace("\u00a0", " ") in lines


@numbered
def test_names_of_folded_modules(part: tuple[str, ...]) -> None:
    graph = chained(part).fold(1)
    lines = drawn(graph)
    folded = {v.label for v in graph.vertices if v.kind == "module"}
    assert folded == {name or "Affine" for name in filter(allowed, part)}
    assert {titled(name).replace("\u00a0", " ") for name in folded} <= lines


@numbered
def test_names_of_rolled_modules(part: tuple[str, ...]) -> None:
    graph = siblings(part).roll()
    lines, text = drawn(graph), graph.to_text()
    refuse_controls(text)
    for name in part:
        expected = shown(f"{name}‖3–4") + " ×2"
        assert expected.replace("\u00a0", " ") in lines
        assert f"┌─ {expected}\n" in text


def test_names_of_siblings_on_arrows() -> None:
    boxes = tuple(viz.Vertex(i, "gradient", "g", shape=(2,)) for i in range(len(LABELS) + 1))
    arrows = tuple(
        viz.Edge(i, i + 1, shape=(2,), norm=0.5, kind="vjp", sibling=label)
        for i, label in enumerate(LABELS)
    )
    lines = drawn(viz.Graph(boxes, arrows))
    for label in LABELS:
        assert f"2 · norm 0.5 ({shown(label)})".replace("\u00a0", " ") in lines or not label


@numbered
def test_the_page_of_a_graph(part: tuple[str, ...], tmp_path: Path) -> None:
    calm = tuple(f"w{i}" if allowed(name) else f".{i}" for i, name in enumerate(part))
    pages = [
        chained(names).save_html(tmp_path / "graph.html", depth=1, formulas=True).read_text("utf-8")
        for names in (part, calm)
    ]
    found = same_structure(*pages)
    for name in filter(allowed, part):
        assert titled(name or "Affine") in found.text["text"]
        assert titled(name or "Affine") in found.text["pre"][0]


def test_pictures_are_whole(tmp_path: Path) -> None:
    for suffix, check in (("png", whole_png), ("pdf", inert_pdf)):
        path = tmp_path / f"graph.{suffix}"
        siblings(LABELS).render(path, roll=True, title=" ".join(LABELS), max_nodes=None)
        check(path.read_bytes())


@cache
def small() -> viz.Graph:
    """One operation."""
    return viz.trace(ta.exp(Tensor(1.0, requires_grad=True, name="x")))


def test_a_title() -> None:
    for label in LABELS:
        title, text = shown(label, 120), small().to_text(title=label)
        refuse_controls(text)
        assert text.startswith(f"{title}\n" if label else "[0]")
        source = small().to_dot(title=label)
        (written,) = re.findall(r'labeljust=l, label="((?:\\.|[^"\\])*)"', source)
        lines = re.sub(r"\\.|&amp;", lambda sign: DOT_SIGNS[sign[0]], written).splitlines()
        assert lines[:-2] == [title] * bool(label)


def test_titles_are_text_to_graphviz(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = [shown(label, 120) for label in LABELS if label.strip()]
    monkeypatch.setattr(dot, "key", lambda graph, scale: titles)  # all of them above one drawing
    content = render.layout(small().to_dot(), "svg", 60)
    seen = {line.strip() for line in lines_of(content)}
    assert {title.replace("\u00a0", " ").strip() for title in titles} <= seen


def test_a_title_of_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "engines", dict)

    def page(title: str) -> str:
        with pytest.warns(RenderWarning, match="no layout engine"):
            path = small().save_html(tmp_path / "graph.html", title=title)
        return path.read_text("utf-8")

    for label in filter(None, LABELS):
        found = same_structure(page(label), page("calm"))
        assert found.text["title"] == found.text["h1"] == [shown(label, 120)]


def test_a_message_about_a_name() -> None:
    for label in LABELS:
        x = Tensor(1.0, requires_grad=True, name=f"{label}.")
        with pytest.raises(UnknownNameError) as caught:
            viz.trace(ta.exp(x)).only(to=f"{label}?")
        refuse_controls(str(caught.value))
        assert len(str(caught.value)) < 1000
