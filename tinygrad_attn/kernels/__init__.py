"""Kernels: forward and backward pairs on arrays, derived by hand; they know no Tensor.

    forward(*arrays, **options) -> (result, residuals)
    backward(g, residuals, *arrays, needs, **options) -> one gradient, or None, for each array

`needs` says which arrays need a gradient.  Each kernel stands beside a definition in primitives
(nn/functional/definitions.py, attention.py), which it is compared with: a kernel is never a second
truth.

An optimiser's step is a kernel too, with a forward only; its definition is a NumPy function
(optim/adam.py).

    sets.py          which kernels run: `use`
    memory.py        freed memory stays with the process
    threads.py       work shared among a few threads
    limits.py        which query may attend to which key; dropout's factors
    attention.py     attention in one piece; packed.py: on Q, K and V side by side
    tiled.py         attention in tiles of queries × keys
    passes.py        what these need done to the scores, by each set in its way
    bound.py         the three bound to a set's passes
    with_numpy/      kernels in NumPy, always there
    with_numba/      kernels compiled by numba (extra `fast`), imported when they are first needed
"""

from ..engine.kernel import Kernel
from .limits import DRAWN, Factors, Limits, Plan, blocking, reached
from .memory import keep_freed_memory
from .sets import SETS, chosen, finder, installed, use
from .threads import share, threads

__all__ = [
    "DRAWN", "SETS", "Factors", "Kernel", "Limits", "Plan", "blocking", "chosen", "finder",
    "installed", "reached", "share", "threads", "use",
]  # fmt: skip

keep_freed_memory()
