"""Graphviz's SVG made ours: known elements only, our own text in them, tooltips and hierarchy.

Graphviz decides where things lie.  What is written there is taken from the graph itself, not from
Graphviz's output, so no escape of any Graphviz version can change a label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from xml.etree import ElementTree

from .data import GraphData
from .errors import RenderError
from .labels import Line, clean, cluster_title, edge_lines, edge_tooltip, lines, tooltip

Element = ElementTree.Element
SHAPES = {"polygon", "polyline", "path", "ellipse"}
# fmt: off
KEPT = {"width", "height", "viewBox", "transform", "class", "fill", "fill-opacity", "stroke",
        "stroke-width", "stroke-dasharray", "stroke-opacity", "d", "points", "cx", "cy", "rx", "ry",
        "x", "y", "text-anchor", "font-size", "font-weight"}
HALO = {"stroke": "#ffffff", "stroke-width": "2.5", "stroke-opacity": "0.8",
        "stroke-linejoin": "round", "paint-order": "stroke"}  # so that lines do not cross letters
LOOKS = {
    "title": {"font-weight": "bold"}, "shape": {"font-size": "9"},
    "note": {"font-size": "8.5", "fill": "#6a7683"},
    "grad": {"font-size": "8.5", "fill": "#8a3ea8"},
    "formula": HALO, "flow": {**HALO, "fill": "#6a7683"},
}
# fmt: on
WIDE = {
    "fill": "none",
    "stroke": "transparent",
    "stroke-width": "9",
    "pointer-events": "stroke",
}  # fmt: skip
FONTS = "Helvetica, Arial, 'Noto Sans', sans-serif"


class Overlay:
    """What is written on each part of the drawing, by the id it has in the DOT text."""

    def __init__(self, graph: GraphData) -> None:
        self.lines: dict[str, Sequence[Line]] = {f"n{v.id}": lines(v) for v in graph.vertices}
        self.titles = {f"n{v.id}": tooltip(v) for v in graph.vertices}
        for cluster in graph.clusters:
            self.lines[f"c{cluster.id}"] = [Line("cluster", cluster_title(cluster))]
            self.titles[f"c{cluster.id}"] = clean(cluster.path, 200)
        for i, edge in enumerate(graph.edges):
            self.lines[f"e{i}"] = edge_lines(edge)
            self.titles[f"e{i}"] = edge_tooltip(edge)


def finished(source: bytes, graph: GraphData) -> str:
    """The drawing of `graph` as one <svg> element, from what Graphviz made of its DOT text.

    Raises:
        RenderError: `source` is not an SVG.
    """
    try:
        root = ElementTree.fromstring(source)
    except ElementTree.ParseError as error:
        raise RenderError(f"the layout engine's SVG cannot be read: {error}") from error
    if tag(root) != "svg":
        raise RenderError(f"the layout engine gave <{tag(root)}> instead of <svg>")
    attributes = {
        "xmlns": "http://www.w3.org/2000/svg",
        "role": "img",
        "font-family": FONTS,
        **kept(root),
    }
    return element("svg", attributes, "".join(parts(root, Overlay(graph))))


def tag(node: Element) -> str:
    """The element's name without its namespace."""
    return str(node.tag).rpartition("}")[2]


def kept(node: Element) -> dict[str, str]:
    """The attributes that say where and how; none can hold a link or a script."""
    return {key: value for key, value in node.attrib.items() if key in KEPT}


def element(name: str, attributes: dict[str, str], content: str = "") -> str:
    """An element; `content` is markup, the values are text."""
    inside = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{inside}>{content}</{name}>\n" if content else f"<{name}{inside}/>\n"


def parts(node: Element, overlay: Overlay) -> Iterator[str]:
    """The markup of what `node` holds."""
    key = node.get("id", "")
    written = iter(overlay.lines.get(key, ()))
    if overlay.titles.get(key):
        yield element("title", {}, escape(overlay.titles[key]))
    for child in sorted(node, key=layer):
        name = tag(child)
        if name == "g":
            group = {**kept(child), "data-id": child.get("id", "")}
            yield element("g", group, "".join(parts(child, overlay)))
        elif name == "text":
            yield text_element(child, next(written, None))
        elif name in SHAPES:
            yield element(name, kept(child))
            if name == "path":  # a wide invisible twin, so that the pointer finds the arrow
                yield element(name, {"d": child.get("d", ""), **WIDE})


def layer(node: Element) -> int:
    """Where a part lies: clusters below, then faint arrows, the others, and boxes on top."""
    classes = node.get("class", "").split()
    if "edge" in classes:
        return 1 if {"pair", "saved"} & set(classes) else 2
    return 3 if "node" in classes else 0


def text_element(node: Element, line: Line | None) -> str:
    """A line of text where Graphviz put it: ours, or the drawing's caption."""
    role, text = line or Line("caption", node.text or "")
    attributes = {"xml:space": "preserve", **kept(node), **LOOKS.get(role, {})}
    return element("text", attributes, escape(text))
