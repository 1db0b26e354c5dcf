"""Norms: zero mean and unit variance over a row, a group of channels or a batch.

layer_norm and rms_norm have kernels (definitions.py); the others are composed of layer norm.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, prod
from typing import Any

import numpy as np

from ... import ops
from ...engine import DTypeError, ShapeError, Tensor
from . import definitions
from .layers import floating, last_axis, operand, parameter, real
from .naming import named
from .operation import around


@around(definitions.layer_norm)
@named
def layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    axes: int = 1,
) -> Tensor:
    """(x − mean) / √(var + eps) ∘ weight + bias over the last axes (Ba et al. 2016, eq. 4).

    Args:
        x: (..., d), or (..., d1, ..., dn) for n `axes`.
        weight, bias: as long as these axes, (d,) or (d1, ..., dn).
        eps: added to the variance.
        axes: so many axes, from the end, are normalised together.

    Raises:
        ShapeError: weight or bias do not fit the last axes of x, x has fewer, or eps is not finite.
        DTypeError: eps is not a number, or axes no integer.
    """
    x, eps = floating(operand(x)), epsilon("layer_norm", eps)
    if axes != 1:
        return over_axes("layer_norm", definitions.layer_norm, axes, eps, x, weight, bias)
    weight, bias = (fitting("layer_norm", x, scale) for scale in (weight, bias))
    out: Tensor = definitions.layer_norm(x, weight, bias, eps=eps)
    return out


@around(definitions.rms_norm)
@named
def rms_norm(
    x: Tensor, weight: Tensor | None = None, eps: float = 1e-6, *, axes: int = 1
) -> Tensor:
    """x / √(mean x² + eps) ∘ weight over the last axes (Zhang and Sennrich 2019, eq. 4).

    Args:
        x, weight, eps, axes: as in `layer_norm`.

    Raises:
        ShapeError, DTypeError: see `layer_norm`.
    """
    x, eps = floating(operand(x)), epsilon("rms_norm", eps)
    if axes != 1:
        return over_axes("rms_norm", definitions.rms_norm, axes, eps, x, weight)
    weight = fitting("rms_norm", x, weight)
    out: Tensor = definitions.rms_norm(x, weight, eps=eps)
    return out


def group_norm(
    x: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Layer norm over each group of neighbouring channels (Wu and He 2018, eq. 7).

    Args:
        x: (B, C, ...).
        groups: their number; divides C.
        weight, bias: one for each channel, (C,).
        eps: added to the variance.

    Raises:
        ShapeError: x has no channels, groups does not divide them, weight or bias are not (C,), or
            eps is not finite.
        DTypeError: groups is no integer, or eps no number.
    """
    x, eps = floating(operand(x)), epsilon("group_norm", eps)
    channels = channels_of("group_norm", x)
    if not isinstance(groups, (int, np.integer)) or isinstance(groups, bool):
        raise DTypeError(f"group_norm: groups must be an integer, got {groups!r:.80}")
    if groups < 1 or channels % groups:
        raise ShapeError(
            f"group_norm: groups must divide the {channels} channels of {x.shape}, got {groups}"
        )
    width = channels // int(groups) * prod(x.shape[2:])
    rows = ops.reshape(x, (x.shape[0], int(groups), width))
    out = ops.reshape(definitions.layer_norm(rows, None, None, eps=eps), x.shape)
    return by_channel("group_norm", out, weight, bias)


