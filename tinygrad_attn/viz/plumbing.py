"""Hiding plumbing: operations that only move elements disappear, their ends are joined.

What is hidden are the operations in `dot.PLUMBING` (reshape, transpose, split …), the single
results of operations that have several, and the gradients of all these.  A box with a name that
somebody gave it stays, since it was named to be seen, and so does one that would leave many more
arrows than it takes away, such as a concatenation of many that goes to many.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from graphlib import TopologicalSorter
from typing import NamedTuple

from .data import Edge, EdgeKind, GraphData, Vertex
from .dot import PLUMBING
from .rebuilding import bundled, is_backward, rebuilt, role_of

REARRANGED = "dx = dy, "  # so begins the formula of what only moves elements
SAME_ORDER = frozenset({"astype", "expand_dims", "reshape", "squeeze"})  # not worth a word
INDICES = ("index", "indices")  # arguments that say what is moved, but are not moved
WORDS = 3  # that follow a formula at most
ARROWS = 16  # that may take the place of one box


class Way(NamedTuple):
    """How one comes from a box that stays to one that is hidden.

    Attributes:
        first: the edge that leaves the box that stays.
        words: what the hidden rules do to the gradient, in the order in which they do it; None
            where that cannot be said in words.
        alone: no other way leads there.
    """

    first: Edge
    words: tuple[str, ...] | None
    alone: bool


def hide_plumbing(graph: GraphData) -> GraphData:
    """`graph` without operations that only move elements, the boxes around them joined.

    A joined edge keeps the rule of the operation that stays, followed by how the hidden ones move
    the gradient: "dB = Aᵀ dY, axes put back".  Where they do more than move it (add parts up, pick
    some) the formula is left out, since it would not be true.  So is a norm that could change.
    """
    joining = Joining(graph)
    gone = joining.ways.keys() | joining.idle()
    kept = [v for v in graph.vertices if v.id not in gone]
    edges = bundled(graph, joining.changes())
    return rebuilt(kept, edges, graph.clusters)


class Joining:
    """Which boxes are hidden, and the ways that lead to each; the gradients follow."""

    def __init__(self, graph: GraphData) -> None:
        self.graph = graph
        self.ways: dict[int, list[Way]] = {}
        self.into: dict[tuple[EdgeKind, int], list[Edge]] = defaultdict(list)
        self.leaving = Counter((edge.kind, edge.source) for edge in graph.edges)
        for edge in graph.edges:
            self.into[edge.kind, edge.target].append(edge)
        gradients = [v for v in graph.vertices if v.kind == "gradient"]
        starts = {v.of for v in gradients if not self.into["vjp", v.id]}
        movers = {
            v.id for v in graph.vertices
            if moves(v) and v.name is None and not is_backward(v) and v.id not in starts
        }  # fmt: skip
        self.walk(["forward"], movers)
        after = {v.id for v in gradients if v.of in self.ways}
        after |= {v.id for v in graph.vertices if is_backward(v) and moves(v)}
        self.walk(["vjp", "saved"], after)

    def walk(self, kinds: Sequence[EdgeKind], boxes: set[int]) -> None:
        """Hide `boxes` one after the other, each after those before it."""
        into = {i: [edge for kind in kinds for edge in self.into[kind, i]] for i in boxes}
        before = {i: {edge.source for edge in into[i]} & boxes for i in boxes}
        for i in TopologicalSorter(before).static_order():
            moved = [edge for edge in into[i] if edge.argument not in INDICES]
            ways = [way for edge in moved for way in self.leading(edge)]
            leaving = self.leaving[kinds[0], i]
            few = min(len(ways), leaving) == 1 or 0 < len(ways) * leaving <= ARROWS
            if few or self.graph.vertices[i].kind == "gradient":
                alone = sum(way.first.kind != "saved" for way in ways) == 1
                self.ways[i] = [way._replace(alone=alone and way.alone) for way in ways]

    def leading(self, edge: Edge) -> Iterator[Way]:
        """The ways that end with `edge` at a hidden box."""
        forward, words = edge.kind == "forward", self.words(edge)
        if edge.source not in self.ways:
            yield Way(edge, words if forward else (), True)
        for way in self.ways.get(edge.source, ()):
            if edge.kind == "saved":
                yield Way(replace(edge, source=way.first.source), (), True)
            elif forward:
                yield way._replace(words=together(words, way.words))
            else:
                yield way._replace(words=together(way.words, words))

    def words(self, edge: Edge) -> tuple[str, ...] | None:
        """What the rule of the hidden operation to which `edge` belongs does to the gradient."""
        vertex = self.graph.vertices[edge.target if edge.kind == "forward" else edge.source]
        if vertex.kind == "gradient" and vertex.of is not None:
            vertex = self.graph.vertices[vertex.of]
        if vertex.kind == "result" or vertex.label in SAME_ORDER:
            return ()
        if vertex.label == "split":
            return ("in its place",)
        if not edge.formula.startswith(REARRANGED):
            return None
        words = edge.formula.removeprefix(REARRANGED)
        return ("axes put back" if words.startswith("axes") else words,)

    def idle(self) -> set[int]:
        """The variables that served hidden boxes alone, such as indices."""
        forward = [edge for edge in self.graph.edges if edge.kind == "forward"]
        joined = {way.first.source for ways in self.ways.values() for way in ways}
        used = {edge.source for edge in forward if edge.target not in self.ways} | joined
        return {edge.source for edge in forward} - used - self.ways.keys()

    def changes(self) -> Iterator[tuple[Edge, Edge, Hashable]]:
        """(old, new, role) of the edges between boxes that stay, joined ones included."""
        for edge in self.graph.edges:
            if edge.target in self.ways:
                continue
            if edge.source not in self.ways:
                yield edge, edge, None
            for way in self.ways.get(edge.source, ()):
                new = self.joined(way, edge)
                yield edge, new, role_of(new)

    def joined(self, way: Way, last: Edge) -> Edge:
        """One edge for the way to a hidden box and the edge that leaves it."""
        new = replace(last, source=way.first.source)
        if last.kind == "forward":
            return replace(new, formula=sentence(last.formula, way.words))
        if "saved" in (way.first.kind, last.kind):
            kept = way.first if way.first.kind == "saved" else last
            return replace(kept, source=new.source, target=new.target)
        if self.graph.vertices[last.source].kind == "op":
            return new
        words = together(way.words, self.words(last))
        norm = way.first.norm if words is not None else last.norm if way.alone else None
        formula = sentence(way.first.formula, words)
        return replace(new, argument=way.first.argument, formula=formula, norm=norm)


def moves(vertex: Vertex) -> bool:
    """Does this operation only move elements?"""
    return vertex.kind == "result" or (vertex.kind == "op" and vertex.label in PLUMBING)


def together(first: tuple[str, ...] | None, then: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The words of one rule after another."""
    if first is None or then is None:
        return None
    words = tuple(dict.fromkeys(first + then))
    return words if len(words) <= WORDS else ("elements moved back",)


def sentence(formula: str, words: tuple[str, ...] | None) -> str:
    """A formula and what happens then; "" where one of them is not known."""
    return ", ".join((formula, *words)) if formula and words is not None else ""
