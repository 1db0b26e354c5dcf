"""The graph: nodes that point back in time.

A node says which operation made a tensor and links to the nodes of the operation's arguments;
never to the tensors, so a tensor nobody saved is freed at once, and no cycle can arise.  Every
result is newer than its arguments, so the creation order *is* a topological order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .settings import SETTINGS, Scope

if TYPE_CHECKING:
    from .tensor import Tensor

CLOCK = count(1)


class Op(Protocol):
    """What made a node: a primitive, one result of a primitive, a recomputed function."""

    name: str


class EdgeRule(Protocol):
    """How a gradient passes along an edge: by `fn(g, *needs)`."""

    @property
    def fn(self) -> Callable[..., Any]:
        """The VJP."""

    @property
    def formula(self) -> str:
        """The derivative as it is written in papers."""

    def attached(self, node: Node, needs: Any) -> Any:
        """`needs` with Tensors for arrays, so that the rule itself is recorded."""


Edge = tuple["Node", EdgeRule, Any]  # (parent, rule, what the rule asked for)
Parents = Sequence["Node | None"]  # one for each array argument


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
        edges: (parent, rule, what the rule asked for) for each argument that needs a gradient;
            None once freed; an object that makes them, for recomputed and fused functions.
        shape, dtype: of the tensor (a tuple of shapes, for an operation with several results).
        scope: the part of the program that recorded it.
        watched: has it hooks, or a gradient to keep?  (Else a walk skips both questions.)

    Unset (and so None) until needed:
        name, value, grad: the tensor's name, its kept value, its kept gradient.
        constants: where they are noted: for each argument without a node a leaf in its place.
        role: "parameter" for a leaf that a module trains.
        retain: keep the gradient when a walk passes?
        place: (file, line number) of the user's code that recorded it, under `detect_anomaly`.
        hooks: called with the gradient.
    """

    __slots__ = (
        "constants", "dtype", "edges", "grad", "hooks", "name", "op", "order", "parents", "place",
        "retain", "role", "scope", "shape", "value", "watched",
    )  # fmt: skip
    order: int
    op: Op | None
    parents: tuple[Node | None, ...]
    edges: Any
    shape: Any
    dtype: np.dtype[Any]
    scope: Scope | None
    watched: bool
    name: str | None
    role: str | None
    grad: Tensor | None
    value: np.ndarray[Any, Any] | None
    retain: bool | None
    hooks: tuple[Hook, ...] | None
    constants: Parents | None
    place: tuple[str, int] | None

    def __getattr__(self, name: str) -> Any:
        """An unset slot is None: most nodes never have a name, a gradient or a hook."""
        if name in Node.__slots__:
            return None
        raise AttributeError(name)

    def keep(self, value: np.ndarray[Any, Any], grad: bool, args: Sequence[Any] = ()) -> None:
        """Keep the value, what the constant `args` were, and, when a walk passes, the gradient."""
        self.value = value
        self.constants = [noted(a) if p is None else None for a, p in zip(args, self.parents)]
        if grad:
            self.retain = self.watched = True

    @property
    def label(self) -> str:
        """The operation, or the leaf's name, for messages."""
        what = self.op.name if self.op is not None else self.name or "a variable"
        return f"{what} in {self.scope.path}" if self.scope is not None else what


new_node = object.__new__


def recorded(
    op: Op | None,
    parents: tuple[Node | None, ...],
    edges: Any,
    shape: Any,
    dtype: np.dtype[Any],
    scope: Scope | None = None,
) -> Node:
    """A node newer than all others.  (A function: `__init__` would cost half as much again.)"""
    node: Node = new_node(Node)
    node.order = next(CLOCK)
    node.op = op
    node.parents = parents
    node.edges = edges
    node.shape = shape
    node.dtype = dtype
    node.scope = scope
    node.watched = False
    return node


def noted(constant: Any) -> Node:
    """A leaf with its name, shape and dtype; with its value only where that is a single number."""
    array = np.asarray(constant)
    leaf = recorded(None, (), [], array.shape, array.dtype)
    leaf.name = getattr(constant, "name", None)
    leaf.value = None if array.ndim else array.copy()
    return leaf


def record(op: Op, parents: tuple[Node | None, ...], edges: Any, out: np.ndarray[Any, Any]) -> Node:
    """A node for the result `out` of `op`, in the scope and with the keeping that are set."""
    settings = SETTINGS.get()
    node = recorded(op, parents, edges, out.shape, out.dtype, settings.scope)
    if settings.keep_values:
        node.keep(out, settings.keep_grads)
    if settings.guard is not None:
        node.place = settings.guard.place()
    return node
