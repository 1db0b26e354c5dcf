"""Explanations within a fused operation: one way through its definition is missing or wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import numpy as np

from ...engine import Array, Fused, Node, Primitive, Tensor
from ...engine.node import Hook
from ...engine.results import Result
from ..causes import Cause
from ..problem import Problem
from ..trace import nodes_before, rule_for
from .evidence import Evidence
from .plain import rounded

Rule = Callable[..., Any]


def defined(e: Evidence) -> Problem | None:
    """The definition of a fused operation as a function of the argument in question."""
    op = e.call.op
    if not isinstance(op, Fused):
        return None
    arrays, at = e.call.arrays, e.call.argument

    def definition(x: Tensor) -> Any:
        return op.definition(*arrays[:at], x, *arrays[at + 1 :], **e.call.options)

    return Problem(definition, [arrays[at]], [e.call.name])


def one_branch(e: Evidence) -> str | None:
    """The gradient through one step of the definition is missing, turned round or doubled."""
    problem = defined(e)
    if problem is None:
        return None
    variables = problem.tensors(problem.x)
    outs = problem.run(problem.f, variables)
    for node in sorted(nodes_before(outs), key=lambda node: -node.order):
        if node.op is None or isinstance(node.op, Result) or node is outs[0].node:
            continue
        branch = e.right - without(problem, outs, variables, node)
        size = float((branch * branch).sum())
        share = float(((e.found - e.right) * branch).sum()) / size if size else 0.0
        if share and e.fits(e.right + share * branch):
            how = {-1.0: "is missing", -2.0: "has the wrong sign", 1.0: "counts twice"}.get(
                rounded(share), f"has the factor {rounded(1 + share)}"
            )
            return f"{Cause.BRANCH}: the gradient through `{node.op.name}` {how}"
    return None


def without(problem: Problem, outs: list[Tensor], variables: list[Tensor], node: Node) -> Array:
    """The Jacobian when no gradient passes `node`."""
    before = node.hooks, node.watched
    node.hooks, node.watched = (Hook(lambda g: g * 0),), True
    try:
        rows = [problem.gradient(outs, variables, g)[0].ravel() for g in np.eye(outs[0].size)]
    finally:
        node.hooks, node.watched = before
    return np.array(rows).reshape(outs[0].size, problem.inputs.size)


def one_step(e: Evidence) -> str | None:
    """A step of the definition has a fault that people often make."""
    problem = defined(e)
    if problem is None:
        return None
    nodes = nodes_before(problem.run(problem.f, problem.tensors(problem.x)))
    ops = {node.op.name: node.op for node in nodes if isinstance(node.op, Primitive)}
    for op in ops.values():
        for cause, argument, rule in usual_faults(op):
            with op.replaced_vjp(argument, rule):
                try:
                    found = problem.pull(np.eye(problem.outputs.size))
                except Exception:  # this fault would have been noticed
                    continue
            if e.fits(found):
                return f"{cause}: in the step `{op.name}`"
    return None


def usual_faults(op: Primitive) -> Iterator[tuple[Cause, int, Rule]]:
    """(cause, argument, the wrong rule) for what goes wrong in an operation by itself."""
    if op.name == "softmax":
        yield Cause.DIAGONAL, 0, lambda g, out: g * out * (1 - out)
        yield Cause.DIAGONAL, 0, lambda g, out: g * out
    if op.name == "log_softmax":
        yield Cause.DIAGONAL, 0, lambda g, out: g * (1 - np.exp(out))
    if op.name == "repeat":
        yield Cause.BROADCAST, 0, first_of_each
    if op.name == "take":
        yield Cause.OVERWRITTEN, 0, last_of_each
    for argument, rule in enumerate(op.rules):
        if rule is not None and not op.variadic:
            masking = op.name in ("where", "masked_fill", "clip", "tril", "triu")
            yield Cause.MASK if masking else Cause.PASSED_ON, argument, lambda g: g
            yield Cause.TRANSPOSED, argument, turned(rule_for(op, argument).fn)


def first_of_each(g: Any, in_shape: tuple[int, ...], repeats: Any, axis: int) -> Any:
    """Of each group that was made by repeating only the first gradient."""
    kept: list[Any] = [slice(None)] * g.ndim
    kept[axis] = slice(None, None, g.shape[axis] // in_shape[axis])
    return g[tuple(kept)]


def last_of_each(g: Any, in_shape: tuple[int, ...], indices: Any) -> Any:
    """Rows by assignment, which forgets all but the last use."""
    part = np.zeros(in_shape, g.dtype)
    part[indices] = g
    return part


def turned(fn: Rule) -> Rule:
    """A rule with the last two axes of its result exchanged."""

    @wraps(fn)  # what the rule asks for is read from the signature
    def rule(*args: Any) -> Any:
        return np.swapaxes(fn(*args), -1, -2)

    return rule
