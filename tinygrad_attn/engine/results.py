"""Operations with several results, such as `split`: one node per result on a shared node.

The shared node collects the gradients of all results and hands them to the rule together, which is
far cheaper than a slice per result whose gradients would each be padded with zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .node import Node, record
from .tensor import Array, Tensor, wrapped


class Parts:
    """Gradients of the results of one operation, None where none came; `+` adds them one by one."""

    __slots__ = ("dtype", "items", "shape")

    def __init__(self, items: list[Any], shape: tuple[tuple[int, ...], ...], dtype: Any) -> None:
        self.items, self.shape, self.dtype = items, shape, dtype

    def __add__(self, other: Parts) -> Parts:
        return Parts(
            [
                a if b is None else b if a is None else a + b
                for a, b in zip(self.items, other.items, strict=True)
            ],
            self.shape,
            self.dtype,
        )

    def filled(self) -> tuple[Any, ...]:
        """The gradients, zeros where none came."""
        return tuple(
            [
                np.zeros(shape, self.dtype) if item is None else item
                for item, shape in zip(self.items, self.shape, strict=True)
            ]
        )


class Result:
    """Result number `slot` of a shared node: as an operation it names the result's node, as a rule
    it puts the gradient into its slot of `Parts`.
    """

    formula = ""

    def __init__(self, shared: Node, slot: int) -> None:
        assert shared.op is not None
        self.name, self.shared, self.slot = f"{shared.op.name}[{slot}]", shared, slot

    def fn(self, g: Any) -> Parts:
        """`g` in its slot, nothing in the others."""
        items = [g if k == self.slot else None for k in range(len(self.shared.shape))]
        return Parts(items, self.shared.shape, self.shared.dtype)

    @staticmethod
    def attached(node: Node, needs: Any) -> Any:
        """Nothing saved needs a graph."""
        return needs


def results(shared: Node, outs: tuple[Array, ...]) -> tuple[Tensor, ...]:
    """A Tensor for each result, on a node of its own whose only parent is the `shared` one."""
    tensors = []
    for slot, out in enumerate(outs):
        op = Result(shared, slot)
        tensors.append(wrapped(out, record(op, (shared,), [(shared, op, ())], out)))
    return tuple(tensors)
