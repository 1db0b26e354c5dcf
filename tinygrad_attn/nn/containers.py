"""Modules made of modules: a list, and a chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..engine import DTypeError, IndexingError
from .module import Module, joined


class ModuleList(Module):
    """Modules in a list, named "0", "1", …; it is not called itself."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        if not isinstance(modules, Iterable):
            raise DTypeError(f"{type(self).__name__}: expected modules, got {modules!r:.80}")
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> None:
        """Add a module at the end."""
        if not isinstance(module, Module):
            raise DTypeError(
                f"{type(self).__name__}: expected modules, got {type(module).__name__}"
            )
        setattr(self, str(len(self)), module)

    def _enter_as(self, name: str) -> None:
        """A list is not called, so its modules carry its name: their scopes are "blocks.0", …"""
        super()._enter_as(name)
        for index, module in self._parts():
            module._enter_as(self._name_of_part(index))

    def _name_of_part(self, name: str) -> str:
        return joined(self._scope_name or "", name)

    def __len__(self) -> int:
        return len(list(self._parts()))

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self._parts())

    def __getitem__(self, index: int) -> Module:
        modules = list(self)
        if not -len(modules) <= index < len(modules):
            raise IndexingError(
                f"{type(self).__name__}: index {index} is outside its {len(modules)} modules"
            )
        return modules[index]


class Sequential(ModuleList):
    """Modules called one after the other, each on the result of the one before."""

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def _enter_as(self, name: str) -> None:
        Module._enter_as(self, name)

    def _name_of_part(self, name: str) -> str:
        return name

    def forward(self, x: Any) -> Any:
        """The last module's result."""
        for module in self:
            x = module(x)
        return x
