"""Losses: a number that says how wrong a prediction is."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...engine import Array, DTypeError, IndexingError, ShapeError, Tensor
from ...engine.dispatch import plain
from ...engine.tensor import locked


def cross_entropy(logits: Tensor, targets: Any, ignore_index: int | None = -100, label_smoothing: float = 0.0,
                  reduction: str = "mean") -> Tensor:
    """−Σ_c q(c) log softmax(logits)(c), the classes on the **last** axis.

    q is 1 at the target; with label smoothing ε it is (1 − ε) there plus ε/V everywhere (Szegedy et al. 2016).

    Args:
        logits: (..., V).
        targets: integers in [0, V) of shape (...).
        ignore_index: targets with this value count nothing and get no gradient (None: every target counts).
        label_smoothing: ε in [0, 1].
        reduction: "mean" over the targets that count (0 where none does), "sum", or "none" for shape (...).

    Raises:
        ShapeError: shapes do not fit, or an option has an impossible value.
        DTypeError: targets are not integers.
        IndexingError: a target is no class.
    """
    targets = np.asarray(plain(targets))
    check_classes(np.shape(logits), targets, ignore_index)
    if not 0 <= label_smoothing <= 1:
        raise ShapeError(f"cross_entropy: label_smoothing must lie in [0, 1], got {label_smoothing}")
    counts = np.ones(targets.shape, bool) if ignore_index is None else targets != ignore_index
    log_p = ops.log_softmax(logits)
    chosen = ops.take_along_axis(log_p, np.where(counts, targets, 0)[..., None])
    losses = -ops.reshape(chosen, targets.shape)
    if label_smoothing:
        losses = losses * (1 - label_smoothing) - ops.mean(log_p, -1) * label_smoothing
    if not counts.all():
        losses = losses * locked(counts.astype(losses.dtype))
    return reduced(losses, reduction, "cross_entropy", int(counts.sum()))


def check_classes(shape: tuple[int, ...], targets: Array, ignore_index: int | None) -> None:
    """Refuse targets that do not name a class for each row of logits of `shape`."""
    if not shape or shape[-1] == 0 or targets.shape != shape[:-1]:
        raise ShapeError(f"cross_entropy: logits (..., classes) need targets (...), got {shape} and {targets.shape}")
    if targets.dtype.kind not in "iu":
        raise DTypeError(f"cross_entropy: targets must be integers (class numbers), got {targets.dtype}")
    wrong = (targets < 0) | (targets >= shape[-1])
    if ignore_index is not None:
        wrong &= targets != ignore_index
    if wrong.any():
        raise IndexingError(f"cross_entropy: targets must lie in [0, {shape[-1]}), got {targets[wrong].flat[0]}")


def mse_loss(prediction: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """(prediction − target)², its mean, its sum, or with reduction="none" as it is.

    Raises:
        ShapeError: the shapes differ (they are not broadcast), or `reduction` is unknown.
    """
    if np.shape(prediction) != np.shape(target):
        raise ShapeError(f"mse_loss: prediction and target must have one shape, got {np.shape(prediction)} and "
                         f"{np.shape(target)}")
    return reduced(ops.square(ops.subtract(prediction, target)), reduction, "mse_loss", int(np.size(prediction)))


def reduced(losses: Tensor, reduction: str, who: str, count: int) -> Tensor:
    """`losses`, or their sum, or their sum over `count`."""
    if reduction not in ("mean", "sum", "none"):
        raise ShapeError(f'{who}: reduction must be "mean", "sum" or "none", got {reduction!r}')
    if reduction == "none":
        return losses
    total = losses.sum()
    return total if reduction == "sum" else total / max(count, 1)
