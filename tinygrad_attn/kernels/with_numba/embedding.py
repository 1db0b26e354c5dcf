"""The gradient of an embedding: each row of dy is added to the row of its token.

Threads share the columns, not the tokens: two of them never write to the same place, and the
order of the sums is always the same.
"""

from __future__ import annotations

import numpy as np

from ..limits import Array
from ..threads import share
from .blocks import flat, grain, table
from .compile import compiled


def embedding_backward(
    g: Array, _: None, weight: Array, *, tokens: Array, needs: tuple[bool, ...]
) -> tuple[Array]:
    """dW."""
    upstream, places = table(g), flat(tokens, np.int64)
    dweight = np.zeros(weight.shape, weight.dtype)
    n, width = upstream.shape
    columns = max(LINE, grain(width, n))
    share(lambda start, stop: add(upstream, places, dweight, start, stop), width, columns)
    return (dweight,)


LINE = 32  # columns: no part narrower than two lines of the cache


@compiled
def add(g: Array, tokens: Array, dweight: Array, start: int, stop: int) -> None:
    """Some columns of dW."""
    for i in range(tokens.size):
        row, place = g[i, start:stop], dweight[tokens[i], start:stop]
        for j in range(row.size):
            place[j] += row[j]
