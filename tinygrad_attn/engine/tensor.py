"""A Tensor is an array and the node that made it.

    Tensor.data   the array, read-only
    Tensor.node   how it came about: None for a constant, a leaf node for a variable,
                  else the operation and the nodes of its arguments (see node.py)

The operators and methods (`+`, `@`, `.sum()`, ...) are declared in operators.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from . import dispatch
from .errors import DTypeError, GraphError, ShapeError, reraised
from .node import Hook, Node, recorded
from .operators import Operators
from .settings import SETTINGS

Array = np.ndarray[Any, Any]


class Tensor(Operators):
    """An array with the node that made it.

    Args:
        data: array, nested list or number; copied. Python data become the default dtype (float32),
            arrays keep theirs.  Complex tensors are for derivative checks: functions are continued
            analytically, without conjugation.
        requires_grad: make this a variable: backward writes its gradient into `.grad`.
        dtype: convert to this dtype.
        name: shown in drawings and messages.

    Raises:
        DTypeError: an integer or boolean variable, or data that is not numeric.
    """

    __slots__ = ("__weakref__", "_data", "_name", "node")
    __array_priority__ = 100.0
    role: ClassVar[str | None] = None  # what drawings take its leaves for (see nn.Parameter)
    _data: Array
    _name: str | None
    node: Node | None

    def __init__(
        self,
        data: Any,
        requires_grad: bool = False,
        dtype: npt.DTypeLike | None = None,
        name: str | None = None,
    ) -> None:
        array = as_array(data, dtype)
        ours = isinstance(data, (int, float, complex, list, tuple, Tensor))  # no foreign buffer
        self._data = locked(array if ours else array.copy())
        self._name, self.node = text("Tensor", name), None
        if requires_grad is not False:
            self.requires_grad = requires_grad

    # ── the array ────────────────────────────────────────────────────────────────────────────────
    @property
    def data(self) -> Array:
        """The array, as a read-only view; assign to replace it: `t.data = t.data - step`."""
        # A view of a writable array can be made writable; one of a read-only buffer cannot.
        risky = isinstance(base := self._data.base, np.ndarray) and base.flags.writeable
        return np.asarray(self._data.data) if risky else self._data.view()

    @data.setter
    def data(self, new: Any) -> None:
        if self.node is not None and self.node.op is not None:
            raise GraphError(
                f"data: only a leaf takes new data; this tensor was made by {self.node.label}"
            )
        array = np.array(new._data if isinstance(new, Tensor) else new)
        if array.shape != self.shape:
            raise ShapeError(f"data: expected shape {self.shape}, got {array.shape}")
        if not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise DTypeError(
                f"data: expected {self.dtype}, got {array.dtype}; convert it with .astype first"
            )
        self._data = locked(array.astype(self.dtype, copy=False))

    shape = property(attrgetter("_data.shape"), doc="Length of each axis.")
    ndim = property(attrgetter("_data.ndim"), doc="Number of axes.")
    size = property(attrgetter("_data.size"), doc="Number of elements.")
    dtype = property(attrgetter("_data.dtype"), doc="NumPy dtype of the elements.")

    def numpy(self) -> Array:
        """A writable copy of the array; changing it changes nothing here."""
        return self._data.copy()

    def item(self) -> Any:
        """The single element as a Python number."""
        if self.size != 1:
            raise ShapeError(f"item: expected one element, got shape {self.shape}")
        return self._data.item()

    def tolist(self) -> Any:
        """The elements as nested Python lists."""
        return self._data.tolist()

    # ── the graph ────────────────────────────────────────────────────────────────────────────────
    @property
    def requires_grad(self) -> bool:
        """Do gradients flow to this tensor?"""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if not isinstance(wanted, (int, np.bool_)):
            raise DTypeError(
                f"requires_grad: expected True or False, got {wanted!r:.80}; a dtype is given by "
                "name, dtype=..."
            )
        if self.node is not None and self.node.op is not None:
            raise GraphError(
                "requires_grad: can only be changed on a leaf; use .detach() to cut the graph here"
            )
        if wanted and self.dtype.kind not in "fc":
            raise DTypeError(
                f"requires_grad: a variable must be floating, got {self.dtype}; "
                "pass dtype=np.float32 or np.float64"
            )
        if not wanted:
            self.node = None
        elif self.node is None:
            self.node = recorded(None, (), [], self.shape, self.dtype)
            self.node.retain = self.node.watched = True
            if self._name is not None:
                self.node.name = self._name
            if self.role is not None:
                self.node.role = self.role

    @property
    def name(self) -> str | None:
        """What drawings and messages call this tensor."""
        return self._name

    @name.setter
    def name(self, name: str | None) -> None:
        self._name = text("name", name)
        if self.node is not None:
            self.node.name = name

    @property
    def grad(self) -> Tensor | None:
        """Gradient accumulated by backward, None before; settable, to None to clear it.

        Results have none unless retain_grad() or keep_grads() asks for it; `w = w - step` makes
        such a result: to change a variable assign `w.data = w.data - step`.
        """
        return None if self.node is None else self.node.grad

    @grad.setter
    def grad(self, grad: Tensor | Array | None) -> None:
        if grad is None and self.node is None:
            return
        if grad is not None:
            grad = grad if isinstance(grad, Tensor) else Tensor(grad)
            if grad.shape != self.shape:
                raise ShapeError(f"grad: expected shape {self.shape}, got {grad.shape}")
            if not np.can_cast(grad.dtype, self.dtype, "same_kind"):
                raise DTypeError(f"grad: expected {self.dtype}, got {grad.dtype}")
            grad = grad if grad.dtype == self.dtype else grad.astype(self.dtype)
        self.need_node("grad").grad = grad

    def detach(self) -> Tensor:
        """The same values as a constant: no gradient flows through it."""
        return wrapped(self._data, None, self._name)

    def retain_grad(self) -> None:
        """Let backward write `.grad` here too, though this is an intermediate result."""
        node = self.need_node("retain_grad")
        node.retain = node.watched = True

    def register_hook(self, fn: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call `fn(grad)` when backward has the whole gradient; what it returns replaces it.

        Returns a function that takes the hook off again.
        """
        node, hook = self.need_node("register_hook"), Hook(fn)
        if not callable(fn):
            raise DTypeError(f"register_hook: expected a function, got {type(fn).__name__}")
        node.hooks = (*(node.hooks or ()), hook)
        node.watched = True

        def remove() -> None:
            node.hooks = tuple(other for other in node.hooks or () if other is not hook)

        return remove

    def need_node(self, who: str) -> Node:
        """The node, or a GraphError in the name of `who`."""
        if self.node is None:
            raise GraphError(
                f"{who}: this tensor has no graph; create it, or what it comes from, "
                "with requires_grad=True and outside no_grad()"
            )
        return self.node

    # ── Python and NumPy protocols ───────────────────────────────────────────────────────────────
    __array_ufunc__ = dispatch.array_ufunc
    __array_function__ = dispatch.array_function
    __hash__ = object.__hash__  # `==` compares elements, so identity must be asked for by name

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if self.node is not None:
            raise DTypeError(
                "np.asarray of a tensor that is being differentiated would cut its graph silently; "
                "use .numpy() for a copy, or .detach() to cut it on purpose"
            )
        return self.data.astype(self.dtype if dtype is None else dtype, copy=bool(copy))

    def __len__(self) -> int:
        if not self.ndim:
            raise DTypeError("len: a 0-d tensor has no length")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise DTypeError(
            "tensors are read-only, so that no write can make a gradient silently wrong; "
            "use ta.where, ta.concat or ta.scatter_add, or assign t.data on a leaf"
        )

    def __reduce__(self) -> Any:
        """For copy, deepcopy and pickle: a leaf of its own, without `.grad` and hooks."""
        if self.node is not None and self.node.op is not None:
            raise GraphError(
                "copy, deepcopy, pickle: only leaves can be copied; this tensor was made by "
                f"{self.node.label}; use .detach()"
            )
        return twin, (type(self), self._data, self.requires_grad, self._name)

    def __repr__(self) -> str:
        body = np.array2string(
            self._data, separator=", ", prefix="Tensor(", precision=4, threshold=60, edgeitems=3
        )
        notes = [f"shape={self.shape}"] if self.size == 0 or self.size > 60 else []
        notes += [] if self.dtype == SETTINGS.get().dtype else [f"dtype={self.dtype}"]
        notes += [f"name={self._name!r}"] if self._name else []
        if self.node is not None:
            notes.append(
                "requires_grad=True" if self.node.op is None else f"op={self.node.op.name}"
            )
        return f"Tensor({', '.join([body, *notes])})"


