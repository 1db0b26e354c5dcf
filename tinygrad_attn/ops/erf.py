"""The error functions, which NumPy lacks: W. J. Cody's rational approximations.

W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969), in
the three ranges and with the coefficients of his CALERF.  Rational functions take complex
arguments too, so the complex step works through them.
"""

from __future__ import annotations

from math import pi, sqrt

import numpy as np

from ..engine import Array

# Numerator and denominator, highest power first.
SMALL = (
    [
        1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2,
        3.77485237685302021e2, 3.20937758913846947e3,
    ],
    [
        1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
        2.84423683343917062e3,
    ],
)  # fmt: skip
MIDDLE = (
    [
        2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0,
        6.61191906371416295e1, 2.98635138197400131e2, 8.81952221241769090e2,
        1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3,
    ],
    [
        1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
        1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3,
        3.43936767414372164e3, 1.23033935480374942e3,
    ],
)  # fmt: skip
LARGE = (
    [
        1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
        1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4,
    ],
    [
        1.0, 2.56852019228982242e0, 1.87295284992346047e0, 5.27905102951428412e-1,
        6.05183413124413191e-2, 2.33520497626869185e-3,
    ],
)  # fmt: skip


def ratio(coefficients: tuple[list[float], list[float]], x: Array) -> Array:
    """Numerator over denominator at x, by Horner's rule."""
    top, bottom = (np.full_like(x, row[0]) for row in coefficients)
    for c in coefficients[0][1:]:
        top = top * x + c
    for c in coefficients[1][1:]:
        bottom = bottom * x + c
    return top / bottom


def near_zero(x: Array) -> Array:
    """erf for |x| ≤ 0.46875."""
    return x * ratio(SMALL, x * x)


def scaled_tail(y: Array) -> Array:
    """e^y²·erfc(y) for y > 0.46875."""
    inverse = 1 / (y * y)
    return np.where(
        y.real <= 4.0,
        ratio(MIDDLE, np.where(y.real <= 4.0, y, 1)),
        (1 / sqrt(pi) - inverse * ratio(LARGE, inverse)) / y,
    )


def halves(x: Array) -> tuple[Array, Array, Array]:
    """Where |x| ≤ 0.46875; x there; |x| elsewhere, to 28, beyond which erfc underflows to 0."""
    y = np.where(x.real < 0, -x, x)
    small = y.real <= 0.46875
    return small, np.where(small, x, 0), np.where(small, 1, np.where(y.real > 28, 28, y))


def error_function(x: Array) -> Array:
    """erf of each element, real or complex near the real axis, to about 3e-16."""
    small, near, y = halves(x)
    far = 1 - np.exp(-y * y) * scaled_tail(y)
    out = np.where(small, near_zero(near), np.where(x.real < 0, -far, far))
    return out.astype(x.dtype, copy=False)


def complementary_error_function(x: Array) -> Array:
    """1 − erf of each element, with as many digits where that is tiny."""
    small, near, y = halves(x)
    coarse = np.trunc(y.real * 16) / 16  # its square is exact: e^−y² keeps its digits
    far = np.exp(-coarse * coarse) * np.exp((coarse - y) * (coarse + y)) * scaled_tail(y)
    out = np.where(small, 1 - near_zero(near), np.where(x.real < 0, 2 - far, far))
    return out.astype(x.dtype, copy=False)
