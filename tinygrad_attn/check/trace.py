"""The rules that a backward pass runs, seen as they run: newest operation first.

While a function is traced, every rule is replaced by one that asks for everything a rule can ask
for, tells who watches, and then does what the rule would have done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from inspect import Parameter, Signature, signature
from typing import Any, TypeGuard

import numpy as np

from ..engine import Array, Fused, Node, Primitive, Tensor, keep_values
from ..engine.primitive import position
from ..engine.results import Result
from ..engine.rule import Rule
from .problem import Problem, RuleFailedError

EXTRAS = ("out", "in_shape", "i")  # what a rule can ask for besides parameters
VARIADIC = (*EXTRAS, "args", "in_shapes")  # and in an operation with `*arrays`


@dataclass
class Call:
    """One rule at work: the operation, which argument it is for, all arguments, the result.

    `planted` is a rule that f plants itself, with `replaced_vjp`, around this call.
    """

    op: Primitive | Fused
    argument: int
    arrays: tuple[Array, ...]
    options: dict[str, Any]
    out: Any
    node: Node | None = None
    planted: Callable[..., Any] | None = None

    @property
    def label(self) -> str:
        """The operation with its scope."""
        return self.op.name if self.node is None else self.node.label

    @property
    def module(self) -> str:
        """The scope it was recorded in, or ""."""
        return self.node.scope.path if self.node is not None and self.node.scope else ""

    @property
    def place(self) -> str:
        """The operation with its scope, and the argument."""
        return f"{self.label}, argument {self.name}"

    @property
    def names(self) -> list[str]:
        """The names of all array arguments."""
        if isinstance(self.op, Primitive):
            return [self.op.argument(i) for i in range(len(self.arrays))]
        return list(signature(self.op.definition).parameters)[: len(self.arrays)]

    @property
    def name(self) -> str:
        """The name of the argument."""
        return self.names[self.argument]

    @property
    def rule(self) -> Any:
        """The rule for the argument: planted by f, or in force now; only primitives have one."""
        assert isinstance(self.op, Primitive)
        if self.planted is not None:
            return Rule(self.planted, self.op)
        return rule_for(self.op, self.argument)

    @property
    def formula(self) -> str:
        """The rule as it is written beside it in the source."""
        if isinstance(self.op, Primitive):
            formula: str = self.rule.formula
            return formula
        return "computed by a kernel" if self.planted is None else "a planted rule"

    def pulled(self, g: Any, values: dict[str, Any]) -> Any:
        """What the bare rule makes of `g`, with these values for some of what it asks for."""
        assert isinstance(self.op, Primitive)
        arrays = {} if self.op.variadic else dict(zip(self.op.arrays, self.arrays, strict=True))
        shapes = tuple(np.shape(a) for a in self.arrays)
        extras = (self.out, shapes[self.argument], self.argument, self.arrays, shapes)
        known = {**arrays, **self.options, **dict(zip(VARIADIC, extras, strict=True)), **values}
        return self.rule.fn(g, *(known[need] for need in self.rule.needs))

    def __call__(self, x: Tensor) -> Any:
        """The operation on the same arguments, but for `x` in the place of the one in question."""
        before, after = self.arrays[: self.argument], self.arrays[self.argument + 1 :]
        with self.planting():
            return self.op(*before, x, *after, **self.options)

    def planting(self) -> AbstractContextManager[None]:
        """Plant the rule of this call, if f does."""
        if self.planted is None:
            return nullcontext()
        whole: Any = self.op  # fused operations that take rules have the method as well
        planting: AbstractContextManager[None] = whole.replaced_vjp(self.argument, self.planted)
        return planting

    def problem(self) -> Problem:
        """This operation alone, as a function of the argument in question."""
        return Problem(self, [self.arrays[self.argument]], [self.name])


def rule_for(op: Primitive, argument: int) -> Any:
    """The rule of an argument; operations with `*arrays` have one for all."""
    return op.rules[0 if op.variadic else argument]


def observable(op: Any) -> TypeGuard[Primitive]:
    """Can a rule of `op` ask for all arguments?  Not for one named `g`: that is the gradient."""
    return isinstance(op, Primitive) and "g" not in [*op.arrays, *op.options]


def nodes_before(roots: Iterable[Tensor]) -> list[Node]:
    """Every node of the tensors' graphs."""
    stack = [t.node for t in roots if t.node is not None]
    found = set(stack)
    while stack:
        fresh = [p for p in stack.pop().parents if p is not None and p not in found]
        found.update(fresh)
        stack += fresh
    return list(found)


