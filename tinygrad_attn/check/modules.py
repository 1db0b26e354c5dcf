"""A module as a function of its parameters, so that they can be checked as inputs.

Knows modules only by their `named_parameters()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..engine import Array, Tensor
from .problem import Function


def with_parameters(f: Function) -> tuple[Function, list[str], list[Array]]:
    """A module as a function (*inputs, *parameters), with the parameters' names and values.

    Anything else than a module comes back as it is, with no parameters.
    """
    named = dict(f.named_parameters()) if hasattr(f, "named_parameters") else {}
    if not named:
        return f, [], []
    parameters = list(named.values())

    def module(*given: Any) -> Any:
        count = len(given) - len(parameters)
        with substituted(parameters, given[count:]):
            return f(*given[:count])

    return module, list(named), [p.numpy() for p in parameters]


@contextmanager
def substituted(parameters: Sequence[Tensor], tensors: Sequence[Tensor]) -> Iterator[None]:
    """Inside, each parameter is the given tensor: its array and its node."""
    before = [(p._data, p.node) for p in parameters]
    try:
        for p, t in zip(parameters, tensors, strict=True):
            p._data, p.node = t._data, t.node
        yield
    finally:
        for p, (data, node) in zip(parameters, before, strict=True):
            p._data, p.node = data, node
