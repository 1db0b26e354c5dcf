"""Operations that move elements: the gradient moves back the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..engine import Array, ShapeError, composed, primitive
from .arithmetic import operand

__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_to", "expand_dims", "flip", "fliplr",
    "flipud", "moveaxis", "ravel", "reshape", "roll", "rot90", "squeeze", "swapaxes", "transpose",
]  # fmt: skip

Axes = int | tuple[int, ...] | None


@primitive
def reshape(x: Array, /, shape: int | Sequence[int]) -> Array:
    """The same elements in another shape; one length may be −1."""
    return np.reshape(x, shape)


reshape.defvjp(
    lambda g, in_shape: g.reshape(in_shape),  # dx = dy, reshaped back
)


@primitive
def transpose(x: Array, /, axes: Sequence[int] | None = None) -> Array:
    """Axes reordered (None: reversed)."""
    return np.transpose(x, axes)


transpose.defvjp(
    lambda g, axes: np.transpose(g, inverse_order(axes)),  # dx = dy, axes put back
)


def inverse_order(axes: Sequence[int] | None) -> Any:
    """The order of axes that undoes `axes`."""
    if axes is None:
        return None
    order = [0] * len(axes)
    for i, axis in enumerate(axes):
        order[axis % len(axes)] = i
    return order


@primitive
def swapaxes(x: Array, /, axis1: int, axis2: int) -> Array:
    """Two axes exchanged."""
    return np.swapaxes(x, axis1, axis2)


swapaxes.defvjp(
    lambda g, axis1, axis2: np.swapaxes(g, axis1, axis2),  # dx = dy, axes exchanged back
)


@primitive
def moveaxis(x: Array, /, source: Any, destination: Any) -> Array:
    """Axes moved to new places, the others kept in order."""
    return np.moveaxis(x, source, destination)


moveaxis.defvjp(
    lambda g, source, destination: np.moveaxis(g, destination, source),  # dx = dy, axes moved back
)


@primitive
def squeeze(x: Array, /, axis: Axes = None) -> Array:
    """Axes of length 1 removed (None: all of them)."""
    return np.squeeze(x, axis)


squeeze.defvjp(
    lambda g, in_shape: g.reshape(in_shape),  # dx = dy, with the axes again
)


@primitive
def expand_dims(x: Array, /, axis: int | tuple[int, ...]) -> Array:
    """A new axis of length 1 at each place in `axis`."""
    return np.expand_dims(x, axis)


expand_dims.defvjp(
    lambda g, in_shape: g.reshape(in_shape),  # dx = dy, without the new axes
)


@primitive
def broadcast_to(x: Array, /, shape: tuple[int, ...]) -> Array:
    """Repeated along new axes and axes of length 1, without a copy."""
    return np.broadcast_to(x, shape)


broadcast_to.defvjp(
    lambda g: g,  # dx = Σ dy over the new axes
)


@primitive
def flip(x: Array, /, axis: Axes = None) -> Array:
    """Elements in reverse order along `axis` (None: along every axis)."""
    return np.flip(x, axis)


flip.defvjp(
    lambda g, axis: np.flip(g, axis),  # dx = dy, reversed
)


@primitive
def roll(x: Array, /, shift: int | tuple[int, ...], axis: Axes = None) -> Array:
    """Elements moved on by `shift`, those that leave coming back at the other end."""
    if np.asarray(shift).dtype.kind not in "iu":
        raise TypeError("shift must be an integer, or one for each axis")
    return np.roll(x, shift, axis)


roll.defvjp(
    lambda g, shift, axis: np.roll(g, np.negative(shift), axis),  # dx = dy, rolled back
)


def length(who: str, x: Any, axis: int) -> int:
    """How long x is along `axis`, one that it has."""
    shape = np.shape(x)
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"{who}: axis {axis} is out of bounds for shape {shape}")
    return shape[axis]


@composed
def ravel(x: Any) -> Any:
    """All elements along one axis."""
    return reshape(x, (-1,))


@composed
def atleast_1d(x: Any) -> Any:
    """x, a number as an array of one element."""
    return operand(x) if np.ndim(x) >= 1 else reshape(x, (1,))


@composed
def atleast_2d(x: Any) -> Any:
    """x, a 1-d array as one row."""
    return operand(x) if np.ndim(x) >= 2 else reshape(x, (1, -1))


@composed
def atleast_3d(x: Any) -> Any:
    """x, a 1-d array of length N as (1, N, 1), a matrix (M, N) as (M, N, 1)."""
    if np.ndim(x) >= 3:
        return operand(x)
    return expand_dims(x, -1) if np.ndim(x) == 2 else reshape(x, (1, -1, 1))


@composed
def fliplr(x: Any) -> Any:
    """Elements in reverse order along axis 1."""
    return flip(x, 1)


@composed
def flipud(x: Any) -> Any:
    """Elements in reverse order along axis 0."""
    return flip(x, 0)


@composed
def rot90(x: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """The plane of two axes turned by k right angles, from the first towards the second."""
    x = operand(x)
    places = normalize_axis_tuple(axes, np.ndim(x))
    if len(places) != 2:
        raise ShapeError(f"rot90: axes must be two, got {axes!r}")
    first, second = places
    if k % 4 == 2:
        return flip(x, places)
    turned = swapaxes(flip(x, second), first, second) if k % 4 == 1 else x
    return flip(swapaxes(x, first, second), second) if k % 4 == 3 else turned
