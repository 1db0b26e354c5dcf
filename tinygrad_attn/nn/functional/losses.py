"""Losses of classes: how wrong a distribution over them is.

Every loss of this package reduces alike (`reduced`): the mean over what counts, 0 where nothing
does; the sum; or with "none" the losses themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...engine import Array, DTypeError, ShapeError, Tensor
from ...engine.dispatch import plain
from . import definitions
from .layers import array_of, choice, floating, operand, parameter, real, whole_numbers
from .naming import named
from .operation import around

REDUCTIONS = ("mean", "sum", "none")


@around(definitions.cross_entropy)
@named
def cross_entropy(
    logits: Tensor,
    targets: Any,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    *,
    weight: Any = None,
    axis: int = -1,
) -> Tensor:
    """−Σ_c q(c) w(c) log softmax(logits)(c), the classes on the **last** axis.

    q is 1 at the target; with label smoothing ε it is 1 − ε there plus ε/V everywhere (Szegedy et
    al. 2016, section 7).  Probabilities as targets are q themselves, smoothed alike, and get their
    gradient.

    Args:
        logits: (..., V).
        targets: integers in [0, V) of shape (...); or probabilities, floating, of logits' shape.
        ignore_index: targets of this value count nothing and get no gradient (None: all count).
        label_smoothing: ε in [0, 1].
        reduction: "mean" over the targets that count (0 where none does), each as often as its
            class weighs; "sum"; or "none" for shape (...).  Probabilities all count once.
        weight: w, one for each class (V,); 1 where None.
        axis: of the classes; 1 for PyTorch's (N, V, d1, ...).

    Raises:
        ShapeError: shapes do not fit, or an option has an impossible value.
        DTypeError: targets are neither integers nor probabilities, or an option is no number.
        IndexingError: a target is no class.
    """
    who = "cross_entropy"
    logits = floating(operand(logits))
    rows = classes_last(who, logits, axis)
    smoothing, weight = smoothed(who, label_smoothing), class_weights(who, weight, rows)
    if rows.shape[-1] and probabilities_given(who, targets, logits.shape):
        q = beside(rows, classes_last(who, operand(targets), axis))
        losses = soft_losses(rows, q, smoothing, weight)
        return reduced(losses, reduction, who, losses.size)
    classes, counts = counted(who, targets, rows.shape, ignore_index, "logits")
    if smoothing and weight is not None:
        q = ops.one_hot(classes, rows.shape[-1], rows.dtype)
        losses = ops.where(counts, soft_losses(rows, q, smoothing, weight), 0.0)
        return reduced(losses, reduction, who, ops.sum(class_factors(classes, counts, weight)))
    losses = definitions.cross_entropy(rows, classes=classes, label_smoothing=smoothing)
    return weighed(losses, classes, counts, weight, reduction, who)


def nll_loss(
    log_p: Tensor,
    targets: Any,
    ignore_index: int | None = -100,
    reduction: str = "mean",
    *,
    weight: Any = None,
    axis: int = -1,
) -> Tensor:
    """−w(t) log_p(t) for the target t: cross-entropy of logarithms that are there already.

    Args:
        log_p: logarithms of probabilities (..., V), as `log_softmax` gives them.
        targets, ignore_index, reduction, weight, axis: as in `cross_entropy`; integers only.

    Raises:
        ShapeError, DTypeError, IndexingError: see `cross_entropy`.
    """
    rows = classes_last("nll_loss", floating(operand(log_p)), axis)
    weight = class_weights("nll_loss", weight, rows)
    classes, counts = counted("nll_loss", targets, rows.shape, ignore_index, "log_p")
    losses = -ops.take_along_axis(rows, classes[..., None]).reshape(classes.shape)
    return weighed(losses, classes, counts, weight, reduction, "nll_loss")


def soft_losses(logits: Tensor, q: Any, smoothing: float, weight: Any) -> Any:
    """−Σ_c q(c) w(c) log softmax(logits)(c), q (..., V) smoothed: (...)."""
    q = q * (1 - smoothing) + smoothing / logits.shape[-1] if smoothing else q
    q = q if weight is None else q * weight
    return -ops.sum(ops.log_softmax(logits) * q, -1)


def weighed(
    losses: Tensor, classes: Array, counts: Array, weight: Any, reduction: str, who: str
) -> Tensor:
    """The losses that count, each times the weight of its class, reduced."""
    number: Any = int(np.sum(counts))
    if number < counts.size:  # not times 0: what does not count may be infinite
        losses = ops.where(counts, losses, 0.0)
    if weight is not None:
        factors = class_factors(classes, counts, weight)
        losses, number = losses * factors, ops.sum(factors)
    return reduced(losses, reduction, who, number)


def class_factors(classes: Array, counts: Array, weight: Any) -> Any:
    """The weight of each target's class, 0 where it does not count."""
    return ops.where(counts, ops.take(weight, classes, 0), 0.0)


