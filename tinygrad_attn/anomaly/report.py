"""What is raised: the error, its attributes and its words."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Array, Node, Tensor, TensorError
from ..engine.dispatch import plain
from .places import Place, here, there


class AnomalyError(TensorError, ArithmeticError):
    """NaN or infinity, found under `detect_anomaly`.

    Attributes:
        op: the operation it is about; where a fused one is, the step of its definition.
        within: the fused operation that `op` is a step of, or "".
        phase: "forward" or "backward".
        source: where it comes from: "made" by the operation (in backward by its rule), "kernel" (of
            the fused operation; the definition does not make it), an "argument" or the "upstream"
            gradient that holds it already, a "hook", the "sum" of the parts of a gradient, or the
            "cast" of one to its argument's dtype.
        argument: of `op`, with which it came in, or whose gradient it is; else "".
        tensor: name of the tensor that holds it, or "".
        index, value: of the first bad element.
        count: how many are bad.
        scope: path of the module, or "".
        place: the line that called the operation, the innermost outside this library; or None.
        formula: of the gradient rule, or "".
    """

    op: str
    within: str
    phase: str
    source: str
    argument: str
    tensor: str
    index: tuple[int, ...]
    value: Any
    count: int
    scope: str
    place: Place | None
    formula: str
    array: str
    details: tuple[str, ...]

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        vars(self).update(facts)


SENTENCES = {
    "made": "`{op}` made {value} in the forward pass",
    "rule": "the gradient rule of `{op}` made {value} in the backward pass",
    "kernel": "the kernel of `{op}` made {value} in the {phase} pass; its definition does not",
    "argument": "{value} came into `{op}` with its argument {argument}",
    "upstream": "{value} came in with the gradient g of `{op}` that backward was given",
    "hook": "a hook returned {value} for the gradient of `{op}`",
    "cast": "{value} came up where the gradient for argument {argument} of `{op}` was converted",
    "sum": "{value} came up where the parts of the gradient of `{op}`, all finite, were added up",
}


def forward(bad: Array, array: Array, of: str, op: str, source: str, **facts: Any) -> AnomalyError:
    """The error of an operation that runs now."""
    return anomaly(bad, array, of, op=op, phase="forward", source=source, **here(), **facts)


def backward(part: Any, of: str, node: Node, source: str, **facts: Any) -> AnomalyError:
    """The error for a part of a gradient, which belongs to what `node` was recorded for."""
    bad, array = ~np.isfinite(part), np.asarray(part)
    known = {"op": name_of_op(node), "phase": "backward", "source": source, **there(node), **facts}
    return anomaly(bad, array, of, **known)


def name_of_op(node: Node) -> str:
    """What made a node; of a leaf its name."""
    return node.op.name if node.op is not None else node.name or "a variable"


UNKNOWN = "recorded outside detect_anomaly, so its line is not known"


def anomaly(bad: Array, array: Array, of: str, **facts: Any) -> AnomalyError:
    """The error for the `bad` elements (booleans) of `array`, which the formulas call `of`."""
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    kind = f"{of}: {array.dtype}{list(array.shape)}"
    known = {
        "within": "", "argument": "", "tensor": "", "formula": "", "details": (), **facts,
        "index": index, "value": array[index].item(), "count": int(bad.sum()), "array": kind,
    }  # fmt: skip
    return AnomalyError(described(known), **known)


def described(facts: dict[str, Any]) -> str:
    """What happened, to which numbers, and where."""
    source, place, index = facts["source"], facts["place"], facts["index"]
    in_rule = source == "made" and facts["phase"] == "backward"
    name = f" {facts['tensor']!r}" if facts["tensor"] else ""
    where = f"at {list(index)}" if index else "itself"
    lines = [
        SENTENCES["rule" if in_rule else source].format(**facts),
        f"{facts['array']}{name}, first {where}, {facts['count']} in all",
        *facts["details"],
        f"rule: {facts['formula']}" if facts["formula"] else "",
        f"a step of `{facts['within']}`" if facts["within"] else "",
        f"in module {facts['scope']}" if facts["scope"] else "",
        f'File "{place.file}", line {place.line}' if place else "",
        f"  {place.text}" if place and place.text else "",
        "" if place or facts["phase"] == "forward" else UNKNOWN,
    ]
    return "\n  ".join(line for line in lines if line)


def again(error: AnomalyError, **changes: Any) -> AnomalyError:
    """The same error with other facts."""
    facts = {**vars(error), **changes}
    return AnomalyError(described(facts), **facts)


def summary(name: str, x: Any) -> str:
    """A line about an array or a number: what it is, and its range."""
    array = np.asarray(plain(x))
    called = f" {name_of(x)!r}" if name_of(x) else ""
    if array.dtype.kind not in "fiu" or not array.size:
        return f"{name}: {array.dtype}{list(array.shape)}{called}"
    low, high = f"{np.fmin.reduce(array, None):.4g}", f"{np.fmax.reduce(array, None):.4g}"
    between = low if low == high else f"{low} to {high}"
    return f"{name}: {array.dtype}{list(array.shape)}{called}, {between}"


def name_of(x: Any) -> str:
    """A tensor's name, or ""."""
    return (isinstance(x, Tensor) and x.name) or ""
