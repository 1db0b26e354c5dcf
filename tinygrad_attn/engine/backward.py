"""The walk: from the newest node to the oldest, each when its gradient is complete.

Every result is newer than its arguments.  So the newest waiting node can get no further contribution, and a
heap on the creation order is all it takes: no recursion, no search, no topological sort.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from .errors import DTypeError, GraphError, ShapeError
from .node import Container, Node
from .settings import SETTINGS
from .tensor import Array, Tensor, locked, wrapped


class Everything:
    """The container that holds every node."""

    def __contains__(self, node: object) -> bool:
        return True


EVERYTHING = Everything()


def walk(root: Node, g: Any, *, create_graph: bool, retain_graph: bool, relevant: Container = EVERYTHING,
         wanted: Container = ()) -> list[tuple[Node, Any]]:
    """Carry `g` from `root` back through the graph.

    Args:
        g: gradient of the root; an array, or a Tensor under create_graph.
        create_graph: run the rules on Tensors, so that the gradients have a graph themselves.
        retain_graph: keep the saved arrays for another walk.
        relevant: visit only these nodes.
        wanted: report these nodes besides those that retain their gradient.

    Returns:
        (node, whole gradient) for every leaf, every retaining and every wanted node reached.
    """
    keep_all = SETTINGS.get().keep_grads
    waiting = {root: g}
    heap = [(-root.order, root)]
    reached: list[tuple[Node, Any]] = []
    while heap:
        node = heappop(heap)[1]
        g = waiting.pop(node)
        if node._hooks:
            g = hooked(node, g)
        if (node.retain or keep_all or node in wanted) and type(g) is not tuple:
            reached.append((node, g))
        if node.op is None:
            continue
        if node.saved is None:
            raise GraphError(f"backward reached `{node.label}`, whose saved arrays were freed by an earlier backward; "
                             "pass retain_graph=True to the first one, or compute the forward pass again")
        for parent, part in node.op.pull(node, g, create_graph, relevant):
            if parent in waiting:
                waiting[parent] = waiting[parent] + part
            else:
                waiting[parent] = part
                heappush(heap, (-parent.order, parent))
        if not retain_graph:
            node.saved = None
    return reached


def hooked(node: Node, g: Any) -> Any:
    """`g` after the node's hooks."""
    bare = not isinstance(g, Tensor)
    for hook in tuple(node.hooks):
        seen = as_tensor(g)
        new = hook.fn(seen)
        if new is None:
            continue
        if not isinstance(new, Tensor) or new.shape != seen.shape:
            raise ShapeError(f"a hook must return None or a Tensor of shape {seen.shape}, got "
                             f"{new.shape if isinstance(new, Tensor) else type(new).__name__}")
        g = new._data if bare else new
    return g


def as_tensor(g: Any) -> Tensor:
    return g if isinstance(g, Tensor) else wrapped(locked(g), None)


def upstream(output: Tensor, g: Any) -> Any:
    """The gradient to start with: 1 for a scalar, else a copy of `g` in the output's shape and dtype."""
    if g is None:
        if output.size != 1:
            raise ShapeError(f"backward: the output has shape {output.shape}; pass g of that shape, or reduce to a scalar")
        return np.ones(output.shape, output.dtype)
    shape = np.shape(g._data if isinstance(g, Tensor) else g)
    if shape != output.shape:
        raise ShapeError(f"backward: g must have the output's shape {output.shape}, got {shape}")
    if isinstance(g, Tensor) and g.node is not None:
        return g
    array = np.array(g._data if isinstance(g, Tensor) else g)
    if not np.can_cast(array.dtype, output.dtype, "same_kind"):
        raise DTypeError(f"backward: g must be of dtype {output.dtype}, got {array.dtype}")
    return array.astype(output.dtype, copy=False)


def start(output: Tensor, g: Any, create_graph: bool) -> Any:
    g = upstream(output, g)
    if create_graph:
        return as_tensor(g)
    return g._data if isinstance(g, Tensor) else g


def backward(output: Tensor, g: Any = None, *, retain_graph: bool = False, create_graph: bool = False) -> None:
    """Add d⟨output, g⟩/d(leaf) to `.grad` of every leaf that `output` depends on.

    Args:
        g: upstream gradient, shaped like `output`; needed unless `output` has one element.
        retain_graph: keep what the graph saved, for another backward.
        create_graph: give the gradients a graph, so that they can be differentiated (retains the graph).

    Raises:
        ShapeError: `g` is missing or has another shape.
        GraphError: there is no graph, or it was freed.  Leaf gradients are untouched by an error.
    """
    node = output.need_node("backward")
    reached = walk(node, start(output, g, create_graph), create_graph=create_graph,
                   retain_graph=retain_graph or create_graph)
    for node, part in reached:                          # only now, when nothing can fail any more
        part = as_tensor(part)
        node.grad = part if node.grad is None else node.grad + part


def grad(output: Tensor, inputs: Tensor | Sequence[Tensor], g: Any = None, *, create_graph: bool = False,
         retain_graph: bool = False, allow_unused: bool = False) -> tuple[Tensor | None, ...]:
    """d⟨output, g⟩/d(input) for each input, total derivatives; `.grad` is not touched.

    Args:
        inputs: leaves or intermediate tensors, e.g. `grad(z, [x, y])` where y was made from x.
        g, create_graph, retain_graph: as in `backward`.
        allow_unused: return None for an input that `output` does not depend on, instead of raising.

    Raises:
        GraphError: an input has no graph, or `output` does not depend on it.
        ShapeError: `g` is missing or has another shape.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    nodes = [t.need_node(f"grad: input {i}") for i, t in enumerate(inputs)]
    root = output.need_node("grad")
    relevant = reaching(root, nodes)
    unused = [i for i, node in enumerate(nodes) if node not in relevant]
    if unused and not allow_unused:
        raise GraphError(f"grad: the output does not depend on input {unused[0]} "
                         f"({inputs[unused[0]].name or 'unnamed'}); pass allow_unused=True to get None for it")
    if root not in relevant:
        return (None,) * len(nodes)
    reached = walk(root, start(output, g, create_graph), create_graph=create_graph,
                   retain_graph=retain_graph or create_graph, relevant=relevant, wanted=set(nodes))
    found = dict(reached)
    return tuple(as_tensor(found[node]) if node in found else None for node in nodes)


def reaching(root: Node, targets: Iterable[Node]) -> set[Node]:
    """The nodes on some path from `root` back to one of the `targets`."""
    found = set(targets)
    oldest = min((node.order for node in found), default=0)
    seen, stack = {root}, [root]
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent.order >= oldest and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    for node in sorted(seen, key=lambda node: node.order):          # oldest first: parents are decided already
        if node not in found and any(parent in found for parent in node.parents):
            found.add(node)
    return found if root in found else set()


Tensor.backward = backward  # type: ignore[method-assign]
__all__ = ["Array", "backward", "grad"]
