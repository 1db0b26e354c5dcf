"""Random inputs for checks: each takes a generator and the lengths of the axes."""

from __future__ import annotations

import numpy as np

from ..engine import Array


def normal(rng: np.random.Generator, *shape: int) -> Array:
    """Random numbers of either sign."""
    return np.asarray(rng.standard_normal(shape))


def positive(rng: np.random.Generator, *shape: int) -> Array:
    """Random numbers in [0.5, 2)."""
    return rng.uniform(0.5, 2, shape)


def between(rng: np.random.Generator, *shape: int) -> Array:
    """Random numbers in (−0.9, 0.9)."""
    return rng.uniform(-0.9, 0.9, shape)


def apart(rng: np.random.Generator, *shape: int) -> Array:
    """Random numbers at least 0.1 from each other and from 0: no kink is near."""
    n = int(np.prod(shape))
    return np.asarray(rng.permutation(n).reshape(shape) * 0.25 - n // 2 * 0.25 + 0.11)


def spread(rng: np.random.Generator, *shape: int) -> Array:
    """True for about half of the elements, and never the same for a whole row."""
    chosen = rng.random(shape) < 0.5
    chosen[..., 0], chosen[..., -1] = True, False
    return np.asarray(rng.permuted(chosen, axis=-1))
