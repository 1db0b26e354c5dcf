"""Fused operations that users can plant rules in, as in primitives, to check the checkers.

While a rule is planted no kernel runs: a call is one node all the same, which takes that rule for
its argument and the definition's gradients for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from ...engine import Fused, Node, Tensor, grad
from ...engine.fused import GIVEN
from ...engine.node import Edge, record, recorded
from ...engine.primitive import position
from ...engine.recompute import PASS_ON, RECOMPUTE
from ...engine.rule import Rule
from ...engine.settings import SETTINGS, changed
from ...engine.tensor import frozen, wrapped

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


@dataclass(frozen=True, slots=True)
class PlantedCall:
    """In place of edges: those of planted rules, and the definition for the other arguments.

    `planted` has the rules, and `others` the nodes of the other arguments, by position.
    """

    definition: Callable[..., Tensor]
    inputs: list[tuple[Any, Node | None]]  # (array or constant, its node)
    options: dict[str, Any]
    planted: dict[int, Callable[..., Any]]
    edges: list[Edge]  # those of the planted rules
    others: dict[int, Node]

    def open(
        self, node: Node, g: Any, create_graph: bool, relevant: set[Node] | None
    ) -> list[Edge]:
        """The planted rules' edges, and the definition's gradients of the other arguments."""
        leaves = [
            None if p is None else recorded(None, (), [], p.shape, p.dtype) for p in node.parents
        ]
        inputs = [
            x if leaf is None else wrapped(x, leaf) for (x, _), leaf in zip(self.inputs, leaves)
        ]
        with changed(recording=True, keep_values=False, keep_grads=False, scope=node.scope):
            out = self.definition(*inputs, **self.options)
            wanted = [inputs[i] for i in self.others]
            parts = grad(out, wanted, g, create_graph=create_graph, allow_unused=True)
        for leaf, parent in zip(leaves, node.parents):
            if leaf and parent:  # from now on the argument itself, so that the parts hang on it
                leaf.op, leaf.parents, leaf.edges = RECOMPUTE, (parent,), [(parent, PASS_ON, ())]
        return self.edges + [
            (parent, GIVEN, (part if create_graph else part._data,))
            for parent, part in zip(self.others.values(), parts)
            if part is not None
        ]


class Operation(Fused):
    """A fused operation in which other rules can be planted.

    Attributes:
        arrays, options: names of the definition's tensors; its options with their defaults.
        planted: another rule for the argument at a position, for now.
    """

    variadic = False

    def __init__(self, definition: Callable[..., Tensor], *found: Any) -> None:
        super().__init__(definition, *found)
        parameters = signature(definition).parameters.values()
        self.options = {p.name: p.default for p in parameters if p.kind is Parameter.KEYWORD_ONLY}
        self.arrays = [p.name for p in parameters if p.name not in self.options]
        self.planted: dict[int, Rule] = {}

    @contextmanager
    def replaced_vjp(self, argument: int | str, rule: Callable[..., Any]) -> Iterator[None]:
        """Plant a rule for `argument` (name or position), to check the checkers.

        It asks by name for the definition's arguments and options, and for `out`.  What is called
        inside the block is one node with this rule; other arguments get the definition's gradient.

        Raises:
            ShapeError: there is no such argument.
            DTypeError: `rule` asks for something unknown.
        """
        at = position(f"{self.name}.replaced_vjp", self.arrays, argument)
        before = self.planted
        self.planted, self.fn = before | {at: Rule(rule, cast(Any, self))}, self.call_planted
        try:
            yield
        finally:
            self.planted, self.fn = before, self.call_planted if before else self.call

    def call_planted(self, *args: Any, **options: Any) -> Any:
        """The definition's result, on one node that has the planted rules."""
        args += (None,) * (len(self.arrays) - len(args))
        with changed(recording=False):
            out = self.definition(*args, **options)
        nodes = tuple([a.node if isinstance(a, Tensor) else None for a in args])
        if not SETTINGS.get().recording or not any(nodes):
            return out
        raw = [a._data if isinstance(a, Tensor) else frozen(a) for a in args]
        kept = self.options | {name: frozen(option) for name, option in options.items()}
        known = [*raw, *kept.values(), out._data]
        edges: list[Edge] = [
            (parent, rule, rule.fetch([*known, parent.shape, i, None, None]))
            for i, rule in self.planted.items()
            if (parent := nodes[i]) is not None
        ]
        others = {i: node for i, node in enumerate(nodes) if node and i not in self.planted}
        inputs = list(zip(raw, nodes))
        planted = {i: rule.fn for i, rule in self.planted.items()}
        call = PlantedCall(self.definition, inputs, kept, planted, edges, others)
        return wrapped(out._data, record(self, nodes, call, out._data))


class Public(Protocol[P, R]):
    """A function of users around a fused operation."""

    def __call__(self, *args: P.args, **options: P.kwargs) -> R:
        """Check the arguments, and call the operation."""

    def replaced_vjp(
        self, argument: int | str, rule: Callable[..., Any]
    ) -> AbstractContextManager[None]:
        """Plant another rule in the operation inside the block (see `Operation.replaced_vjp`)."""


def around(operation: Operation) -> Callable[[Callable[P, R]], Public[P, R]]:
    """Let users plant rules in `operation` by the name of the function that calls it."""

    def public(function: Callable[P, R]) -> Public[P, R]:
        whole = cast(Public[P, R], function)
        whole.replaced_vjp = operation.replaced_vjp  # type: ignore[method-assign]
        return whole

    return public
