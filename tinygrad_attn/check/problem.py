"""The function under test, as a function from one vector to another.

`Problem.value` is what is differentiated numerically, `Problem.pull` is the gradient under test.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, ShapeError, Tensor, grad
from .layout import Layout, joined

Function = Callable[..., Any]


class RuleFailedError(Exception):
    """A gradient rule raised an error; it is the `__cause__`."""


class Problem:
    """A function of arrays as a function of one vector: its floating arguments, end to end.

    Args:
        f: takes Tensors, and whatever else stands in `args`; returns a Tensor, or a tuple or list
            of them.
        args: the arguments; floating arrays and Tensors are differentiated, others passed through.
        names: of the arguments, for reports.
        values: computes the same as `f` but need not be differentiable (cheaper).
        dtype: what floating arguments are converted to.

    Attributes:
        x: the point, as a vector.
        inputs, outputs: names and shapes of what is differentiated and of the results.
        evaluations, walks: how many forward and backward passes ran.

    Raises:
        DTypeError: no input is floating, one is complex or a list of arrays, or `f` does not
            return floating Tensors.
    """

    def __init__(
        self,
        f: Function,
        args: Sequence[Any],
        names: Sequence[str],
        *,
        values: Function | None = None,
        dtype: Any = np.float64,
    ) -> None:
        self.f, self.values, self.names = f, values or f, tuple(names)
        self.args = [as_floating(arg) for arg in args]
        self.slots = [i for i, arg in enumerate(self.args) if is_floating(arg)]
        if not self.slots:
            raise DTypeError("gradcheck: no input is floating: there is nothing to differentiate")
        self.inputs = Layout(
            tuple(names[i] for i in self.slots), tuple(self.args[i].shape for i in self.slots)
        )
        self.x = joined([self.args[i] for i in self.slots]).astype(dtype)
        self.evaluations = self.walks = 0
        outs = self.run(f, self.tensors(self.x))
        self.outputs = Layout(output_names(outs), tuple(out.shape for out in outs))
        self.dtypes = [out.dtype for out in outs]

    def tensors(self, x: Array) -> list[Tensor]:
        """The vector as variables, one for each input."""
        return [Tensor(part, requires_grad=True) for part in self.inputs.split(x)]

    def run(self, f: Function, variables: Sequence[Tensor]) -> list[Tensor]:
        """The floating results of `f` with `variables` in the places of the floating arguments."""
        self.evaluations += 1
        full = list(self.args)
        for slot, variable in zip(self.slots, variables, strict=True):
            full[slot] = variable
        return floating_outputs(f(*full))

    def value(self, x: Array) -> Array:
        """f at `x`, which may be complex: one vector."""
        outs = self.run(self.values, self.tensors(x))
        return joined([out.data for out in outs], x.dtype)

    def pull(self, rows: Array, x: Array | None = None) -> Array:
        """gᵀ∂f/∂x for each row g of `rows`, by the gradient under test: shape (rows, inputs)."""
        variables = self.tensors(self.x if x is None else x)
        outs = self.run(self.f, variables)
        found = [joined(self.gradient(outs, variables, g), self.x.dtype) for g in rows]
        return np.array(found).reshape(len(rows), self.inputs.size)

    def gradient(
        self, outs: Sequence[Tensor], variables: Sequence[Tensor], g: Array
    ) -> list[Array]:
        """gᵀ∂f/∂x as one array for each input, in the dtype that the engine gives it."""
        totals: list[Any] = [np.zeros(v.shape, v.dtype) for v in variables]
        for out, part in zip(outs, self.outputs.split(g), strict=True):
            if out.node is None or not part.any():
                continue
            self.walks += 1
            for k, found in enumerate(pulled(out, variables, part)):
                if found is not None:
                    totals[k] = totals[k] + found.data
        return totals


def pulled(
    out: Tensor, variables: Sequence[Tensor], g: Any, create_graph: bool = False
) -> tuple[Tensor | None, ...]:
    """One walk of the engine; what a rule raises becomes RuleFailedError."""
    try:
        return grad(
            out, variables, g, create_graph=create_graph, retain_graph=True, allow_unused=True
        )
    except Exception as error:
        raise RuleFailedError from error


def upstream(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Random numbers of both signs, none near zero: no error hides behind a small factor."""
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))


