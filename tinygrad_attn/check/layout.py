"""Many arrays as one vector: the checker computes with vectors, its reports speak of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from ..engine import Array

Index = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Names and shapes of arrays that are laid end to end in a vector."""

    names: tuple[str, ...]
    shapes: tuple[Index, ...]

    @property
    def ends(self) -> list[int]:
        """Where each array ends in the vector."""
        return list(accumulate(prod(shape) for shape in self.shapes))

    @property
    def size(self) -> int:
        """Length of the vector."""
        return sum(prod(shape) for shape in self.shapes)

    def section(self, k: int) -> slice:
        """Where array `k` lies in the vector."""
        end = self.ends[k]
        return slice(end - prod(self.shapes[k]), end)

    def split(self, vector: Array) -> list[Array]:
        """The arrays in `vector`."""
        return [vector[self.section(k)].reshape(shape) for k, shape in enumerate(self.shapes)]

    def locate(self, element: int) -> tuple[int, Index]:
        """(which array, index in it) of one element of the vector."""
        k = next(k for k, end in enumerate(self.ends) if element < end)
        inside = np.unravel_index(element - self.section(k).start, self.shapes[k])
        return k, tuple(int(i) for i in inside)


def joined(arrays: Sequence[Any], dtype: Any = np.float64) -> Array:
    """The elements of all `arrays`, end to end."""
    return np.concatenate([np.ravel(a) for a in arrays]) if arrays else np.zeros(0, dtype)


def element(name: str, index: Index | None) -> str:
    """A name with its index, `x[1, 2]`; without one it stands for a random combination."""
    if index is None:
        return f"{name} (random combination)"
    return f"{name}[{', '.join(map(str, index))}]" if index else name
