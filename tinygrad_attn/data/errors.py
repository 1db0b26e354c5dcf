"""What is raised about inputs, and what finds it out."""

from __future__ import annotations

from numbers import Real
from operator import index


class DataError(ValueError):
    """An input that cannot be used: says what was expected, what came, and what to do."""


def whole(name: str, value: object, least: int = 0) -> int:
    """`value`, if it is a whole number from `least` on."""
    try:
        number = index(value)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        number = least - 1
    if number < least:
        raise DataError(f"{name}: expected a whole number, {least} or more, got {value!r}")
    return number


def check_share(who: str, test: object) -> None:
    """Refuse a share for the test part that leaves one part empty."""
    if not isinstance(test, Real) or not 0.01 <= float(test) <= 0.99:
        raise DataError(f"{who}: expected a test share from 0.01 to 0.99, got {test}")
