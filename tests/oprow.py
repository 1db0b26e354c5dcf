"""One row of the table of operations: what it is compared with, where, and how it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn.engine import PRIMITIVES

Array = np.ndarray[Any, Any]
Domain = Callable[[np.random.Generator, tuple[int, ...], int], Any]


def normal(rng: np.random.Generator, shape: tuple[int, ...], i: int) -> Array:
    """Any real numbers."""
    return rng.standard_normal(shape)


def positive(rng: np.random.Generator, shape: tuple[int, ...], i: int) -> Array:
    """Numbers in [0.5, 2)."""
    return rng.uniform(0.5, 2, shape)


def apart(rng: np.random.Generator, shape: tuple[int, ...], i: int) -> Array:
    """Numbers at least 0.1 from 0, from each other and the other arguments': no kink is near."""
    n = int(np.prod(shape))
    return 0.4 * (rng.permutation(n).reshape(shape) - n // 2) + 0.17 + 0.1 * i


def between(rng: np.random.Generator, shape: tuple[int, ...], i: int) -> Array:
    """Numbers as `apart`, and no whole number is near."""
    return apart(rng, shape, i) + 0.1


def fraction(rng: np.random.Generator, shape: tuple[int, ...], i: int) -> Array:
    """Numbers in (−0.9, 0.9)."""
    return rng.uniform(-0.9, 0.9, shape)


class S:
    """One call of an operation: shapes or arrays, and options."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.arguments, self.options = arguments, options

    def __repr__(self) -> str:
        shown = [
            str(a if isinstance(a, (tuple, int, float)) else np.shape(a)) for a in self.arguments
        ]
        return ", ".join([*shown, *(f"{k}={v}" for k, v in self.options.items())]).replace("\n", "")

    def arrays(self, domain: Domain) -> list[Any]:
        """The arguments, shapes filled; the same numbers every time."""
        rng = np.random.default_rng(7)
        return [
            np.asarray(domain(rng, a, i)) if isinstance(a, tuple) else a
            for i, a in enumerate(self.arguments)
        ]


@dataclass(frozen=True)
class Row:
    """What an operation is compared with, and where."""

    name: str  # in PRIMITIVES, or of a composed operation
    reference: Callable[..., Any]  # NumPy's or SciPy's function, or an independent definition
    samples: tuple[S, ...]
    smooth: bool  # analytic: judged by the complex step, else by differences
    domain: Domain
    call: Callable[..., Any]  # the operation as the samples call it


ROWS: list[Row] = []


def row(
    name: str,
    reference: Callable[..., Any],
    *samples: S,
    smooth: bool = True,
    domain: Domain = normal,
    call: Callable[..., Any] | None = None,
) -> None:
    """Add a row; without `call` the operation is `ta.<name>` or the primitive of that name."""
    call = call or getattr(ta, name, None) or PRIMITIVES[name]
    ROWS.append(Row(name, reference, samples, smooth, domain, call))


UNARY = (S((3, 5)), S((7,)), S(()), S((2, 0, 3)), S((2, 3, 5)))
