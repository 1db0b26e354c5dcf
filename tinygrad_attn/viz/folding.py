"""Folding: what lies too deep in a graph's modules becomes one box a module."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from .data import Cluster, Edge, GraphData, Vertex


def fold(graph: GraphData, depth: int) -> GraphData:
    """`graph` with `depth` levels of clusters left open, everything deeper in one box each."""
    hiders = hiding(graph.clusters, depth)
    groups: dict[tuple[str, int], list[Vertex]] = defaultdict(list)
    for v in graph.vertices:
        hider = None if v.cluster is None else hiders[v.cluster]
        groups["vertex" if hider is None else "cluster", v.id if hider is None else hider].append(v)
    # A module stands where its last operation stood, so that arrows still point to larger numbers.
    ordered = sorted(groups.items(), key=lambda group: group[1][-1].id)
    opened = [c for c in graph.clusters if hiders[c.id] is None]
    number: dict[int | None, int | None] = {None: None, **{c.id: i for i, c in enumerate(opened)}}
    vertices, place = [], {}
    for i, ((what, at), members) in enumerate(ordered):
        v = module(graph.clusters[at], members) if what == "cluster" else members[0]
        vertices.append(replace(v, id=i, cluster=number[v.cluster]))
        place.update(dict.fromkeys((member.id for member in members), i))
    clusters = [Cluster(i, c.name, number[c.parent], c.path) for i, c in enumerate(opened)]
    return GraphData(tuple(vertices), merged(graph.edges, place, vertices), tuple(clusters))


def hiding(clusters: tuple[Cluster, ...], depth: int) -> list[int | None]:
    """For each cluster the one into which it is folded, or None where it stays open."""
    levels: list[int] = []
    hiders: list[int | None] = []
    for cluster in clusters:
        top = cluster.parent is None
        levels.append(0 if cluster.parent is None else levels[cluster.parent] + 1)
        above = None if cluster.parent is None else hiders[cluster.parent]
        hiders.append(cluster.id if levels[-1] == depth else None if top else above)
    return hiders


def module(cluster: Cluster, members: list[Vertex]) -> Vertex:
    """The box that stands for `cluster`: it shows the shape of its last operation's result."""
    last = members[-1]
    return Vertex(
        last.id,
        "module",
        cluster.name,
        shape=last.shape,
        dtype=last.dtype,
        cluster=cluster.parent,
        scope=cluster.path.rpartition(".")[0],
        operations=sum(v.kind == "op" for v in members),
    )


def merged(
    edges: tuple[Edge, ...], place: dict[int, int], vertices: list[Vertex]
) -> tuple[Edge, ...]:
    """The edges between the boxes that are left; to and from a module one each."""
    kept: dict[Edge, None] = {}
    for edge in edges:
        source, target = place[edge.source], place[edge.target]
        if source == target:
            continue
        if vertices[target].kind == "module":
            edge = replace(edge, argument="", formula="")
        kept[replace(edge, source=source, target=target)] = None
    return tuple(kept)
