"""From functions with PyTorch's signatures to what answers an OpInfo sample.

A sample has "input", "args" and "kwargs" (the call), "wrt" (the arrays to differentiate with
respect to) and "cot" (an upstream gradient for each differentiable output).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_attn import Tensor

Sample = dict[str, Any]
Adapter = Callable[[Sample], tuple[list[Any], list[Any]]]


def differentiated(function: Callable[..., Any]) -> Adapter:
    """The outputs of `function` at a sample, and the gradients for its upstream gradients."""

    def adapter(sample: Sample) -> tuple[list[Any], list[Any]]:
        inputs = [Tensor(x, requires_grad=True) for x in sample["wrt"]]
        tensors = {id(x): t for x, t in zip(sample["wrt"], inputs)}
        args = [given(value, tensors) for value in (sample["input"], *sample["args"])]
        options = {name: given(value, tensors) for name, value in sample["kwargs"].items()}
        with np.errstate(all="ignore"):
            out = function(*args, **options)
            outputs = list(out) if isinstance(out, tuple) else [out]
            flowing = [y for y in outputs if isinstance(y, Tensor) and y.requires_grad]
            for y, g in zip(flowing, sample["cot"], strict=True):
                y.backward(g, retain_graph=True)
        return [y.data if isinstance(y, Tensor) else y for y in outputs], [x.grad for x in inputs]

    return adapter


def given(value: Any, tensors: dict[int, Tensor]) -> Any:
    """An argument with variables in the places of arrays to differentiate by, at any depth."""
    if isinstance(value, np.ndarray):
        return tensors.get(id(value), value)
    if isinstance(value, dict):  # a dtype, as {"$dtype": "torch.float64"}
        return np.dtype(next(iter(value.values())).removeprefix("torch."))
    return type(value)(given(v, tensors) for v in value) if type(value) in (list, tuple) else value
