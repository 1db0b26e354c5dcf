"""What is written on a box, and how text from outside is made fit to be shown.

Names and tokens stay text: one line, of bounded length.  Replaced is only what no picture can show:
a line break becomes ⏎, a tab ⇥; other control characters, lone surrogates, non-characters and the
invisible marks that turn round the direction of the text after them become U+FFFD (the replacement
character).  What is too long ends in an ellipsis.
"""

from __future__ import annotations

from typing import NamedTuple
from unicodedata import category

from .data import Cluster, Edge, GraphData, Shape, Vertex
from .rebuilding import is_backward

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
VISIBLE = {"\n": "⏎", "\t": "⇥"}
UNSHOWABLE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's general categories
DIRECTIONS = frozenset(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
NAME_LIMIT = 60
ROLLED = "×3: three equal modules drawn once"
RANGE = "×3 with norms: from the least to the greatest; (name): of that module alone"
KEPT = "saved by the forward pass, used by this rule"


# ── text from outside ────────────────────────────────────────────────────────────────────────────
def clean(text: object, limit: int = NAME_LIMIT) -> str:
    """`text` on one line of at most `limit` characters, without what cannot be shown."""
    line = str(text)
    if len(line) > limit:
        line = line[: limit - 1] + "…"
    return line if line.isprintable() else "".join(map(showable, line))


def showable(character: str) -> str:
    """The character itself, or what stands for it."""
    if character in VISIBLE:
        return VISIBLE[character]
    code = ord(character)
    noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    hidden = noncharacter or category(character) in UNSHOWABLE or character in DIRECTIONS
    return REPLACEMENT if hidden else character


# ── what is written on a box ─────────────────────────────────────────────────────────────────────
class Line(NamedTuple):
    """One line of a label and the part it plays, which decides how it looks."""

    role: str
    text: str


def lines(vertex: Vertex) -> list[Line]:
    """The label of a box, line by line, the title first; every line is clean and not empty."""
    written = [Line("title", title(vertex))]
    if vertex.dtype or vertex.kind != "constant":  # else the array was not kept
        written.append(Line("shape", shapes_text(vertex)))
    if vertex.kind == "constant":
        written.append(Line("note", "constant"))
    if vertex.constants:
        written.append(Line("note", clean("constant " + ", ".join(vertex.constants))))
    if vertex.saves:
        written.append(Line("note", clean("saves " + ", ".join(vertex.saves))))
    if vertex.operations:
        written.append(
            Line("note", f"{vertex.operations} operation{'s' * (vertex.operations > 1)}")
        )
    if vertex.undrawn:
        written.append(Line("undrawn", undrawn(vertex)))
    if vertex.grad_norm is not None:
        word = "norm" if vertex.kind == "gradient" else "‖grad‖"
        written.append(Line("grad", f"{word} {norm_text(vertex.grad_norm, vertex.least_norm)}"))
    return written


def undrawn(vertex: Vertex) -> str:
    """What a box needs besides what is drawn: "2 arguments not drawn"."""
    what = "saved value" if is_backward(vertex) else "argument"
    return f"{vertex.undrawn} {what}{'s' * (vertex.undrawn > 1)} not drawn"


def title(vertex: Vertex) -> str:
    """The box's label; before it the tensor's name where that is something else."""
    label = visible(vertex.label)
    named = vertex.name is not None and vertex.name != vertex.label
    return (f"{visible(vertex.name)} = {label}" if named else label) + times(vertex)


def cluster_title(cluster: Cluster) -> str:
    """What is written on a cluster: its name, and how many it stands for."""
    return visible(cluster.name) + times(cluster)


def times(item: Vertex | Cluster) -> str:
    """How many equal siblings it stands for, where there are several."""
    return f" ×{item.count}" if item.count > 1 else ""


def summary(graph: GraphData) -> str:
    """How much there is in a graph, in a few words."""
    boxes, arrows, modules = map(len, (graph.vertices, graph.edges, graph.clusters))
    return f"Graph: {boxes} boxes, {arrows} arrows, {modules} modules"


def rolled_words(graph: GraphData) -> list[str]:
    """What ×3 means in a drawing of `graph`, if it has such a thing."""
    if not any(map(times, graph.vertices)) and not any(map(times, graph.clusters)):
        return []
    normed = any(v.grad_norm is not None for v in graph.vertices)
    return [ROLLED, *[RANGE] * normed]


def visible(name: object) -> str:
    """A clean name; an empty or blank one becomes its quoted form."""
    text = clean(name)
    return text if text.strip() else repr(text)


def tooltip(vertex: Vertex) -> str:
    """Where a box belongs and what it is, for the pointer that rests on it."""
    place = f"{clean(vertex.scope, 200)}: " if vertex.scope else ""
    return place + "\n".join(line.text for line in lines(vertex))


def edge_tooltip(edge: Edge) -> str:
    """What flows along an arrow, and the formula by which its gradient comes back."""
    parts = [KEPT] if edge.kind == "saved" else []
    parts += [shape_text(edge.shape)] if edge.shape and isinstance(edge.shape[0], int) else []
    parts += [f"norm {edge_norm(edge)}"] if edge.norm is not None else []
    parts += [f"argument {clean(edge.argument)}"] if edge.argument else []
    before = "" if edge.kind == "vjp" else "backward: "
    parts += [f"{before}{clean(edge.formula, 200)}"] if edge.formula else []
    return "\n".join(parts)


def edge_lines(edge: Edge) -> list[Line]:
    """What is written on an arrow: the formula, and of a gradient its shape and norm."""
    written = [Line("formula", clean(edge.formula, 200))] if edge.formula else []
    if edge.kind == "vjp" and edge.norm is not None:
        several = bool(edge.shape) and isinstance(edge.shape[0], tuple)
        shape = f"{len(edge.shape)} shapes" if several else shape_text(edge.shape)
        written.append(Line("flow", f"{shape} · norm {edge_norm(edge)}"))
    return written


def edge_norm(edge: Edge) -> str:
    """The norm of what flows along an arrow, and of rolled up siblings whose it is."""
    return norm_text(edge.norm or 0.0, edge.least_norm) + (
        f" ({clean(edge.sibling)})" if edge.sibling else ""
    )


def norm_text(norm: float, least: float | None) -> str:
    """A norm, or a range of them: "0.658 – 0.688"."""
    ends = dict.fromkeys(number_text(end) for end in (least, norm) if end is not None)
    return " – ".join(ends)


def shapes_text(vertex: Vertex) -> str:
    """Shape and dtype: "3 × 4 · float32"."""
    several = bool(vertex.shape) and isinstance(vertex.shape[0], tuple)
    shape = f"{len(vertex.shape)} results" if several else shape_text(vertex.shape)
    return f"{shape} · {vertex.dtype}" if vertex.dtype and vertex.kind != "gradient" else shape


def shape_text(shape: Shape | tuple[Shape, ...]) -> str:
    """A shape as people write it: "3 × 4", and "scalar" for a 0-d array."""
    return " × ".join(map(str, shape)) if shape else "scalar"


def number_text(value: float, digits: int = 3) -> str:
    """So many significant digits, in the shortest form, with a true minus sign."""
    return f"{value:.{digits}g}".replace("-", "−")
