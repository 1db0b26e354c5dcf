"""What layers compute, from primitives: one formula each.

This is what is drawn, differentiated twice and tested against.  `@fused` puts kernels beside it
(see kernels): the same numbers in fewer passes, while nobody asks for the steps.  Arguments have
been checked in layers.py and losses.py, which are the public functions.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from ... import ops
from ...engine import Array, Tensor
from ...kernels import finder
from .operation import Operation


def fused(definition: Callable[..., Any]) -> Operation:
    """The definition with the kernels of its name beside it."""
    return Operation(definition, finder(definition.__name__))


@fused
def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """y = x Wᵀ + b: (..., d_in), (d_out, d_in), (d_out,) -> (..., d_out)."""
    *lead, d_in = x.shape
    # One flat product: a stack of small ones costs more, and the weight's gradient many times more.
    flat = x if len(lead) == 1 else ops.reshape(x, (prod(lead), d_in))
    out: Tensor = ops.matmul(flat, ops.transpose(weight))
    out = out if bias is None else out + bias
    return out if len(lead) == 1 else ops.reshape(out, (*lead, weight.shape[0]))


@fused
def embedding(weight: Tensor, *, tokens: Array) -> Tensor:
    """Rows of `weight` (n, d): tokens (...) -> (..., d)."""
    rows: Tensor = ops.take(weight, tokens, 0)
    return rows


@fused
def layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, *, eps: float) -> Tensor:
    """(x − mean) / √(var + eps) ∘ weight + bias over the last axis."""
    centred = x - ops.mean(x, -1, True)
    out: Tensor = centred * ops.rsqrt(ops.mean(ops.square(centred), -1, True) + eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


@fused
def rms_norm(x: Tensor, weight: Tensor | None, *, eps: float) -> Tensor:
    """x / √(mean x² + eps) ∘ weight over the last axis."""
    out: Tensor = x * ops.rsqrt(ops.mean(ops.square(x), -1, True) + eps)
    return out if weight is None else out * weight


@fused
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """x·Φ(x), or with approximate="tanh" its tanh form: the primitive `ta.gelu`."""
    out: Tensor = ops.gelu(x, approximate)
    return out


@fused
def silu(x: Tensor) -> Tensor:
    """x·σ(x): the primitive `ta.silu`."""
    out: Tensor = ops.silu(x)
    return out


@fused
def cross_entropy(logits: Tensor, *, classes: Array, label_smoothing: float) -> Tensor:
    """−Σ_c q(c) log softmax(logits)(c): (..., V), classes (...) -> (...)."""
    log_p = ops.log_softmax(logits)
    losses: Tensor = -ops.take_along_axis(log_p, classes[..., None]).reshape(classes.shape)
    if label_smoothing:
        losses = losses * (1 - label_smoothing) - ops.mean(log_p, -1) * label_smoothing
    return losses
