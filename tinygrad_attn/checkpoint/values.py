"""Values as JSON: arrays and generators stand beside it, and a mark where they belong.

    {"order": array, "done": (3, 5)}    ->    {"order": {"$array": "state:order"},
                                              "done": {"$tuple": [3, 5]}}

What comes back is what was given, tuples as tuples, and a generator that stood in two places is one
generator again.  So types must be these and no subclasses, which would come back as others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from ..engine import Array
from ..files import DTYPES
from ..files.strict import shown

GENERATORS = ("PCG64", "PCG64DXSM")  # those whose state is plain numbers
ARRAY, SCALAR, TUPLE, GENERATOR = MARKS = ("$array", "$scalar", "$tuple", "$generator")
PLAIN = (bool, int, float, str, type(None))
DEEPEST = 200  # lists, tuples and dicts in each other; Python recurses into twice as many
HELD = {dtype for name, dtype in DTYPES.items() if name != "BF16"}


# ── on their way into a file ─────────────────────────────────────────────────────────────────────
class Packing:
    """Takes values apart.

    Attributes:
        arrays: those found, by their names in the file.
        generators: those found, each once.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.generators: list[np.random.Generator] = []

    def packed(self, value: Any, name: str, depth: int = 0) -> Any:
        """A value as JSON.

        Args:
            name: of the value, after which its arrays are named.
            depth: of the value in others.

        Raises:
            ValueError: it holds something that no file can.
        """
        kind = type(value)
        if kind in PLAIN:
            check_plain(value, name)
            return value
        if kind is np.ndarray:
            return {ARRAY: self.kept(value, name)}
        if kind is np.random.Generator:
            return {GENERATOR: self.number(value)}
        if depth == DEEPEST:
            raise ValueError(f"{short(name)} is more than {DEEPEST} deep, or holds itself")
        inside = depth + 1
        if kind is tuple:
            return {TUPLE: [self.packed(x, f"{name}.{n}", inside) for n, x in enumerate(value)]}
        if kind is list:
            return [self.packed(x, f"{name}.{n}", inside) for n, x in enumerate(value)]
        if kind is dict:
            check_keys(value, name)
            return {key: self.packed(x, f"{name}.{key}", inside) for key, x in value.items()}
        if isinstance(value, np.generic):
            return {SCALAR: self.kept(np.asarray(value), name)}
        raise ValueError(f"{short(name)} is of type {kind.__name__}")

    def kept(self, array: Array, name: str) -> str:
        """The name under which an array stands in the file."""
        if array.dtype not in HELD:
            raise ValueError(f"{name} is an array of {array.dtype}")
        while name in self.arrays:  # of another value, whose keys have dots
            name += "'"
        self.arrays[name] = array
        return name

    def number(self, rng: np.random.Generator) -> int:
        """The number of a generator among those found."""
        for number, other in enumerate(self.generators):
            if other is rng:
                return number
        plain = type(rng) is np.random.Generator
        kind = type(rng.bit_generator if plain else rng).__name__
        if kind not in GENERATORS:
            raise ValueError(
                f"expected a generator of {' or '.join(GENERATORS)}, such as "
                f"np.random.default_rng(0), got {kind}"
            )
        self.generators.append(rng)
        return len(self.generators) - 1


def check_keys(value: Mapping[Any, Any], name: str) -> None:
    """Refuse keys that would come back as others."""
    for key in value:
        if type(key) is not str or key in MARKS:
            raise ValueError(
                f"{short(name)} has the key {shown(key)}; keys must be texts, and none of {MARKS}"
            )
        check_plain(key, f"a key of {name}")


def short(name: str) -> str:
    """A name, or its end where it is long."""
    return name if len(name) <= 80 else f"…{name[-78:]}"


def check_plain(value: Any, name: str) -> None:
    """Refuse numbers and texts that JSON cannot hold."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{short(name)} is {value}, which JSON cannot hold; an array can")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{short(name)} is no Unicode text ({error.reason})") from error


# ── on their way back ────────────────────────────────────────────────────────────────────────────
class Unpacking:
    """Puts values together again.

    Args:
        arrays: of the file, by name; those that have been used are taken out.
        generators: of the file.
    """

    def __init__(self, arrays: dict[str, Array], generators: Sequence[np.random.Generator]) -> None:
        self.arrays, self.generators = arrays, generators

    def unpacked(self, value: Any) -> Any:
        """A value as it was given."""
        if isinstance(value, list):
            return [self.unpacked(x) for x in value]
        if not isinstance(value, dict):
            return value
        marks = value.keys() & set(MARKS)
        if not marks:
            return {key: self.unpacked(x) for key, x in value.items()}
        ((mark, held),) = value.items()
        if mark == ARRAY:
            return self.arrays.pop(held)
        if mark == SCALAR:
            return scalar(self.arrays.pop(held))
        if mark == TUPLE:
            return tuple(self.unpacked(x) for x in held)
        return self.generator(held)

    def generator(self, number: int | None) -> np.random.Generator | None:
        """One of the generators, by its number."""
        return None if number is None else self.generators[natural("a generator", number)]


def scalar(array: Array) -> Any:
    """NumPy's own number, of an array without axes."""
    if array.ndim:
        raise ValueError(f"expected a number, got an array of shape {array.shape}")
    return array[()]


def restored(state: Mapping[str, Any]) -> np.random.Generator:
    """A generator of the saved kind in the saved state."""
    if state["bit_generator"] not in GENERATORS:
        raise ValueError(f"unknown generator {state['bit_generator']!r}")
    rng = np.random.Generator(getattr(np.random, state["bit_generator"])())
    put(rng, state)
    return rng


def put(rng: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Put a generator into a saved state."""
    rng.bit_generator.state = state
    if rng.bit_generator.state != state:
        raise ValueError(f"the state of the generator is none of {state['bit_generator']}")


def natural(name: str, n: Any) -> int:
    """An integer of 0 or more, and of no other type."""
    if type(n) is not int or n < 0:
        raise ValueError(f"{name} is {n!r}, expected an integer of 0 or more")
    return n


def optimizer_state(state: Any) -> dict[str, Any]:
    """An optimiser's state from a file, checked for its form; what it fits is for the optimiser."""
    if not isinstance(state, dict) or state.keys() != {"groups", "states"}:
        raise ValueError('the optimiser\'s state must have "groups" and "states"')
    numbers = [n for group in listed(state["groups"]) for n in group["params"]]
    if numbers != list(range(len(listed(state["states"])))):
        raise ValueError("the optimiser's groups do not number its parameters")
    wrong = [
        f"{number}.{name}"
        for number, values in enumerate(state["states"])
        for name, value in values.items()
        if not numeric(value)
    ]
    if wrong:
        raise ValueError(f"the optimiser's state has no numbers in {', '.join(wrong)}")
    return state


def listed(values: Any) -> list[dict[str, Any]]:
    """A list of dicts."""
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ValueError("the optimiser's groups and states must be lists of objects")
    return values


def numeric(value: Any) -> bool:
    """A number, or an array of floating ones."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fc"
    return isinstance(value, int | float | np.number)
