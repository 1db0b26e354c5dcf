"""Anomaly mode: the first NaN or infinity stops the program and says where it comes from.

    with ta.detect_anomaly():
        model.loss(tokens, targets).backward()

The engine shows the guard of its settings every result and every part of a gradient.  A guard looks
at the numbers, and blames the operation:

    NaN         in a result is always reported: as made by the operation, or as come in with an
                argument that holds it already.
    infinity    in a result is reported, unless it came in on purpose, as −∞ does with a mask:
                it is gone once the infinities in arguments and options are replaced by 1.  Numbers
                as large as their dtype can hold count as infinities: masks use them too.  In a
                trained parameter no infinity is on purpose.
    gradients   must be finite, all of them.

Operations on arrays alone are NumPy's; what they made is reported where it meets a tensor.

Read in this order:

    guard.py      what the engine shows it, and whom it blames
    screening.py  which numbers are bad
    places.py     whose line it was
    report.py     what is raised
"""

from __future__ import annotations

import numpy as np

from ..engine.settings import changed
from .guard import GUARD
from .places import Place
from .report import AnomalyError

__all__ = ["AnomalyError", "Place", "detect_anomaly"]


class detect_anomaly(changed):
    """Inside, the first NaN or infinity raises an AnomalyError that says where it comes from.

    Forward and backward, recorded or not, for a `with` block or a decorated function, in this
    thread.  NumPy's own warnings of such numbers are off inside: the error takes their place.

    Raises:
        AnomalyError: from the operation, or from backward; leaf gradients are untouched then.
    """

    def __init__(self) -> None:
        super().__init__(guard=GUARD)
        self.silenced: list[np.errstate] = []

    def __enter__(self) -> None:
        super().__enter__()
        self.silenced.append(np.errstate(divide="ignore", over="ignore", invalid="ignore"))
        self.silenced[-1].__enter__()

    def __exit__(self, *error: object) -> None:
        self.silenced.pop().__exit__(None, None, None)
        super().__exit__(*error)
