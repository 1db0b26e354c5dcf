"""Activation checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").

The graph of `f` is thrown away after the forward pass and recorded again when backward arrives.  The new
result is newer than everything that still waits in the heap, so the walk simply goes on through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .backward import reaching
from .errors import DTypeError, GraphError
from .node import CLOCK, Container, Node, record
from .settings import SETTINGS, changed
from .tensor import Tensor, frozen, wrapped


class Recompute:
    """The operation of a recomputed result; it saves the inputs and the function, nothing from inside."""

    name = "recompute"

    def pull(self, node: Node, g: Any, create_graph: bool, relevant: Container) -> Iterator[tuple[Node, Any]]:
        """Record `f` again and hand `g` to the new result."""
        f, inputs = node.saved
        with changed(recording=True, scope=node.scope):
            out = f(*(wrapped(x, parent) if parent is not None else x for x, parent in inputs))
        if out.node is None or out.shape != node.shape:
            raise GraphError(f"recompute: run again, the function gave shape {out.shape} instead of {node.shape}; it must "
                             "do the same each time")
        if isinstance(relevant, set):               # under `grad`: tell the walk which new nodes lead to its inputs
            relevant |= reaching(out.node, relevant)
        yield out.node, g


RECOMPUTE = Recompute()


def recompute(f: Callable[..., Tensor], *xs: Any) -> Tensor:
    """f(*xs), keeping no intermediate array: they are computed again when backward needs them.

    `f` must be pure (pass random masks as arguments); variables it closes over get their gradients too.
    """
    if not SETTINGS.get().recording:
        return f(*xs)
    start = next(CLOCK)
    inputs = [(x._data, x.node) if isinstance(x, Tensor) else (frozen(x), None) for x in xs]
    with changed(keep_values=False, keep_grads=False):
        out = f(*xs)
    if not isinstance(out, Tensor):
        raise DTypeError(f"recompute: f must return a Tensor, got {type(out).__name__}")
    if out.node is None or out.node.order < start:
        return out
    outside = older_nodes(out.node, start)
    return wrapped(out._data, record(RECOMPUTE, outside, (f, inputs), out._data))


def older_nodes(root: Node, order: int) -> tuple[Node, ...]:
    """The nodes created before `order` that `root`'s graph hangs on: arguments and enclosed variables."""
    found: dict[Node, None] = {}
    seen, stack = {root}, [root]
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                if parent.order < order:
                    found[parent] = None
                else:
                    stack.append(parent)
    return tuple(found)