# ── what goes in ─────────────────────────────────────────────────────────────────────────────────
def is_floating(x: Any) -> bool:
    """Is `x` something that gradients can be asked for?"""
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def as_array(what: str, x: Any) -> Array:
    """A copy of a Tensor's array, or of what NumPy makes an array of.

    Raises:
        ShapeError: `x`, which is called `what`, has rows of different lengths.
    """
    try:
        return np.array(x.data if isinstance(x, Tensor) else x)
    except ValueError as error:
        raise ShapeError(f"{what} is no array: {error}") from None


def as_floating(arg: Any) -> Any:
    """A floating argument as a float64 array; anything else (tokens, masks, options) as it is."""
    array = arg.data if isinstance(arg, Tensor) else arg
    if isinstance(arg, (list, tuple)) and holds_floats(arg):
        array = as_array("gradcheck: an input", arg)
    if isinstance(array, float | np.floating) or is_floating(array):
        return np.array(array, np.float64)
    if isinstance(array, np.ndarray) and array.dtype.kind == "c":
        raise DTypeError(
            "gradcheck: expected real inputs, got a complex array; check the real and "
            "the imaginary part as two inputs"
        )
    if isinstance(arg, (list, tuple)) and any(isinstance(x, Tensor | np.ndarray) for x in arg):
        raise DTypeError(
            f"gradcheck: an input is a {type(arg).__name__} of arrays; pass each "
            "array as an input of its own, and let f put them together"
        )
    return arg


def holds_floats(items: Any) -> bool:
    """Is this a (nested) list with a float in it, and nothing but numbers?"""
    if isinstance(items, (list, tuple)):
        return any(map(holds_floats, items)) and all(map(holds_numbers, items))
    return isinstance(items, float)


def holds_numbers(items: Any) -> bool:
    """Is this a number, or a (nested) list of numbers?"""
    if isinstance(items, (list, tuple)):
        return all(map(holds_numbers, items))
    return isinstance(items, float | int)


def input_names(f: Function, inputs: Sequence[Any]) -> list[str]:
    """The tensors' own names, else those of f's parameters, else "input 0", "input 1", ..."""
    try:
        signature = inspect.signature(getattr(f, "forward", f))  # of a module, its forward
        parameters = [
            p.name
            for p in signature.parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):  # of a builtin, none
        parameters = []
    parameters += [f"input {i}" for i in range(len(parameters), len(inputs))]
    return [
        own if isinstance(own := getattr(x, "name", None), str) else name
        for x, name in zip(inputs, parameters, strict=False)
    ]


# ── what comes out ───────────────────────────────────────────────────────────────────────────────
def floating_outputs(result: Any) -> list[Tensor]:
    """The floating Tensors that a function returned.

    Raises:
        DTypeError: it returned something else than Tensors, or no floating one.
    """
    outs = list(result) if isinstance(result, (tuple, list)) else [result]
    for out in outs:
        if not isinstance(out, Tensor):
            raise DTypeError(
                "gradcheck: f must return a Tensor, or a tuple or list of Tensors; "
                f"got {type(out).__name__}"
            )
    floating = [out for out in outs if out.dtype.kind in "fc"]
    if not floating:
        raise DTypeError(
            "gradcheck: f must return a floating Tensor; it returned "
            f"{', '.join(str(out.dtype) for out in outs) or 'nothing'}"
        )
    return floating


def output_names(outs: Sequence[Tensor]) -> tuple[str, ...]:
    """The tensors' own names, else "output" or "output 0", "output 1", ..."""
    alone = len(outs) == 1
    return tuple(out.name or ("output" if alone else f"output {k}") for k, out in enumerate(outs))
