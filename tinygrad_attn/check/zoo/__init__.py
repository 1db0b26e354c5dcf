"""The bug zoo: wrong gradients that people write, each with a name, a switch and a lesson.

    bug = bug_named("softmax-diagonal")
    with bug.plant():
        f, inputs = bug.subject(SIZES[0])
        gradcheck(f, *inputs)

`tinygrad-attn zoo` tells which checker catches which bug.  Read in this order: bug.py (what a bug
is); nonlinear.py, choosing.py, summing.py, moving.py, layers.py, attention.py, recurrent.py,
misuses.py (the bugs); checkers.py (who looks for them), matrix.py (who finds them);
expressions.py, alarms.py (right gradients, of which nobody should complain).
"""

from difflib import get_close_matches

from ...engine import TensorError
from . import attention, choosing, layers, misuses, moving, nonlinear, recurrent, summing
from .bug import SIZES, Bug, Size, Subject

__all__ = ["BUGS", "SIZES", "Bug", "Size", "Subject", "UnknownBugError", "bug_named"]

BUGS: dict[str, Bug] = {
    bug.name: bug
    for area in (nonlinear, choosing, summing, moving, layers, attention, recurrent, misuses)
    for bug in area.CAGE.bugs
}


class UnknownBugError(TensorError, LookupError):
    """No bug has this name."""


def bug_named(name: str) -> Bug:
    """The bug of this name.

    Raises:
        UnknownBugError: there is none.
    """
    if name in BUGS:
        return BUGS[name]
    close = get_close_matches(name, BUGS)
    meant = f"did you mean {' or '.join(close)}? A" if close else "a"
    raise UnknownBugError(f"no bug is called {name!r}; {meant}ll names: tinygrad-attn zoo --list")
