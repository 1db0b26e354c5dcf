"""Numeric derivatives along a direction: the complex step, and Richardson's central differences.

Both differentiate `value`, a function from a vector to a vector, at `x` along `u`.

The complex step (Squire and Trapp, SIAM Review 40 (1998)) is Im f(x + ihu)/h.  Nothing is
subtracted, so h = 1e-20 costs no digits; but f must be analytic and run on complex numbers.
Richardson's steps (Phil. Trans. R. Soc. A 210 (1911)) remove the h² and h⁴ terms of the central
difference, and how far the last step moved says how much is known.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..engine import Array

Value = Callable[[Array], Array]

STEP = 1e-20  # of the complex step: far below the last digit of x
FIRST = 2.0**-7  # of the central differences, relative to max(1, |x|)
SCALES = tuple(2.0**-k for k in (4, 7, 10, 13, 16, 19))
EPS = float(np.finfo(np.float64).eps)


class NotAnalyticError(Exception):
    """The function does not run on complex numbers, or throws their imaginary part away."""


def complex_step(value: Value, x: Array, u: Array) -> Array:
    """∂f/∂x · u to the last digit.

    Raises:
        NotAnalyticError: `value` raised an error or cast a complex number to a real one.
    """
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            y = value(x + 1j * STEP * u)
    except Exception as error:
        raise NotAnalyticError(f"{type(error).__name__}: {error}") from error
    return y.imag / STEP


@dataclass(frozen=True)
class Estimate:
    """A numeric derivative and what is known about it, element by element.

    Attributes:
        value: the derivative along the direction.
        uncertainty: how far it may be off; infinite where nothing is known.
        jump: by how much the one-sided derivatives differ: 0 for a smooth function, more at a kink.
    """

    value: Array
    uncertainty: Array
    jump: Array


def step_along(x: Array, u: Array, h: float) -> float:
    """`h` such that no element moves by more than h·max(1, |x|)."""
    moved = np.abs(u) / np.maximum(1, np.abs(x))
    return h / float(moved.max()) if moved.any() else h


def richardson(value: Value, x: Array, u: Array, h: float = FIRST) -> Estimate:
    """∂f/∂x · u by central differences at h, h/2, h/4 and two Richardson steps: six evaluations."""
    h = step_along(x, u, h)
    with np.errstate(all="ignore"):
        sides = [(value(x + s * u), value(x - s * u), s) for s in (h, h / 2, h / 4)]
        coarse, middle, fine = ((right - left) / (2 * s) for right, left, s in sides)
        first, second = (4 * middle - coarse) / 3, (4 * fine - middle) / 3  # h² is gone
        last = (16 * second - first) / 15  # h⁴ is gone
        rounding = 8 * EPS * np.abs(sides[2][0]) / h
        moved = np.abs(second - first) + rounding
    return Estimate(last, np.where(np.isfinite(moved), moved, np.inf), np.zeros_like(last))


def careful(value: Value, x: Array, u: Array) -> Estimate:
    """∂f/∂x · u from six scales of steps, for each output the best of them: 41 evaluations.

    The uncertainty is how far off the second nearest of the other scales is: noise in f, a kink
    within the steps or the edge of the domain make them disagree; where a derivative exists, and
    the steps are small enough to see it, they agree.
    """
    estimates = [richardson(value, x, u, h) for h in SCALES]
    own = np.array([e.uncertainty for e in estimates])
    values = np.array([e.value for e in estimates])
    best = np.argmin(own, axis=0)[None]
    chosen, known = (np.take_along_axis(a, best, axis=0)[0] for a in (values, own))
    with np.errstate(all="ignore"):
        apart = np.sort(np.abs(values - chosen), axis=0)[2] + known
    uncertainty = np.where(np.isfinite(apart), apart, np.inf)
    return Estimate(chosen, uncertainty, jump(value, x, u))


def jump(value: Value, x: Array, u: Array) -> Array:
    """By how much the derivatives on the two sides of x differ; 0 if it is mere curvature.

    |f(x+hu) − 2f(x) + f(x−hu)|/h shrinks with h for a smooth function, stays at a kink, and grows
    where f is noisy or not continuous.
    """
    large, small = (step_along(x, u, h) for h in SCALES[-2:])
    with np.errstate(all="ignore"):
        y = value(x)
        wide, narrow = (
            np.abs(value(x + h * u) - 2 * y + value(x - h * u)) / h for h in (large, small)
        )
        stays = narrow - wide / 4 > 16 * EPS * np.abs(y) / small
    return np.where(stays & (narrow <= 2 * wide), narrow, 0)
