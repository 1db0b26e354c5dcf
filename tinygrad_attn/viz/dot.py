"""A graph in DOT, Graphviz's language.

Text becomes a quoted string, in which Graphviz knows three signs: a backslash, a quotation mark and
an ampersand; each is written so that it stands for itself.  No label is ever of the HTML-like kind,
and no attribute that could hold a link is used.
"""

from __future__ import annotations

from ..engine import ShapeError
from .data import Cluster, Edge, GraphData, Vertex
from .labels import clean, lines, visible

FONT, INK, QUIET = "Helvetica", "#1f2933", "#5f6c7b"
# Fill and border by kind, from Okabe and Ito's colour-blind safe palette; shapes differ as well.
# fmt: off
LOOKS = {
    "input": ("ellipse", "filled", "#d9ecf8", "#0072b2"),
    "parameter": ("box", "filled", "#fdebd0", "#d08700"),
    "op": ("box", "rounded,filled", "#ffffff", "#6b7885"),
    "result": ("box", "rounded,filled", "#fafafa", "#c3cad1"),
    "output": ("ellipse", "filled,bold", "#d5f0e6", "#009e73"),
    "module": ("box", "rounded,filled,bold", "#e4eaf1", "#7d92aa"),
}
# Operations that only move elements are drawn lighter, so that the arithmetic stands out.
PLUMBING = frozenset({
    "astype", "broadcast_to", "concatenate", "diagonal", "expand_dims", "flip", "getitem",
    "moveaxis", "pad", "repeat", "reshape", "roll", "scatter", "split", "squeeze", "stack",
    "swapaxes", "take", "tile", "transpose", "tril", "triu",
})
# fmt: on
LEGEND = {
    "input": "ellipse: input, output",
    "parameter": "square box: parameter",
    "op": "rounded box: operation and its result (pale: only moves elements)",
    "module": "bold box: folded module",
}


def to_dot(
    graph: GraphData,
    *,
    title: str = "",
    direction: str = "TB",
    legend: bool = True,
    formulas: bool = False,
) -> str:
    """DOT text of `graph`: the same text for the same graph, every time.

    With `formulas` every arrow carries the rule by which the gradient comes back along it.

    Raises:
        ShapeError: `direction` is neither "TB" (top to bottom) nor "LR" (left to right).
    """
    if direction not in ("TB", "LR"):
        raise ShapeError(f'direction: expected "TB" or "LR", got {direction!r}')
    caption = [clean(title, 120)] * bool(title) + key(graph) * legend
    rows = ["digraph graph_of_tensors {", *header(caption, direction)]
    for depth, item in graph.outline():
        indent = "  " * (depth + 1)
        if isinstance(item, Cluster):
            rows += [indent + row for row in opening(item)]
        else:
            rows.append(indent + ("}" if item is None else statement(item)))
    rows += [arrow(i, edge, formulas) for i, edge in enumerate(graph.edges)]
    return "\n".join([*rows, "}", ""])


def key(graph: GraphData) -> list[str]:
    """What the shapes and words of this drawing mean, in a line or two."""
    kinds = {v.kind for v in graph.vertices}
    words = [meaning for kind, meaning in LEGEND.items() if kind in kinds]
    words += ["saves: arrays kept for backward"] * any(v.saves for v in graph.vertices)
    normed = any(v.grad_norm is not None for v in graph.vertices)
    words += ["‖grad‖: norm of the gradient"] * normed
    return ["  ·  ".join(row) for row in (words[:2], words[2:4], words[4:]) if row]


def header(caption: list[str], direction: str) -> list[str]:
    """What holds for the whole drawing."""
    left = "".join(escaped(line) + "\\l" for line in caption)
    return [
        f'  graph [charset="UTF-8", rankdir={direction}, ranksep=0.32, nodesep=0.22, pad=0.15, '
        f'bgcolor="#ffffff", fontname={FONT}, fontsize=9, fontcolor="{QUIET}", labelloc=b, '
        f'labeljust=l, label="{left}"];',
        f'  node [fontname={FONT}, fontsize=10, fontcolor="{INK}", height=0.3, '
        'margin="0.13,0.06"];',
        f'  edge [color="#8491a0", arrowsize=0.6, fontname={FONT}, fontsize=8, '
        'fontcolor="#8a3ea8"];',
    ]


def opening(cluster: Cluster) -> list[str]:
    """The start of a cluster; its tint is translucent, so that it deepens with every level."""
    return [
        f"subgraph cluster_{cluster.id} {{",
        f"  graph [id=c{cluster.id}, label={quoted(visible(cluster.name))}, "
        'style="rounded,filled", fillcolor="#5b7fa318", color="#a9b8c8", '
        f'fontname="{FONT}-Bold", fontsize=10, fontcolor="#42566b", labelloc=t, margin=10];',
    ]


def statement(vertex: Vertex) -> str:
    """One box."""
    look, style, fill, border = LOOKS["result" if pale(vertex) else vertex.kind]
    texts = quoted(*(line.text for line in lines(vertex)))
    small = f', fontsize=9, fontcolor="{QUIET}"' if pale(vertex) else ""
    small += ', margin="0.01,0.01"' if look == "ellipse" else ""
    return (
        f"n{vertex.id} [id=n{vertex.id}, class={vertex.kind}, label={texts}, shape={look}, "
        f'style="{style}", fillcolor="{fill}", color="{border}"{small}];'
    )


def pale(vertex: Vertex) -> bool:
    """Does this box only move elements?"""
    return vertex.kind == "result" or (vertex.kind == "op" and vertex.label in PLUMBING)


def arrow(i: int, edge: Edge, formulas: bool) -> str:
    """One arrow; its argument and formula travel along as data."""
    facts = {"argument": edge.argument, "formula": edge.formula}
    facts["label"] = edge.formula if formulas else ""
    extra = "".join(f", {name}={quoted(clean(text, 200))}" for name, text in facts.items() if text)
    return f"  n{edge.source} -> n{edge.target} [id=e{i}, class={edge.kind}{extra}];"


def quoted(*texts: str) -> str:
    """Clean lines of text as one DOT string."""
    return '"' + "\\n".join(map(escaped, texts)) + '"'


def escaped(text: str) -> str:
    """Clean text inside a DOT string, every sign standing for itself."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
