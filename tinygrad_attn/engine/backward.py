"""The walk: from the newest node to the oldest, each when its gradient is complete.

Every result is newer than its arguments.  So the newest waiting node can get no further
contribution, and a heap on the creation order is all it takes: no recursion, no search, no
topological sort.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Any, NoReturn

import numpy as np

from .errors import DTypeError, GraphError, ShapeError, reraised
from .node import Edge, EdgeRule, Node
from .results import Parts
from .settings import SETTINGS, changed
from .tensor import Tensor, locked, wrapped


def walk(
    root: Node,
    g: Any,
    *,
    create_graph: bool,
    retain_graph: bool,
    relevant: set[Node] | None = None,
    wanted: Iterable[Node] = (),
) -> list[tuple[Node, Any]]:
    """Carry `g` from `root` back through the graph.

    Args:
        g: gradient of the root; an array, or a Tensor under create_graph.
        create_graph: run the rules on Tensors, so that the gradients have a graph themselves.
        retain_graph: keep the saved arrays for another walk.
        relevant: visit only these nodes (None: all).
        wanted: report these nodes besides those that retain their gradient.

    Returns:
        (node, whole gradient) for every leaf, every retaining and every wanted node reached.
    """
    if create_graph and not SETTINGS.get().recording:
        with changed(recording=True):
            return walk(
                root, g, create_graph=True, retain_graph=True, relevant=relevant, wanted=wanted
            )
    settings, reported = SETTINGS.get(), set(wanted)
    keep_all, guard = settings.keep_grads, settings.guard
    look_at_all = keep_all or bool(reported)
    waiting, nodes, heap = {root.order: g}, {root.order: root}, [-root.order]
    reached = []
    while heap:
        order = -heappop(heap)
        node, g = nodes.pop(order), waiting.pop(order)
        if node.watched or look_at_all:
            g = hooked(node, g, guard, create_graph) if node.hooks or guard is not None else g
            if (node.retain or keep_all or node in reported) and type(g) is not Parts:
                reached.append((node, g))
        if node.op is None:
            continue
        if type(g) is Parts:  # of an operation with several results (results.py)
            g = g.filled()
        edges = node.edges
        if type(edges) is not list:  # made only now, or freed
            edges = opened(node, g, create_graph, relevant)
        if create_graph or relevant is not None or guard is not None:
            edges = prepared(edges, node, g, create_graph, relevant, guard)
        try:
            for parent, rule, needs in edges:
                # Unpacking a list of one costs a fifth of a small rule.
                part = rule.fn(g, needs[0]) if len(needs) == 1 else rule.fn(g, *needs)
                if part.shape != parent.shape:
                    part = unbroadcast(part, parent.shape)
                if part.dtype is not parent.dtype:
                    part = fitted(part, node, parent)
                order = parent.order
                if order in waiting:
                    waiting[order] = waiting[order] + part
                else:
                    waiting[order], nodes[order] = part, parent
                    heappush(heap, -order)
        except Exception as error:
            explain(error, node, rule)
        if edges and not (retain_graph or create_graph):
            node.edges = None
    return reached


def explain(error: Exception, node: Node, rule: EdgeRule) -> NoReturn:
    """Raise `error` with a note that names the rule, or say that the rule returned no array."""
    if isinstance(error, AttributeError) and error.name in ("shape", "dtype", "ndim"):
        raise DTypeError(f"the rule of `{node.label}` must return an array: {error}") from error
    error.add_note(f"in the gradient rule of `{node.label}` {rule.formula}")
    raise error


def opened(node: Node, g: Any, create_graph: bool, relevant: set[Node] | None) -> list[Edge]:
    """The edges of a node that does not hold a list of them: it makes them now, or it was freed."""
    if relevant is not None and relevant.isdisjoint(node.parents):
        return []  # an input of `grad`: nothing of the node itself is needed
    if node.edges is None:
        raise GraphError(
            f"backward reached `{node.label}`, whose saved arrays were freed by an earlier "
            "backward (one that failed counts); pass retain_graph=True to that one, or run the "
            "forward pass again"
        )
    return node.edges.open(node, g, create_graph, relevant)


def prepared(
    edges: list[Edge],
    node: Node,
    g: Any,
    create_graph: bool,
    relevant: set[Node] | None,
    guard: Any,
) -> list[Edge]:
    """The edges to `relevant` nodes; under create_graph with Tensors for arrays."""
    if create_graph or relevant is not None:
        edges = [
            (parent, rule, rule.attached(node, needs) if create_graph else needs)
            for parent, rule, needs in edges
            if relevant is None or parent in relevant
        ]
    return edges if guard is None else guard.checked(node, g, edges, create_graph)


def unbroadcast(part: Any, shape: tuple[int, ...]) -> Any:
    """Sum `part` over the axes along which an argument of `shape` was broadcast."""
    extra = part.ndim - len(shape)
    if extra >= 0:
        axes = (
            *range(extra),
            *(i + extra for i, n in enumerate(shape) if n == 1 and part.shape[i + extra] != 1),
        )
        if all(n in (1, m) for n, m in zip(shape, part.shape[extra:])):
            return part.sum(axis=axes).reshape(shape)
    raise ShapeError(
        f"expected a gradient of shape {shape}, or of one that {shape} broadcasts to; "
        f"got {part.shape}"
    )


def fitted(part: Any, node: Node, parent: Node) -> Any:
    """`part` in the argument's dtype; it must have come in the dtype of the node's own gradient."""
    if part.dtype != node.dtype:
        raise DTypeError(f"expected a gradient of dtype {node.dtype}, got {part.dtype}")
    return part if part.dtype == parent.dtype else part.astype(parent.dtype)


def hooked(node: Node, g: Any, guard: Any, create_graph: bool) -> Any:
    """`g` after the node's hooks; what they return has a graph under create_graph."""
    if guard is not None:
        guard.gradient(node, g, "sum")
    for hook in node.hooks or ():
        seen = as_tensor(g)
        new = hook.fn(seen)
        if new is None:
            continue
        if not isinstance(new, Tensor) or (new.shape, new.dtype) != (seen.shape, seen.dtype):
            got = f"{new.dtype}{list(new.shape)}" if isinstance(new, Tensor) else type(new).__name__
            raise ShapeError(
                f"a hook must return None or a Tensor like the gradient it was given, "
                f"{seen.dtype}{list(seen.shape)}; got {got}"
            )
        g = new if create_graph else new._data
        if guard is not None:
            guard.gradient(node, g, "hook")
    return g


