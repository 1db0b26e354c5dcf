"""The guard: what the engine shows it, and whom it blames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from inspect import signature
from typing import Any

import numpy as np

from ..engine import Array, Fused, Node, Primitive, ShapeError, Tensor
from ..engine.adapter import brief
from ..engine.backward import explain, grad, unbroadcast
from ..engine.dispatch import plain
from ..engine.fused import KernelCall
from ..engine.node import Edge, EdgeRule
from ..engine.results import Parts
from ..engine.rule import Rule
from ..engine.settings import changed
from .places import here, there, users_line
from .report import AnomalyError, again, backward, forward, name_of, name_of_op, summary
from .screening import finite, unwanted


class Guard:
    """Looks at results and gradients, and remembers the user's line for every node."""

    place = staticmethod(users_line)

    def result(
        self,
        op: Primitive,
        args: Sequence[Any],
        raw: Sequence[Any],
        options: tuple[Any, ...],
        outs: tuple[Array, ...],
    ) -> None:
        """The results of a primitive."""
        for slot, out in enumerate(outs):
            if finite(out):
                continue
            names = [op.argument(i) for i in range(len(args))]
            refuse_arguments(op.name, names, args)
            bad = unwanted(out, slot, op, raw, options)
            if bad.any():
                details = [summary(name, x) for name, x in zip(names, args, strict=True)]
                details += [f"{k}={brief(v)}" for k, v in zip(op.options, options, strict=True)]
                of = f"out[{slot}]" if len(outs) > 1 else "out"
                raise forward(bad, out, of, op.name, "made", details=tuple(details))

    def fused(self, op: Fused, args: Sequence[Any], options: dict[str, Any], out: Array) -> None:
        """The result of a kernel; the definition knows which step made it."""
        if finite(out):
            return
        refuse_arguments(op.name, arguments(op.definition), args)
        try:
            with changed(recording=False):
                expected = plain(op.definition(*args, **options))
        except AnomalyError as error:
            raise again(error, within=op.name) from None
        bad = ~np.isfinite(out) & np.isfinite(expected)
        if bad.any():
            raise forward(bad, out, "out", op.name, "kernel")

    def kernel(self, call: KernelCall, node: Node, g: Array, parts: Sequence[Any]) -> None:
        """The gradients from a kernel; the definition knows whose rule made it."""
        if all(part is None or finite(part) for part in parts):
            return
        self.gradient(node, g, "sum")
        for part, (_, parent), name in zip(parts, call.inputs, arguments(call.definition)):
            if part is None or parent is None or finite(part):
                continue
            retraced(call, node, g)
            tensor = parent.name or ""
            raise backward(part, f"d{name}", node, "kernel", argument=name, tensor=tensor)

    def gradient(self, node: Node, g: Any, source: str) -> None:
        """A whole gradient, "upstream" as it was given, or as a "hook" or the "sum" left it."""
        if source == "upstream":
            g = g.astype(node.dtype, copy=False)  # as the walk will
        if g.__class__ is np.ndarray and finite(g):
            return
        parts = g.items if isinstance(g, Parts) else g if isinstance(g, tuple) else (g,)
        for part in map(plain, parts):
            if part is not None and not finite(part):
                facts = here() if source == "upstream" else {}  # whoever calls backward gave it
                raise backward(part, "g", node, source, tensor=node.name or "", **facts)

    def checked(self, node: Node, g: Any, edges: Iterable[Edge], on_tensors: bool) -> list[Edge]:
        """Run the rules; for each edge one that only passes on what came out."""
        if not node.watched:  # else hooked has looked
            self.gradient(node, g, "sum")
        run: list[Edge] = []
        for parent, rule, needs in edges:
            if rule.__class__ is not Rule:  # passes a gradient on
                run.append((parent, rule, needs))
                continue
            try:
                part = quietly(rule, g, needs) if on_tensors else rule.fn(g, *needs)
            except Exception as error:
                explain(error, node, rule)
            array = part if part.__class__ is np.ndarray else plain(part)
            if isinstance(array, (np.ndarray, np.generic)):
                if not finite(array):
                    raise from_rule(array, node, parent, rule, g, needs)
                refuse_conversion(array, node, parent, rule)
            run.append((parent, Checked(rule), (part,)))
        return run


