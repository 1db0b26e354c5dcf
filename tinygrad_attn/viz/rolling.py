"""Rolling up: equal siblings in a row, such as the blocks of a Transformer, become one.

Equal means: the same operations in the same order, of the same shapes, joined in the same way;
names may differ in their numbers.  Ids are the order of creation, and the same code creates the
same things in the same order, so comparing place by place is enough.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from .data import Cluster, Edge, GraphData, Vertex
from .rebuilding import OPERATIONS, Norm, bundled, is_backward, is_folded, rebuilt

NUMBER = re.compile(r"(\d+)")


class Unit(NamedTuple):
    """What can be rolled up: a cluster with all it holds, or one folded box."""

    clusters: tuple[int, ...]
    vertices: tuple[int, ...]


def roll(graph: GraphData) -> GraphData:
    """`graph` with each row of equal siblings drawn once, the last one for all.

    Edges into and out of any of them now lead to and from that one; edges between them are gone.
    Norms are the range of theirs: siblings in series are no parts of one long vector.  An arrow
    that one of them alone has says whose it is.
    """
    while rows := Rows(graph).found():
        graph = rolled(graph, rows)
    return graph


def plain(name: str | None) -> tuple[str, ...] | None:
    """What stands between the numbers of a name."""
    return None if name is None else tuple(NUMBER.split(name)[::2])


# ── finding rows ─────────────────────────────────────────────────────────────────────────────────
class Rows:
    """Looks for the outermost rows of equal siblings in a graph."""

    def __init__(self, graph: GraphData) -> None:
        self.graph = graph
        self.parts: dict[int | None, list[int]] = defaultdict(list)
        self.held: dict[int | None, list[Vertex]] = defaultdict(list)
        self.arriving: dict[int, list[Edge]] = defaultdict(list)
        for cluster in graph.clusters:
            self.parts[cluster.parent].append(cluster.id)
        for vertex in graph.vertices:
            self.held[vertex.cluster].append(vertex)
        for edge in graph.edges:
            self.arriving[edge.target].append(edge)
        self.start: dict[int, tuple[bool, int]] = {}  # of a cluster: (backward?, its first vertex)
        for cluster in reversed(graph.clusters):
            starts = [self.start[c] for c in self.parts[cluster.id] if c in self.start]
            starts += [(is_backward(v), v.id) for v in self.held[cluster.id] if runs(v)]
            if starts:
                self.start[cluster.id] = min(starts)

    def found(self) -> list[list[Unit]]:
        """The rows; none lies inside another."""
        rows: list[list[Unit]] = []
        parents: list[int | None] = [None]
        while parents:
            parent = parents.pop()
            here = [row for backward in (False, True) for row in self.rows_in(parent, backward)]
            taken = {unit.clusters[0] for row in here for unit in row if unit.clusters}
            parents += [c for c in self.parts[parent] if c not in taken]
            rows += here
        return rows

    def rows_in(self, parent: int | None, backward: bool) -> list[list[Unit]]:
        """The rows among what `parent` holds directly, in one direction."""
        rows: list[list[Unit]] = []
        for name, row in groupby(self.sequence(parent, backward), name_of):
            items = list(row)
            if name is not None and len(items) > 1:
                units = [self.unit(item) for item in items]
                rows += [list(equal) for _, equal in groupby(units, self.form)]
        return [row for row in rows if len(row) > 1]

    def sequence(self, parent: int | None, backward: bool) -> list[Vertex | Cluster]:
        """The parts of `parent` in the order in which they run."""
        placed: list[tuple[int, Vertex | Cluster]] = [
            (v.id, v) for v in self.held[parent] if runs(v) and is_backward(v) == backward
        ]
        for c in self.parts[parent]:  # those that hold steps of rules alone are no siblings
            way, first = self.start.get(c, (True, 0))
            if not way and not backward:
                placed.append((first, self.graph.clusters[c]))
        return [item for _, item in sorted(placed, key=lambda pair: pair[0])]

    def unit(self, item: Vertex | Cluster) -> Unit:
        """A part with all it holds, in the order of creation."""
        if isinstance(item, Vertex):
            return Unit((), (item.id,))
        clusters = [item.id]
        for c in clusters:  # grows as it goes
            clusters += self.parts[c]
        held = [v.id for c in clusters for v in self.held[c]]
        return Unit(tuple(sorted(clusters)), tuple(sorted(held)))

    def form(self, unit: Unit) -> Hashable:
        """What equal units have in common; where edges come from outside does not matter."""
        clusters = {c: k for k, c in enumerate(unit.clusters)}
        place = {v: k for k, v in enumerate(unit.vertices)}
        inside = [self.graph.clusters[c] for c in unit.clusters[1:]]
        names = tuple(
            (plain(c.name), c.count, None if c.parent is None else clusters[c.parent])
            for c in inside
        )
        counts = tuple(self.graph.clusters[c].count for c in unit.clusters[:1])
        boxes = tuple(
            (
                *(v.kind, plain(v.label), plain(v.name), v.shape, v.dtype, v.saves, v.constants),
                *(v.operations, v.count, v.undrawn),
                None if v.cluster is None else clusters.get(v.cluster),
                None if v.of is None else place.get(v.of, "outside"),
            )
            for v in map(self.graph.vertices.__getitem__, unit.vertices)
        )
        inner: Counter[Hashable] = Counter()
        outer: set[Hashable] = set()
        for edge in (edge for v in unit.vertices for edge in self.arriving[v]):
            source, target = place.get(edge.source), place[edge.target]
            if source is not None:
                inner[source, target, edge.kind, edge.argument, edge.formula, edge.shape] += 1
            elif edge.kind != "saved":  # the last may pass its result to one, others to several
                outer.add((target, edge.kind, edge.argument if edge.kind == "forward" else ""))
        return counts, names, boxes, frozenset(inner.items()), frozenset(outer)


def runs(vertex: Vertex) -> bool:
    """Is it a step of a computation, not a variable?"""
    return vertex.kind in OPERATIONS or is_backward(vertex)


def name_of(item: Vertex | Cluster) -> tuple[str, ...] | None:
    """The name without numbers of what can be rolled up; a single operation cannot."""
    if isinstance(item, Cluster):
        return plain(item.name)
    return plain(item.label) if is_folded(item) else None


# ── drawing a row once ───────────────────────────────────────────────────────────────────────────
def rolled(graph: GraphData, rows: list[list[Unit]]) -> GraphData:
    """`graph` with these rows drawn once each."""
    stand_in: dict[int, int] = {}
    where: dict[int, tuple[int, int]] = {}  # of a vertex: (row, place in the row)
    vertices, clusters = list(graph.vertices), list(graph.clusters)
    for r, row in enumerate(rows):
        for u, unit in enumerate(row):
            where.update(dict.fromkeys(unit.vertices, (r, u)))
            stand_in.update(zip(unit.vertices, row[-1].vertices, strict=True))
        for equal in zip(*(unit.vertices for unit in row), strict=True):
            vertices[equal[-1]] = one_vertex(
                [graph.vertices[i] for i in equal], not row[0].clusters
            )
        for k, cells in enumerate(zip(*(unit.clusters for unit in row), strict=True)):
            clusters[cells[-1]] = one_cluster([graph.clusters[i] for i in cells], k == 0)
    kept = [v for v in vertices if stand_in.get(v.id, v.id) == v.id]
    edges = one_each(graph, rows, stand_in, where)
    return rebuilt(kept, edges, clusters, stand_in)


def one_each(
    graph: GraphData,
    rows: list[list[Unit]],
    stand_in: Mapping[int, int],
    where: Mapping[int, tuple[int, int]],
) -> list[Edge]:
    """The edges that are left, those of equal siblings drawn once."""
    changes = list(moved(graph.edges, stand_in, where))
    found: dict[Hashable, list[tuple[Edge, Edge]]] = defaultdict(list)
    for old, new, role in changes:
        found[role].append((old, new))
    edges = []
    for edge, pairs in zip(bundled(graph, changes), found.values(), strict=True):
        old = pairs[0][0]
        r, u = where.get(old.source) or where.get(old.target) or (-1, 0)
        alone = r >= 0 and len(pairs) == 1  # in a row of several
        norm, least = span_of((new.norm, new.least_norm) for _, new in pairs)
        sibling = called(graph, rows[r][u]) if alone else edge.sibling
        edges.append(replace(edge, norm=norm, least_norm=least, sibling=sibling))
    return edges


def span_of(norms: Iterable[Norm]) -> Norm:
    """(the greatest, the least where it is another) of norms; None where one is not known."""
    known = list(norms)
    ends = [end for norm, least in known for end in (norm, norm if least is None else least)]
    whole = [end for end in ends if end is not None]
    if len(whole) < len(ends):
        return None, None
    return max(whole), min(whole) if min(whole) < max(whole) else None


def called(graph: GraphData, unit: Unit) -> str:
    """The name of one of several siblings."""
    if unit.clusters:
        return graph.clusters[unit.clusters[0]].name
    return graph.vertices[unit.vertices[0]].label


def moved(
    edges: Iterable[Edge], stand_in: Mapping[int, int], where: Mapping[int, tuple[int, int]]
) -> Iterator[tuple[Edge, Edge, Hashable]]:
    """(old, new, role) of the edges that stay: not those between siblings.

    What leads from each sibling to the same box is of one role; arrows side by side between the
    same two boxes are told apart.
    """
    beside: Counter[Hashable] = Counter()
    for edge in edges:
        (row, place), (other, there) = (
            where.get(edge.source, (-1, 0)),
            where.get(edge.target, (-2, 0)),
        )
        if row == other and place != there:
            continue
        source, target = (stand_in.get(i, i) for i in (edge.source, edge.target))
        ends = (edge.source, edge.target, edge.kind)
        beside[ends] += 1
        new = replace(edge, source=source, target=target)
        yield edge, new, (source, target, edge.kind, beside[ends])


def one_vertex(equal: Sequence[Vertex], alone: bool) -> Vertex:
    """The box that stands for equal ones; one that lies `alone`, in no cluster, says how many."""
    last = equal[-1]
    norm, least = span_of((v.grad_norm, v.least_norm) for v in equal)
    return replace(
        last,
        label=one_name([v.label for v in equal]),
        name=None if last.name is None else one_name([v.name or "" for v in equal]),
        grad_norm=norm,
        least_norm=least,
        scope=one_name([v.scope for v in equal]),
        count=last.count * (len(equal) if alone else 1),
    )


def one_cluster(equal: Sequence[Cluster], outermost: bool) -> Cluster:
    """The cluster that stands for equal ones; the outermost says how many."""
    name, path = one_name([c.name for c in equal]), one_name([c.path for c in equal])
    count = equal[-1].count * (len(equal) if outermost else 1)
    return replace(equal[-1], name=name, path=path, count=count)


def one_name(names: Sequence[str]) -> str:
    """A name for all: "blocks.0–5" for "blocks.0" to "blocks.5"."""
    if len({plain(name) for name in names}) > 1:
        return names[-1]
    parts = zip(*(NUMBER.split(name) for name in names), strict=True)
    return "".join(each[0] if len(set(each)) == 1 else span(each) for each in parts)


def span(numbers: Sequence[str]) -> str:
    """The least and the largest number."""
    ordered = sorted(numbers, key=lambda digits: (len(digits), digits))
    return f"{ordered[0]}–{ordered[-1]}"
