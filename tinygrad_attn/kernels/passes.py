"""What each set of kernels does its own way in attention: the passes over the scores.

The products are the BLAS's, the same for all; beside them attention reads and writes its scores
over and over, and how often that happens decides how fast it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Passes(NamedTuple):
    """Four passes, each in place.  `low` and `high` bound j − i for query i and key j, or are None.

    `largest`, `total`, `logsum` and `delta` are (T, 1), `out` is (T, dv).

    Attributes:
        softmax: (scores (..., T, S), scale, low, high): P = softmax(scale·R) over the keys within
            the bounds, 0 elsewhere.
        dsoftmax: (dP, P, scale): scale·P∘(dP − δ), δ = rowsum(dP∘P), in place of dP.
        online: (scores (T, S), low, high, largest, total, out): one more tile of an online softmax.
            E = exp(S − m) in place of the scores; `largest` becomes m, `total` and `out`, what has
            been summed so far, shrink by exp(m_before − m), and the rows of E are added to `total`.
        again: (scores (T, S), dP, low, high, logsum, delta): P = exp(S − L) in place of the scores
            and P∘(dP − δ) in place of dP.
    """

    softmax: Callable[..., None]
    dsoftmax: Callable[..., None]
    online: Callable[..., None]
    again: Callable[..., None]