class Quiet(Guard):
    """While a rule runs on Tensors: only its result counts, the steps to it do not."""

    def result(self, *_: Any) -> None:
        """Not looked at."""

    def fused(self, *_: Any) -> None:
        """Not looked at."""


class Checked:
    """A rule that has been run: it passes on what came out."""

    __slots__ = ("rule",)

    def __init__(self, rule: EdgeRule) -> None:
        self.rule = rule

    @staticmethod
    def fn(g: Any, part: Any) -> Any:
        """`part`: `g` has entered it already."""
        return part

    @property
    def formula(self) -> str:
        """That of the rule."""
        return self.rule.formula

    def attached(self, node: Node, needs: Any) -> Any:
        """Done before the rule ran."""
        return needs


GUARD, QUIET = Guard(), Quiet()


def quietly(rule: EdgeRule, g: Any, needs: Any) -> Any:
    """What a rule gives on Tensors."""
    with changed(guard=QUIET):
        return rule.fn(g, *needs)


def from_rule(
    part: Any, node: Node, parent: Node, rule: Any, g: Any, needs: Sequence[Any]
) -> AnomalyError:
    """The error for what a rule has made."""
    name = argument_of(node, parent, rule)
    seen = [("g", g), *zip(rule.needs, needs, strict=True)]
    return backward(
        part,
        f"d{name}",
        node,
        "made",
        argument=name,
        tensor=parent.name or "",
        formula=rule.formula,
        details=tuple(summary(k, x) for k, x in seen if isinstance(x, (np.ndarray, Tensor))),
    )


def refuse_conversion(part: Any, node: Node, parent: Node, rule: Rule) -> None:
    """Raise if a finite part of a gradient is too large for the dtype of the argument."""
    if part.dtype != node.dtype or part.dtype == parent.dtype:  # the walk refuses other dtypes
        return
    name = argument_of(node, parent, rule)
    try:
        whole = unbroadcast(part, parent.shape)
    except ShapeError as error:
        explain(error, node, rule)
    converted = whole.astype(parent.dtype)
    if finite(whole) and not finite(converted):
        raise backward(
            converted,
            f"d{name}",
            node,
            "cast",
            argument=name,
            tensor=parent.name or "",
            formula=rule.formula,
            details=(summary(f"d{name} before", whole),),
        )


def refuse_arguments(op: str, names: Sequence[str], args: Sequence[Any]) -> None:
    """Raise if an argument holds NaN, or a trained parameter an infinity."""
    for name, x in zip(names, args):
        array = np.asarray(plain(x))
        if array.dtype.kind not in "fc":
            continue
        bad = np.isnan(array)
        if isinstance(x, Tensor) and x.node is not None and x.node.role == "parameter":
            bad = ~np.isfinite(array)
        if bad.any():
            made = isinstance(x, Tensor) and x.node is not None and x.node.op is not None
            details = (f"result of `{x.node.label}`",) if made else ()
            facts = {"argument": name, "tensor": name_of(x), "details": details}
            raise forward(bad, array, name, op, "argument", **facts)


def retraced(call: KernelCall, node: Node, g: Array) -> None:
    """Walk back through the definition of a fused operation, which raises where it goes wrong."""
    variables = [
        x if parent is None else Tensor(x, requires_grad=True, name=parent.name)
        for x, parent in call.inputs
    ]
    try:
        with changed(recording=True, scope=node.scope):
            out = call.definition(*variables, **call.options)
            grad(out, [x for x in variables if isinstance(x, Tensor)], g, allow_unused=True)
    except AnomalyError as error:
        raise again(error, within=name_of_op(node), **there(node)) from None


def arguments(definition: Callable[..., Any]) -> list[str]:
    """The names of a definition's arguments."""
    return list(signature(definition).parameters)


def argument_of(node: Node, parent: Node, rule: Rule) -> str:
    """The name of the argument that a rule is for."""
    op = node.op
    assert isinstance(op, Primitive)
    places = [i for i, p in enumerate(node.parents) if p is parent]
    own = [i for i in places if i < len(op.rules) and op.rules[i] is rule]
    return op.argument((own or places)[0])
