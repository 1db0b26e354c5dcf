"""Where every rule is right and the gradient is not: hooks, sums, and what is not recorded at all.

The gradients are added up once more, by a walk of nine lines, and compared with the engine's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from ...engine import Array, Node
from ...engine.backward import unbroadcast, walk
from ...engine.results import Parts
from ..causes import Cause
from ..problem import Problem, upstream
from ..trace import Call, calls_of, nodes_before

CLOSE = 1e-9  # two sums of the same parts


Parted = dict[Node, list[tuple[Node, Any]]]  # where each part of a gradient comes from, and it


def summed(root: Node, g: Array) -> tuple[dict[Node, Any], Parted]:
    """For every node its gradient, and the parts of which that is the sum, the newest use first."""
    totals: dict[Node, Any] = {root: g}
    parts: Parted = {root: [(root, g)]}
    heap = [(-root.order, root)]
    while heap:
        node = heappop(heap)[1]
        total = totals[node].filled() if isinstance(totals[node], Parts) else totals[node]
        edges = node.edges if type(node.edges) is list else opened(node, total)
        for parent, rule, needs in edges:
            part = plain(rule.fn(total, *needs), parent)
            if parent not in parts:
                heappush(heap, (-parent.order, parent))
            parts.setdefault(parent, []).append((node, part))
            totals[parent] = part if parent not in totals else totals[parent] + part
    return totals, parts


def opened(node: Node, g: Any) -> Any:
    """The edges that a fused or recomputed node makes when its gradient is there."""
    return [] if node.op is None else node.edges.open(node, g, False, None)


def plain(part: Any, parent: Node) -> Any:
    """A part as a bare array, summed over broadcast axes: no class of its own adds it up."""
    if isinstance(part, Parts):
        return part
    return np.array(unbroadcast(np.asarray(part), parent.shape), parent.dtype, subok=False)


def astray(problem: Problem, rng: np.random.Generator) -> tuple[str, Node] | None:
    """What happened to the first node that does not get the sum of its parts, and where to look."""
    variables = problem.tensors(problem.x)
    for out in problem.run(problem.f, variables):
        if out.node is None:
            continue
        g = upstream(rng, out.shape)
        totals, parts = summed(out.node, np.array(g))
        nodes = [node for node in nodes_before([out]) if node in totals]
        found = dict(
            walk(out.node, np.array(g), create_graph=False, retain_graph=True, wanted=nodes)
        )
        for node in sorted(nodes, key=lambda node: -node.order):
            got, wanted = found.get(node), totals[node]
            if got is None or isinstance(wanted, Parts) or close(got, wanted):
                continue
            return what_happened(node, got, parts[node])
    return None


def what_happened(node: Node, got: Array, parts: Sequence[tuple[Node, Array]]) -> tuple[str, Node]:
    """Why a gradient is not the sum of its parts, and the node of the operation to look at."""
    if node.hooks:
        return f"{Cause.HOOK} of {node.label}", node
    for (source, part), word in zip((parts[-1], parts[0]), ("last", "first"), strict=True):
        if len(parts) > 1 and close(got, part):
            what = f"of {len(parts)} parts of the gradient of {node.label} only the {word} is kept"
            return f"{Cause.OVERWRITTEN}: {what}", source
    return f"{Cause.UNKNOWN}: the gradient of {node.label} is not the sum of its parts", node


def close(a: Array, b: Array) -> bool:
    """The same but for rounding."""
    return bool(np.allclose(a, b, rtol=CLOSE, atol=CLOSE, equal_nan=True))


# ── what is not recorded ─────────────────────────────────────────────────────────────────────────
def detached_at(problem: Problem, rng: np.random.Generator) -> Call | None:
    """The operation with an operand that counts as a constant, yet changes with the inputs."""
    g = np.ones(problem.outputs.size)
    moved = Problem(problem.f, problem.args, problem.names)
    moved.x = problem.x + 1e-3 * upstream(rng, problem.x.shape)
    here, there = (calls_of(p, g)[0] for p in (problem, moved))
    if [call.op for call in here] != [call.op for call in there]:
        return None
    for call, other in zip(here, there, strict=True):
        for k in constants(call):
            if not np.array_equal(call.arrays[k], other.arrays[k], equal_nan=True):
                return Call(call.op, k, call.arrays, call.options, call.out, call.node)
    return None


def constants(call: Call) -> Iterator[int]:
    """The arguments of a call that no gradient flows to."""
    parents = () if call.node is None else call.node.parents
    for k, (parent, array) in enumerate(zip(parents, call.arrays, strict=False)):
        if parent is None and isinstance(array, np.ndarray) and array.dtype.kind == "f":
            yield k
