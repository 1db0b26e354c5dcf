"""The errors of the engine: each says what was expected, what came, and what to do.

They inherit from Python's own kinds, so `except ValueError` catches a `ShapeError`.
"""

from __future__ import annotations


class TensorError(Exception):
    """Any error this library raises about tensors, their operations and their graph."""


class ShapeError(TensorError, ValueError):
    """Shapes, axes or values that do not fit the operation."""


class DTypeError(TensorError, TypeError):
    """A dtype or a kind of argument the operation cannot take."""


class IndexingError(TensorError, IndexError):
    """An index outside the array, or of a form NumPy does not take."""


class GraphError(TensorError, RuntimeError):
    """The graph cannot be walked: it was freed, or there is none."""


def reraised(error: Exception, where: str) -> TensorError:
    """NumPy's `error` as one of ours that begins with `where` (the operation and its arguments)."""
    if isinstance(error, TensorError):  # of an operation inside
        name = where.partition("(")[0]
        return error if str(error).startswith(name) else type(error)(f"{name}: {error}")
    kind: type[TensorError] = ShapeError  # NumPy's AxisError is a ValueError and an IndexError
    if isinstance(error, TypeError):
        kind = DTypeError
    elif isinstance(error, IndexError) and not isinstance(error, ValueError):
        kind = IndexingError
    return kind(f"{where}: {error}")
