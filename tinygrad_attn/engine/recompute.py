"""Activation checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").

The graph of `f` is thrown away after the forward pass and recorded again when backward arrives.
The new result is newer than everything that still waits in the heap, so the walk simply goes on
through it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backward import reaching
from .errors import DTypeError, GraphError
from .node import CLOCK, Edge, EdgeRule, Node, record
from .settings import SETTINGS, changed
from .tensor import Array, Tensor, frozen, wrapped


class Recompute:
    """The operation of a recomputed result."""

    name = "recompute"


@dataclass(frozen=True, slots=True)
class Expansion:
    """In place of edges: the function and its inputs, to be recorded when backward arrives."""

    f: Callable[..., Tensor]
    inputs: list[tuple[Any, Node | None]]  # (array, its node)
    out: Array  # the first result, to compare with
    settings: dict[str, Any]  # those of the first run: other kernels round differently

    def open(
        self, node: Node, g: Any, create_graph: bool, relevant: set[Node] | None
    ) -> list[Edge]:
        """Record `f` again; it must give the first result."""
        with changed(**self.settings):
            return rerecorded(self.f, self.inputs, node, relevant, self.out)


def rerecorded(
    f: Callable[..., Tensor],
    inputs: list[tuple[Any, Node | None]],
    node: Node,
    relevant: set[Node] | None,
    expected: Array | None = None,
) -> list[Edge]:
    """The edge from `node` to f's result, recorded now: it is newer than all that waits."""
    with changed(recording=True, scope=node.scope):
        out = f(*(x if parent is None else wrapped(x, parent) for x, parent in inputs))
    if out.node is None or (
        expected is not None and not np.array_equal(out._data, expected, equal_nan=True)
    ):
        raise GraphError(
            "recompute: run again, the function gave another result; it must be pure "
            "(random masks are arguments), and neither its variables nor the rules planted may "
            "change meanwhile"
        )
    if relevant is not None:  # under `grad`: which new nodes lead to its inputs?
        relevant |= reaching(out.node, relevant)
    return [(out.node, PASS_ON, ())]


class PassOn:
    """The rule of an edge along which the gradient passes unchanged."""

    formula = "dx = dy"

    @staticmethod
    def fn(g: Any) -> Any:
        """`g` itself."""
        return g

    @staticmethod
    def attached(node: Node, needs: Any) -> Any:
        """Nothing is saved."""
        return needs


RECOMPUTE = Recompute()
PASS_ON: EdgeRule = PassOn()


def recompute(f: Callable[..., Tensor], *xs: Any) -> Tensor:
    """f(*xs), keeping no intermediate array: they are computed again when backward needs them.

    `f` must be pure (pass random masks as arguments); variables it closes over get their gradients
    too.  It runs with the same kernels and default dtype both times, and keeps no values.

    Raises:
        DTypeError: `f` returns something else than a Tensor.
        GraphError: in backward, if `f` then gives another result.
    """
    if not callable(f):
        raise DTypeError(f"recompute: f must be a function, got {type(f).__name__}")
    start = next(CLOCK)
    inputs = [remembered(x) for x in xs]
    now = SETTINGS.get()
    settings = {"kernels": now.kernels, "threads": now.threads, "dtype": now.dtype}
    settings |= {"keep_values": False, "keep_grads": False}
    with changed(**settings):
        out = f(*xs)
    if not isinstance(out, Tensor):
        raise DTypeError(f"recompute: f must return a Tensor, got {type(out).__name__}")
    if out.node is None or out.node.order < start or not now.recording:
        return out
    outside = older_nodes(out.node, start)
    expansion = Expansion(f, inputs, out._data, settings)
    return wrapped(out._data, record(RECOMPUTE, outside, expansion, out._data))


def remembered(x: Any) -> tuple[Any, Node | None]:
    """An argument in a form nobody can write into, and its node; a constant Tensor as it is."""
    if isinstance(x, Tensor):
        return (x, None) if x.node is None else (x._data, x.node)
    return frozen(x), None


def older_nodes(root: Node, order: int) -> tuple[Node, ...]:
    """The nodes made before `order` that `root` hangs on: arguments and enclosed variables."""
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
