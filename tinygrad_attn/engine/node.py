"""The graph: nodes that point back in time.

A node says which operation made a tensor and links to the nodes of the operation's arguments; never to
the tensors, so a tensor nobody saved is freed at once, and no cycle can arise.  Every result is
newer than its arguments, so the creation order *is* a topological order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .settings import SETTINGS, Scope

if TYPE_CHECKING:
    from .tensor import Tensor

CLOCK = count(1)


class Op(Protocol):
    """What made a node: it knows how to hand the node's gradient on to the nodes before it."""

    name: str

    def pull(self, node: Node, g: Any, create_graph: bool, relevant: Container) -> Iterator[tuple[Node, Any]]:
        """Yield (earlier node, its part of the gradient) for the parents that are in `relevant`."""


class Container(Protocol):
    """Anything that answers `node in container`."""

    def __contains__(self, node: object, /) -> bool: ...


@dataclass(eq=False, slots=True)
class Hook:
    """A function to call with a node's whole gradient; equal only to itself."""

    fn: Callable[[Tensor], Tensor | None]


class Node:
    """Where a tensor came from.

    Attributes:
        order: position on the clock; larger is newer.
        op: the operation, or None for a leaf (a variable).
        parents: the node of each array argument, None for constants.
        saved: what the operation's rules asked for; None once freed.
        shape, dtype: of the tensor (of each result, for an operation with several).
        scope: the part of the program that recorded it.
        name, grad, value: the tensor's name, its kept gradient and its kept value.
        retain: keep the gradient here too when a walk passes.
    """

    __slots__ = ("_hooks", "dtype", "grad", "name", "op", "order", "parents", "retain", "saved", "scope",
                 "shape", "value")

    def __init__(self, op: Op | None, parents: tuple[Node | None, ...], saved: Any, shape: Any,
                 dtype: np.dtype[Any], scope: Scope | None = None) -> None:
        self.order = next(CLOCK)
        self.op = op
        self.parents = parents
        self.saved = saved
        self.shape = shape
        self.dtype = dtype
        self.scope = scope
        self.name: str | None = None
        self.grad: Tensor | None = None
        self.value: np.ndarray[Any, Any] | None = None
        self.retain = op is None
        self._hooks: list[Hook] | None = None

    @property
    def hooks(self) -> list[Hook]:
        """Functions called with this node's whole gradient during a walk."""
        if self._hooks is None:
            self._hooks = []
        return self._hooks

    @property
    def label(self) -> str:
        """The operation, or the leaf's name, for messages."""
        what = self.op.name if self.op is not None else self.name or "a variable"
        return f"{what} in {self.scope.path}" if self.scope is not None else what


def record(op: Op, parents: tuple[Node | None, ...], saved: Any, out: np.ndarray[Any, Any]) -> Node:
    """A new node for the result `out` of `op`, in the current scope, keeping what the settings ask for."""
    settings = SETTINGS.get()
    node = Node(op, parents, saved, out.shape, out.dtype, settings.scope)
    if settings.keep_values:
        node.value = out
        node.retain = settings.keep_grads
    return node
