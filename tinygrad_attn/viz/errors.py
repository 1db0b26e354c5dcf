"""What drawing can raise or warn of: one sentence each, saying what to do."""

from __future__ import annotations

from ..engine import TensorError


class RenderError(TensorError, RuntimeError):
    """A picture could not be made or written."""


class GraphTooLargeError(RenderError, ValueError):
    """The graph has more boxes than one asked to lay out."""


class OptionError(TensorError, ValueError):
    """An option has a value that it cannot have, or one that would do nothing."""


class RenderWarning(UserWarning):
    """A picture could not be laid out, so something simpler was written in its place."""


class MissingGradientWarning(UserWarning):
    """Gradients were to be drawn before backward has made them."""


class UnknownNameError(TensorError, LookupError):
    """Nothing in the graph has the name that was asked for."""
