"""Is a gradient right?  `gradcheck` compares it with numeric derivatives and names what is wrong.

`suite.rows()` checks every operation and every layer of the package; `zoo` has the bugs that show
what a check is worth.  `leak_matrix` and the assertions beside it ask the gradient what depends on
what: is it causal, is padding inert?  `identities` holds arrays of any library against equations
that attention's gradients obey.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .causes import Cause
from .dependence import assert_depends_on, assert_padding_inert
from .equivariance import assert_permutation_equivariant
from .gradcheck import gradcheck, reports
from .identities import Identity, IdentityError, assert_identities, identities
from .leaks import assert_causal, assert_independent, leak_matrix
from .pullback import ProbeError
from .report import GradientError, Report, UndecidedWarning

if TYPE_CHECKING:
    from . import suite, zoo

__all__ = [
    "Cause", "GradientError", "Identity", "IdentityError", "ProbeError", "Report",
    "UndecidedWarning", "assert_causal", "assert_depends_on", "assert_identities",
    "assert_independent", "assert_padding_inert", "assert_permutation_equivariant", "gradcheck",
    "identities", "leak_matrix", "reports", "suite", "zoo",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load what needs layers and models when it is first used."""
    if name in ("suite", "zoo"):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
