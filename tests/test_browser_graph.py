"""Drawings of a graph in a real browser: an SVG alone, and a page with it, from files, offline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn, viz
from tinygrad_attn.viz.labels import cluster_title, edge_tooltip, lines, tooltip
from tinygrad_attn.viz.norms import Scale

PageOf = Callable[..., Any]
pytest_plugins = ["browser"]
pytestmark = pytest.mark.browser
HOSTILE = "<b>x</b>&amp;\"'</script>"


@pytest.fixture(scope="module")
def graph() -> viz.Graph:
    """A causal layer of two heads in both directions, in a module of its own."""
    rng = np.random.default_rng(0)
    layer = nn.MultiHeadAttention(6, 2, rng=rng)
    x = ta.Tensor(
        rng.standard_normal((2, 5, 6)), requires_grad=True, dtype=np.float32, name=HOSTILE
    )
    with ta.scope("<i>part</i>"):
        y, _ = layer(x, causal=True, return_stages=True)
    g = rng.standard_normal(y.shape).astype(np.float32)
    return viz.trace(y, backward=True, g=g, model=layer)


@pytest.fixture(params=["svg", "html"])
def opened(request: Any, graph: viz.Graph, tmp_path: Path, page_of: PageOf) -> Any:
    """The drawing, opened from its file."""
    path = tmp_path / f"graph.{request.param}"
    write = graph.render if request.param == "svg" else graph.save_html
    return page_of(write(path, title=f"The graph of {HOSTILE}"))


def texts(page: Any, selector: str) -> list[str]:
    """What the elements found hold."""
    found: list[str] = page.eval_on_selector_all(selector, "all => all.map(e => e.textContent)")
    return found


def box_of(page: Any, key: str) -> Any:
    """Where a part of the drawing lies in the window."""
    return page.evaluate(
        "key => { const r = document.querySelector(`g[data-id='${key}']`).getBoundingClientRect();"
        "return [r.left, r.top, r.width, r.height]; }",
        key,
    )


# ── what is shown ────────────────────────────────────────────────────────────────────────────────
def test_every_box_is_drawn_with_its_label(graph: viz.Graph, opened: Any) -> None:
    for vertex in graph.vertices:
        inside = f"g[data-id='n{vertex.id}'] >"
        assert texts(opened, f"{inside} text") == [line.text for line in lines(vertex)]
        assert texts(opened, f"{inside} title") == [tooltip(vertex)]
        _, _, width, height = box_of(opened, f"n{vertex.id}")
        assert width > 20
        assert height > 10
    for cluster in graph.clusters:
        assert texts(opened, f"g[data-id='c{cluster.id}'] > text") == [cluster_title(cluster)]
    assert opened.evaluate("document.querySelectorAll('b:not(.legend b), script, a').length") == 0


def test_every_arrow_tells_its_rule(graph: viz.Graph, opened: Any) -> None:
    for i, edge in enumerate(graph.edges):
        assert texts(opened, f"g[data-id='e{i}'] > title") == [edge_tooltip(edge)] * bool(
            edge_tooltip(edge)
        )
        ways = opened.evaluate(
            "key => Array.from(document.querySelectorAll(`g[data-id='${key}'] > path`))"
            ".map(path => path.getTotalLength())",
            f"e{i}",
        )
        assert min(ways) > 5


def test_gradients_look_as_large_as_they_are(graph: viz.Graph, opened: Any) -> None:
    scale = Scale(graph.edges)
    for i, edge in enumerate(graph.edges):
        if edge.kind == "vjp":
            color, width = scale.look(edge.norm)
            shown = opened.eval_on_selector(
                f"g[data-id='e{i}'] > path",
                "path => (s => [s.stroke, s.strokeWidth])(getComputedStyle(path))",
            )
            red, green, blue = bytes.fromhex(color[1:])
            assert shown == [f"rgb({red}, {green}, {blue})", f"{width}px"]


def test_no_box_lies_on_another(graph: viz.Graph, opened: Any) -> None:
    boxes = np.array([box_of(opened, f"n{v.id}") for v in graph.vertices])
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    meet = ((low[:, None] < high) & (low < high[:, None])).all(-1)
    np.fill_diagonal(meet, False)
    assert not meet.any()


def test_the_mask_and_its_gradients_are_there(opened: Any) -> None:
    labels = [" ".join(text.split()) for text in texts(opened, "g.node text")]
    assert {"mask", "5 × 5 · float32", "dP", "dQ", "dK", "dV", "S′ = add"} <= set(labels)


# ── the whole ────────────────────────────────────────────────────────────────────────────────────
def test_a_picture_alone_is_seen(graph: viz.Graph, tmp_path: Path, page_of: PageOf) -> None:
    page = page_of(graph.render(tmp_path / "graph.svg", title="a title"))
    assert page.evaluate("document.documentElement.tagName") == "svg"
    caption = " ".join(texts(page, "text"))
    assert "a title" in caption
    assert "purple box: gradient, beside its tensor" in caption
    assert "dashed box: constant" in caption
    seen = page.screenshot()
    blank = page_of(empty(tmp_path / "empty.svg")).screenshot()
    assert len(seen) > 4 * len(blank)


def empty(path: Path) -> Path:
    """A picture of nothing."""
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="900" height="900"/>')
    return path


def test_a_page_has_legend_text_and_source(
    graph: viz.Graph, tmp_path: Path, page_of: PageOf
) -> None:
    page = page_of(graph.save_html(tmp_path / "graph.html", title=HOSTILE))
    assert page.title() == HOSTILE
    assert page.inner_text("h1") == HOSTILE
    legend = texts(page, "ul.legend li")
    for words in ("constant", "gradient, beside its tensor", "parameter"):
        assert words in legend
    assert sum(text.startswith("norm ") for text in legend) == 5
    first, second = page.query_selector_all("details")
    assert not page.is_visible("pre")
    for part, content in ((first, graph.to_text()), (second, "digraph")):
        part.query_selector("summary").click()
        assert part.query_selector("pre").is_visible()
        assert content in part.query_selector("pre").text_content()


def test_a_page_on_a_phone_scrolls_inside_its_frame(
    graph: viz.Graph, tmp_path: Path, page_of: PageOf
) -> None:
    page = page_of(graph.save_html(tmp_path / "graph.html"), width=390, height=844)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("(v => v.scrollWidth > v.clientWidth)(document.querySelector('.view'))")


def test_the_pointer_marks_an_arrow(graph: viz.Graph, tmp_path: Path, page_of: PageOf) -> None:
    page = page_of(graph.save_html(tmp_path / "graph.html"))
    i = next(i for i, edge in enumerate(graph.edges) if edge.kind == "vjp")
    path = f"g[data-id='e{i}'] > path >> nth=0"
    stroke = "path => getComputedStyle(path).stroke"
    before = page.eval_on_selector(f"g[data-id='e{i}'] > path", stroke)
    middle = page.eval_on_selector(
        f"g[data-id='e{i}'] > path",
        "path => { path.scrollIntoView({block: 'center', inline: 'center'});"
        "const p = path.getPointAtLength(path.getTotalLength() / 2).matrixTransform("
        "path.getScreenCTM()); return [p.x, p.y]; }",
    )
    page.mouse.move(*middle)
    assert before != "rgb(213, 94, 0)"
    assert page.locator(path).evaluate(stroke) == "rgb(213, 94, 0)"
