"""The gradients drawn beside the graph: a box for each, and the arrows that the rules are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..engine import Node, Tensor
from ..engine.rule import OUT, Rule
from .data import Edge, Vertex
from .draft import Draft, argument
from .walking import Backward, Passage, norm


def draw_gradients(
    draft: Draft, found: Backward, ends: Sequence[int], *, operations: bool = False
) -> None:
    """Draw what a walk found; with `operations` also the steps of every rule.

    Args:
        ends: the vertices of the outputs.
    """
    boxes: dict[Node, int] = {}
    arriving: dict[Node, list[Passage]] = defaultdict(list)
    for passage in found.passages:
        arriving[passage.parent].append(passage)
    for node, gradient in found.gradients.items():
        starts = []
        for passage in arriving[node]:
            if passage.node is None:
                starts.append(gradient_box(draft, ends[passage.argument], passage.part))
            else:
                start = boxes[passage.node]
                starts.append(
                    draw_steps(draft, passage, start, draft.place[node]) if operations else start
                )
        here = boxes[node] = gradient_box(draft, draft.place[node], gradient)
        for passage, start in zip(arriving[node], starts, strict=True):
            draft.edges.append(arrow(passage, start, here))
        if not operations:
            sources = dict.fromkeys(at for p in arriving[node] for at in saved_by(draft, p))
            draft.edges += [saved_arrow(draft, source, here) for source in sources]


def gradient_box(draft: Draft, of: int, gradient: Any) -> int:
    """The box of the gradient of vertex `of`."""
    vertex = draft.vertices[of]
    several = type(gradient) is tuple
    shape = tuple(t.shape for t in gradient) if several else gradient.shape
    name = "g" if vertex.kind == "output" and vertex.name else None
    box = Vertex(0, "gradient", gradient_name(vertex), name, shape, vertex.dtype)
    return draft.put(replace(box, grad_norm=norm(gradient), cluster=vertex.cluster, of=of))


def gradient_name(vertex: Vertex) -> str:
    """A gradient is d and the symbol: "dQ"; without a symbol "d(softmax)"."""
    if vertex.kind == "output" and not vertex.name:
        return "g"
    name = vertex.name or vertex.label
    if not vertex.name or any(c.isspace() or c in ".()[]" for c in name):
        return f"d({name})"
    return f"d{name}"


def arrow(passage: Passage, source: int, target: int) -> Edge:
    """The part of a gradient that one rule gives."""
    part = passage.own
    what = "" if passage.node is None else argument(passage.node, passage.argument)
    return Edge(source, target, what, passage.formula, part.shape, norm(part), "vjp")


# ── what the rules have kept ─────────────────────────────────────────────────────────────────────
def saved_by(draft: Draft, passage: Passage) -> Iterator[int]:
    """The vertices whose values the rule of `passage` has kept until it runs."""
    node, rule = passage.node, passage.rule
    if node is None or not isinstance(rule, Rule):
        return
    places = [argument for _, argument in rule.links]
    if rule.wants_args:
        places = [k for k in range(len(node.parents)) if k != passage.argument]
    for k in places:
        source = node if k == OUT else node.parents[k]
        if source is not None:
            yield draft.at(source)
        elif (node, k) in draft.constants:
            yield draft.constants[node, k]
    for name in rule.needs:
        if (node, name) in draft.constants:
            yield draft.constants[node, name]


def saved_arrow(draft: Draft, source: int, target: int) -> Edge:
    """An arrow from a value of the forward pass to where a rule uses it."""
    return Edge(source, target, shape=draft.vertices[source].shape, kind="saved")


# ── the steps of a rule ──────────────────────────────────────────────────────────────────────────
def draw_steps(draft: Draft, passage: Passage, start: int, of: int) -> int:
    """Draw what the rule of `passage` recorded, in a cluster of its own; where it ends.

    Args:
        start: the box of the gradient given to the rule.
        of: the vertex whose gradient its part belongs to.
    """
    assert passage.node is not None
    assert passage.node.op is not None
    steps = steps_of(passage)
    if not steps:
        return start
    clusters = draft.clusters
    made = passage.rule.formula.partition(" = ")[0]  # "dA" of "dA = dY Bᵀ"
    name = f"{passage.node.op.name} rule" + f": {made}" * bool(made)
    clusters.number[passage.scope] = clusters.enter(name, clusters.of(passage.node.scope))
    given = passage.given if type(passage.given) is tuple else (passage.given,)
    draft.place |= {t.node: start for t in given if isinstance(t, Tensor) and t.node is not None}
    for step in steps:
        here, beside = draft.box(step, of=of)
        draft.edges += [
            step_arrow(draft, parent, k, step, here)
            for k, parent in enumerate(step.parents)
            if parent is not None
        ]
        draft.edges += beside
    return draft.at(passage.own.node)


def steps_of(passage: Passage) -> list[Node]:
    """The operations that the rule recorded, oldest first."""
    found: set[Node] = set()
    stack = [getattr(passage.own, "node", None)]  # a rule may give an array
    while stack:
        node = stack.pop()
        if node is None or node in found or node.scope is None:
            continue
        if node.scope.chain[0] is passage.scope:
            found.add(node)
            stack += node.parents
    return sorted(found, key=lambda node: node.order)


def step_arrow(draft: Draft, parent: Node, k: int, step: Node, here: int) -> Edge:
    """What an operation of a rule takes: a gradient, an earlier step, or a saved value."""
    source = draft.vertices[draft.at(parent)]
    what = argument(step, k)
    if source.of is None:
        return Edge(source.id, here, what, shape=parent.shape, kind="saved")
    size = source.grad_norm if source.kind == "gradient" else norm_of_value(parent)
    return Edge(source.id, here, what, shape=parent.shape, norm=size, kind="vjp")


def norm_of_value(node: Node) -> float | None:
    """Of what a step gave, which was kept."""
    return None if node.value is None else norm(node.value)
