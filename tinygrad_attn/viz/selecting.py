"""Selecting: only what lies between a chosen variable and the output, forward and backward."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches

from .data import GraphData, Vertex
from .errors import UnknownNameError
from .labels import clean
from .rebuilding import is_backward, rebuilt

VARIABLES = ("input", "parameter", "constant")
SHOWN = 5  # nearest names in a message


def only(graph: GraphData, to: str) -> GraphData:
    """The paths from the variable called `to` to the outputs, and the gradients along them.

    What a box on a path takes from beside it is not drawn, only counted (`Vertex.undrawn`).  Where
    several variables have this name, the paths of all of them.  Any other tensor can be
    chosen by the name it was given.

    Raises:
        UnknownNameError: nothing has this name; the message has the nearest names.
    """
    chosen = {v.id for v in graph.vertices if to in names(v)}
    if not chosen:
        raise UnknownNameError(unknown(graph, to))
    forward = [edge for edge in graph.edges if edge.kind == "forward"]
    ends = {v.id for v in graph.vertices if v.kind == "output"}
    after = reached(chosen, ((edge.source, edge.target) for edge in forward))
    path = after & reached(ends or after, ((edge.target, edge.source) for edge in forward))
    path |= chosen
    kept = {v.id: v for v in graph.vertices if v.id in path or v.of in path}
    missing = Counter(
        edge.target for edge in graph.edges if edge.kind != "vjp" and edge.source not in kept
    )
    boxes = [replace(v, undrawn=v.undrawn + missing[v.id]) for v in kept.values()]
    return rebuilt(boxes, graph.edges, graph.clusters)


def names(vertex: Vertex) -> set[str]:
    """The names by which a box can be chosen; gradients follow what they are gradients of."""
    if is_backward(vertex):
        return set()
    own = {vertex.label} if vertex.kind in VARIABLES else set()
    return own | ({vertex.name} if vertex.name is not None else set())


def unknown(graph: GraphData, to: str) -> str:
    """What to say of a name that nothing has."""
    known = dict.fromkeys(name for vertex in graph.vertices for name in sorted(names(vertex)))
    near = get_close_matches(clean(to, 200), [name for name in known if len(name) <= 200], SHOWN, 0)
    shown = ", ".join(repr(clean(name)) for name in near or list(known)[:SHOWN])
    nearest = f"the nearest names are {shown}" if shown else "nothing in it has a name"
    return f"to: nothing in the graph is called {clean(to)!r}; {nearest}"


def reached(starts: Iterable[int], steps: Iterable[tuple[int, int]]) -> set[int]:
    """All ids that steps (from, to) lead to from `starts`, themselves included."""
    onward: dict[int, list[int]] = defaultdict(list)
    for here, there in steps:
        onward[here].append(there)
    found, waiting = set(starts), list(starts)
    while waiting:
        fresh = [there for there in onward[waiting.pop()] if there not in found]
        found.update(fresh)
        waiting += fresh
    return found