def reduced(losses: Any, reduction: str, who: str, count: Any) -> Tensor:
    """`losses`, their sum, or their sum over `count` (0 where that is 0)."""
    if choice(who, "reduction", reduction, REDUCTIONS) == "none":
        return losses
    total: Tensor = ops.sum(losses)
    return total if reduction == "sum" or not plain(count) else total / count


# ── arguments ────────────────────────────────────────────────────────────────────────────────────


def classes_last(who: str, x: Any, axis: int) -> Any:
    """`x` with the axis of its classes moved to the end."""
    if not isinstance(axis, (int, np.integer)) or isinstance(axis, bool):
        raise DTypeError(f"{who}: axis must be an integer, got {axis!r:.80}")
    if not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"{who}: there is no axis {axis} for the classes in shape {x.shape}")
    return x if axis in (-1, x.ndim - 1) else ops.moveaxis(x, axis, -1)


def probabilities_given(who: str, targets: Any, shape: tuple[int, ...]) -> bool:
    """Are the targets floating, one for each logit?"""
    values = array_of(who, "targets", targets)
    return values.dtype.kind in "fc" and values.shape == shape


def counted(
    who: str, targets: Any, shape: tuple[int, ...], ignore_index: int | None, name: str
) -> tuple[Array, Array]:
    """The classes (...), 0 where the target is ignored, and booleans: does it count?"""
    targets = array_of(who, "targets", targets)
    if shape[-1] == 0 or targets.shape != shape[:-1]:
        raise ShapeError(
            f"{who}: {name} (..., classes) need targets (...), got {name} {shape} and targets "
            f"{targets.shape}"
        )
    if ignore_index is not None and not isinstance(ignore_index, (int, np.integer)):
        raise DTypeError(
            f"{who}: ignore_index must be an integer or None, got {ignore_index!r:.80}"
        )
    counts = np.ones(targets.shape, bool) if ignore_index is None else targets != ignore_index
    kept = np.where(counts, targets, np.zeros_like(targets))
    return whole_numbers(who, "targets", kept, shape[-1]), np.asarray(counts)


def class_weights(who: str, weight: Any, logits: Any) -> Any:
    """One weight for each class, in the dtype of the logits; None for none."""
    if weight is None:
        return None
    return beside(logits, parameter(who, "weight", weight, "classes", logits.shape[-1]))


def beside(x: Any, other: Any) -> Any:
    """`other` in the dtype of `x`; complex numbers, of derivative checks, stay."""
    return other if other.dtype.kind == "c" else ops.astype(other, x.dtype)


def smoothed(who: str, smoothing: float) -> float:
    """`smoothing`, if it is one."""
    if not 0 <= real(who, "label_smoothing", smoothing) <= 1:
        raise ShapeError(f"{who}: label_smoothing must lie in [0, 1], got {smoothing}")
    return smoothing
