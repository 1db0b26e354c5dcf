"""`state_dict`s of PyTorch: layers with a twin there have its names and layouts.

interop.from_torch(nn.Linear(3, 5), torch.nn.Linear(3, 5).state_dict())
torch.nn.Linear(3, 5).load_state_dict(interop.to_torch(nn.Linear(3, 5)))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from ..engine import Array
from ..extras import need
from ..nn import Module, Parameter
from .errors import InteropError

AnyModule = TypeVar("AnyModule", bound=Module)


def from_torch(module: AnyModule, state: Mapping[str, Any]) -> AnyModule:
    """Give `module` the values of a `state_dict`, converted to its dtype; returns the module.

    Args:
        state: name -> torch.Tensor, on any device; a tied one may come under all its names.

    Raises:
        InteropError: names are missing or unknown, values are misshaped, transposed or not
            floating, or tied ones differ; all are listed, and the module is untouched.
    """
    names = dict(every_name(module))
    given = {name: as_array(value) for name, value in state.items()}
    first = {id(parameter): name for name, parameter in reversed(names.items())}
    problems = [
        problem
        for name, parameter in names.items()
        if (problem := misfit(name, first[id(parameter)], parameter, given))
    ]
    problems += [f"{name} has no place in this module" for name in given if name not in names]
    if problems:
        raise InteropError(f"the state does not fit this {type(module).__name__}", problems)
    module.load_state_dict({name: given[name] for name in first.values()})
    return module


def to_torch(module: Module) -> dict[str, Any]:
    """A `state_dict` with copies of all parameters as torch.Tensor, tied ones under every name.

    Raises:
        ExtraError: PyTorch is not installed.
    """
    torch = need("torch", "a PyTorch state_dict", "peers")
    shared: dict[int, Any] = {}
    state = {}
    for name, parameter in every_name(module):
        if id(parameter) not in shared:
            shared[id(parameter)] = torch.from_numpy(parameter.numpy())
        state[name] = shared[id(parameter)]
    return state


def every_name(module: Module) -> Iterator[tuple[str, Parameter]]:
    """(dotted name, parameter); a tied one comes under each of its names."""
    for prefix, part in module._walk(""):
        for name, value in vars(part).items():
            if isinstance(value, Parameter):
                yield f"{prefix}.{name}" if prefix else name, value


def as_array(value: Any) -> Array:
    """A torch.Tensor or an array as an array; bfloat16 as float32, which holds it exactly."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    return np.asarray(value)


def misfit(name: str, first: str, parameter: Parameter, given: Mapping[str, Array]) -> str | None:
    """What is wrong with the value for one name, if anything."""
    if name not in given:
        return None if name != first else f"{name} is missing, expected {parameter.shape}"
    array = given[name]
    if array.dtype.kind not in "fc" or not np.can_cast(array.dtype, parameter.dtype, "same_kind"):
        return f"{name} has dtype {array.dtype}, expected {parameter.dtype}"
    if array.shape != parameter.shape:
        kind = "is transposed: it has" if array.shape == parameter.shape[::-1] else "has shape"
        return f"{name} {kind} {array.shape}, expected {parameter.shape}"
    if name != first and first in given and not np.array_equal(array, given[first]):
        return f"{name} differs from {first}, but they are one parameter"
    return None
