"""The bug zoo: wrong gradients that people write, each with a name, a switch and a lesson.

    for bug in BUGS.values():
        with bug.plant():
            subject = bug.subject(SIZES[0])
            ...

`kills` tells which checker catches which bug; `tinygrad-attn zoo` prints it.  Read in this order:
bug.py (what a bug is), nonlinear.py, moving.py, layers.py, attention.py, recurrent.py, functions.py
(the bugs), checkers.py (who looks for them), matrix.py (who finds them).
"""

from . import attention, functions, layers, moving, nonlinear, recurrent
from .bug import SIZES, Bug, Size, Subject

__all__ = ["BUGS", "SIZES", "Bug", "Size", "Subject"]

BUGS: dict[str, Bug] = {
    bug.name: bug
    for area in (nonlinear, moving, layers, attention, recurrent, functions)
    for bug in area.CAGE.bugs
}
