"""Losses: a number that says how wrong a prediction is."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...engine import DTypeError, ShapeError, Tensor
from ...engine.tensor import locked
from . import definitions
from .layers import array_of, choice, floating, operand, real, whole_numbers
from .operation import around


@around(definitions.cross_entropy)
def cross_entropy(
    logits: Tensor,
    targets: Any,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """−Σ_c q(c) log softmax(logits)(c), the classes on the **last** axis.

    q is 1 at the target; with label smoothing ε it is 1 − ε there plus ε/V everywhere (Szegedy et
    al. 2016, section 7).

    Args:
        logits: (..., V).
        targets: integers in [0, V) of shape (...).
        ignore_index: targets of this value count nothing and get no gradient (None: all count).
        label_smoothing: ε in [0, 1].
        reduction: "mean" over the targets that count (0 where none does), "sum", or "none" for
            shape (...).

    Raises:
        ShapeError: shapes do not fit, or an option has an impossible value.
        DTypeError: targets are not integers, or an option is no number.
        IndexingError: a target is no class.
    """
    logits, targets = floating(operand(logits)), array_of("cross_entropy", "targets", targets)
    shape = logits.shape
    if not shape or shape[-1] == 0 or targets.shape != shape[:-1]:
        raise ShapeError(
            "cross_entropy: logits (..., classes) need targets (...), got logits "
            f"{shape} and targets {targets.shape}"
        )
    if not 0 <= real("cross_entropy", "label_smoothing", label_smoothing) <= 1:
        raise ShapeError(
            f"cross_entropy: label_smoothing must lie in [0, 1], got {label_smoothing}"
        )
    if ignore_index is not None and not isinstance(ignore_index, (int, np.integer)):
        raise DTypeError(
            f"cross_entropy: ignore_index must be an integer or None, got {ignore_index!r:.80}"
        )
    ignored = np.zeros(targets.shape, bool) if ignore_index is None else targets == ignore_index
    classes = whole_numbers(
        "cross_entropy", "targets", np.where(ignored, np.zeros_like(targets), targets), shape[-1]
    )
    losses: Tensor = definitions.cross_entropy(
        logits, classes=classes, label_smoothing=label_smoothing
    )
    if ignored.any():
        losses = losses * locked((~ignored).astype(losses.dtype))
    return reduced(losses, reduction, "cross_entropy", int(np.sum(~ignored)))


def mse_loss(prediction: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """(prediction − target)²: its mean, its sum, or with reduction="none" itself.

    Raises:
        ShapeError: the shapes differ (they are not broadcast), or `reduction` is unknown.
    """
    prediction, target = operand(prediction), operand(target)
    if prediction.shape != target.shape:
        raise ShapeError(
            "mse_loss: prediction and target must have one shape, got "
            f"{prediction.shape} and {target.shape}"
        )
    squares = ops.square(ops.subtract(prediction, target))
    return reduced(squares, reduction, "mse_loss", squares.size)


def reduced(losses: Tensor, reduction: str, who: str, count: int) -> Tensor:
    """`losses`, their sum, or their sum over `count`."""
    if choice(who, "reduction", reduction, ("mean", "sum", "none")) == "none":
        return losses
    total = losses.sum()
    return total if reduction == "sum" else total / max(count, 1)
