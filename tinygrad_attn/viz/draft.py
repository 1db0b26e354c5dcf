"""A drawing as it grows: boxes for nodes and their constants, arrows, clusters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..engine import Array, Node, Primitive, Scope, Tensor
from ..engine.recompute import Recompute
from ..engine.results import Result
from .data import Cluster, Edge, Kind, Vertex
from .labels import number_text
from .walking import norm, rule_of, ruled

Place = int | str  # of a constant: the position of the argument, or the name of the option


class Clusters:
    """The scopes met so far, numbered; every call of a module is a scope of its own."""

    def __init__(self) -> None:
        self.entries: list[Cluster] = []
        self.number: dict[Scope, int] = {}

    def of(self, scope: Scope | None) -> int | None:
        """The number of `scope`, entered with those around it where it is new."""
        if scope is None:
            return None
        if scope not in self.number:
            for outer in scope.chain:
                if outer not in self.number:
                    parent = None if outer.parent is None else self.number[outer.parent]
                    self.number[outer] = self.enter(str(outer.name), parent)
        return self.number[scope]

    def enter(self, name: str, parent: int | None) -> int:
        """A new cluster; the one around it is there already."""
        path = name if parent is None else f"{self.entries[parent].path}.{name}"
        self.entries.append(Cluster(len(self.entries), name, parent, path))
        return len(self.entries) - 1

    def around(self, a: int | None, b: int | None) -> int | None:
        """The innermost cluster that holds both; a parent's number is smaller than its child's."""
        while a != b:
            if a is None or b is None:
                return None
            if a > b:
                a = self.entries[a].parent
            else:
                b = self.entries[b].parent
        return a


class Draft:
    """What has been drawn so far.

    Args:
        known: names of leaves.
        stand_ins: for each node left out the one that is drawn for it.

    Attributes:
        place: the id of each node's vertex.
        constants: the ids of the constants of an operation that have a vertex.
    """

    def __init__(self, known: Mapping[Node, str], stand_ins: dict[Node, Node]) -> None:
        self.known, self.stand_ins = known, stand_ins
        # As the program sees it: of several that one stands for, the outermost comes first.
        self.faces = {inner: node for node, inner in reversed(stand_ins.items())}
        self.vertices: list[Vertex] = []
        self.edges: list[Edge] = []
        self.clusters = Clusters()
        self.place: dict[Node, int] = {}
        self.constants: dict[tuple[Node, Place], int] = {}

    def put(self, vertex: Vertex) -> int:
        """Give a vertex its id and the names of the clusters around it; the id."""
        scope = "" if vertex.cluster is None else self.clusters.entries[vertex.cluster].path
        self.vertices.append(replace(vertex, id=len(self.vertices), scope=scope))
        return len(self.vertices) - 1

    def at(self, node: Node) -> int:
        """The id of the vertex that shows `node`."""
        return self.place[self.stand_ins.get(node, node)]

    def add(self, node: Node, home: int | None = None) -> int:
        """The box of a node of the graph, and the arrows that end there."""
        here, beside = self.box(node, home, saves_of(node))
        for k, parent in enumerate(node.parents):
            if parent is not None:
                self.edges.append(
                    Edge(self.at(parent), here, argument(node, k), formula(node, k), parent.shape)
                )
        self.edges += beside
        return here

    def box(
        self,
        node: Node,
        home: int | None = None,
        saves: tuple[str, ...] = (),
        of: int | None = None,
    ) -> tuple[int, list[Edge]]:
        """The box of a node, those of its constants, and the arrows from these.

        Args:
            home: the cluster of a parameter.
            saves, of: as in Vertex.
        """
        face = self.faces.get(node, node)
        name = as_text(self.known.get(node, node.name or face.name))
        if node.op is not None:
            kind: Kind = "result" if isinstance(node.op, Result) else "op"
            label, cluster = node.op.name, self.clusters.of(node.scope)
        else:
            kind = "parameter" if node.role == "parameter" or node in self.known else "input"
            label, cluster = name or kind, home if kind == "parameter" else None
        beside, inside = self.constants_of(node, cluster, of)
        size = None if face.grad is None else norm(face.grad)
        facts = (label, name, node.shape, str(node.dtype), saves, inside, size, cluster)
        self.place[node] = here = self.put(Vertex(0, kind, *facts, of=of))
        return here, [Edge(at, here, what, shape=self.vertices[at].shape) for at, what in beside]

    def add_output(self, t: Tensor, root: Node) -> int:
        """The box of an output."""
        name = as_text(t.name)
        here = self.put(Vertex(0, "output", name or "output", name, t.shape, str(t.dtype)))
        self.edges.append(Edge(self.at(root), here, shape=t.shape))
        return here

    def constants_of(
        self, node: Node, cluster: int | None, of: int | None
    ) -> tuple[list[tuple[int, str]], tuple[str, ...]]:
        """(new vertices with what they are to `node`, what is written inside its box instead).

        A single number is written inside, and what nothing is known of since it was freed.
        """
        beside, inside = [], []
        for at, what, name, known in constants(node):
            if known is None and node.edges is None:
                inside.append(what)
            elif known is not None and known.shape == ():
                inside.append(f"{name or what} = {scalar_text(known)}")
            else:
                new = Vertex(0, "constant", name or what, name, cluster=cluster, of=of)
                if known is not None:
                    new = replace(new, shape=known.shape, dtype=str(known.dtype))
                self.constants[node, at] = self.put(new)
                beside.append((self.constants[node, at], what))
        return beside, tuple(inside)


def constants(node: Node) -> Iterator[tuple[Place, str, str | None, Array | Node | None]]:
    """Every constant argument and every array among the options: what is known of them.

    That is (place, the argument's name, its own name, a leaf or array of its shape).  The last is
    None where nothing keeps it: no rule asks for it, nor were values to be kept.  An option shows
    only where a rule asks for it.
    """
    if not isinstance(node.op, Primitive):
        return
    kept = kept_arrays(node)
    for k, parent in enumerate(node.parents):
        if parent is None:
            leaf = node.constants[k] if node.constants else None
            name = None if leaf is None else as_text(leaf.name)
            yield k, node.op.argument(k), name, kept.get(k) if leaf is None else leaf
    for name in node.op.options:
        if name in kept and kept[name].ndim:
            yield name, name, None, kept[name]


def kept_arrays(node: Node) -> dict[Place, Array]:
    """The constant arrays that rules of `node` have saved, by position or name of the option."""
    kept: dict[Place, Array] = {}
    if not isinstance(node.op, Primitive) or not isinstance(node.edges, list):
        return kept
    for _, _, rule, needs in ruled(node):
        for name, value in zip(getattr(rule, "needs", ()), needs, strict=True):
            array = largest(value)
            if name == "args":
                kept |= dict(enumerate(value))
            elif array is not None and name in node.op.arrays:
                kept[node.op.arrays.index(name)] = array
            elif array is not None and name in node.op.options:
                kept[name] = array
    return kept


def largest(value: Any) -> Array | None:
    """An array, or the largest of those in an index such as `x[:, rows, None]`, if there is any."""
    parts = value if isinstance(value, tuple) else (value,)
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    return max(arrays, key=np.size, default=None)


def scalar_text(known: Array | Node) -> str:
    """A single number, short."""
    array = known.value if isinstance(known, Node) else known
    value = None if array is None else array.item()
    return number_text(value, 4) if isinstance(value, float) else str(value)


def as_text(name: object) -> str | None:
    """A name as text, whatever it was set to."""
    return None if name is None else str(name)


def saves_of(node: Node) -> tuple[str, ...]:
    """The arrays that the rules of `node` ask for; the same after they were freed."""
    if isinstance(node.op, Recompute):
        return ("inputs",)
    if not isinstance(node.op, Primitive):
        return ()
    names = {**{name: name for name in node.op.arrays}, "args": "all arguments", "out": "out"}
    rules = [rule_of(node.op, i) for i, parent in enumerate(node.parents) if parent is not None]
    needs = {need for rule in rules if rule is not None for need in rule.needs}
    return tuple(names[name] for name in names if name in needs)


def argument(node: Node, k: int) -> str:
    """The name of argument `k` of the operation that made `node`."""
    return node.op.argument(k) if isinstance(node.op, Primitive) else ""


def formula(node: Node, k: int) -> str:
    """The formula by which the gradient comes back to argument `k`."""
    rule = rule_of(node.op, k)
    return "" if rule is None else rule.formula