def as_tensor(g: Any) -> Tensor:
    """A gradient as users see it."""
    return g if isinstance(g, Tensor) else wrapped(locked(g), None)


def expect_flags(who: str, **flags: Any) -> None:
    """Refuse what is not True or False."""
    for name, flag in flags.items():
        if not isinstance(flag, (int, np.bool_)):
            raise DTypeError(f"{who}: {name} must be True or False, got {flag!r:.80}")


def upstream(output: Tensor, g: Any, create_graph: bool, who: str) -> Any:
    """The gradient to start with, an array or (create_graph) a Tensor: 1 or a copy of `g`."""
    if output.dtype.kind not in "fc":
        raise DTypeError(f"{who}: the output must be floating, got {output.dtype}")
    if g is None:
        if output.size != 1:
            raise ShapeError(
                f"{who}: the output has shape {output.shape}; pass g of that shape, or a scalar"
            )
        g = np.ones(output.shape, output.dtype)
    try:
        array = g._data if isinstance(g, Tensor) else np.array(g)
    except ValueError as error:
        raise reraised(error, who) from error
    if array.shape != output.shape:
        raise ShapeError(f"{who}: g must have the output's shape {output.shape}, got {array.shape}")
    if array.dtype != output.dtype and not np.can_cast(array.dtype, output.dtype, "same_kind"):
        raise DTypeError(f"{who}: g must be of dtype {output.dtype}, got {array.dtype}")
    if (guard := SETTINGS.get().guard) is not None:
        guard.gradient(output.node, array, "upstream")
    if create_graph and isinstance(g, Tensor):
        return g if g.dtype == output.dtype else g.astype(output.dtype)
    array = array.astype(output.dtype, copy=False)
    return as_tensor(array) if create_graph else array


