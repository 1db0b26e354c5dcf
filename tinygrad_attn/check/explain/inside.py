"""Explanations within a fused operation: one way through its definition is missing or wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from itertools import combinations
from typing import Any

import numpy as np

from ...engine import Array, Fused, Node, Primitive, Tensor
from ...engine.node import Hook
from ...engine.results import Result
from ..causes import Cause
from ..problem import Problem, upstream
from ..trace import (
    EXTRAS,
    Call,
    calls_of,
    nodes_before,
    observable,
    rule_for,
    with_signature,
)
from .evidence import Evidence, Numbers
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


def sampled(e: Evidence) -> tuple[Array, Numbers]:
    """A few random upstream gradients, and what the rule makes and should make of them."""
    g = upstream(np.random.default_rng(0), (3, len(e.found)))
    return g, Numbers(g @ e.found, g @ e.right)


def branches(e: Evidence) -> str | None:
    """The gradient through one or two steps of the definition is missing, reversed or doubled."""
    problem = defined(e)
    if problem is None:
        return None
    g, numbers = sampled(e)
    variables = problem.tensors(problem.x)
    outs = problem.run(problem.f, variables)
    steps = [
        node
        for node in sorted(nodes_before(outs), key=lambda node: -node.order)
        if node.op is not None and not isinstance(node.op, Result) and node is not outs[0].node
    ]
    for some in (*((node,) for node in steps), *combinations(steps, 2)):
        branch = numbers.right - without(problem, outs, variables, some, g)
        size = float((branch * branch).sum())
        share = float(((numbers.found - numbers.right) * branch).sum()) / size if size else 0.0
        if share and numbers.fits(numbers.right + share * branch):
            names = " and ".join(f"`{node.op.name}`" for node in some if node.op)
            return through(names, rounded(share))
    return None


def through(names: str, share: float) -> str:
    """The name of a fault in the gradient through some steps: `share` of it more than is right."""
    if share == -1:
        return f"{Cause.DETACHED}: the gradient through {names} is missing"
    how = {-2.0: "has the wrong sign", 1.0: "counts twice"}.get(share, f"times {1 + share:g}")
    return f"{Cause.BRANCH}: the gradient through {names} {how}"


def without(
    problem: Problem,
    outs: list[Tensor],
    variables: list[Tensor],
    steps: Sequence[Node],
    g: Array,
) -> Array:
    """What is made of each row of `g` when no gradient passes these steps."""
    before = [(node.hooks, node.watched) for node in steps]
    try:
        for node in steps:
            node.hooks, node.watched = (Hook(lambda g: g * 0),), True
        rows = [problem.gradient(outs, variables, row)[0].ravel() for row in g]
    finally:
        for node, (hooks, watched) in zip(steps, before, strict=True):
            node.hooks, node.watched = hooks, watched
    return np.array(rows)


def whole(e: Evidence) -> Problem:
    """The definition as a function of all of its arguments: so all of its steps are seen."""
    assert isinstance(e.call.op, Fused)
    call, definition = e.call, e.call.op.definition
    return Problem(lambda *xs: definition(*xs, **call.options), call.arrays, call.names)


def one_step(e: Evidence) -> str | None:
    """A step of the definition has a fault that people often make."""
    problem = defined(e)
    if problem is None:
        return None
    g, numbers = sampled(e)
    nodes = nodes_before(problem.run(problem.f, problem.tensors(problem.x)))
    ops = {node.op.name: node.op for node in nodes if isinstance(node.op, Primitive)}
    for op in ops.values():
        for cause, argument, rule in usual_faults(op):
            if numbers.fits(with_rule(problem, g, op, argument, rule)):
                return f"{cause}: in the step `{op.name}`"
    return None


def with_rule(problem: Problem, g: Array, op: Primitive, argument: int, rule: Rule) -> Array | None:
    """What is made of each row of `g` with another rule; None where that raises an error."""
    try:
        with op.replaced_vjp(argument, rule):
            return problem.pull(g)
    except Exception:  # a fault that nobody would have overlooked
        return None


def another_value(e: Evidence) -> str | None:
    """A step of the definition uses another array of the same shape than it needs."""
    problem = defined(e)
    if problem is None:
        return None
    g, numbers = sampled(e)
    calls, _ = calls_of(problem, g[0])
    everything, _ = calls_of(whole(e), g[0])
    known = {f"{name} of `{call.op.name}`": a for call in everything for name, a in values_of(call)}
    for call in calls:
        if not observable(call.op) or call.op.variadic:
            continue
        for need, right in values_of(call):
            for name, array in known.items() if need in call.rule.needs else ():
                if array is right or np.shape(array) != np.shape(right):
                    continue
                rule = exchanging(call, need, array)
                if numbers.fits(with_rule(problem, g, call.op, call.argument, rule)):
                    where = f"the step `{call.op.name}` uses {name} where its own {need} is needed"
                    return f"{Cause.WRONG_VALUE}: {where}"
    return None


def values_of(call: Call) -> list[tuple[str, Any]]:
    """The arrays of a call and its result, by name."""
    pairs = [*zip(call.names, call.arrays, strict=False), ("out", call.out)]
    return [(name, a) for name, a in pairs if isinstance(a, np.ndarray) and a.dtype.kind == "f"]


def exchanging(call: Call, need: str, array: Array) -> Rule:
    """The rule of a call, but in this call it is given `array` for what it needs."""
    assert isinstance(call.op, Primitive)
    names = [*call.op.arrays, *call.op.options, *EXTRAS]

    def rule(g: Any, *values: Any) -> Any:
        known = dict(zip(names, values, strict=True))
        if np.array_equal(known["out"], call.out):
            known[need] = array
        return original.fn(g, *(known[name] for name in original.needs))

    original = call.rule
    return with_signature(rule, names)


def usual_faults(op: Primitive) -> Iterator[tuple[Cause, int, Rule]]:
    """(cause, argument, the wrong rule) for what goes wrong in an operation by itself."""
    if op.name == "softmax":
        yield Cause.DIAGONAL, 0, lambda g, out: g * out * (1 - out)
        yield Cause.DIAGONAL, 0, lambda g, out: g * out
    if op.name == "log_softmax":
        yield Cause.DIAGONAL, 0, lambda g, out: g * (1 - np.exp(out))
        yield Cause.DETACHED, 0, lambda g, out: -np.exp(out) * g.sum(-1, keepdims=True)
    if op.name == "repeat":
        yield Cause.BROADCAST, 0, first_of_each
        yield Cause.WRONG_AXIS, 0, others_of_each
    if op.name == "take":
        yield Cause.OVERWRITTEN, 0, last_of_each
    for argument, rule in enumerate(op.rules):
        if rule is not None and not op.variadic:
            masking = op.name in ("where", "masked_fill", "clip", "tril", "triu")
            yield Cause.MASK if masking else Cause.PASSED_ON, argument, lambda g: g
            yield Cause.TRANSPOSED, argument, turned(rule_for(op, argument).fn)
            for place in (slice(0, 1), slice(-1, None)):
                yield Cause.BROADCAST, argument, one_place(rule_for(op, argument), place)


def first_of_each(g: Any, in_shape: tuple[int, ...], repeats: Any, axis: int) -> Any:
    """Of each group that was made by repeating only the first gradient."""
    kept: list[Any] = [slice(None)] * g.ndim
    kept[axis] = slice(None, None, g.shape[axis] // in_shape[axis])
    return g[tuple(kept)]


def others_of_each(g: Any, in_shape: tuple[int, ...], repeats: Any, axis: int) -> Any:
    """Groups as if elements had been repeated in turn, not each one several times."""
    axis %= g.ndim
    return g.reshape((*in_shape[:axis], -1, *in_shape[axis:])).sum(axis)


def last_of_each(g: Any, in_shape: tuple[int, ...], indices: Any) -> Any:
    """Rows by assignment, which forgets all but the last use."""
    part = np.zeros(in_shape, g.dtype)
    part[indices] = g
    return part


def one_place(rule: Any, place: slice) -> Rule:
    """A rule that leaves out all places but one of the axes along which its argument is shared."""

    needs = list(dict.fromkeys(["in_shape", *rule.needs]))

    def kept(g: Any, *values: Any) -> Any:
        known = dict(zip(needs, values, strict=True))
        part, in_shape = rule.fn(g, *(known[need] for need in rule.needs)), known["in_shape"]
        full = (1,) * (part.ndim - len(in_shape)) + in_shape
        at = tuple(place if n == 1 else slice(None) for n in full)
        return part[at].reshape(in_shape)

    return with_signature(kept, needs)


def turned(fn: Rule) -> Rule:
    """A rule with the last two axes of its result exchanged."""

    @wraps(fn)  # what the rule asks for is read from the signature
    def rule(*args: Any) -> Any:
        return np.swapaxes(fn(*args), -1, -2)

    return rule