def text(who: str, name: Any) -> Any:
    """`name`, if it is a string or None."""
    if name is None or isinstance(name, str):
        return name
    raise DTypeError(f"{who}: the name must be a string or None, got {name!r:.80}")


new_tensor = object.__new__


def wrapped(
    data: Array, node: Node | None, name: str | None = None, kind: type[Tensor] = Tensor
) -> Tensor:
    """A Tensor around `data` itself; the caller promises that nobody will write into it."""
    t: Tensor = new_tensor(kind)
    t._data, t.node, t._name = data, node, name
    return t


def twin(kind: type[Tensor], data: Array, requires_grad: bool, name: str | None) -> Tensor:
    """A copied leaf: it has a node of its own, so that gradients know it from the first one."""
    t = wrapped(locked(data), None, name, kind)
    t.requires_grad = requires_grad
    return t


def locked(array: Any) -> Array:
    """`array` made read-only (a NumPy scalar becomes a 0-d array)."""
    if array.__class__ is not np.ndarray:
        array = np.asarray(array)
    array.setflags(False)  # write=False; by position it costs half
    return array


def frozen(value: Any) -> Any:
    """`value` in a form nobody can write into: arrays are copied into bytes, in lists too.

    A read-only flag is no promise: whoever owns the array can take it back, and views made earlier
    can be written into.  What lies in bytes is ours already, and stays as it is.
    """
    if isinstance(value, np.ndarray):
        owner: Any = value
        while isinstance(owner, np.ndarray):
            owner = owner.base
        ours = type(owner) is bytes
        return value if ours else np.ndarray(value.shape, value.dtype, value.tobytes())
    if type(value) in (tuple, list):
        return type(value)([frozen(item) for item in value])
    return value


def as_array(data: Any, dtype: npt.DTypeLike | None = None, who: str = "Tensor") -> Array:
    """`data` as an array: Python numbers and lists in the default dtype, arrays in their own."""
    if isinstance(data, Tensor):
        if data.node is not None:
            raise DTypeError(
                f"{who} of a tensor that is being differentiated would cut its graph silently; "
                "use .detach() to cut it on purpose"
            )
        data = data._data
    try:
        array = np.asarray(data)
        dtype = None if dtype is None else np.dtype(dtype)
    except (ValueError, TypeError) as error:
        raise reraised(error, who) from error
    if array.dtype.kind not in "biufc":
        raise DTypeError(
            f"{who}: expected numbers, got {type(data).__name__} of dtype {array.dtype}"
        )
    python = isinstance(data, (int, float, list, tuple)) and not isinstance(data, np.generic)
    if dtype is None and python and array.dtype.kind in "iuf":
        dtype = SETTINGS.get().dtype
    return array if dtype is None else array.astype(dtype, copy=False)
