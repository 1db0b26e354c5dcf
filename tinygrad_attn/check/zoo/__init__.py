"""The bug zoo: wrong gradients that people write, each with a name, a switch and a lesson.

    for bug in BUGS.values():
        with bug.plant():
            subject = bug.subject(SIZES[0])
            ...

`matrix.trials` tells which checker catches which bug; `tinygrad-attn zoo` prints it.  Read in this order:
bug.py (what a bug is); nonlinear.py, choosing.py, summing.py, moving.py, layers.py, attention.py,
recurrent.py, functions.py (the bugs); checkers.py (who looks for them), matrix.py (who finds them);
expressions.py and alarms.py (right gradients, of which nobody should complain).
"""

from . import attention, choosing, functions, layers, moving, nonlinear, recurrent, summing
from .bug import SIZES, Bug, Size, Subject

__all__ = ["BUGS", "SIZES", "Bug", "Size", "Subject"]

BUGS: dict[str, Bug] = {
    bug.name: bug
    for area in (nonlinear, choosing, summing, moving, layers, attention, recurrent, functions)
    for bug in area.CAGE.bugs
}
