"""Tracing: from a tensor's nodes to plain data.

Only links are followed, and saved arrays looked at but never changed, so a graph can be traced
before and after backward.  The walk is a loop over a stack: a chain of a million operations needs
no recursion.  The gradients beside the graph are drawn by gradients.py.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from ..engine import DTypeError, Node, ShapeError, Tensor
from ..engine.fused import KernelCall
from ..engine.recompute import Expansion
from ..engine.settings import changed
from .draft import Clusters, Draft
from .errors import MissingGradientWarning, OptionError
from .gradients import draw_gradients
from .graph import Graph
from .walking import walked

DETAILS = ("gradients", "operations")


def trace(
    output: Tensor | Sequence[Tensor],
    backward: bool = False,
    *,
    g: Any = None,
    detail: str = "gradients",
    model: Any = None,
) -> Graph:
    """The graph that made `output`, as plain data that can be drawn, and the gradients beside it.

    Args:
        output: a tensor, or several.
        backward: draw the backward graph too: the engine walks back once more, and every gradient
            box and every arrow shows what it found there.  Before `backward()`, or after
            `backward(retain_graph=True)`; hooks run as in `ta.grad`, no `.grad` is touched.
        g: upstream gradient, shaped like `output` (a list of them for several); needed with
            `backward` unless an output has one element.
        detail: "gradients" draws one box for each gradient, "operations" also the operations that
            every rule consists of.
        model: a module, or a mapping from names to tensors: its parameters are drawn under these
            full names.

    Warns:
        MissingGradientWarning: it was recorded under `keep_grads`, but no backward has come here
            yet, so there are no norms to draw.

    Raises:
        GraphError: an output has no graph, or gradients are wanted of one that was freed.
        DTypeError: an output is not a Tensor, or an argument is of another kind.
        ShapeError: `g` is missing or has another shape.
        OptionError: `detail` is unknown, or `detail` or `g` is given without `backward`.
    """
    checked(backward, g, detail)
    outputs = tensors(output)
    given = upstreams(g, output, len(outputs)) if backward else []
    roots = [t.need_node("trace") for t in outputs]
    nodes, stand_ins = ancestors(roots, recomputed=backward)
    if not backward:
        warn_of_missing(nodes)
    steps = detail == "operations"
    found = walked(outputs, given, nodes, stand_ins, values=steps) if backward else None
    draft = Draft(named_nodes(model), stand_ins)
    users = leaf_users(nodes, draft.clusters)
    for node in nodes:
        draft.add(node, users.get(node))
    ends = [draft.add_output(t, root) for t, root in zip(outputs, roots, strict=True)]
    if found is not None:
        draw_gradients(draft, found, ends, operations=steps)
    return Graph(tuple(draft.vertices), tuple(draft.edges), tuple(draft.clusters.entries))


def checked(backward: Any, g: Any, detail: Any) -> None:
    """Refuse options that do not exist, or that would do nothing."""
    if not isinstance(backward, bool):
        raise DTypeError(f"trace: backward: expected bool, got {type(backward).__name__}")
    if detail not in DETAILS:
        raise OptionError(f"trace: detail: expected one of {DETAILS}, got {detail!r}")
    for name, used in (("g", g is not None), ("detail", detail != DETAILS[0])):
        if used and not backward:
            raise OptionError(
                f"trace: {name} is used only with backward=True; pass that too, or leave {name} out"
            )


def warn_of_missing(nodes: Sequence[Node]) -> None:
    """Say that every gradient was to be kept, and that none is there."""
    made = [node for node in nodes if node.op is not None]
    if made and all(node.retain and node.grad is None for node in made):
        warnings.warn(
            "trace: keep_grads was on, but backward has not been called, so there are no gradients "
            "to show; call it first, or draw them by trace(output, backward=True)",
            MissingGradientWarning,
            stacklevel=3,
        )


def tensors(output: Any) -> list[Tensor]:
    """What is to be traced, as a list."""
    outputs = list(output) if isinstance(output, (list, tuple)) else [output]
    if not outputs:
        raise DTypeError("trace: expected a Tensor or several, got none; pass at least one")
    for t in outputs:
        if t is None:
            raise DTypeError(
                "trace: expected a Tensor or several, got None; a gradient is None before "
                "backward: call it first, or draw the gradients by trace(loss, backward=True)"
            )
        if not isinstance(t, Tensor):
            raise DTypeError(f"trace: expected a Tensor or several, got {type(t).__name__}")
    return outputs


def upstreams(g: Any, output: Any, count: int) -> Sequence[Any]:
    """One upstream gradient, or None, for each of `count` outputs."""
    if isinstance(g, (str, bytes)):
        raise DTypeError(f"trace: g: expected an array of numbers, got {type(g).__name__}")
    if g is None or not isinstance(output, (list, tuple)):
        return [g] * count
    if not isinstance(g, (list, tuple)) or len(g) != count:
        got = str(len(g)) if isinstance(g, (list, tuple)) else type(g).__name__
        raise ShapeError(f"trace: g: expected a list of {count}, one for each output, got {got}")
    return g


def ancestors(
    roots: Sequence[Node], recomputed: bool = False
) -> tuple[list[Node], dict[Node, Node]]:
    """All nodes the roots were made from, oldest first, fused operations expanded.

    Args:
        recomputed: expand what is to be recomputed too, as a walk back does.

    Returns:
        The nodes, and for each expanded node left out the node of its definition's result.  One
        whose saved arrays were freed stays a single node.
    """
    stack = list(roots)
    newest = max(root.order for root in stack)
    # What is expanded is newer than what uses it: it is ranked by its owner first, then by its own
    # order, level by level.
    ranks: dict[Node, tuple[int, ...]] = {root: (root.order,) for root in stack}
    expansions: list[tuple[int, tuple[int, ...]]] = [(-1, ())]  # (newest node before, owner's rank)
    stand_ins: dict[Node, Node] = {}
    while stack:
        node = stack.pop()
        parents: tuple[Node | None, ...] = node.parents
        if (inner := opened(node, recomputed)) is not None:
            stand_ins[node], parents = inner, (inner,)
            expansions.append((newest, ranks[node]))
            newest = max(newest, inner.order)
        for parent in parents:
            if parent is not None and parent not in ranks:
                at = bisect_left(expansions, parent.order, key=itemgetter(0)) - 1
                ranks[parent] = (*expansions[at][1], parent.order)
                stack.append(parent)
    nodes = sorted(ranks.keys() - stand_ins.keys(), key=ranks.__getitem__)
    for node, inner in stand_ins.items():
        while inner in stand_ins:
            inner = stand_ins[inner]
        stand_ins[node] = inner
    return nodes, stand_ins


def opened(node: Node, recomputed: bool) -> Node | None:
    """The result of what a node stands for, recorded now; None for one that stands for itself."""
    if isinstance(node.edges, KernelCall):
        with changed(keep_values=True):  # so that constants are known: a mask
            return node.edges.expanded(node)[0][0]
    if recomputed and isinstance(node.edges, Expansion):
        return node.edges.open(node, None, True, None)[0][0]
    return None


def named_nodes(model: Any) -> Mapping[Node, str]:
    """The leaf nodes of a model's parameters with their names."""
    if model is None:
        return {}
    expected = "trace: model: expected a module or a mapping from names to tensors"
    if not isinstance(model, Mapping) and not hasattr(model, "named_parameters"):
        raise DTypeError(f"{expected}, got {type(model).__name__}")
    named = list(model.items() if isinstance(model, Mapping) else model.named_parameters())
    for name, t in named:
        if not isinstance(t, Tensor):
            raise DTypeError(f"{expected}, got {type(t).__name__} for {name!r}")
    return {t.node: name for name, t in named if t.node is not None}


def leaf_users(nodes: list[Node], clusters: Clusters) -> dict[Node, int | None]:
    """For each leaf the innermost cluster that holds all operations it enters."""
    users: dict[Node, int | None] = {}
    for node in nodes:
        here = clusters.of(node.scope)
        for parent in node.parents:
            if parent is not None and parent.op is None:
                users[parent] = clusters.around(users[parent], here) if parent in users else here
    return users
