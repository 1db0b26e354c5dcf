"""How arrays reach compiled loops, and how large a share of them a thread takes at a time.

Compiled code is made for each type of arguments, and whether an array may be written into is part
of its type: everything given goes in as read-only, so that each loop is compiled once for float32
and once for float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from ..limits import Array
from ..threads import share
from ..with_numpy.blocks import SHARED, rows


def parts(size: int) -> int:
    """Into how many parts work on so many elements is cut: few, and even in number.

    Between two parts a thread must take the interpreter's lock again.  Waking it takes the system
    about 50 µs; if the other thread's parts are as short, that one takes the lock first, again and
    again.
    """
    return 1 if size < SHARED else 2 if size < 8 * SHARED else 8


def grain(n: int, width: int = 1) -> int:
    """How many of n rows make a part."""
    return max(1, -(-n // parts(n * width)))


def by_rows(loop: Callable[..., object], arrays: list[Array], *others: Any) -> None:
    """Call `loop(*arrays, *others)`, threads sharing the rows of `arrays`, all of one length.

    Loops get parts, not bounds: where LLVM must think that an index might count from the end, it
    does not vectorise.  The first array tells the width.
    """
    first = arrays[0]
    if first.size < SHARED:
        loop(*arrays, *others)
        return
    n, width = len(first), prod(first.shape[1:])
    share(lambda start, stop: loop(*[a[start:stop] for a in arrays], *others), n, grain(n, width))


def flat(x: Array, dtype: Any = None) -> Array:
    """`x` in one read-only row; a copy if its strides leave gaps or it has another dtype."""
    return locked(np.ascontiguousarray(x, dtype).reshape(-1))


def table(x: Array) -> Array:
    """(..., d) -> (n, d), read-only and without gaps."""
    return locked(rows(np.ascontiguousarray(x)).view())


def locked(view: Array) -> Array:
    """The view, read-only from now on; the array it shows stays as it is."""
    view.setflags(write=False)
    return view


@lru_cache(64)
def constant(value: float, width: int, dtype: Any) -> Array:
    """A row that stands for a weight or bias left out."""
    return locked(np.full(width, value, dtype))
