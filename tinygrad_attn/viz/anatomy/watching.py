"""Watching one call of a layer in a run of the model, and cutting the graph at its input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...engine import Array, GraphError, ShapeError, Tensor, no_grad
from ...engine.settings import SETTINGS, Scope
from ...nn import KVCache, Module, ModuleList, MultiHeadAttention, Stages
from ..labels import visible

LARGEST = 1 << 24  # numbers in a recording, with one gradient a target: a page of 180 MB


@dataclass(frozen=True)
class Entry:
    """What enters a module: a fresh leaf in place of what came, and the scope of the call."""

    leaf: Tensor
    scope: Scope | None


@dataclass(frozen=True)
class Call:
    """The call that was watched; B sequences of T queries and S keys.

    Attributes:
        x: the layer's input (B, T, D); source: that of keys and values (B, S, kdim), None in
            self-attention.  Fresh leaves X and M, where the graph is cut there.
        came: what the model gave for x and source, with the graph that it has.
        projections: Q, K and V before they are divided into heads and turned, (B, time, width).
        stages: every step.
        mask: what was added to the scores, (B, H, T, S).
        offset: of the queries' positions.
        block: what enters the module around the layer, where that is a Tensor.
    """

    x: Tensor
    source: Tensor | None
    came: tuple[Any, Any]
    projections: tuple[Tensor, ...]
    stages: Stages
    mask: Array
    offset: Any
    block: Entry | None

    @property
    def output(self) -> Tensor:
        """Y (B, T, D)."""
        assert self.stages.output is not None  # this is a layer's call
        return self.stages.output


class Watch:
    """Waits for the call number `call` of the layer called `name` in `model`.

    Args:
        cut: put fresh leaves in place of the layer's input, so that what flows around the layer
            and what flows through it can be told apart.

    Attributes:
        count: calls of the layer so far.  found: the call, once it has happened.
    """

    def __init__(self, model: Module, name: str, call: int, cut: bool) -> None:
        modules = dict(model.named_modules())
        layer = modules[name]
        assert isinstance(layer, MultiHeadAttention)
        self.layer, self.name, self.call, self.cut = layer, name, call, cut
        self.around = enclosing(modules, name)
        self.count = 0
        self.found: Call | None = None
        self.entries: list[Entry] = []

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Inside, calls of the layer and of the module around it pass through this object."""
        around = None if self.around is None else self.around[1]
        vars(self.layer)["forward"] = self.through_layer(self.layer.forward)
        if around is not None:
            vars(around)["forward"] = self.through_block(around.forward)
        try:
            yield
        finally:
            for module in (self.layer, around):
                if module is not None:
                    del vars(module)["forward"]

    def through_block(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """`forward` of the module around the layer, with a fresh leaf in place of its input."""

        def inner(*args: Any, **options: Any) -> Any:
            floating = args and isinstance(args[0], Tensor) and args[0].dtype.kind == "f"
            if self.found is not None or not floating:
                return forward(*args, **options)
            self.entries.append(Entry(leaf(args[0], "u"), SETTINGS.get().scope))
            try:
                return forward(self.entries[-1].leaf, *args[1:], **options)
            finally:
                self.entries.pop()

        return inner

    def through_layer(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """`forward` of the layer, which keeps the call that is waited for."""

        def inner(
            x: Any,
            keys: Any = None,
            values: Any = None,
            mask: Any = None,
            *,
            return_weights: bool = False,
            return_stages: bool = False,
            **options: Any,
        ) -> Any:
            self.count += 1
            if self.count != self.call + 1:
                asked = {"return_weights": return_weights, "return_stages": return_stages}
                return forward(x, keys, values, mask, **options, **asked)
            keys = None if keys is x else keys
            self.refuse(x, keys, values, options)
            stages = self.recorded(forward, x, keys, mask, options)
            if return_stages:
                return stages.output, stages
            return (stages.output, stages.weights) if return_weights else stages.output

        return inner

    def recorded(
        self, forward: Callable[..., Any], x: Any, keys: Any, mask: Any, options: dict[str, Any]
    ) -> Stages:
        """The steps of the call that was waited for."""
        enter = leaf if self.cut else lambda came, _: came
        mine, source = enter(x, "X"), None if keys is None else enter(keys, "M")
        seen: list[tuple[Tensor, ...]] = []
        with projecting(self.layer, seen.append):
            _, stages = forward(mine, source, None, mask, **options, return_stages=True)
        with no_grad(), projecting(self.layer, seen.append, blank=True):
            _, still = forward(mine, source, None, mask, **options, return_stages=True)
        self.found = Call(
            mine,
            source,
            (x, keys),
            seen[0],
            stages,
            still.masked.data + 0.0,  # where all scores are 0: the mask alone, without −0
            options.get("offset", 0),
            self.entries[-1] if self.entries else None,
        )
        return stages

    def refuse(self, x: Any, keys: Any, values: Any, options: dict[str, Any]) -> None:
        """Refuse calls that the page does not show."""
        who = f"anatomy: {visible(self.name or type(self.layer).__name__)}"
        if isinstance(options.get("cache"), KVCache):
            raise GraphError(f"{who} is called with a KV cache; let `run` pass whole sequences")
        if values is not None and values is not (x if keys is None else keys):
            raise ShapeError(
                f"{who}: keys and values come from two inputs, and the page has room for one, M; "
                "pass the same tensor as both"
            )
        if not SETTINGS.get().recording:
            raise GraphError(
                f"{who}: call {self.call} records no graph; call the model outside no_grad and "
                "recompute, or choose a later call"
            )
        if self.layer.training and self.layer.dropout:
            raise GraphError(f"{who}: dropout is on; `run` must leave the model in evaluation mode")
        self.refuse_sizes(who, np.shape(x), np.shape(x if keys is None else keys))

    def refuse_sizes(self, who: str, x: tuple[int, ...], keys: tuple[int, ...]) -> None:
        """Refuse an empty batch, and one that is too large for a page."""
        if len(x) != 3 or len(keys) != 3:
            return  # the layer says what it expects
        if 0 in x or 0 in keys:
            raise ShapeError(f"{who}: expected at least one query and one key, got {x} and {keys}")
        (batch, time, width), scores = x, x[1] * keys[1] * self.layer.num_heads
        side = keys[1] * 2 * self.layer.d_kv  # K and V
        count = 2 * batch * (5 * time * width + side + 4 * scores)
        if count > LARGEST:
            raise ShapeError(
                f"{who}: x {x} with {keys[1]} keys makes a page of {count:,} numbers, and at most "
                f"{LARGEST:,} fit; give `run` fewer or shorter examples"
            )


def leaf(came: Any, name: str) -> Tensor:
    """The values of what came, as a float64 variable."""
    return Tensor(
        came.data if isinstance(came, Tensor) else came,
        requires_grad=True,
        dtype=np.float64,
        name=name,
    )


def enclosing(modules: dict[str, Module], name: str) -> tuple[str, Module] | None:
    """The module around a layer that is itself called, and its name; lists are not."""
    while name:
        name = name.rpartition(".")[0]
        if type(modules[name]) is not ModuleList:
            return name, modules[name]
    return None


@contextmanager
def projecting(
    layer: MultiHeadAttention, seen: Callable[[tuple[Tensor, ...]], None], blank: bool = False
) -> Iterator[None]:
    """Inside, `seen` is told Q, K and V as the layer projects them; `blank` puts 0 for Q."""
    projected = layer.projected

    def inner(*inputs: Tensor) -> tuple[Tensor, ...]:
        q, k, v = projected(*inputs)
        seen((q, k, v))
        return (Tensor(np.zeros(q.shape)) if blank else q, k, v)

    vars(layer)["projected"] = inner
    try:
        yield
    finally:
        del vars(layer)["projected"]
