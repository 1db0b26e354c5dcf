"""Modules: parts of a model that own parameters and know their parts.

A module's parameters and parts are its attributes; nothing is kept beside them.  What is assigned
to an attribute is listed under the attribute's name, joined by dots on the way down
("blocks.0.attn.out_proj.weight").  Calling a module runs its `forward` inside a scope of the same
name, so that a drawing shows the same tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from ..engine import Array, DTypeError, ShapeError, Tensor, TensorError, scope
from ..engine.errors import reraised
from ..engine.settings import SETTINGS
from .functional.layers import array_of, flag
from .functional.naming import renamed
from .parameter import Parameter

Item = TypeVar("Item")


class Module:
    """Base of layers and models: assign parameters and parts in `__init__`, compute in `forward`.

        class Scale(nn.Module):
            def __init__(self, width):
                self.weight = nn.Parameter(np.ones(width))

            def forward(self, x):
                return x * self.weight

    Attributes:
        training: True while training; dropout is active only then.
    """

    training: bool = True
    forward: Callable[..., Any]
    _scope_name: str | None = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        """`forward`, inside this module's scope where something is recorded or guarded."""
        settings = SETTINGS.get()
        try:
            if not settings.recording and settings.guard is None:
                return self.forward(*args, **options)
            with scope(self._scope_name or type(self).__name__):
                return self.forward(*args, **options)
        except TensorError as error:
            raise renamed(error, type(self).__name__) from error.__cause__
        except TypeError as error:
            if f"{self.forward.__qualname__}() " in str(error):  # not called as it is declared
                raise reraised(error, type(self).__name__) from error
            raise

    # ── registration ─────────────────────────────────────────────────────────────────────────────
    def __setattr__(self, name: str, value: Any) -> None:
        who = f"{type(self).__name__}.{name}"
        if isinstance(value, (Parameter, Module)) and "." in name:
            raise ShapeError(f"{who}: the name of a parameter or part must not contain a dot")
        if isinstance(value, Parameter):
            self._register(name, value, who)
        elif isinstance(value, Module):
            value._enter_as(self._name_of_part(name))
        elif isinstance(value, (list, tuple, dict)) and holds_parts(value):
            raise DTypeError(
                f"{who}: parameters inside a plain {type(value).__name__} would not "
                "be found; put modules into nn.ModuleList, parameters into attributes"
            )
        object.__setattr__(self, name, value)

    def _register(self, name: str, new: Parameter, who: str) -> None:
        """Check that the place and the name are free, and give the parameter its name.

        A parameter that has a home already may take any place: that is how weights are tied.
        """
        if new.home is not None:
            return
        if isinstance(vars(self).get(name), Parameter):
            raise ShapeError(
                f"{who}: there is a parameter of this name already; give the new one "
                "another name, assign .data to change values, or `del` the old one"
            )
        label = new.name or name
        for sibling, other in vars(self).items():
            if isinstance(other, Parameter) and other.home == sibling and other.name == label:
                raise ShapeError(
                    f"{who}: the parameter {sibling} of the same module is already "
                    f"named {label!r}; siblings need different names"
                )
        new.name, new.home = label, name

    def _name_of_part(self, name: str) -> str:
        """The scope name of the part called `name`."""
        return name

    def _enter_as(self, name: str) -> None:
        """Take the scope name a parent gives."""
        self._scope_name = name

    # ── traversal ────────────────────────────────────────────────────────────────────────────────
    def _parts(self) -> Iterator[tuple[str, Module]]:
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, part in self._parts():
            yield from part._walk(joined(prefix, name))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(dotted name, module): this one (named "") and all inside, each once, parents first."""
        return unique(self._walk(prefix))

    def modules(self) -> Iterator[Module]:
        """This module and all inside it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter) for every parameter inside, each once, under its first name."""
        return unique(
            (joined(prefix, name), value)
            for prefix, module in self.named_modules()
            for name, value in vars(module).items()
            if isinstance(value, Parameter)
        )

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter inside, each once."""
        return (parameter for _, parameter in self.named_parameters())

    # ── state ────────────────────────────────────────────────────────────────────────────────────
    def state_dict(self) -> dict[str, Array]:
        """A copy of every parameter's array, by dotted name; a tied one under its first name."""
        return {name: parameter.numpy() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take every parameter's values from `state`, converted to the parameter's dtype.

        Raises:
            ShapeError: names are missing or unknown, or arrays have other shapes or hold something
                else than numbers; all of them are listed, and no parameter has changed.
            DTypeError: `state` is no mapping.
        """
        own, who = dict(self.named_parameters()), f"{type(self).__name__}.load_state_dict"
        if not isinstance(state, Mapping):
            raise DTypeError(f"{who}: expected arrays by name, got {type(state).__name__}")
        arrays = {n: array_of(who, f"rows of {n}", x) for n, x in state.items() if n in own}
        problems = [f"{name} is missing" for name in own if name not in state]
        problems += [f"{name} is not in this model" for name in state if name not in own]
        problems += [
            f"{name} has shape {array.shape}, expected {own[name].shape}"
            for name, array in arrays.items()
            if array.shape != own[name].shape
        ]
        problems += [
            f"{name} has dtype {array.dtype}, expected {own[name].dtype}"
            for name, array in arrays.items()
            if not np.can_cast(array.dtype, own[name].dtype, "same_kind")
        ]
        if problems:
            raise ShapeError(f"{who}: " + "; ".join(problems))
        for name, array in arrays.items():
            own[name].data = array

    def astype(self, dtype: npt.DTypeLike) -> Self:
        """Convert every parameter to a floating `dtype`; gradients are dropped.

        Make the optimiser afterwards: its state has the dtype of the parameters.
        """
        try:
            dtype = np.dtype(dtype)
        except TypeError as error:
            raise reraised(error, f"{type(self).__name__}.astype") from error
        if dtype.kind not in "fc":
            raise DTypeError(
                f"{type(self).__name__}.astype: expected a floating dtype such as "
                f"np.float64, got {dtype}"
            )
        for parameter in self.parameters():
            trained = parameter.requires_grad
            parameter.requires_grad = False  # a graph that is still alive keeps the old node
            parameter._data = Tensor(parameter._data, dtype=dtype)._data
            parameter.requires_grad = trained
        return self

    # ── switches ─────────────────────────────────────────────────────────────────────────────────
    def train(self, mode: bool = True) -> Self:
        """Switch this module and all inside it to training, or with False to evaluation."""
        mode = flag(f"{type(self).__name__}.train", "mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch this module and all inside it to evaluation: no dropout."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Clear the gradient of every parameter."""
        for parameter in self.parameters():
            if parameter.requires_grad:
                parameter.grad = None

    # ── display ──────────────────────────────────────────────────────────────────────────────────
    def extra_repr(self) -> str:
        """What the repr says about this module besides its parts."""
        return ""

    def __repr__(self) -> str:
        lines = [f"{name}: {text}".replace("\n", "\n  ") for name, text in rolled_up(self._parts())]
        inside = "\n  ".join([self.extra_repr(), *lines])
        return f"{type(self).__name__}({inside}" + ("\n)" if lines else ")")


def joined(prefix: str, name: str) -> str:
    """The dotted name of what is called `name` inside `prefix`."""
    return f"{prefix}.{name}" if prefix else name


def holds_parts(value: Any) -> bool:
    """Does a plain container hold a parameter or a module?"""
    items = value.values() if isinstance(value, dict) else value
    return any(isinstance(item, (Parameter, Module)) for item in items)


def unique(pairs: Iterable[tuple[str, Item]]) -> Iterator[tuple[str, Item]]:
    """The pairs whose second has not come before."""
    seen: set[int] = set()
    for name, item in pairs:
        if id(item) not in seen:
            seen.add(id(item))
            yield name, item


def rolled_up(parts: Iterable[tuple[str, Module]]) -> list[tuple[str, str]]:
    """(name, repr) of each part; equal numbered neighbours become one: ("0-3", "4 × Block(…)")."""
    runs: list[tuple[list[str], str]] = []
    for name, part in parts:
        text = repr(part)
        if runs and runs[-1][1] == text and (runs[-1][0][-1] + name).isdigit():
            runs[-1][0].append(name)
        else:
            runs.append(([name], text))
    return [
        (names[0], text)
        if len(names) == 1
        else (f"{names[0]}-{names[-1]}", f"{len(names)} × {text}")
        for names, text in runs
    ]
