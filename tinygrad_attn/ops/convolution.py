"""Convolution as networks have it: one matrix, applied to every window of the input."""

from __future__ import annotations

import operator
from string import ascii_letters
from typing import Any

import numpy as np

from ..engine import DTypeError, ShapeError, composed
from .linalg import einsum
from .shapes import reshape
from .windows import pad, windows

__all__ = ["conv"]

Each = int | tuple[int, ...]


@composed
def conv(
    x: Any, weight: Any, stride: Each = 1, padding: Each = 0, dilation: Each = 1, groups: int = 1
) -> Any:
    """Σ weight∘window over channels and window: (B, C, *N), (K, C/groups, *L) -> (B, K, *M).

    M = ⌊(N + 2·padding − dilation·(L − 1) − 1)/stride⌋ + 1 along each of any number of axes;
    `stride`, `padding` (zeros on both sides) and `dilation` are a number, or one for each of them.
    Each of the `groups` of K filters sees its own C/groups channels.  The weight is not flipped.
    """
    ndim, (filters, channels) = np.ndim(weight) - 2, fitting(x, weight, groups)
    borders = [(n, n) for n in each("padding", padding, ndim)]
    steps, gaps = each("stride", stride, ndim), each("dilation", dilation, ndim)
    x = pad(x, [(0, 0), (0, 0), *borders])
    for axis, length, step, gap in zip(range(2, ndim + 2), np.shape(weight)[2:], steps, gaps):
        x = windows("conv", x, axis, length, step, gap)
    places, within = ascii_letters[:ndim], ascii_letters[ndim : 2 * ndim]
    x = reshape(x, (x.shape[0], groups, channels, *x.shape[2:]))  # (B, G, C/G, *M, *L)
    weight = reshape(weight, (groups, filters // groups, channels, *np.shape(weight)[2:]))
    y = einsum(f"XYZ{places}{within},YWZ{within}->XYW{places}", x, weight)  # (B, G, K/G, *M)
    return reshape(y, (y.shape[0], filters, *y.shape[3:]))


def fitting(x: Any, weight: Any, groups: Any) -> tuple[int, int]:
    """The numbers of filters and of channels in a group; shapes that do not fit are refused."""
    shape, form, groups = np.shape(x), np.shape(weight), whole("groups", groups, 1)
    fits = len(shape) == len(form) >= 3 and shape[1] == form[1] * groups
    if not fits or form[0] % groups:
        raise ShapeError(
            f"conv: expected x (B, C, *N) and weight (K, C/groups, *L), K a multiple of groups; "
            f"got {shape}, {form} and groups={groups}"
        )
    return form[0], form[1]


def each(name: str, given: Any, ndim: int) -> tuple[int, ...]:
    """An option as one number for each axis."""
    least = 0 if name == "padding" else 1
    if not np.iterable(given):
        return (whole(name, given, least),) * ndim
    values = tuple([whole(name, value, least) for value in given])
    if len(values) != ndim:
        raise ShapeError(f"conv: {name} must be an integer, or {ndim} of them, got {given!r}")
    return values


def whole(name: str, given: Any, least: int) -> int:
    """An option as an integer that is not less than `least`."""
    expected = f"conv: {name} must be an integer ≥ {least}, got {given!r}"
    try:
        number = operator.index(given)
    except TypeError:
        raise DTypeError(expected) from None
    if number < least:
        raise ShapeError(expected)
    return number
