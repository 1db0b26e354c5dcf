"""A drawn graph as plain data: boxes, arrows, and the modules they lie in.

Everything here is numbers, text and tuples; nothing refers to tensors, so a graph can be kept,
compared and written down long after the tensors are gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, ...]
Kind = Literal["input", "parameter", "constant", "op", "result", "output", "module", "gradient"]
EdgeKind = Literal["forward", "vjp", "saved"]


@dataclass(frozen=True, slots=True)
class Vertex:
    """A box: a variable, an operation with its result, a gradient, or a folded module.

    Attributes:
        id: position in the graph's `vertices`, from 0.
        kind: "input" and "parameter" are variables; "constant" is a mask or another array that no
            gradient flows to; "op" is an operation together with its result, "result" one of an
            operation's several results, "output" what was traced; "gradient" is the gradient of
            another vertex; "module" is a folded module.
        label: the operation's name, or the variable's, the output's or the module's.
        name: the tensor's own name, if it has one.
        shape: of the tensor; for an operation with several results a tuple of their shapes.
        dtype: of the tensor.
        saves: the arrays the operation keeps alive for backward, by the names its rules give them.
        constants: the array arguments no gradient flows to, where they have no vertex of their own.
        grad_norm: Euclidean norm of the tensor's gradient, where one is kept; a gradient's own.
            Of several equal siblings the greatest.
        least_norm: where the box stands for siblings with different norms, the least of them.
        cluster: id of the innermost cluster around it, or None.
        scope: the names of all clusters around it, joined by dots.
        operations: how many a folded module holds.
        of: id of the vertex whose gradient this is; None for what belongs to the forward pass.
        count: how many equal siblings the box stands for.
        undrawn: how many of its arguments (of a gradient: values that its rules use) lie outside
            of what was chosen to be drawn.
    """

    id: int
    kind: Kind
    label: str
    name: str | None = None
    shape: Shape | tuple[Shape, ...] = ()
    dtype: str = ""
    saves: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()
    grad_norm: float | None = None
    cluster: int | None = None
    scope: str = ""
    operations: int = 0
    of: int | None = None
    count: int = 1
    least_norm: float | None = None
    undrawn: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow along which a tensor flows ("forward"), or a gradient ("vjp").

    Attributes:
        source, target: ids of vertices.
        argument: the name of the operation's argument: the target's, for "vjp" that of the
            operation whose rule made the part.
        formula: how the gradient goes back along it, such as "dA = dY Bᵀ".
        shape: of what flows.
        norm: Euclidean norm of what flows, where known; of several equal siblings the greatest.
        least_norm: the least of them, where they differ.
        sibling: of several equal siblings drawn once the name of the only one with this arrow.
        kind: "forward" leads from a tensor to the operation that takes it; "vjp" from a gradient
            to the part of another that its rule makes of it; "saved" from a tensor of the forward
            pass to a gradient whose rule uses its values, which were kept until then.
    """

    source: int
    target: int
    argument: str = ""
    formula: str = ""
    shape: Shape | tuple[Shape, ...] = ()
    norm: float | None = None
    kind: EdgeKind = "forward"
    least_norm: float | None = None
    sibling: str = ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """One entry into a scope, such as one call of a module, or `count` equal ones drawn once.

    Attributes:
        id: position among the clusters, from 0.
        name: of the module.
        parent: id of the cluster around it, or None.
        path: its name and those of all clusters around it, joined by dots.
        count: how many equal siblings it stands for.
    """

    id: int
    name: str
    parent: int | None = None
    path: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class GraphData:
    """Vertices, edges and clusters; an id is the position in its tuple, parents come first."""

    vertices: tuple[Vertex, ...]
    edges: tuple[Edge, ...]
    clusters: tuple[Cluster, ...] = ()

    def outline(self) -> Iterator[tuple[int, Vertex | Cluster | None]]:
        """(depth, item) in reading order: a cluster before what it holds, None where it ends."""
        inside = self.contents()
        open_lists = [iter(inside[None])]
        while open_lists:
            item = next(open_lists[-1], None)
            if item is not None:
                yield len(open_lists) - 1, item
            elif len(open_lists) > 1:
                yield len(open_lists) - 2, None
            if item is None:
                open_lists.pop()
            elif isinstance(item, Cluster):
                open_lists.append(iter(inside[item.id]))

    def contents(self) -> dict[int | None, list[Vertex | Cluster]]:
        """What each cluster holds directly (None: what none holds), in the order of creation."""
        first: dict[int, int] = {}
        for vertex in sorted(self.vertices, key=lambda v: (v.kind == "parameter", v.id)):
            cluster = vertex.cluster
            while cluster is not None and cluster not in first:
                first[cluster] = vertex.id
                cluster = self.clusters[cluster].parent
        # (place, rank, holder, item): of two at one place a cluster comes before what it holds
        placed: list[tuple[int, int, int | None, Vertex | Cluster]]
        placed = [(first[c.id], c.id, c.parent, c) for c in self.clusters if c.id in first]
        placed += [(v.id, len(self.clusters), v.cluster, v) for v in self.vertices]
        inside: dict[int | None, list[Vertex | Cluster]] = defaultdict(list)
        for _, _, holder, item in sorted(placed, key=lambda p: p[:2]):
            inside[holder].append(item)
        return inside