def seen_through(problem: Problem) -> bool:
    """Can every rule of the graph be observed?"""
    nodes = nodes_before(problem.run(problem.f, problem.tensors(problem.x)))
    return all(
        node.op is None or isinstance(node.op, Result | Fused) or observable(node.op)
        for node in nodes
    )


def observed(
    op: Primitive,
    argument: int,
    seen: Callable[[Call, Any], None],
    planted: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """A rule that asks for everything, tells `seen`, and does what the planted one does.

    Where None is planted, what the rule in force now does.
    """
    rule = rule_for(op, argument) if planted is None else Rule(planted, op)
    names = [*op.options, *VARIADIC] if op.variadic else [*op.arrays, *op.options, *EXTRAS]

    def watching(g: Any, *values: Any) -> Any:
        known = dict(zip(names, values, strict=True))
        if not isinstance(g, Tensor):  # a Tensor: the rule itself is being recorded
            arrays = known["args"] if op.variadic else [known[name] for name in op.arrays]
            options = {name: known[name] for name in op.options}
            call = Call(op, known["i"], tuple(arrays), options, known["out"], planted=planted)
            seen(call, g)
        return rule.fn(g, *(known[need] for need in rule.needs))

    return with_signature(watching, names)


@contextmanager
def planting_observed(op: Primitive, seen: Callable[[Call, Any], None]) -> Iterator[None]:
    """Inside, a rule that somebody plants in `op` is observed as well."""
    whole: Any = op
    plant = op.replaced_vjp

    def replaced_vjp(argument: int | str, rule: Callable[..., Any]) -> AbstractContextManager[None]:
        at = position(f"{op.name}.replaced_vjp", op.arrays, argument)
        return plant(at, observed(op, at, seen, rule))

    whole.replaced_vjp = replaced_vjp
    try:
        yield
    finally:
        del whole.replaced_vjp  # the method again


def with_signature(rule: Callable[..., Any], needs: Iterable[str]) -> Callable[..., Any]:
    """A rule that asks for `needs`: the engine reads that from its signature."""
    rule.__signature__ = Signature(  # type: ignore[attr-defined]
        [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("g", *needs)]
    )
    return rule


def traced(
    problem: Problem, g: Array, seen: Callable[[Call, Any], None]
) -> tuple[list[Node], RuleFailedError | None]:
    """Run f and backward with `g`, telling `seen` of every rule and the gradient it is given.

    Returns:
        The nodes of the graph, with their values, and the error that ended backward, if one did.
    """
    outs = problem.run(problem.f, problem.tensors(problem.x))
    ops = {node.op for node in nodes_before(outs) if observable(node.op)}
    with ExitStack() as stack:
        for op in ops:
            for i, rule in enumerate(op.rules):
                if rule is not None:
                    stack.enter_context(op.replaced_vjp(i, observed(op, i, seen)))
            stack.enter_context(planting_observed(op, seen))
        stack.enter_context(keep_values())
        variables = problem.tensors(problem.x)
        outs = problem.run(problem.f, variables)
        nodes = nodes_before(outs)
        try:
            problem.gradient(outs, variables, g)
        except RuleFailedError as failed:
            return nodes, failed
    return nodes, None


def calls_of(problem: Problem, g: Array) -> tuple[list[Call], RuleFailedError | None]:
    """Every rule that backward runs, in that order, and the error that ended it, if one did."""
    calls: list[Call] = []
    nodes, failed = traced(problem, g, lambda call, _: calls.append(call))
    made = {id(node.value): node for node in nodes if node.value is not None}
    for call in calls:
        several = isinstance(call.out, tuple)
        node = made.get(id(call.out[0] if several else call.out))
        call.node = node.parents[0] if several and node is not None else node
    return calls, failed


def kernel_calls(problem: Problem) -> list[Call]:
    """Every gradient that a kernel computes, newest operation first."""
    nodes = nodes_before(problem.run(problem.f, problem.tensors(problem.x)))
    calls = []
    for node in sorted(nodes, key=lambda node: -node.order):
        if isinstance(node.op, Fused):
            arrays = tuple(array for array, _ in node.edges.inputs)
            planted = getattr(node.edges, "planted", {})
            calls += [
                Call(node.op, i, arrays, node.edges.options, node.value, node, planted.get(i))
                for i, parent in enumerate(node.parents)
                if parent is not None
            ]
    return calls
