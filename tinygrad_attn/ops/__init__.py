"""The operations: every primitive with its rules, and what is composed of them.

Read arithmetic.py first, then activations.py (softmax), linalg.py (matmul), reductions.py,
shapes.py, indexing.py, recurrent.py.  methods.py binds them to Tensor's operators and to NumPy's
functions.  What a file offers stands in its `__all__`.
"""

from . import activations, arithmetic, indexing, linalg, recurrent, reductions, shapes
from . import methods as _methods  # noqa: F401  (binds operators and methods to Tensor)
from .activations import *  # noqa: F403
from .arithmetic import *  # noqa: F403
from .indexing import *  # noqa: F403
from .linalg import *  # noqa: F403
from .recurrent import *  # noqa: F403
from .reductions import *  # noqa: F403
from .shapes import *  # noqa: F403
from .shapes import concat as concatenate

__all__ = [
    "concatenate",
    *activations.__all__,
    *arithmetic.__all__,
    *indexing.__all__,
    *linalg.__all__,
    *recurrent.__all__,
    *reductions.__all__,
    *shapes.__all__,
]
