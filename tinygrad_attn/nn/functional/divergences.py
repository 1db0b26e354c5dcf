"""Losses of probabilities: of a yes or no (binary cross-entropy), of distributions (Kullback)."""

from __future__ import annotations

from math import exp
from typing import Any

import numpy as np

from ... import ops
from ...engine import ShapeError, Tensor
from ...engine.dispatch import plain
from .layers import choice, flag, floating, operand
from .losses import REDUCTIONS, beside, reduced

LEAST = exp(-100)  # the least probability whose logarithm is taken


def binary_cross_entropy(
    probability: Tensor, target: Any, *, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """−w (y ln p + (1 − y) ln(1 − p)), elementwise.

    No logarithm is less than −100, as in PyTorch; beyond that the gradient is 0.  From logits take
    `binary_cross_entropy_with_logits`, which has no such limit.

    Args:
        probability: p, of any shape.
        target: y of that shape, 0, 1 or between.
        weight: w, broadcast to that shape; 1 where None.
        reduction: "mean" over all elements, "sum" or "none".

    Raises:
        ShapeError: shapes do not fit, p lies outside [0, 1], or `reduction` is unknown.
    """
    who = "binary_cross_entropy"
    p, y = pair(who, "probability", probability, target)
    values = plain(p).real
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ShapeError(
            f"{who}: probabilities must lie in [0, 1], got {values.min()} … {values.max()}; "
            f"logits go to {who}_with_logits"
        )
    losses = -(y * limited_log(p) + (1 - y) * limited_log(1 - p))
    return reduced(times(who, losses, weight, "weight"), reduction, who, losses.size)


def limited_log(p: Any) -> Any:
    """ln p, but −100 with gradient 0 where it would be less."""
    possible = plain(p).real > LEAST
    return ops.where(possible, ops.log(ops.where(possible, p, 1.0)), -100.0)


def binary_cross_entropy_with_logits(
    logits: Tensor,
    target: Any,
    *,
    weight: Any = None,
    pos_weight: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """−w (v y ln σ(x) + (1 − y) ln(1 − σ(x))), elementwise, without overflow.

    By ln σ(x) = −softplus(−x): w ((1 − y) x + (1 + (v − 1) y) softplus(−x)).

    Args:
        logits: x, of any shape.
        target: y of that shape, 0, 1 or between.
        weight: w, broadcast to that shape; 1 where None.
        pos_weight: v, how much more a yes counts than a no, broadcast to that shape; 1 where None.
        reduction: "mean" over all elements, "sum" or "none".

    Raises:
        ShapeError: shapes do not fit, or `reduction` is unknown.
    """
    who = "binary_cross_entropy_with_logits"
    x, y = pair(who, "logits", logits, target)
    likely = ops.softplus(-x)
    if pos_weight is not None:
        likely = likely * (1 + times(who, y, beside(x, operand(pos_weight)) - 1, "pos_weight"))
    losses = (1 - y) * x + likely
    return reduced(times(who, losses, weight, "weight"), reduction, who, losses.size)


def kl_div(
    log_q: Tensor, target: Any, *, log_target: bool = False, reduction: str = "mean"
) -> Tensor:
    """p (ln p − ln q), elementwise: Kullback and Leibler 1951, eq. 2.1, when summed.

    Where p is 0 it is 0, and the gradient of p is −ln q there.

    Args:
        log_q: ln q, of any shape, as `log_softmax` gives it.
        target: p, of that shape; ln p with log_target=True.
        reduction: "mean" over all elements, "batchmean" for the sum over the length of the first
            axis, which is the divergence itself, "sum" or "none".

    Raises:
        ShapeError: shapes do not fit, p is negative, or `reduction` is unknown.
    """
    log_q, p = pair("kl_div", "log_q", log_q, target)
    choice("kl_div", "reduction", reduction, (*REDUCTIONS, "batchmean"))
    losses = divergence(log_q, p, flag("kl_div", "log_target", log_target))
    if reduction == "batchmean":
        return reduced(losses, "mean", "kl_div", losses.shape[0] if losses.ndim else 1)
    return reduced(losses, reduction, "kl_div", losses.size)


def divergence(log_q: Any, p: Any, log_target: bool) -> Any:
    """p (ln p − ln q), from p or from ln p."""
    if log_target:
        return ops.exp(p) * (p - log_q)
    values = plain(p).real
    if not (values >= 0).all():
        raise ShapeError(
            f"kl_div: probabilities must not be negative, got {values.min()}; "
            "logarithms need log_target=True"
        )
    return p * (ops.log(ops.where(values > 0, p, 1.0)) - log_q)


def pair(who: str, name: str, x: Any, target: Any) -> tuple[Any, Any]:
    """Both as floating operands of one dtype, if their shapes are one: nothing broadcasts."""
    x, target = floating(operand(x)), operand(target)
    if x.shape != target.shape:
        raise ShapeError(
            f"{who}: {name} and target must have one shape, got {x.shape} and {target.shape}"
        )
    return x, beside(x, target)


def times(who: str, x: Any, factor: Any, name: str) -> Any:
    """x times a factor that broadcasts to it; x itself where there is none."""
    if factor is None:
        return x
    factor = beside(x, operand(factor))
    try:
        fits = np.broadcast_shapes(x.shape, factor.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{who}: {name} {factor.shape} does not broadcast to {x.shape}")
    return x * factor
