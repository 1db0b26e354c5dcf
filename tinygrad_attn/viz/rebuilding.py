"""What every change of a graph ends with: new numbers, and one arrow where several coincide."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import hypot

from .data import Cluster, Edge, GraphData, Shape, Vertex

OPERATIONS = ("op", "result", "module")
Norm = tuple[float | None, float | None]  # the greatest, and the least where there is a range
# Operations that only move elements, each with what its rule does to the gradient; "" where that
# is not worth a word.
PLUMBING = {
    "astype": "",
    "expand_dims": "",
    "flip": "reversed",
    "moveaxis": "axes put back",
    "reshape": "",
    "roll": "rolled back",
    "split": "in its place",
    "squeeze": "",
    "swapaxes": "axes put back",
    "transpose": "axes put back",
}


def is_backward(vertex: Vertex) -> bool:
    """Does it belong to the backward pass?"""
    return vertex.kind == "gradient" or vertex.of is not None


def is_folded(vertex: Vertex) -> bool:
    """Does it stand for a module, or for the gradients in one?"""
    return vertex.kind == "module" or vertex.operations > 0


def only_moves(vertex: Vertex) -> bool:
    """Does this operation only move elements, or is it one of its results?"""
    return vertex.kind == "result" or (vertex.kind == "op" and vertex.label in PLUMBING)


def rebuilt(
    vertices: Sequence[Vertex],
    edges: Iterable[Edge],
    clusters: Sequence[Cluster],
    stand_ins: Mapping[int, int] | None = None,
) -> GraphData:
    """A graph of these parts, which still carry their old ids, numbered anew.

    Args:
        vertices: in their new order.
        edges: between these vertices; one to or from a vertex that is gone is left out.
        clusters: all there were, each id its position; empty ones are left out.
        stand_ins: for a vertex that is gone the one that stands for it as the owner of a gradient.
    """
    place = {v.id: i for i, v in enumerate(vertices)}
    owner = {gone: place[here] for gone, here in (stand_ins or {}).items() if here in place} | place
    filled = {v.cluster for v in vertices}
    for cluster in reversed(clusters):  # a parent's number is smaller than its child's
        if cluster.id in filled:
            filled.add(cluster.parent)
    kept = [cluster for cluster in clusters if cluster.id in filled]
    number: dict[int | None, int | None] = {None: None, **{c.id: i for i, c in enumerate(kept)}}
    return GraphData(
        tuple(
            replace(
                v, id=i, cluster=number[v.cluster], of=None if v.of is None else owner.get(v.of)
            )
            for i, v in enumerate(vertices)
        ),
        tuple(
            replace(e, source=place[e.source], target=place[e.target])
            for e in edges
            if e.source in place and e.target in place
        ),
        tuple(replace(c, id=i, parent=number[c.parent]) for i, c in enumerate(kept)),
    )


def meaning_of(edge: Edge) -> Hashable:
    """What edges have in common that say the same of the same two boxes."""
    return edge.source, edge.target, edge.kind, edge.argument, edge.formula


def bundled(graph: GraphData, changes: Iterable[tuple[Edge, Edge, Hashable | None]]) -> list[Edge]:
    """The new edges of (old, new, role); those of one role become one, those of role None stay.

    Args:
        graph: to which the old edges belong.
    """
    together: dict[Hashable, list[tuple[Edge, Edge]]] = defaultdict(list)
    for i, (old, new, role) in enumerate(changes):
        together[("alone", i) if role is None else ("role", role)].append((old, new))
    parts = Counter(edge.target for edge in graph.edges if edge.kind == "vjp")
    return [one_of(pairs, graph, parts) for pairs in together.values()]


def one_of(pairs: Sequence[tuple[Edge, Edge]], graph: GraphData, parts: Mapping[int, int]) -> Edge:
    """One edge for several: it has all their shapes, and the words that they share."""
    edge = pairs[0][1]
    if len(pairs) == 1:
        return edge
    argument, formula = (
        shared({getattr(new, words) for _, new in pairs}) for words in ("argument", "formula")
    )
    shapes = list(dict.fromkeys(shape for _, new in pairs for shape in each_shape(new.shape)))
    shape = shapes[0] if len(shapes) == 1 else tuple(shapes)
    backward = edge.kind == "vjp"
    norm, least = joint_norm(flows_back(pairs, graph, parts) if backward else flows(pairs))
    return replace(
        edge,
        argument=argument,
        formula=formula,
        shape=shape,
        norm=norm,
        least_norm=least,
        sibling=shared({new.sibling for _, new in pairs}),
    )


def shared(words: set[str]) -> str:
    """The only one, or nothing."""
    return words.pop() if len(words) == 1 else ""


def each_shape(shape: Shape | tuple[Shape, ...]) -> Iterator[Shape]:
    """A shape alone, or each of several."""
    sizes = tuple(size for size in shape if isinstance(size, int))
    yield from (s for s in shape if not isinstance(s, int))
    if sizes or not shape:
        yield sizes


def joint_norm(norms: Iterable[Norm]) -> Norm:
    """The norm of several tensors side by side, as one long vector; None where one is not known.

    It is the root of the sum of the squares of their norms.  Of several ranges nothing is known:
    the least of one need not be found where the least of another is.
    """
    known = list(norms)
    if len(known) == 1:
        return known[0]
    whole = [norm for norm, least in known if norm is not None and least is None]
    return (hypot(*whole) if len(whole) == len(known) else None), None


def flows(pairs: Sequence[tuple[Edge, Edge]]) -> Iterator[Norm]:
    """The norms of what flows along "forward" or "saved" edges: each source counts once."""
    yield from {old.source: (new.norm, new.least_norm) for old, new in pairs}.values()


def flows_back(
    pairs: Sequence[tuple[Edge, Edge]], graph: GraphData, parts: Mapping[int, int]
) -> Iterator[Norm]:
    """The norms of what flows along "vjp" edges: parts of the targets' gradients.

    Parts of the same gradient are added up, and the norm of a sum does not follow from the norms of
    its terms.  It is known only where all parts of that gradient are here: then the sum is it.

    Args:
        parts: how many parts each gradient has.
    """
    arriving: dict[int, list[Norm]] = defaultdict(list)
    for old, new in pairs:
        arriving[old.target].append((new.norm, new.least_norm))
    for target, norms in arriving.items():
        gradient = graph.vertices[target]
        if len(norms) == 1:
            yield norms[0]
        elif len(norms) == parts[target]:
            yield gradient.grad_norm, gradient.least_norm
        else:
            yield None, None
