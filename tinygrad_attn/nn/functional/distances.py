"""How far apart two arrays are: losses of their difference, and the angle between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...engine import ShapeError, Tensor
from .layers import floating, operand, real
from .losses import reduced
from .naming import named


@named
def mse_loss(prediction: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """(prediction − target)²: its mean, its sum, or with reduction="none" itself.

    Raises:
        ShapeError: the shapes differ (they are not broadcast), or `reduction` is unknown.
    """
    squares = ops.square(difference("mse_loss", prediction, target))
    return reduced(squares, reduction, "mse_loss", squares.size)


def l1_loss(prediction: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """|prediction − target|, with gradient 0 where they are equal; reduced like `mse_loss`.

    Raises:
        ShapeError: see `mse_loss`.
    """
    distances = ops.absolute(difference("l1_loss", prediction, target))
    return reduced(distances, reduction, "l1_loss", distances.size)


def huber_loss(
    prediction: Tensor, target: Any, reduction: str = "mean", *, delta: float = 1.0
) -> Tensor:
    """½z² where |z| ≤ δ, else δ(|z| − ½δ), z = prediction − target (Huber 1964); see `mse_loss`.

    Raises:
        ShapeError: the shapes differ, δ is not positive, or `reduction` is unknown.
        DTypeError: δ is no number.
    """
    losses = bent("huber_loss", difference("huber_loss", prediction, target), "delta", delta)
    return reduced(losses, reduction, "huber_loss", losses.size)


def smooth_l1_loss(
    prediction: Tensor, target: Any, reduction: str = "mean", *, beta: float = 1.0
) -> Tensor:
    """`huber_loss` over δ = β (Girshick 2015, eq. 3): slope 1 far out; `l1_loss` where β is 0.

    Raises:
        ShapeError: the shapes differ, β is negative, or `reduction` is unknown.
        DTypeError: β is no number.
    """
    z = difference("smooth_l1_loss", prediction, target)
    if real("smooth_l1_loss", "beta", beta) == 0:
        losses = ops.absolute(z)
    else:
        losses = bent("smooth_l1_loss", z, "beta", beta) / beta
    return reduced(losses, reduction, "smooth_l1_loss", losses.size)


def bent(who: str, z: Any, name: str, bend: float) -> Any:
    """½z² up to the bend, where a line of the same slope goes on."""
    if not 0 < real(who, name, bend) < np.inf:
        raise ShapeError(f"{who}: {name} must be positive and finite, got {bend}")
    far = ops.absolute(z)
    return ops.where(far <= bend, ops.square(z) / 2, (far - bend / 2) * bend)


def difference(who: str, prediction: Any, target: Any) -> Any:
    """prediction − target, if their shapes are one."""
    prediction, target = floating(operand(prediction)), floating(operand(target))
    if prediction.shape != target.shape:
        raise ShapeError(
            f"{who}: prediction and target must have one shape, got "
            f"{prediction.shape} and {target.shape}"
        )
    return ops.subtract(prediction, target)


def cosine_similarity(a: Tensor, b: Any, axis: int = -1, eps: float = 1e-8) -> Tensor:
    """⟨a, b⟩ / (‖a‖ ‖b‖) along `axis`, which a and b, broadcast, lose; no norm is below `eps`.

    Raises:
        ShapeError: a and b do not broadcast, there is no such axis, or eps is not positive.
        DTypeError: eps is no number.
    """
    a, b = floating(operand(a)), floating(operand(b))
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ShapeError(f"cosine_similarity: {a.shape} and {b.shape} do not broadcast") from None
    a, b = (ops.broadcast_to(x, shape) if x.shape != shape else x for x in (a, b))
    a, b = (unit("cosine_similarity", x, 2, axis, eps) for x in (a, b))
    return ops.sum(a * b, axis)


def normalize(x: Tensor, axis: int = -1, eps: float = 1e-12, *, ord: float = 2) -> Tensor:
    """x / ‖x‖ along `axis`; a norm below `eps` counts as `eps`, so that zeros stay zeros.

    Args:
        x: of any shape.
        axis: along which the norm is taken; 1 is PyTorch's default.
        eps: the least divisor.
        ord: which norm, see `ta.norm`.

    Raises:
        ShapeError: there is no such axis or norm, or eps is not positive.
        DTypeError: eps is no number.
    """
    return unit("normalize", floating(operand(x)), ord, axis, eps)


def unit(who: str, x: Any, ord: float, axis: int, eps: float) -> Any:
    """x over its norm along `axis`, which is taken for `eps` where it is less."""
    if not 0 < real(who, "eps", eps) < np.inf:
        raise ShapeError(f"{who}: eps must be positive and finite, got {eps}")
    if not isinstance(axis, (int, np.integer)) or not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"{who}: there is no axis {axis!r:.80} in shape {x.shape}")
    return x / ops.maximum(ops.norm(x, ord, axis, True), eps)
