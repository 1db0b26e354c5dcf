"""Hiding plumbing: operations that only move elements disappear, their ends are joined.

What is hidden are the operations in `rebuilding.PLUMBING` (reshape, transpose, split …), the single
results of operations that have several, and the gradients of all these.  They only permute or
relabel elements, so every formula and every norm stays true.  What picks elements, drops them,
copies them, sets them to zero or joins several tensors is no plumbing.  A box with a name that
somebody gave it stays, since it was named to be seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from graphlib import TopologicalSorter
from typing import NamedTuple

from .data import Edge, EdgeKind, GraphData
from .rebuilding import PLUMBING, bundled, is_backward, meaning_of, only_moves, rebuilt

WORDS = 3  # that follow a formula at most


class Way(NamedTuple):
    """How one comes from a box that stays to one that is hidden.

    Attributes:
        first: the edge that leaves the box that stays.
        words: what the hidden rules do to the gradient, in the order in which they do it.
    """

    first: Edge
    words: tuple[str, ...] = ()


def hide_plumbing(graph: GraphData) -> GraphData:
    """`graph` without operations that only move elements, the boxes around them joined.

    A joined edge keeps the rule of the operation that stays, followed by how the hidden ones move
    the gradient: "dB = Aᵀ dY, axes put back".
    """
    joining = Joining(graph)
    kept = [v for v in graph.vertices if v.id not in joining.ways]
    edges = bundled(graph, joining.changes())
    return rebuilt(kept, edges, graph.clusters)


class Joining:
    """Which boxes are hidden, and the ways that lead to each; the gradients follow."""

    def __init__(self, graph: GraphData) -> None:
        self.graph = graph
        self.ways: dict[int, list[Way]] = {}
        self.into: dict[tuple[EdgeKind, int], list[Edge]] = defaultdict(list)
        for edge in graph.edges:
            self.into[edge.kind, edge.target].append(edge)
        gradients = [v for v in graph.vertices if v.kind == "gradient"]
        starts = {v.of for v in gradients if not self.into["vjp", v.id]}
        movers = {
            v.id for v in graph.vertices
            if only_moves(v) and v.name is None and not is_backward(v) and v.id not in starts
        }  # fmt: skip
        self.walk(["forward"], movers)
        after = {v.id for v in gradients if v.of in self.ways}
        after |= {v.id for v in graph.vertices if is_backward(v) and only_moves(v)}
        self.walk(["vjp", "saved"], after)

    def walk(self, kinds: Sequence[EdgeKind], boxes: set[int]) -> None:
        """Hide `boxes` one after the other, each after those before it."""
        into = {i: [edge for kind in kinds for edge in self.into[kind, i]] for i in boxes}
        before = {i: {edge.source for edge in into[i]} & boxes for i in boxes}
        for i in TopologicalSorter(before).static_order():
            self.ways[i] = [way for edge in into[i] for way in self.leading(edge)]

    def leading(self, edge: Edge) -> Iterator[Way]:
        """The ways that end with `edge` at a hidden box."""
        forward, words = edge.kind == "forward", self.words(edge)
        if edge.source not in self.ways:
            yield Way(edge, words if forward else ())
        for way in self.ways.get(edge.source, ()):
            if edge.kind == "saved":
                yield Way(replace(edge, source=way.first.source))
            elif forward:
                yield way._replace(words=together(words, way.words))
            else:
                yield way._replace(words=together(way.words, words))

    def words(self, edge: Edge) -> tuple[str, ...]:
        """What the rule of the hidden operation to which `edge` belongs does to the gradient."""
        vertex = self.graph.vertices[edge.target if edge.kind == "forward" else edge.source]
        if vertex.kind == "gradient" and vertex.of is not None:
            vertex = self.graph.vertices[vertex.of]
        words = PLUMBING.get(vertex.label, "") if vertex.kind == "op" else ""
        return (words,) * bool(words)

    def changes(self) -> Iterator[tuple[Edge, Edge, Hashable]]:
        """(old, new, role) of the edges between boxes that stay, joined ones included."""
        for edge in self.graph.edges:
            if edge.target in self.ways:
                continue
            if edge.source not in self.ways:
                yield edge, edge, None
            for way in self.ways.get(edge.source, ()):
                new = self.joined(way, edge)
                yield edge, new, meaning_of(new)

    def joined(self, way: Way, last: Edge) -> Edge:
        """One edge for the way to a hidden box and the edge that leaves it."""
        first = way.first
        new = replace(last, source=first.source)
        if last.kind == "forward":
            return replace(new, formula=sentence(last.formula, way.words))
        if "saved" in (first.kind, last.kind):
            kept = first if first.kind == "saved" else last
            return replace(kept, source=new.source, target=new.target)
        if self.graph.vertices[last.source].kind == "op":
            return new
        formula = sentence(first.formula, together(way.words, self.words(last)))
        return replace(first, target=last.target, formula=formula, shape=last.shape)


def together(first: tuple[str, ...], then: tuple[str, ...]) -> tuple[str, ...]:
    """The words of one rule after another."""
    words = tuple(dict.fromkeys(first + then))
    return words if len(words) <= WORDS else ("elements moved back",)


def sentence(formula: str, words: tuple[str, ...]) -> str:
    """A formula and what happens then; "" where it is not known."""
    return ", ".join((formula, *words)) if formula else ""
