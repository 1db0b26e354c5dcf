"""Folding: what lies too deep in a graph's modules becomes one box a module.

Where a graph goes both ways, a module's gradients become a box of their own beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import replace

from .data import Cluster, Edge, GraphData, Vertex
from .rebuilding import OPERATIONS, bundled, is_backward, is_folded, meaning_of, rebuilt


def fold(graph: GraphData, depth: int) -> GraphData:
    """`graph` with `depth` levels of clusters left open, everything deeper in one box each.

    The arrows between two boxes become one; its norm is that of all that flows along it, where it
    is known (see `rebuilding.flows_back`).
    """
    hiders = hiding(graph.clusters, depth)
    groups: dict[tuple[int, bool], list[Vertex]] = defaultdict(list)
    boxes: list[tuple[int, Vertex]] = []  # (where it stands, box)
    for v in graph.vertices:
        hider = None if v.cluster is None else hiders[v.cluster]
        if hider is None:
            boxes.append((v.id, v))
        else:
            groups[hider, is_backward(v)].append(v)
    stand_in: dict[int, int] = {}
    for (hider, backward), members in groups.items():
        cluster = graph.clusters[hider]
        box = gradients(graph, cluster, members) if backward else module(cluster, members)
        boxes.append(box)
        stand_in.update((member.id, box[1].id) for member in members)
    kept = [box for _, box in sorted(boxes, key=lambda placed: placed[0])]
    edges = merged(graph, stand_in, {box.id: box for box in kept})
    return rebuilt(kept, edges, graph.clusters, stand_in)


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


def module(cluster: Cluster, members: list[Vertex]) -> tuple[int, Vertex]:
    """The box for what `cluster` computes: its shape, and its gradient, are its last result's.

    It stands where its last operation stood, so that arrows still point to larger numbers.
    """
    last = members[-1]
    return last.id, Vertex(
        last.id,
        "module",
        cluster.name,
        shape=last.shape,
        dtype=last.dtype,
        grad_norm=last.grad_norm,
        least_norm=last.least_norm,
        cluster=cluster.parent,
        scope=cluster.path.rpartition(".")[0],
        operations=sum(v.operations or v.kind == "op" for v in members),
        count=cluster.count,
        undrawn=sum(v.undrawn for v in members),
    )


def gradients(graph: GraphData, cluster: Cluster, members: list[Vertex]) -> tuple[int, Vertex]:
    """The box for the gradients in `cluster`: what it shows is the gradient of its last result.

    It stands where the gradient of its first operation stood: that is what it passes on.  Where
    there are no gradients, only the steps of a rule, it is the rule's box.
    """
    owner = {v.id: graph.vertices[v.id if v.of is None else v.of] for v in members}
    owners = {o.id: o.operations or o.kind == "op" for o in owner.values()}
    found = [v for v in members if v.kind == "gradient"]
    head = max(found or members, key=lambda v: (owner[v.id].id, v.id))
    passed = [v.id for v in members if owner[v.id].kind in OPERATIONS]
    _, box = module(cluster, [head])
    return max(passed or [head.id]), replace(
        box,
        kind="gradient" if found else "module",
        label=f"d({box.label})" if found else box.label,
        of=head.of,
        operations=sum(owners.values()) if found else len(members),
        undrawn=sum(v.undrawn for v in members),
    )


def merged(
    graph: GraphData, stand_in: Mapping[int, int], boxes: Mapping[int, Vertex]
) -> list[Edge]:
    """The edges between the boxes that are left; to and from a folded one, one each."""
    folded = {i for i, box in boxes.items() if is_folded(box)}
    nameless = {i for i in folded if not is_rule(boxes[i])}
    changes: list[tuple[Edge, Edge, Hashable]] = []
    for edge in graph.edges:
        source = stand_in.get(edge.source, edge.source)
        target = stand_in.get(edge.target, edge.target)
        if source == target:
            continue
        new = replace(edge, source=source, target=target)
        maker = source if edge.kind == "vjp" else target  # whose rule the edge speaks of
        if maker in nameless:
            new = replace(new, argument="", formula="")
        changes.append((edge, new, meaning_of(new) if {source, target} & folded else None))
    return bundled(graph, changes)


def is_rule(box: Vertex) -> bool:
    """Does it stand for the steps of one rule?"""
    return box.kind == "module" and is_backward(box)
