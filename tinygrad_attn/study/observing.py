"""Watching every attention of a model at work: its weights P, and their gradients dP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..engine import Array, DTypeError, GraphError, Tensor
from ..nn import Module, MultiHeadAttention, Stages


@dataclass(frozen=True)
class Call:
    """One call of a layer of attention.

    Attributes:
        name: the layer's in the model, such as "blocks.0.attn"; the same for each of its calls.
        stages: every step; their gradients are there once backward has run.
        cross: the keys came from elsewhere (cross-attention), not from the queries' own sequence.
    """

    name: str
    stages: Stages
    cross: bool = False

    @property
    def weights(self) -> Array:
        """P (B, heads, T, S), before dropout: row i says how query i shares its attention."""
        return self.stages.weights.data

    @property
    def gradient(self) -> Array:
        """dP (B, heads, T, S): how what backward started from changes with each weight.

        A weight that a mask holds at 0 has a gradient too: what it would do if it were allowed.

        Raises:
            GraphError: no backward has come here.
        """
        gradient = self.stages.weights.grad
        if gradient is None:
            raise GraphError(
                f"{self.name}: no gradient has reached its weights; call .backward() on a loss or "
                "a logit that was computed from this call, outside no_grad"
            )
        return gradient.data

    @property
    def attribution(self) -> Array:
        """P∘dP (B, heads, T, S): to first order, what would be lost without each weight.

        Raises:
            GraphError: no backward has come here.
        """
        return self.weights * self.gradient

    def __repr__(self) -> str:
        return f"Call({self.name!r}, weights={self.stages.weights.shape}, cross={self.cross})"


@contextmanager
def observed(model: Module) -> Iterator[list[Call]]:
    """Collect each call of an nn.MultiHeadAttention in `model`, in order, inside the block.

    The model computes what it would without (as `method="definition"`), and its layers return what
    their callers ask for.  Run backward inside the block or after it: a second one, through another
    pass, needs a new block, and `model.zero_grad()` clears what both leave in the parameters.

    Yields:
        The list that fills up.  It keeps every step and the graph alive as long as it lives.

    Raises:
        DTypeError: `model` is not an nn.Module, or there is no nn.MultiHeadAttention in it.
    """
    if not isinstance(model, Module):
        raise DTypeError(f"observed: expected an nn.Module, got a {type(model).__name__}")
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, MultiHeadAttention)]
    if not layers:
        raise DTypeError(
            f"observed: there is no nn.MultiHeadAttention in this {type(model).__name__}; where "
            "attention is additive or Luong's, ask for its weights: "
            "model(..., return_weights=True), model.generate(..., return_weights=True)"
        )
    calls: list[Call] = []
    before = [vars(layer).get("forward") for _, layer in layers]  # None: its class's
    for name, layer in layers:
        watching = observing(name or type(layer).__name__, layer.forward, calls)
        vars(layer)["forward"] = watching  # stands before the class's
    try:
        yield calls
    finally:
        for (_, layer), forward in zip(layers, before, strict=True):
            del vars(layer)["forward"]
            if forward is not None:
                vars(layer)["forward"] = forward


def observing(name: str, forward: Callable[..., Any], calls: list[Call]) -> Callable[..., Any]:
    """`forward` of a layer, which also adds each call to `calls`."""

    def inner(
        x: Tensor,
        keys: Tensor | None = None,
        *args: Any,
        return_weights: bool = False,
        return_stages: bool = False,
        **options: Any,
    ) -> Any:
        out, stages = forward(x, keys, *args, **options, return_stages=True)
        calls.append(Call(name, stages, cross=keys is not None and keys is not x))
        if return_stages:
            return out, stages
        return (out, stages.weights) if return_weights else out

    return inner
