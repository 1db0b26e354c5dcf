"""Errors that name the function: about what is no array, and what its signature refuses."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from ...engine import TensorError
from ...engine.adapter import described
from ...engine.errors import reraised

P = ParamSpec("P")
R = TypeVar("R")


def named(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, its errors beginning with its name where they begin with "Tensor"."""
    who = function.__name__

    @wraps(function)
    def inner(*args: P.args, **options: P.kwargs) -> R:
        try:
            return function(*args, **options)
        except TensorError as error:
            raise renamed(error, who) from error.__cause__
        except TypeError as error:  # Python's own: arguments too many, too few, or unknown
            raise reraised(error, described(who, args, options)) from error

    return inner


def renamed(error: TensorError, who: str) -> TensorError:
    """`error`, or one in the name of `who` where it only says that something is no array."""
    text = str(error)
    if not text.startswith("Tensor:"):
        return error
    return type(error)(f"{who}:{text.removeprefix('Tensor:')}")