def instance_norm(x: Tensor, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Each channel of each sample by itself (Ulyanov et al. 2016): `group_norm` of single channels.

    Raises:
        ShapeError, DTypeError: see `group_norm`.
    """
    x, eps = floating(operand(x)), epsilon("instance_norm", eps)
    channels_of("instance_norm", x)
    rows = ops.reshape(x, (*x.shape[:2], prod(x.shape[2:])))
    out = ops.reshape(definitions.layer_norm(rows, None, None, eps=eps), x.shape)
    return by_channel("instance_norm", out, weight, bias)


def batch_norm(
    x: Tensor,
    weight: Any = None,
    bias: Any = None,
    *,
    mean: Any = None,
    var: Any = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x − mean) / √(var + eps) ∘ weight + bias, a channel over the batch (Ioffe and Szegedy 2015).

    Args:
        x: (B, C, ...).
        weight, bias: one for each channel, (C,).
        mean, var: (C,) kept from training; those of this batch where None.
        eps: added to the variance.

    Raises:
        ShapeError: x has no channels, something is not (C,), eps is not finite, or there is no
            element to take mean and var of.
        DTypeError: eps is not a number.
    """
    x, eps = floating(operand(x)), epsilon("batch_norm", eps)
    channels_of("batch_norm", x)
    if (mean is None or var is None) and not x.size:
        raise ShapeError(f"batch_norm: nothing in {x.shape} to take mean and var of; pass them")
    others = (0, *range(2, x.ndim))
    mean = ops.mean(x, others, True) if mean is None else channel("batch_norm", "mean", mean, x)
    centred = x - mean
    if var is None:
        var = ops.mean(ops.square(centred), others, True)
    else:
        var = channel("batch_norm", "var", var, x)
    return by_channel("batch_norm", centred * ops.rsqrt(var + eps), weight, bias)


# ── arguments ────────────────────────────────────────────────────────────────────────────────────


def over_axes(
    who: str, norm: Callable[..., Tensor], axes: int, eps: float, x: Any, *scales: Any
) -> Tensor:
    """A norm over the last `axes` axes, by making one of them."""
    if not isinstance(axes, (int, np.integer)) or isinstance(axes, bool):
        raise DTypeError(f"{who}: axes must be an integer, got {axes!r:.80}")
    if not 1 <= axes <= x.ndim:
        raise ShapeError(f"{who}: axes must lie in [1, {x.ndim}] for x {x.shape}, got {axes}")
    lead, last = x.shape[: x.ndim - axes], x.shape[x.ndim - axes :]
    flat = [None if scale is None else flattened(who, scale, last) for scale in scales]
    return ops.reshape(norm(ops.reshape(x, (*lead, prod(last))), *flat, eps=eps), x.shape)


def flattened(who: str, scale: Any, shape: tuple[int, ...]) -> Any:
    """What a norm multiplies with or adds, in one axis, if it has this shape."""
    scale = operand(scale)
    if scale.shape != shape:
        raise ShapeError(f"{who}: expected weight and bias {shape}, got {scale.shape}")
    return ops.reshape(scale, (prod(shape),))


def fitting(who: str, x: Any, scale: Any) -> Any:
    """What a norm multiplies with or adds, if it is as long as the last axis of `x`."""
    if scale is None:
        return None
    scale = parameter(who, "weight and bias", scale, "d")
    last_axis(who, x, scale.size)
    return scale


def epsilon(who: str, eps: Any) -> float:
    """`eps`, if it is a finite number; whether the root stays real the data decide."""
    number = eps if isinstance(eps, float) else real(who, "eps", eps)
    if not isfinite(number):
        raise ShapeError(f"{who}: eps must be finite, got {eps}")
    return number


def channels_of(who: str, x: Any) -> int:
    """The number of channels of `x` (B, C, ...)."""
    if x.ndim < 2:
        raise ShapeError(f"{who}: expected x (B, C, ...), got {x.shape}")
    return int(x.shape[1])


def channel(who: str, name: str, values: Any, x: Any) -> Any:
    """One number for each channel, shaped to broadcast to `x` (B, C, ...)."""
    values = parameter(who, name, values, "C", x.shape[1])
    return ops.reshape(values, (x.shape[1], *[1] * (x.ndim - 2)))


def by_channel(who: str, x: Any, weight: Any, bias: Any) -> Tensor:
    """x ∘ weight + bias, each one for a channel."""
    x = x if weight is None else x * channel(who, "weight", weight, x)
    return x if bias is None else x + channel(who, "bias", bias, x)
