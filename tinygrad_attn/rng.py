"""Randomness: one generator of the library's own, used wherever none is passed as `rng`."""

from __future__ import annotations

import numpy as np

from .engine import DTypeError

OWN = np.random.default_rng()


def seed(n: int) -> None:
    """Restart the library's own generator, so that what follows is the same every time.

    Raises:
        DTypeError: `n` is not an integer of 0 or more.
    """
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 0:
        raise DTypeError(f"seed: expected an integer of 0 or more, got {n!r}")
    OWN.bit_generator.state = np.random.default_rng(int(n)).bit_generator.state


def generator(rng: np.random.Generator | None = None) -> np.random.Generator:
    """`rng` itself, or the library's own generator for None.

    Raises:
        DTypeError: `rng` is something else, such as a bare seed.
    """
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise DTypeError(
            f"rng: expected an np.random.Generator or None, got {type(rng).__name__}; "
            "np.random.default_rng(0) makes one"
        )
    return OWN if rng is None else rng
