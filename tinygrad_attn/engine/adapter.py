"""Other calling forms: NumPy's own around a primitive, and operations composed of others.

@adapts(concatenate)
def concat(arrays, axis=0):
    return concatenate(*arrays, axis=axis)

@composed
def var(x, axis=None, ddof=0, keepdims=False):
    return sum(square(x - mean(x, axis, True)), axis, keepdims) / (count(x, axis) - ddof)
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .errors import DTypeError, TensorError, reraised
from .primitive import Primitive


class Adapter:
    """A function of tensors whose errors name it; `primitive`: what it adapts, or None."""

    def __init__(self, fn: Callable[..., Any], primitive: Primitive | None) -> None:
        functools.update_wrapper(self, fn)
        self.fn, self.primitive, self.name = fn, primitive, fn.__name__

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The function; NumPy's and Python's errors become ours, with the name and the shapes."""
        try:
            return self.fn(*args, **options)
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            if isinstance(error, TensorError):
                if str(error).startswith(self.name):
                    raise
                raise type(error)(f"{self.name}: {error}") from error
            raise reraised(error, described(self.name, args, options)) from error

    def replaced_vjp(self, argument: int | str, rule: Callable[..., Any]) -> Any:
        """Plant another rule in the primitive inside the block (see `Primitive.replaced_vjp`)."""
        if self.primitive is None:
            raise DTypeError(
                f"{self.name}.replaced_vjp: it is composed of other operations and has no "
                "rule of its own; plant one in those"
            )
        return self.primitive.replaced_vjp(argument, rule)

    def __repr__(self) -> str:
        what = "composed of primitives" if self.primitive is None else f"around {self.primitive!r}"
        return f"<operation {self.name}, {what}>"


def described(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> str:
    """A call, for messages: dtypes and shapes of arrays, other arguments as they are."""
    named = [*((None, a) for a in args), *options.items()]
    shown = [(f"{key}=" if key else "") + brief(value) for key, value in named]
    return f"{name}({', '.join(shown)})"


def brief(value: Any) -> str:
    """An argument in a few characters."""
    if isinstance(getattr(value, "shape", None), tuple) and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, (list, tuple)) and any(hasattr(item, "dtype") for item in value):
        return f"[{', '.join(brief(item) for item in value)}]"
    return repr(value)[:80]


def adapts(primitive: Primitive) -> Callable[[Callable[..., Any]], Adapter]:
    """Make a function the public form of `primitive`."""
    return lambda fn: Adapter(fn, primitive)


def composed(fn: Callable[..., Any]) -> Adapter:
    """Make a function of other operations an operation whose errors name it."""
    return Adapter(fn, None)


def inner(name: str) -> Callable[[Callable[..., Any]], Primitive]:
    """Make a function the primitive `name`, whose public form is an adapter."""
    return lambda forward: Primitive(forward, name)
