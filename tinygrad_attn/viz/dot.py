"""A graph in DOT, Graphviz's language.

Text becomes a quoted string, in which Graphviz knows three signs: a backslash, a quotation mark and
an ampersand; each is written so that it stands for itself.  No label is ever of the HTML-like kind,
and no attribute that could hold a link is used.
"""

from __future__ import annotations

from itertools import pairwise

from .data import Cluster, Edge, GraphData, Vertex
from .labels import clean, cluster_title, edge_lines, lines, number_text, rolled_words
from .norms import TROUBLE, UNKNOWN, ZERO, Scale
from .rebuilding import only_moves

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
    "constant": ("box", "filled,dashed", "#f1f1ef", "#8c8c86"),
    "gradient": ("box", "rounded,filled", "#f8eef8", "#a3479c"),
    "moved gradient": ("box", "rounded,filled", "#fdfafd", "#dcc3da"),
    "step": ("box", "rounded,filled", "#ffffff", "#b48fb2"),
}
# fmt: on
NBSP = "\N{NO-BREAK SPACE}"
PAIR = 'style=dotted, dir=none, color="#c9b3d1"'
SAVED = (
    'style=dashed, color="#c0a9cf", arrowhead=vee, arrowsize=0.45, penwidth=0.8, constraint=false'
)
PALE = {"result", "moved gradient", "constant"}
# Fill, border, ink and size of letters of a cluster.
MODULE = ("#5b7fa318", "#a9b8c8", "#42566b", 10)
RULE = ("#a3479c12", "#d3b3d0", "#7d4478", 8)
NAMES = {ZERO: "thin grey", TROUBLE: "thick orange", UNKNOWN: "brown"}
LEGEND = {
    "input": "ellipse: input, output",
    "parameter": "square box: parameter",
    "op": "rounded box: operation and its result",
    "module": "bold box: folded module",
    "constant": "dashed box: constant",
    "gradient": "purple box: gradient, beside its tensor",
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

    `direction` is "TB" (top to bottom) or "LR" (left to right).  With `formulas` every arrow
    carries the rule by which the gradient comes back along it.
    """
    scale = Scale(graph.edges)
    caption = [clean(title, 120)] * bool(title) + key(graph, scale) * legend
    paired = pairs(graph)
    rows = ["digraph graph_of_tensors {", *header(caption, direction, paired)]
    passes = clusters_by_pass(graph)
    for depth, item in graph.outline():
        indent = "  " * (depth + 1)
        if isinstance(item, Cluster):
            rows += [indent + row for row in opening(item, item.id in passes)]
        else:
            rows.append(indent + ("}" if item is None else statement(item, graph)))
    rows += paired
    rows += [arrow(i, edge, formulas, scale) for i, edge in enumerate(graph.edges)]
    rows += scale_rows(scale, lowest(graph)) if legend and graph.vertices else []
    return "\n".join([*rows, "}", ""])


def key(graph: GraphData, scale: Scale) -> list[str]:
    """What the shapes and words of this drawing mean, in a line or two."""
    kinds = {v.kind for v in graph.vertices}
    words = [meaning for kind, meaning in LEGEND.items() if kind in kinds]
    pale = any(look_of(v, graph) == "result" for v in graph.vertices)
    words += ["pale box: only moves elements"] * pale
    words += ["saves: arrays kept for backward"] * any(v.saves for v in graph.vertices)
    flows = {edge.kind for edge in graph.edges}
    words += ["dashed arrow: a saved array and the rule that uses it"] * ("saved" in flows)
    normed = any(v.grad_norm is not None and v.kind != "gradient" for v in graph.vertices)
    words += ["‖grad‖: norm of the gradient"] * normed
    words += [f"{NAMES[look]} arrow: {meaning}" for look, meaning in scale.others]
    words += rolled_words(graph)
    return ["  ·  ".join(words[i : i + 2]) for i in range(0, len(words), 2)]


def header(caption: list[str], direction: str, both: object) -> list[str]:
    """What holds for the whole drawing; `both` directions share their ranks across clusters."""
    ranks = "newrank=true, " if both else ""
    left = "".join(escaped(line) + "\\l" for line in caption)
    return [
        f'  graph [charset="UTF-8", {ranks}rankdir={direction}, ranksep=0.32, '
        f'nodesep=0.22, pad=0.15, bgcolor="#ffffff", fontname={FONT}, fontsize=9, '
        f'fontcolor="{QUIET}", labelloc=b, labeljust=l, label="{left}"];',
        f'  node [fontname={FONT}, fontsize=10, fontcolor="{INK}", height=0.3, '
        'margin="0.13,0.06"];',
        f'  edge [color="#8491a0", arrowsize=0.6, fontname={FONT}, fontsize=8, '
        'fontcolor="#8a3ea8"];',
    ]


def clusters_by_pass(graph: GraphData) -> set[int]:
    """The clusters that hold something of the forward pass; the others are rules."""
    forward: set[int] = set()
    for vertex in graph.vertices:
        cluster = vertex.cluster if vertex.of is None else None
        while cluster is not None and cluster not in forward:
            forward.add(cluster)
            cluster = graph.clusters[cluster].parent
    return forward


def opening(cluster: Cluster, forward: bool) -> list[str]:
    """The start of a cluster; its tint is translucent, so that it deepens with every level."""
    fill, border, ink, size = MODULE if forward else RULE
    return [
        f"subgraph cluster_{cluster.id} {{",
        f"  graph [id=c{cluster.id}, label={quoted(cluster_title(cluster))}, "
        f'style="rounded,filled", fillcolor="{fill}", color="{border}", '
        f'fontname="{FONT}-Bold", fontsize={size}, fontcolor="{ink}", labelloc=t, margin=10];',
    ]


def statement(vertex: Vertex, graph: GraphData) -> str:
    """One box."""
    role = look_of(vertex, graph)
    look, style, fill, border = LOOKS[role]
    texts = quoted(*(line.text for line in lines(vertex)))
    small = f', fontsize=9, fontcolor="{QUIET}"' if role in PALE else ""
    small += ', margin="0.01,0.01"' if look == "ellipse" else ""
    return (
        f"n{vertex.id} [id=n{vertex.id}, class={vertex.kind}, label={texts}, shape={look}, "
        f'style="{style}", fillcolor="{fill}", color="{border}"{small}];'
    )


def look_of(vertex: Vertex, graph: GraphData) -> str:
    """Which of LOOKS a box has: its kind, or that of what only moves elements or serves a rule."""
    if vertex.kind == "op" and vertex.of is not None:
        return "step"
    if only_moves(vertex) and vertex.name is None:
        return "result"
    if vertex.kind == "gradient" and vertex.of is not None:
        moved = look_of(graph.vertices[vertex.of], graph) == "result"
        return "moved gradient" if moved else "gradient"
    return vertex.kind


def lowest(graph: GraphData) -> int:
    """The vertex under which nothing else is drawn."""
    return max((v.id for v in graph.vertices if v.of is None), default=0)


def pairs(graph: GraphData) -> list[str]:
    """Every gradient beside what it is the gradient of."""
    return [
        f"  {{ rank=same; n{v.of} -> n{v.id} [class=pair, {PAIR}]; }}"
        for v in graph.vertices
        if v.kind == "gradient" and v.of is not None
    ]


def arrow(i: int, edge: Edge, formulas: bool, scale: Scale) -> str:
    """One arrow; its argument and formula travel along as data."""
    facts = {"argument": edge.argument, "formula": edge.formula}
    extra = "".join(f", {name}={quoted(clean(text, 200))}" for name, text in facts.items() if text)
    written = edge_lines(edge) if formulas or edge.kind == "vjp" else []
    # Room on both sides, since Graphviz does not ask how wide the arrow is.
    texts = [f"{NBSP * 2}{line.text}{NBSP * 2}" for line in written]
    extra += f", label={quoted(*texts)}" if texts else ""
    ends = f"n{edge.source} -> n{edge.target}"
    if edge.kind == "saved":
        extra += f", {SAVED}"
    elif edge.kind == "vjp":  # drawn against its direction, so that both passes share their ranks
        color, width = scale.look(edge.norm)
        ends = f"n{edge.target} -> n{edge.source}"
        size = 0.45 + 0.25 / width
        extra += f', dir=back, color="{color}", penwidth={width}, arrowsize={size:.2f}'
    return f"  {ends} [id=e{i}, class={edge.kind}{extra}];"


def scale_rows(scale: Scale, above: int) -> list[str]:
    """The scale of norms as a row under vertex `above`: between two numbers the arrow's look."""
    marks = scale.marks()
    if not marks:
        return []
    names = [f"scale{i}" for i in range(len(marks))]
    texts = [number_text(mark) for mark in marks]
    texts[0] = f"norm{NBSP * 2}{texts[0]}"
    small = f'shape=plaintext, fontsize=8, fontcolor="{QUIET}", margin=0.02, height=0.2, width=0.2'
    rows = [f"  n{above} -> {names[0]} [style=invis];", "  { rank=same;"]
    rows += [
        f"    {name} [id={name}, class=scale, label={quoted(text)}, {small}];"
        for name, text in zip(names, texts, strict=True)
    ]
    for (start, end), (color, width) in zip(pairwise(names), scale.looks, strict=True):
        rows.append(
            f'    {start} -> {end} [class=scale, dir=none, color="{color}", penwidth={width}];'
        )
    return [*rows, "  }"]


def quoted(*texts: str) -> str:
    """Clean lines of text as one DOT string."""
    return '"' + "\\n".join(map(escaped, texts)) + '"'


def escaped(text: str) -> str:
    """Clean text inside a DOT string, every sign standing for itself."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
