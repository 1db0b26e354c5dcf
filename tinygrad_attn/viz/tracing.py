"""Tracing: from a tensor's nodes to plain data.

Only links are followed, never saved arrays, so a graph can be traced before and after backward.
The walk is a loop over a stack: a chain of a million operations needs no recursion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..engine import DTypeError, Node, Primitive, Scope, Tensor
from ..engine.fused import KernelCall
from ..engine.recompute import Recompute
from ..engine.results import Result
from ..engine.rule import Rule
from .data import Cluster, Edge, Kind, Vertex
from .graph import Graph


def trace(output: Tensor | Sequence[Tensor], *, model: Any = None) -> Graph:
    """The graph that made `output`, as plain data that can be drawn.

    Args:
        output: a tensor, or several.
        model: a module, or a mapping from names to tensors: its parameters are drawn under these
            full names.

    Raises:
        GraphError: an output has no graph.
        DTypeError: an output is not a Tensor.
    """
    outputs: list[Any] = list(output) if isinstance(output, (list, tuple)) else [output]
    for t in outputs:
        if not isinstance(t, Tensor):
            raise DTypeError(f"trace: expected a Tensor or several, got {type(t).__name__}")
    roots = [t.need_node("trace") for t in outputs]
    nodes, stand_ins = ancestors(roots)
    place = {node: i for i, node in enumerate(nodes)}
    place |= {fused: place[inner] for fused, inner in stand_ins.items()}
    clusters = Clusters()
    known = named_nodes(model)
    users = leaf_users(nodes, clusters)
    vertices = [described(i, node, known, users, clusters) for i, node in enumerate(nodes)]
    edges = [edge for i, node in enumerate(nodes) for edge in arriving(i, node, place)]
    for t, root in zip(outputs, roots, strict=True):
        edges.append(Edge(place[root], len(vertices), shape=root.shape))
        name = as_text(t.name)
        vertices.append(
            Vertex(len(vertices), "output", name or "output", name, t.shape, str(t.dtype))
        )
    return Graph(tuple(vertices), tuple(edges), tuple(clusters.entries))


def ancestors(roots: Sequence[Node]) -> tuple[list[Node], dict[Node, Node]]:
    """All nodes the roots were made from, oldest first, fused operations expanded.

    Returns:
        The nodes, and for each fused node left out the node of its definition's result.  One whose
        saved arrays were freed stays a single node.
    """
    stack = list(roots)
    newest = max(root.order for root in stack)  # what is expanded is newer, but belongs before it
    ranks = {root: root.order for root in stack}
    stand_ins: dict[Node, Node] = {}
    while stack:
        node = stack.pop()
        parents: tuple[Node | None, ...] = node.parents
        if isinstance(node.edges, KernelCall):
            stand_ins[node] = node.edges.expanded(node)[0][0]
            parents = (stand_ins[node],)
        for parent in parents:
            if parent is not None and parent not in ranks:
                ranks[parent] = ranks[node] if parent.order > newest else parent.order
                stack.append(parent)
    nodes = sorted(ranks.keys() - stand_ins.keys(), key=lambda node: (ranks[node], node.order))
    return nodes, stand_ins


def named_nodes(model: Any) -> Mapping[Node, str]:
    """The leaf nodes of a model's parameters with their names."""
    if model is None:
        return {}
    named = model.items() if isinstance(model, Mapping) else model.named_parameters()
    return {t.node: name for name, t in named if t.node is not None}


# ── clusters ─────────────────────────────────────────────────────────────────────────────────────
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
                    self.enter(outer)
        return self.number[scope]

    def enter(self, scope: Scope) -> None:
        """Number `scope`; the one around it has its number already."""
        parent = None if scope.parent is None else self.number[scope.parent]
        name = str(scope.name)
        path = name if parent is None else f"{self.entries[parent].path}.{name}"
        self.number[scope] = len(self.entries)
        self.entries.append(Cluster(len(self.entries), name, parent, path))

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


def leaf_users(nodes: list[Node], clusters: Clusters) -> dict[Node, int | None]:
    """For each leaf the innermost cluster that holds all operations it enters."""
    users: dict[Node, int | None] = {}
    for node in nodes:
        here = clusters.of(node.scope)
        for parent in node.parents:
            if parent is not None and parent.op is None:
                users[parent] = clusters.around(users[parent], here) if parent in users else here
    return users


# ── vertices ─────────────────────────────────────────────────────────────────────────────────────
def described(
    i: int,
    node: Node,
    known: Mapping[Node, str],
    users: Mapping[Node, int | None],
    clusters: Clusters,
) -> Vertex:
    """The box of a node."""
    name = as_text(known.get(node, node.name))
    if node.op is not None:
        kind: Kind = "result" if isinstance(node.op, Result) else "op"
        label, cluster = node.op.name, clusters.of(node.scope)
    else:
        kind = "parameter" if node.role == "parameter" or node in known else "input"
        label, cluster = name or kind, users.get(node) if kind == "parameter" else None
    scope = "" if cluster is None else clusters.entries[cluster].path
    return Vertex(
        i,
        kind,
        label,
        name,
        node.shape,
        str(node.dtype),
        saves(node),
        constants(node),
        norm(node.grad),
        cluster,
        scope,
    )


def as_text(name: object) -> str | None:
    """A name as text, whatever it was set to."""
    return None if name is None else str(name)


def saves(node: Node) -> tuple[str, ...]:
    """The arrays that the rules of `node` ask for; the same after they were freed."""
    if isinstance(node.op, Recompute):
        return ("inputs",)
    if not isinstance(node.op, Primitive):
        return ()
    names = {**{name: name for name in node.op.arrays}, "args": "all arguments", "out": "out"}
    rules = [rule_of(node.op, i) for i, parent in enumerate(node.parents) if parent is not None]
    needs = {need for rule in rules if rule is not None for need in rule.needs}
    return tuple(names[name] for name in names if name in needs)


def constants(node: Node) -> tuple[str, ...]:
    """The array arguments of `node` that no gradient flows to."""
    if not isinstance(node.op, Primitive):
        return ()
    return tuple(node.op.argument(i) for i, parent in enumerate(node.parents) if parent is None)


def norm(grad: Tensor | None) -> float | None:
    """Euclidean norm of a gradient, in float64 and scaled so that it cannot overflow."""
    if grad is None:
        return None
    sizes = np.abs(grad.data).astype(np.float64)
    largest = float(sizes.max(initial=0.0))
    if largest == 0 or not np.isfinite(largest):
        return largest
    return largest * float(np.sqrt(np.square(sizes / largest).sum()))


# ── edges ────────────────────────────────────────────────────────────────────────────────────────
def arriving(i: int, node: Node, place: Mapping[Node, int]) -> list[Edge]:
    """The arrows that end at `node`, one for each argument that has a node."""
    return [
        Edge(place[parent], i, *argument(node, k), parent.shape)
        for k, parent in enumerate(node.parents)
        if parent is not None
    ]


def argument(node: Node, k: int) -> tuple[str, str]:
    """Name and gradient formula of argument `k` of the operation that made `node`."""
    if not isinstance(node.op, Primitive):
        return "", ""
    rule = rule_of(node.op, k)
    return node.op.argument(k), "" if rule is None else rule.formula


def rule_of(op: Primitive, k: int) -> Rule | None:
    """The rule for argument `k`; operations of any number of arrays have one for all."""
    return op.rules[0 if op.variadic else k]
