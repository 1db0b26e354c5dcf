"""Fused operations: a definition in primitives, a kernel beside it: fast, never a second truth.

A kernel is a pair of functions on arrays,

    forward(*arrays, **options) -> (result, residuals)
    backward(g, residuals, *arrays, **options) -> one gradient, or None, for each array

The definition is what is drawn, differentiated twice and tested against.  Nothing has to be known
in advance: where more than the plain gradient is wanted (create_graph, keep_grads) the node is
expanded when backward arrives, like a recomputed function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .adapter import Adapter
from .node import Edge, EdgeRule, Node, record
from .recompute import rerecorded
from .settings import SETTINGS
from .tensor import Array, Tensor, frozen, locked, wrapped

KERNEL_DTYPES = ("float32", "float64")  # other dtypes take the definition


class Given:
    """The rule of an edge whose gradient a kernel has computed already."""

    formula = "computed by the kernel"

    @staticmethod
    def fn(g: Any, part: Any) -> Any:
        """`part`, whatever `g`."""
        return part

    @staticmethod
    def attached(node: Node, needs: Any) -> Any:
        """Kernels run on arrays alone."""
        return needs


GIVEN: EdgeRule = Given()


@dataclass(frozen=True, slots=True)
class KernelCall:
    """In place of edges: one call of a fused operation, with what its backward needs."""

    fused: Fused
    inputs: list[tuple[Any, Node | None]]  # (array or constant, its node)
    options: dict[str, Any]
    residuals: Any

    def open(
        self, node: Node, g: Any, create_graph: bool, relevant: set[Node] | None
    ) -> list[Edge]:
        """The gradients from the kernel; or the definition, where every step is wanted."""
        if create_graph or SETTINGS.get().keep_grads:
            return self.expanded(node, relevant)
        arrays = [x for x, _ in self.inputs]
        parts = self.fused.backward(g, self.residuals, *arrays, **self.options)
        return [
            (parent, GIVEN, (part,))
            for (_, parent), part in zip(self.inputs, parts, strict=True)
            if parent is not None and part is not None
        ]

    def expanded(self, node: Node, relevant: set[Node] | None = None) -> list[Edge]:
        """The edge from `node` to the definition's result, recorded now; drawings use it too."""
        definition = self.fused.definition
        return rerecorded(lambda *xs: definition(*xs, **self.options), self.inputs, node, relevant)


class Fused(Adapter):
    """An operation with a definition in primitives and a kernel.

    Attributes:
        definition: a function of tensors and options.
        forward, backward: the kernel.
    """

    def __init__(
        self,
        definition: Callable[..., Tensor],
        forward: Callable[..., tuple[Array, Any]],
        backward: Callable[..., tuple[Array | None, ...]],
    ) -> None:
        super().__init__(self.call, None)
        self.name = definition.__name__
        self.__doc__ = definition.__doc__
        self.definition, self.forward, self.backward = definition, forward, backward

    def call(self, *args: Any, **options: Any) -> Any:
        """The result by the kernel, or by the definition where every step is to be seen."""
        raw = [a._data if isinstance(a, Tensor) else a for a in args]
        settings = SETTINGS.get()
        dtypes = {str(a.dtype) for a in raw if hasattr(a, "dtype") and a.dtype.kind in "fc"}
        if settings.keep_values or len(dtypes) != 1 or not dtypes <= set(KERNEL_DTYPES):
            return self.definition(*args, **options)
        out, residuals = self.forward(*raw, **options)
        if not any(isinstance(a, Tensor) for a in args):
            return out
        out = locked(out)
        nodes = [a.node if isinstance(a, Tensor) else None for a in args]
        if not settings.recording or not any(nodes):
            return wrapped(out, None)
        inputs = [
            (a._data if isinstance(a, Tensor) else frozen(a), node)
            for a, node in zip(args, nodes, strict=True)
        ]
        kept = {name: frozen(option) for name, option in options.items()}
        call = KernelCall(self, inputs, kept, residuals)
        return wrapped(out, record(self, tuple(nodes), call, out))
