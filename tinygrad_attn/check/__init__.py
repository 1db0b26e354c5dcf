"""Is a gradient right?  `gradcheck` compares it with numeric derivatives and names what is wrong.

`suite.rows()` checks every operation and every layer of the package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .gradcheck import gradcheck, reports
from .report import GradientError, Report, UndecidedWarning

if TYPE_CHECKING:
    from . import suite

__all__ = ["GradientError", "Report", "UndecidedWarning", "gradcheck", "reports", "suite"]


def __getattr__(name: str) -> Any:
    """Load `suite`, which needs layers and models, when it is first used."""
    if name == "suite":
        return import_module(".suite", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
