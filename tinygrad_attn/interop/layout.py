"""How the parameters of a model are called and shaped elsewhere: a table, read in both directions.

    row("blocks.{i}.mlp.up.weight", "h.{i}.mlp.c_fc.weight", transposed=True)

says that our (d_out, d_in) stands there as (d_in, d_out).  Several names on the right are the parts
of one array of ours, one below the other.  {i} counts the layers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..engine import Array
from .errors import InteropError


@dataclass(frozen=True)
class Row:
    """One parameter here, and its one or several arrays there.

    Attributes:
        ours: name of the parameter.
        theirs: names of the arrays that, one below the other, are the parameter.
        transposed: there it is stored as (d_in, d_out), as TensorFlow's and GPT-2's Conv1D do.
        shape: from our configuration, the shape there, where it is neither ours nor transposed.
    """

    ours: str
    theirs: tuple[str, ...]
    transposed: bool = False
    shape: Callable[[Any], tuple[int, ...]] | None = None

    def numbered(self, i: int) -> Row:
        """This row for layer `i`."""
        ours, *theirs = (name.replace("{i}", str(i)) for name in (self.ours, *self.theirs))
        return replace(self, ours=ours, theirs=tuple(theirs))

    def parts(self, array: Array, config: Any) -> dict[str, Array]:
        """Our array as theirs."""
        if self.transposed:
            array = array.T
        if self.shape is not None:
            array = array.reshape(self.shape(config))
        return dict(zip(self.theirs, np.split(array, len(self.theirs)), strict=True))

    def whole(self, parts: list[Array], shape: tuple[int, ...]) -> Array:
        """Their arrays as ours."""
        array = np.concatenate(parts) if len(parts) > 1 else parts[0]
        ours = (array.T if self.transposed else array).reshape(shape)
        return np.ascontiguousarray(ours)  # products with a transposed view round differently


def row(ours: str, *theirs: str, **options: Any) -> Row:
    """A Row, its names written one after the other."""
    return Row(ours, theirs, **options)


@dataclass(frozen=True)
class Layout:
    """All parameters of a kind of model.

    Attributes:
        rows: the table.  A row whose parameter the model does not have is left out; if it is a
            bias, zeros stand for it there.
        prefix: that may precede every name there but those in `heads`.
        heads: beginnings of the names that never have the prefix.
        tied: name there -> name there of the array it must repeat, where the model has one
            parameter for both.
        ignored: what a name there begins or ends with, or has inside, if it holds no weight of this
            model: a regular expression.
        renamed: older endings of names there -> today's.
    """

    rows: tuple[Row, ...]
    prefix: str = ""
    heads: tuple[str, ...] = ()
    tied: Mapping[str, str] = field(default_factory=dict)
    ignored: str = r"(?!)"
    renamed: Mapping[str, str] = field(default_factory=dict)

    def rows_of(self, model: Any) -> Iterator[Row]:
        """The table with a row for each layer."""
        for line in self.rows:
            numbered = "{i}" in line.ours
            for i in range(model.config.num_layers if numbered else 1):
                yield line.numbered(i)

    def name(self, theirs: str) -> str:
        """A name there as in the table."""
        for old, new in self.renamed.items():
            if theirs.endswith(old):
                theirs = theirs.removesuffix(old) + new
        return theirs.removeprefix(self.prefix)

    def full_name(self, name: str) -> str:
        """A name of the table as it is written."""
        return name if name.startswith(self.heads) else self.prefix + name


def exported(model: Any, layout: Layout) -> dict[str, Array]:
    """The parameters of a model under their names and in their shapes there."""
    own = model.state_dict()
    found: dict[str, Array] = {}
    for line in layout.rows_of(model):
        if line.ours in own:
            found |= line.parts(own[line.ours], model.config)
        elif (zeros := absent_bias(line, own)) is not None:
            found |= line.parts(zeros, model.config)
    return {layout.full_name(name): np.ascontiguousarray(array) for name, array in found.items()}


def absent_bias(line: Row, own: Mapping[str, Array]) -> Array | None:
    """The zeros that stand for a bias which a model does not have; None if `line` is no bias."""
    weight = own.get(re.sub(r"bias$", "weight", line.ours))
    if not line.ours.endswith("bias") or weight is None:
        return None
    return np.zeros(len(weight), weight.dtype)


def imported(model: Any, layout: Layout, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """`tensors` as a state of the model, for `load_state_dict`.

    Raises:
        InteropError: arrays are missing, unknown, of another shape or transposed, not numbers, or
            not equal to what they are tied to; all are listed.
    """
    given, problems = renamed(layout, tensors)
    own, state = model.state_dict(), dict[str, Array]()
    expected: set[str] = set()
    for line in layout.rows_of(model):
        ours = own.get(line.ours)
        like = absent_bias(line, own) if ours is None else ours
        if like is None:
            continue
        parts = line.parts(like, model.config)
        expected |= parts.keys()
        found = (misfit(name, part, given.get(name), line) for name, part in parts.items())
        wrong = [problem for problem in found if problem]
        if ours is not None:
            problems += wrong
            if not wrong:
                state[line.ours] = line.whole([given[name] for name in parts], ours.shape)
        else:
            problems += [
                f"{name} is not zero, but the model has no bias there"
                for name in parts
                if name in given and np.any(given[name])
            ]
    problems += tied_problems(layout, given, expected)
    problems += [
        f"{name} has no place in this model"
        for name in given
        if name not in expected and name not in layout.tied and not re.search(layout.ignored, name)
    ]
    if problems:
        raise InteropError(f"the weights do not fit this {type(model).__name__}", problems)
    return state


def renamed(layout: Layout, tensors: Mapping[str, Array]) -> tuple[dict[str, Array], list[str]]:
    """The arrays under the table's names, and a sentence for each that comes again."""
    names: dict[str, list[str]] = {}
    for theirs in sorted(tensors):
        names.setdefault(layout.name(theirs), []).append(theirs)
    problems = [
        f"{name} comes more than once: as {' and '.join(several)}"
        for name, several in names.items()
        if len(several) > 1
    ]
    return {name: tensors[several[0]] for name, several in names.items()}, problems


def misfit(name: str, expected: Array, array: Array | None, line: Row) -> str | None:
    """What is wrong with one array, if anything."""
    if array is None:
        return f"{name} is missing, expected {expected.shape}"
    if array.dtype.kind != "f":
        return f"{name} has dtype {array.dtype}, expected a floating one"
    if array.shape == expected.shape:
        return None
    if array.shape == expected.shape[::-1]:
        kind = "Conv1D's (d_in, d_out)" if line.transposed else "(d_out, d_in)"
        return f"{name} is transposed: it has {array.shape}, expected {kind} = {expected.shape}"
    return f"{name} has shape {array.shape}, expected {expected.shape}"


def tied_problems(layout: Layout, given: Mapping[str, Array], expected: set[str]) -> list[str]:
    """A sentence for each array that should repeat another and does not."""
    pairs = [(a, b) for a, b in layout.tied.items() if a not in expected and {a, b} <= given.keys()]
    return [
        f"{a} differs from {b}, but this model has one parameter for both"
        for a, b in pairs
        if not np.array_equal(given[a], given[b])
    ]
