"""A graph as indented text, for terminals: forward and, under each box, its gradient.

    [4] matmul  (2 × 3 · float64; saves a, b; from [0] [3])
        d[4]  norm 0.31  ← d[5] dA = dY Bᵀ  uses [3]

d[4] is the gradient of box 4; after each arrow stands what it is made of, and by which rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from .data import Cluster, Edge, GraphData, Vertex
from .labels import clean, cluster_title, edge_norm, lines, rolled_words

WIDTH = 80
BAR = "│  "
LEGEND = "d[4]: the gradient of [4]; ← made of what, by which rule, ‖norm‖ of each part"


def to_text(
    graph: GraphData, *, title: str = "", legend: bool = False, formulas: bool = False
) -> str:
    """One line a box, numbered, indented by module; arrows name the boxes they come from.

    With `formulas` each of these has the rule by which its gradient comes back.  A `legend` at the
    end says what else needs a word.
    """
    arriving: dict[int, list[Edge]] = defaultdict(list)
    for edge in graph.edges:
        arriving[edge.target].append(edge)
    gradient = {v.of: v for v in graph.vertices if v.kind == "gradient" and v.of is not None}
    tags = {v.id: f"[{v.id}]" for v in graph.vertices}
    tags |= {d.id: f"d[{owner}]" for owner, d in gradient.items()}
    alone = [v for v in graph.vertices if v.of is None or gradient.get(v.of) is not v]
    rows = [clean(title, 120)] * bool(title)
    for depth, item in GraphData(tuple(alone), (), graph.clusters).outline():
        if isinstance(item, Cluster):
            rows.append(f"{BAR * depth}┌─ {cluster_title(item)}")
        elif item is None:
            rows.append(f"{BAR * depth}└─")
        else:
            d = gradient.get(item.id)
            rows += box(item, arriving[item.id], tags, BAR * depth, formulas, d is not None)
            rows += [] if d is None else grad(d, arriving[d.id], tags, f"{BAR * depth}    ")
    rows += [LEGEND] * (legend and bool(gradient))
    rows += rolled_words(graph) if legend else []
    return "\n".join(rows)


def box(
    vertex: Vertex,
    arriving: Sequence[Edge],
    tags: dict[int, str],
    indent: str,
    formulas: bool,
    has_gradient: bool,
) -> list[str]:
    """A box: what it is, its shape, what it saves, the boxes it comes from."""
    heading, *others = lines(vertex)
    facts = [line.text for line in others if line.role != "grad" or not has_gradient]
    head = f"{tags[vertex.id]} {heading.text}"
    came = [
        tags[e.source] + f" {clean(e.formula, 200)}" * (formulas and bool(e.formula))
        for e in arriving
    ]
    facts += [f"from {' '.join(came)}"] if came else []
    if not facts:
        return wrapped([head], indent, " ")
    parts = [*(f"{fact};" for fact in facts[:-1]), f"{facts[-1]})"]
    return wrapped([f"{head}  ({parts[0]}", *parts[1:]], indent, " ")


def grad(vertex: Vertex, arriving: Sequence[Edge], tags: dict[int, str], indent: str) -> list[str]:
    """A gradient: its norm, and for each of its parts where it comes from and by which rule."""
    norm = [line.text for line in lines(vertex) if line.role == "grad"]
    made = [edge for edge in arriving if edge.kind == "vjp"]
    parts = [f"← {tags[e.source]}{rule(e, len(made) > 1)}" for e in made]
    used = dict.fromkeys(tags[e.source] for e in arriving if e.kind == "saved")
    parts += [f"uses {' '.join(used)}"] if used else []
    parts += [line.text for line in lines(vertex) if line.role == "undrawn"]
    return wrapped(["  ".join([tags[vertex.id], *norm]), *parts], indent, "  ")


def rule(edge: Edge, with_norm: bool) -> str:
    """What is said of one part of a gradient."""
    formula = f" {clean(edge.formula, 200)}" if edge.formula else ""
    norm = f" ‖{edge_norm(edge)}‖" if with_norm and edge.norm is not None else ""
    return formula + norm


def wrapped(parts: Iterable[str], indent: str, between: str) -> list[str]:
    """Parts on as few lines of the usual width as they fit on, none broken."""
    rows: list[str] = []
    for part in parts:
        if rows and len(rows[-1]) + len(between) + len(part) <= WIDTH:
            rows[-1] += between + part
        else:
            rows.append(indent + ("    " if rows else "") + part)
    return rows
