"""Fused operations: a definition in primitives, a kernel beside it: fast, never a second truth.

A kernel is a pair of functions on arrays,

    forward(*arrays, **options) -> (result, residuals)
    backward(g, residuals, *arrays, needs, **options) -> one gradient, or None, for each array

`needs` says which arrays need one.  The definition is what is drawn, differentiated twice and
tested against.  Nothing has to be known in advance: where more than the plain gradient is wanted
(create_graph, keep_grads) the node is expanded when backward arrives, like a recomputed function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .adapter import Adapter
from .kernel import Kernel
from .node import Edge, EdgeRule, Node, record
from .primitive import PLANTED
from .recompute import rerecorded
from .settings import SETTINGS
from .tensor import Tensor, frozen, locked, wrapped

KERNEL_DTYPES = frozenset({np.dtype(np.float32), np.dtype(np.float64)})  # others: the definition


class Given:
    """The rule of an edge whose gradient a kernel has computed already."""

    formula = "computed by the kernel"

    @staticmethod
    def fn(g: Any, part: Any) -> Any:
        """`part`: `g` has entered it already, when the kernel ran."""
        return part

    @staticmethod
    def attached(node: Node, needs: Any) -> Any:
        """Kernels run on arrays alone."""
        return needs


GIVEN: EdgeRule = Given()


@dataclass(frozen=True, slots=True)
class KernelCall:
    """In place of edges: one call of a fused operation, with what its backward needs."""

    definition: Callable[..., Tensor]
    kernel: Kernel
    inputs: list[tuple[Any, Node | None]]  # (array or constant, its node)
    options: dict[str, Any]
    residuals: Any

    def open(
        self, node: Node, g: Any, create_graph: bool, relevant: set[Node] | None
    ) -> list[Edge]:
        """The gradients from the kernel; or the definition, where every step is wanted."""
        if create_graph or SETTINGS.get().keep_grads:
            return self.expanded(node, relevant)
        arrays, guard = [x for x, _ in self.inputs], SETTINGS.get().guard
        every = [parent is not None for _, parent in self.inputs]
        needs = every if relevant is None else [parent in relevant for _, parent in self.inputs]
        parts = self.kernel.backward(g, self.residuals, *arrays, needs=tuple(needs), **self.options)
        if guard is not None:
            guard.kernel(self, node, g, parts)
        return [
            (parent, GIVEN, (part,))
            for (_, parent), part in zip(self.inputs, parts, strict=True)
            if parent is not None and part is not None
        ]

    def expanded(self, node: Node, relevant: set[Node] | None = None) -> list[Edge]:
        """The edge from `node` to the definition's result, recorded now; drawings use it too."""
        f = partial(self.definition, **self.options)
        return rerecorded(f, self.inputs, node, relevant)


class Fused(Adapter):
    """An operation with a definition in primitives, and kernels beside it.

    Attributes:
        definition: a function of tensors and options.
        find: size of the first array -> the kernel to run now, or None.
    """

    def __init__(
        self,
        definition: Callable[..., Tensor],
        find: Callable[[int], Kernel | None],
        name: str | None = None,
    ) -> None:
        super().__init__(self.call, None)
        self.name = name or definition.__name__
        self.__doc__ = definition.__doc__
        self.definition, self.find = definition, find

    def call(self, *args: Any, **options: Any) -> Any:
        """The result by a kernel, or by the definition where every step is to be seen."""
        raw, nodes, dtype, suited, tensors = [], [], args[0].dtype, True, False
        for a in args:
            if isinstance(a, Tensor):
                nodes.append(a.node)
                a, tensors = a._data, True
            else:
                nodes.append(None)
            raw.append(a)
            suited = suited and (a is None or a.dtype == dtype)  # None: an argument left out
        settings, kernel = SETTINGS.get(), None
        if suited and dtype in KERNEL_DTYPES and not (settings.keep_values or PLANTED):
            kernel = self.find(raw[0].size)
        if kernel is None:
            return self.definition(*args, **options)
        out, residuals = kernel.forward(*raw, **options)
        if not tensors:
            return out
        out = locked(out)
        if settings.guard is not None:
            settings.guard.fused(self, args, options, out)
        if not settings.recording or not any(nodes):
            return wrapped(out, None)
        given = zip(args, raw, nodes)
        inputs = [(x if isinstance(a, Tensor) else frozen(x), node) for a, x, node in given]
        kept = {name: frozen(option) for name, option in options.items()}
        call = KernelCall(self.definition, kernel, inputs, kept, residuals)
        return wrapped(out, record(self, tuple(nodes), call, out))
