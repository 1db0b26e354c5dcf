"""The gradient of an embedding: row v of dW is the sum of dy over all places where token v stands.

The places are put in order of their tokens, by counting; then each row is added up in float64 and
written once.  Threads share the rows of dW: two of them never write to the same place.
"""

from __future__ import annotations

import numpy as np

from ..limits import Array
from ..threads import share
from .blocks import flat, parts, table
from .compile import compiled


def embedding_backward(
    g: Array, _: None, weight: Array, *, tokens: Array, needs: tuple[bool, ...]
) -> tuple[Array]:
    """dW."""
    upstream, dweight = table(g), np.empty(weight.shape, weight.dtype)
    starts, order = ordered(flat(tokens, np.int64), len(weight))

    def work(start: int, stop: int) -> None:
        add(upstream, starts[start : stop + 1], order, dweight[start:stop])

    share(work, len(weight), max(1, -(-len(weight) // parts(upstream.size))))
    return (dweight,)


@compiled
def ordered(tokens: Array, count: int) -> tuple[Array, Array]:
    """The places in order of their tokens; those of token v from starts[v] to starts[v + 1]."""
    starts, order = np.zeros(count + 1, np.int64), np.empty(tokens.size, np.int64)
    for token in tokens:
        starts[token + 1] += 1
    for v in range(count):
        starts[v + 1] += starts[v]
    free = starts.copy()
    for place in range(tokens.size):
        order[free[tokens[place]]] = place
        free[tokens[place]] += 1
    return starts, order


@compiled
def add(g: Array, starts: Array, order: Array, dweight: Array) -> None:
    """Some rows of dW."""
    total = np.empty(g.shape[1])
    for v in range(len(dweight)):
        total[:] = 0
        for place in order[starts[v] : starts[v + 1]]:
            row = g[place]
            for j in range(row.size):
                total[j] += row[j]
        out = dweight[v]
        for j in range(out.size):
            out[j] = total[j]
