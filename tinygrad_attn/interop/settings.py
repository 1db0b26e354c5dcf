"""Reading a `config.json`: what is missing or beyond our model is listed in one error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import InteropError

REQUIRED = object()

# Their name of an activation -> ours; the first of several is the one that is written.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}


def theirs_of(activation: str) -> str:
    """Their name of one of our activations."""
    return next(theirs for theirs, ours in ACTIVATIONS.items() if ours == activation)


class Settings:
    """The values of a `config.json`, and a list of what is wrong with them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.problems: list[str] = []

    def get(self, name: str, default: Any = REQUIRED) -> Any:
        """A value; a missing one without a default is a problem, and None comes instead."""
        if name not in self.values and default is REQUIRED:
            self.problems.append(f"{name} is missing")
        return self.values.get(name, None if default is REQUIRED else default)

    def only(self, name: str, *allowed: Any) -> None:
        """The value must be one of these; the first is that of a file which does not say."""
        value = self.values.get(name, allowed[0])
        if value not in allowed:
            choices = " or ".join(map(repr, allowed))
            self.problems.append(f"{name} is {value!r}, expected {choices}")

    def equal(self, *names: str, default: Any) -> Any:
        """One value for settings that are one in our model."""
        values = {name: self.values.get(name, default) for name in names}
        first, *others = values.values()
        if any(value != first for value in others):
            found = ", ".join(f"{name}={value}" for name, value in values.items())
            self.problems.append(f"{found} differ, but this model has one value for them")
        return first

    def choice(self, name: str, names: Mapping[str, str], default: str) -> str:
        """The value's name here, of those that are known."""
        value = self.values.get(name, default)
        if value not in names:
            self.problems.append(f"{name} is {value!r}, expected one of {', '.join(names)}")
        return names.get(value, default)

    def side(self, name: str, default: int) -> Any:
        """The side of a square, which may be written as its height and width."""
        value = self.values.get(name, default)
        if isinstance(value, list) and len(set(map(str, value))) != 1:
            self.problems.append(f"{name} is {value}, expected a square")
        return value[0] if isinstance(value, list) and value else value

    def settle(self) -> None:
        """Raise what has been found."""
        if self.problems:
            kind = self.values.get("model_type")
            raise InteropError(f"the configuration ({kind}) describes another model", self.problems)
