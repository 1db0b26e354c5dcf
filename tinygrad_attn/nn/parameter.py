"""A Parameter is a variable that belongs to a module."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from ..engine import Tensor
from ..engine.settings import SETTINGS
from ..engine.tensor import as_array


class Parameter(Tensor):
    """A tensor that is trained: assigned to an attribute of a Module, the module lists it.

    Args:
        data: the initial values; copied.
        dtype: a floating dtype; the default dtype (float32) where None.
        name: shown in drawings and messages; the attribute's name where None.

    Attributes:
        home: the attribute under which a module first registered it, None before that.
    """

    __slots__ = ("home",)
    role = "parameter"
    home: str | None

    def __init__(
        self, data: Any, dtype: npt.DTypeLike | None = None, name: str | None = None
    ) -> None:
        array = as_array(data)
        if dtype is None and array.dtype.kind != "c":
            dtype = SETTINGS.get().dtype
        super().__init__(array, requires_grad=True, dtype=dtype, name=name)
        self.home = None

    def __reduce__(self) -> Any:
        return *super().__reduce__(), (None, {"home": self.home})  # the state of its slot
