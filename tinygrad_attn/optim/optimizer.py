"""What all optimisers share: groups of parameters with options, a state for each parameter, and their saving.

A step never writes into a parameter's array, which a live graph may hold: it makes a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, ShapeError, Tensor
from ..engine.tensor import locked

State = dict[str, Any]


class Optimizer:
    """Base of the optimisers; a subclass says what one step does to one parameter (`updated`).

    Args:
        params: the parameters, or groups of them: dicts with "params" and any options of the group's own.
        options: defaults for what a group does not say.

    Attributes:
        groups: dicts of "params" (a list) and the options; they may be changed between steps.

    Raises:
        ShapeError: there are no parameters, one appears twice, or an option is unknown or out of range.
        DTypeError: something is not a variable.
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[dict[str, Any]], **options: Any) -> None:
        given = list(params)
        groups = given if given and all(isinstance(group, dict) for group in given) else [{"params": given}]
        self.groups = [self.group(group, options) for group in groups]
        check_parameters(type(self).__name__, self.parameters)
        self.states: list[State] = [{} for _ in self.parameters]

    def group(self, given: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        """A group with all its options, checked."""
        who = type(self).__name__
        unknown = [name for name in given if name != "params" and name not in options]
        if unknown or "params" not in given:
            raise ShapeError(f'{who}: a group has "params" and any of {list(options)}; got {list(given)}')
        group = {**options, **given, "params": list(given["params"])}
        for name in ("lr", "weight_decay", "eps"):
            if not group.get(name, 0) >= 0:
                raise ShapeError(f"{who}: {name} must be 0 or more, got {group[name]}")
        for name, rates in (("momentum", [group.get("momentum", 0)]), ("betas", group.get("betas", ()))):
            if not all(0 <= rate < 1 for rate in rates):
                raise ShapeError(f"{who}: {name} must lie in [0, 1), got {group[name]}")
        return group

    @property
    def parameters(self) -> list[Tensor]:
        """The parameters of all groups in order."""
        return [parameter for group in self.groups for parameter in group["params"]]

    def zero_grad(self) -> None:
        """Clear every parameter's gradient."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        states = iter(self.states)
        for group in self.groups:
            for parameter, state in zip(group["params"], states):   # noqa: B905 — states go on with the next group
                grad = parameter.grad
                if grad is not None:
                    parameter._data = locked(self.updated(parameter._data, np.ascontiguousarray(grad._data), state, group))

    def updated(self, value: Array, grad: Array, state: State, group: dict[str, Any]) -> Array:
        """A new array for a parameter of `value`; `state` is this parameter's and is changed."""
        raise NotImplementedError

    # ── state ────────────────────────────────────────────────────────────────────────────────────
    def state_dict(self) -> dict[str, Any]:
        """Options and states, copied: {"groups": [options and numbers of parameters], "states": [one per parameter]}."""
        numbers = iter(range(len(self.states)))
        groups = [{**group, "params": [next(numbers) for _ in group["params"]]} for group in self.groups]
        return {"groups": groups, "states": [copied(state) for state in self.states]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take options and states from `state_dict()` of an optimiser of the same parameters.

        Raises:
            ShapeError: the groups or the arrays' shapes differ; nothing has changed then.
        """
        who = f"{type(self).__name__}.load_state_dict"
        if set(state) != {"groups", "states"}:
            raise ShapeError(f'{who}: expected the keys "groups" and "states", got {list(state)}')
        theirs = [len(group["params"]) for group in state["groups"]]
        own = [len(group["params"]) for group in self.groups]
        if theirs != own or len(state["states"]) != len(self.states):
            raise ShapeError(f"{who}: expected groups of {own} parameters, got {theirs}")
        for number, (parameter, saved) in enumerate(zip(self.parameters, state["states"], strict=True)):
            for name, value in saved.items():
                if isinstance(value, np.ndarray) and value.shape != parameter.shape:
                    raise ShapeError(f"{who}: {name} of parameter {number}: expected shape {parameter.shape}, got {value.shape}")
        groups = [self.group({**group, "params": mine["params"]}, {name: value for name, value in mine.items() if name != "params"})
                  for group, mine in zip(state["groups"], self.groups, strict=True)]
        self.groups, self.states = groups, [copied(saved) for saved in state["states"]]


def check_parameters(who: str, parameters: list[Tensor]) -> None:
    """Refuse an empty list, what is no variable, and what appears twice."""
    if not parameters:
        raise ShapeError(f"{who}: there are no parameters to optimise")
    for number, parameter in enumerate(parameters):
        if not isinstance(parameter, Tensor) or parameter.node is None or parameter.node.op is not None:
            raise DTypeError(f"{who}: parameter {number} is not a variable; pass model.parameters() or tensors made with "
                             "requires_grad=True")
    if len({id(parameter) for parameter in parameters}) < len(parameters):
        raise ShapeError(f"{who}: a parameter appears more than once; each would be moved as often")


def copied(state: Mapping[str, Any]) -> State:
    """A state with arrays of its own."""
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in state.items()}