def backward(
    output: Tensor, g: Any = None, *, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """Add d⟨output, g⟩/d(leaf) to `.grad` of every leaf that `output` depends on.

    Args:
        g: upstream gradient, shaped like `output`; needed unless `output` has one element.
        retain_graph: keep what the graph saved, for another backward.
        create_graph: give the gradients a graph themselves (this retains the first one too).

    Raises:
        ShapeError: `g` is missing or has another shape.
        DTypeError: `g` is of another kind, or the output is not floating.
        GraphError: there is no graph, or it was freed.  Leaf gradients are untouched by an error.
    """
    expect_flags("backward", retain_graph=retain_graph, create_graph=create_graph)
    root = output.need_node("backward")
    reached = walk(
        root,
        upstream(output, g, create_graph, "backward"),
        create_graph=create_graph,
        retain_graph=retain_graph,
    )
    for node, part in reached:  # only now, when nothing can fail any more
        part = as_tensor(part)
        node.grad = part if node.grad is None else node.grad + part


def grad(
    output: Tensor,
    inputs: Tensor | Sequence[Tensor],
    g: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """d⟨output, g⟩/d(input) for each input, total derivatives; `.grad` is not touched.

    Args:
        inputs: leaves or intermediate tensors, e.g. `grad(z, [x, y])` where y was made from x.
        g, create_graph, retain_graph: as in `backward`.
        allow_unused: return None for an input that `output` does not depend on, instead of raising.

    Raises:
        GraphError: an input has no graph, or `output` does not depend on it.
        ShapeError: `g` is missing or has another shape.
        DTypeError: the output or an input is no Tensor, or `g` is of another kind.
    """
    if not isinstance(output, Tensor):
        raise DTypeError(f"grad: output must be a Tensor, got {type(output).__name__}")
    expect_flags(
        "grad", create_graph=create_graph, retain_graph=retain_graph, allow_unused=allow_unused
    )
    several = isinstance(inputs, Iterable) and not hasattr(inputs, "ndim")
    tensors: tuple[Any, ...] = tuple(inputs) if several else (inputs,)
    nodes = [leaf_or_result(i, t) for i, t in enumerate(tensors)]
    root = output.need_node("grad")
    relevant = reaching(root, nodes)
    unused = [i for i, node in enumerate(nodes) if node not in relevant]
    if unused and not allow_unused:
        raise GraphError(
            f"grad: the output does not depend on input {unused[0]} "
            f"({tensors[unused[0]].name or 'unnamed'}); pass allow_unused=True to get None for it"
        )
    if root not in relevant:
        return (None,) * len(nodes)
    reached = walk(
        root,
        upstream(output, g, create_graph, "grad"),
        create_graph=create_graph,
        retain_graph=retain_graph,
        relevant=relevant,
        wanted=nodes,
    )
    found = dict(reached)
    return tuple([as_tensor(found[node]) if node in found else None for node in nodes])


def leaf_or_result(i: int, t: Any) -> Node:
    """The node of input `i` of `grad`, or an error that names it."""
    if not isinstance(t, Tensor):
        raise DTypeError(f"grad: input {i} must be a Tensor, got {type(t).__name__}")
    return t.need_node(f"grad: input {i}")


def reaching(root: Node, targets: Iterable[Node]) -> set[Node]:
    """The nodes on some path from `root` back to one of the `targets`, both ends included."""
    targets = set(targets)
    oldest = min((node.order for node in targets), default=0)
    seen, stack = {root}, [root]
    while stack:
        for parent in sources(stack.pop()):
            if parent is not None and parent.order >= oldest and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    found = targets & seen
    for node in sorted(seen - found, key=lambda node: node.order):  # oldest first: parents decided
        if any(parent in found for parent in sources(node)):
            found.add(node)
    return found


def sources(node: Node) -> Sequence[Node | None]:
    """The earlier nodes that a gradient flows on to: not those of arguments without a rule."""
    return [edge[0] for edge in node.edges] if type(node.edges) is list else node.parents


Tensor.backward = backward  # type: ignore[method-assign,assignment]  # declared in the class
