"""A rule is the vector-Jacobian product (VJP) of a primitive for one argument.

It asks by name for what it needs: `g`, the gradient of the result, first; then any of

    a parameter of the forward function      an array argument or an option
    out                                      the result
    in_shape                                 the shape of the argument this rule is for
    i, args, in_shapes                       with `*arrays`: which argument, all of them, all shapes

The comment after a rule is its formula; drawings and reports read it from there.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from .errors import DTypeError
from .results import results
from .tensor import wrapped

if TYPE_CHECKING:
    from .node import Node
    from .primitive import Primitive

EXTRAS = ("out", "in_shape", "i", "args", "in_shapes")  # besides the parameters, in this order
OUT = -1  # in `links`: the result, not an argument


class Rule:
    """One VJP, read once when it is defined.

    Attributes:
        fn: the function `(g, *needs) -> gradient of the argument`.
        needs: the names it asks for; exactly these stay alive until backward.
        places: where they stand among all that a call knows (`known` below).
        fetch: takes them, in this order, out of a list of all that.
        links: which of the needs become Tensors under create_graph: (place, argument or OUT).
        per_argument: does it ask for something that differs from argument to argument?
    """

    def __init__(self, fn: Callable[..., Any], owner: Primitive) -> None:
        first, *self.needs = inspect.signature(fn).parameters
        arrays = [] if owner.variadic else owner.arrays
        known = [*arrays, *owner.options, *EXTRAS]
        if first != "g" or not set(self.needs) <= set(known):
            raise DTypeError(
                f"{owner.name}.defvjp: a rule takes `g` first, then any of {known}; "
                f"got {[first, *self.needs]}"
            )
        self.fn = fn
        self.places = [known.index(need) for need in self.needs]
        self.fetch = fetcher(self.places)
        self.links = [
            (place, OUT if need == "out" else arrays.index(need))
            for place, need in enumerate(self.needs)
            if need == "out" or need in arrays
        ]
        self.wants_args = "args" in self.needs
        self.per_argument = not {"in_shape", "i"}.isdisjoint(self.needs)

    def attached(self, node: Node, needs: Any) -> list[Any]:
        """The saved arrays as Tensors on the nodes that made them: so the rule is recorded."""
        needs = list(needs)
        for place, argument in self.links:
            source = node if argument == OUT else node.parents[argument]
            if isinstance(needs[place], tuple):
                needs[place] = results(node, needs[place])
            elif source is not None:
                needs[place] = wrapped(needs[place], source)
        if self.wants_args:
            place = self.needs.index("args")
            needs[place] = tuple(
                array if parent is None else wrapped(array, parent)
                for array, parent in zip(needs[place], node.parents, strict=True)
            )
        return needs

    @property
    def formula(self) -> str:
        """The comment beside the rule in its source, or "" where there is none."""
        path, first = self.fn.__code__.co_filename, self.fn.__code__.co_firstlineno
        for number in range(first, first + 4):  # a formatter may have wrapped the rule
            line = linecache.getline(path, number)
            if number > first and "lambda" in line:
                break
            if "  # " in line:
                return line.partition("  # ")[2].strip()
        return ""


def fetcher(places: list[int]) -> Callable[[list[Any]], Any]:
    """A function that takes the items at `places` out of a list, in C."""
    if len(places) > 1:
        return itemgetter(*places)
    start = places[0] if places else 0
    return itemgetter(slice(start, start + len(places)))
