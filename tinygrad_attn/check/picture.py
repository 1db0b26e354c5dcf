"""Where the errors are, as a picture of a few characters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..engine import Array

SHADES = "·░▒▓█"  # no error; then tenths of the largest, hundredths, ... darker for larger
ROWS, COLUMNS = 12, 48  # of the largest picture
DECADES = 4.0  # errors this many powers of ten below the largest are not drawn


@dataclass(frozen=True, eq=False)
class ErrorMap:
    """|analytic − numeric| of every element of one array; NaN where it was not compared.

    Attributes:
        title: whose gradient this is.
        errors: in the array's shape.
    """

    title: str
    errors: Array

    @property
    def rows(self) -> Array:
        """The errors as a matrix: leading axes one below the other."""
        columns = self.errors.shape[-1] if self.errors.ndim else 1
        return self.errors.reshape(-1, columns) if columns else np.zeros((0, 0))

    @property
    def wrong(self) -> int:
        """How many elements stand out: within four powers of ten of the largest error."""
        return int((self.shades > 0).sum())

    @property
    def shades(self) -> Array:
        """For each element of `rows` a shade: 0 for no error, 4 for the largest."""
        return shaded(self.rows)

    def lines(self) -> Iterator[str]:
        """The picture; several elements share a character where there are too many."""
        shape = " × ".join(map(str, self.errors.shape)) or "a number"
        yield f"{self.title} ({shape}): {self.wrong} of {self.errors.size} elements wrong"
        for row in shaded(pooled(self.rows)):
            yield "".join(SHADES[shade] for shade in row)


def shaded(errors: Array) -> Array:
    """Shades 0 to 4 by powers of ten below the largest error."""
    errors = np.nan_to_num(errors, nan=0.0, posinf=np.finfo(np.float64).max)
    largest = errors.max(initial=0)
    if not largest:
        return np.zeros(errors.shape, int)
    with np.errstate(divide="ignore"):
        below = np.log10(largest) - np.log10(errors)
    return np.asarray(np.where(below < DECADES, DECADES - np.floor(below), 0), int)


def pooled(errors: Array) -> Array:
    """The largest errors of blocks, so few that they fit on a terminal."""
    for axis, most in enumerate((ROWS, COLUMNS)):
        n = errors.shape[axis]
        if n > most:
            edges = np.linspace(0, n, most, endpoint=False).astype(int)
            errors = np.maximum.reduceat(errors, edges, axis=axis)
    return errors
