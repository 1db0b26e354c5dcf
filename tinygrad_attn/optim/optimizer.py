"""What all optimisers share: groups of parameters with options, a state for each parameter.

A step never writes into a parameter's array, which a live graph may hold: it makes a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, ShapeError, Tensor
from ..engine.tensor import locked
from ..nn.functional.layers import real

State = dict[str, Any]
Group = dict[str, Any]
Params = Iterable[Tensor] | Iterable[Group]


class Optimizer:
    """Base of the optimisers; a subclass says what one step does to one parameter.

    Args:
        params: the parameters, or groups of them: dicts with "params" and options of their own.
        options: for what a group does not say.

    Attributes:
        groups: dicts of "params" (a list) and the options, which may be changed between steps.
        size: how many numbers are optimised.
        state_names: what the state of a parameter holds once it has been moved.
        updated: a parameter's value, its gradient, its state and its group -> a new array for it;
            the state is changed.

    Raises:
        ShapeError: there are no parameters, one appears twice, or an option is unknown or out of
            range.
        DTypeError: something is not a variable, or an option is not a number.
    """

    state_names: tuple[str, ...] = ()
    updated: Callable[[Array, Array, State, Group], Array]

    def __init__(self, params: Params, **options: Any) -> None:
        given = listed(type(self).__name__, params)
        grouped = bool(given) and all(isinstance(group, dict) for group in given)
        self.options = options
        groups = given if grouped else [{"params": given}]
        self.groups = [self.complete(group) for group in groups]
        check_parameters(type(self).__name__, self.parameters)
        self.states: list[State] = [{} for _ in self.parameters]
        self.size = sum(parameter.size for parameter in self.parameters)

    def complete(self, given: Mapping[str, Any]) -> Group:
        """A group with all its options, checked."""
        who = type(self).__name__
        if "params" not in given or not given.keys() <= {"params", *self.options}:
            raise ShapeError(
                f'{who}: a group has "params" and any of {list(self.options)}; got {list(given)}'
            )
        group = {**self.options, **given, "params": listed(who, given["params"])}
        for name in ("lr", "weight_decay", "eps"):
            if not real(who, name, group.get(name, 0)) >= 0:
                raise ShapeError(f"{who}: {name} must be 0 or more, got {group[name]}")
        betas = group.get("betas", (0, 0))
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise DTypeError(f"{who}: betas must be two numbers, got {betas!r}")
        for rate in (group.get("momentum", 0), *betas):
            if not 0 <= real(who, "each of momentum and betas", rate) < 1:
                raise ShapeError(f"{who}: momentum and betas must lie in [0, 1), got {rate}")
        return group

    @property
    def parameters(self) -> list[Tensor]:
        """The parameters of all groups, in order."""
        return [parameter for group in self.groups for parameter in group["params"]]

    def zero_grad(self) -> None:
        """Clear every parameter's gradient."""
        for parameter in self.parameters:
            if parameter.requires_grad:
                parameter.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        states = iter(self.states)
        for group in self.groups:
            for parameter in group["params"]:
                state, grad = next(states), parameter.grad
                if grad is not None:
                    array = np.asarray(grad._data, order="C")  # one slow pass, not several
                    parameter._data = locked(self.updated(parameter._data, array, state, group))

    # ── state ────────────────────────────────────────────────────────────────────────────────────
    def state_dict(self) -> dict[str, Any]:
        """A copy of everything but the parameters.

        Returns:
            {"groups": [options, with the parameters' numbers as "params"], "states": [one for each
            parameter: arrays and numbers by name]}.
        """
        numbers = iter(range(len(self.states)))
        groups = [
            {**group, "params": [next(numbers) for _ in group["params"]]} for group in self.groups
        ]
        return {"groups": groups, "states": [copied(state) for state in self.states]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take options and states from the `state_dict()` of an optimiser of the same parameters.

        Raises:
            ShapeError: groups, states or shapes do not fit; nothing has changed then.
            DTypeError: `state` is no mapping.
        """
        who = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state, Mapping):
            raise DTypeError(f"{who}: expected a state_dict(), got {type(state).__name__}")
        if set(state) != {"groups", "states"}:
            raise ShapeError(f'{who}: expected the keys "groups" and "states", got {list(state)}')
        own, theirs = (
            [len(group["params"]) for group in groups] for groups in (self.groups, state["groups"])
        )
        if own != theirs or len(state["states"]) != len(self.states):
            raise ShapeError(f"{who}: expected groups of {own} parameters, got {theirs}")
        for parameter, saved in zip(self.parameters, state["states"], strict=True):
            self.check_state(f"{who}: {parameter.name or 'parameter'}", saved, parameter.shape)
        self.groups = [
            self.complete({**saved, "params": group["params"]})
            for saved, group in zip(state["groups"], self.groups, strict=True)
        ]
        self.states = [copied(saved) for saved in state["states"]]

    def check_state(self, who: str, saved: State, shape: tuple[int, ...]) -> None:
        """Refuse a parameter's state that this optimiser could not have made."""
        if saved and set(saved) != set(self.state_names):
            raise ShapeError(
                f"{who}: expected the state {list(self.state_names)}, got {list(saved)}"
            )
        for name, value in saved.items():
            if isinstance(value, np.ndarray) and value.shape != shape:
                raise ShapeError(f"{who}: expected {name} of shape {shape}, got {value.shape}")


def listed(who: str, params: Any) -> list[Any]:
    """`params` as a list, if they are several things."""
    if not isinstance(params, Iterable) or isinstance(params, (Tensor, np.ndarray)):
        raise DTypeError(
            f"{who}: expected parameters, got a {type(params).__name__}; pass model.parameters()"
        )
    return list(params)


def check_parameters(who: str, parameters: list[Tensor]) -> None:
    """Refuse an empty list, what is no variable, and what appears twice."""
    if not parameters:
        raise ShapeError(f"{who}: there are no parameters to optimise")
    for number, parameter in enumerate(parameters):
        node = parameter.node if isinstance(parameter, Tensor) else None
        if node is None or node.op is not None:
            raise DTypeError(
                f"{who}: parameter {number} is not a variable; pass model.parameters()"
                " or tensors made with requires_grad=True, and leave out frozen ones"
            )
    if len({id(parameter) for parameter in parameters}) < len(parameters):
        raise ShapeError(f"{who}: a parameter appears more than once; each would be moved as often")


def copied(state: Mapping[str, Any]) -> State:
    """A state with arrays of its own."""
    return {
        name: value.copy() if isinstance(value, np.ndarray) else value
        for name, value in state.items()
    }
