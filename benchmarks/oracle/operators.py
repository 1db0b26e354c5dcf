"""From functions with ONNX's attributes as keywords to what calls an operator of a case.

    function(*inputs, **attributes) -> Tensor, array, list of them, or a dict by output name

`Unsupported` names what is not offered: nothing is answered that was not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any

import numpy as np

from tinygrad_attn import Tensor

Operator = Callable[..., Any]
Adapter = Callable[[list[Any], dict[str, Any], Any], list[Any]]


class Unsupported(Exception):  # noqa: N818  (a finding, not a fault)
    """What an adapter does not offer, by name."""


def evaluated(name: str, function: Operator) -> Adapter:
    """`function` as an adapter: arrays in, arrays out, in the order of the operator's outputs."""

    def adapter(inputs: list[Any], attributes: dict[str, Any], case: Any) -> list[Any]:
        with np.errstate(all="ignore"):
            outputs = called(name, function, inputs, attributes, case)
        return [np.asarray(y.detach() if isinstance(y, Tensor) else y) for y in outputs]

    return adapter


def called(
    name: str, function: Operator, inputs: Sequence[Any], attributes: dict[str, Any], case: Any
) -> list[Any]:
    """The outputs of an operator that a case asks for; inputs that are Tensors stay so."""
    refuse_kinds(name, inputs, case)
    options = known(name, function, attributes)
    if "outputs" in signature(function).parameters:
        options["outputs"] = None if case is None else tuple(case.output_names)
    given = [x if x is None or isinstance(x, Tensor) else Tensor(x) for x in inputs]
    result = function(*given, **options)
    if isinstance(result, dict):
        return [result[output] for output in (case.output_names if case else result)]
    return list(result) if isinstance(result, (list, tuple)) else [result]


def refuse_kinds(name: str, inputs: Sequence[Any], case: Any) -> None:
    """Text and bfloat16, which the loader gives as None, are no numbers here."""
    for i, x in enumerate(inputs):
        given = i == 0 if case is None else case.input_names[i]  # "" for an input left out
        if x is None and given:
            raise Unsupported(f"{name} of bfloat16")
        if isinstance(x, np.ndarray) and x.dtype.kind not in "biuf":
            raise Unsupported(f"{name} of {x.dtype}")


def known(name: str, function: Operator, attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes, if the function has them all; `lambda` and the like end in _ there."""
    parameters = signature(function).parameters
    allowed = {n for n, p in parameters.items() if p.kind is Parameter.KEYWORD_ONLY}
    for attribute, value in attributes.items():
        if attribute not in allowed:
            raise Unsupported(f"{name} with {attribute}={value!r}")
    return dict(attributes)


def whole(x: Any) -> Any:
    """Numbers that say where or how many: an int, or a tuple of them."""
    values = np.asarray(x.detach() if isinstance(x, Tensor) else x)
    return int(values) if values.ndim == 0 else tuple(int(n) for n in values)
