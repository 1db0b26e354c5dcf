"""The operations: every primitive with its rules, and what is composed of them.

Read arithmetic.py first, then activations.py (softmax), linalg.py (matmul), and what you need of

    exponentials, trigonometry, rounding, choices    one element at a time
    piecewise                                        nonlinearities with kinks
    reductions, norms, running, sorting              along an axis
    shapes, joining, windows, diagonals              elements moved
    contractions, convolution                        products of many axes
    indexing, scattering                             elements taken out, and put in
    recurrent                                        cells

methods.py binds them to Tensor's operators and to NumPy's functions.  What a file offers stands in
its `__all__`.
"""

from . import (
    activations,
    arithmetic,
    choices,
    contractions,
    convolution,
    diagonals,
    exponentials,
    indexing,
    joining,
    linalg,
    norms,
    piecewise,
    recurrent,
    reductions,
    rounding,
    running,
    scattering,
    shapes,
    sorting,
    trigonometry,
    windows,
)
from . import methods as _methods  # noqa: F401  (binds operators and methods to Tensor)
from .activations import *  # noqa: F403
from .arithmetic import *  # noqa: F403
from .choices import *  # noqa: F403
from .contractions import *  # noqa: F403
from .convolution import *  # noqa: F403
from .diagonals import *  # noqa: F403
from .exponentials import *  # noqa: F403
from .indexing import *  # noqa: F403
from .joining import *  # noqa: F403
from .joining import concat as concatenate
from .linalg import *  # noqa: F403
from .norms import *  # noqa: F403
from .piecewise import *  # noqa: F403
from .recurrent import *  # noqa: F403
from .reductions import *  # noqa: F403
from .rounding import *  # noqa: F403
from .running import *  # noqa: F403
from .scattering import *  # noqa: F403
from .shapes import *  # noqa: F403
from .sorting import *  # noqa: F403
from .trigonometry import *  # noqa: F403
from .windows import *  # noqa: F403

__all__ = [
    "concatenate",
    *activations.__all__,
    *arithmetic.__all__,
    *choices.__all__,
    *contractions.__all__,
    *convolution.__all__,
    *diagonals.__all__,
    *exponentials.__all__,
    *indexing.__all__,
    *joining.__all__,
    *linalg.__all__,
    *norms.__all__,
    *piecewise.__all__,
    *recurrent.__all__,
    *reductions.__all__,
    *rounding.__all__,
    *running.__all__,
    *scattering.__all__,
    *shapes.__all__,
    *sorting.__all__,
    *trigonometry.__all__,
    *windows.__all__,
]
