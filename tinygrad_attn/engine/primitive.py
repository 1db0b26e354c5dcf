"""A primitive is a NumPy function and one vector-Jacobian product (VJP) per array argument.

    @primitive
    def multiply(a, b, /):
        return np.multiply(a, b)

    multiply.defvjp(
        lambda g, b: g * b,      # da = dy∘b
        lambda g, a: g * a,      # db = dy∘a
    )

Arrays stand before `/` (or are `*arrays`), options follow; what a rule may ask for is said in
rule.py. The engine does the rest: unwrapping, recording, summing over broadcast axes, checking,
freeing.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from .errors import DTypeError, ShapeError, reraised
from .node import Edge, Parents, recorded
from .results import results
from .rule import Rule
from .settings import SETTINGS
from .tensor import Array, Tensor, as_array, frozen, locked, wrapped

PRIMITIVES: dict[str, Primitive] = {}
PLANTED: list[Primitive] = []  # those with another rule for now: kernels give way to them
MISSING = inspect.Parameter.empty
ndarray = np.ndarray  # a look-up less in each call


class Primitive:
    """A differentiable operation: called on tensors it records a node, on arrays it just computes.

    Attributes:
        name: of the forward function, NumPy's where NumPy has one.
        arrays: names of the array arguments (one name for `*arrays`).
        options: the other parameters with their defaults.
        rules: one Rule per array argument; None where no gradient flows.
        per_argument: does a rule ask for something that differs from argument to argument?
    """

    def __init__(self, forward: Callable[..., Any], name: str | None = None) -> None:
        if not callable(forward):
            raise DTypeError(f"primitive: expected a function, got {type(forward).__name__}")
        # One by one: functools.update_wrapper would make every later attribute look-up slower.
        self.__doc__, self.__module__ = forward.__doc__, forward.__module__
        self.__wrapped__ = forward
        parameters = inspect.signature(forward).parameters.values()
        self.name = self.__name__ = self.__qualname__ = name or forward.__name__
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.arrays = [
            p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)
        ]
        self.options = {p.name: p.default for p in parameters if p.name not in self.arrays}
        if not self.arrays:
            raise DTypeError(f"{self.name}: put its arrays before `/`: def {self.name}(x, /, ...)")
        self.defaults = tuple(self.options.values())
        self.num_options = len(self.options)
        self.demanding = any(default is MISSING for default in self.defaults)
        self.forward = by_position(forward, list(self.options)) if self.variadic else forward
        self.arity = sys.maxsize if self.variadic else len(self.arrays)
        # A call of so many needs no binding.
        self.simple_arity = -1 if self.demanding or self.variadic else self.arity
        self.rules: tuple[Rule | None, ...] = ()
        self.per_argument = self.variadic
        PRIMITIVES[self.name] = self

    def __repr__(self) -> str:
        return f"<primitive {self.name}({', '.join([*self.arrays, *self.options])})>"

    # ── rules ────────────────────────────────────────────────────────────────────────────────────
    def defvjp(self, *rules: Callable[..., Any] | None) -> None:
        """Give one rule per array argument; None for an argument no gradient flows to."""
        if len(rules) != len(self.arrays):
            raise DTypeError(
                f"{self.name}.defvjp: expected one rule for each of {self.arrays}, got {len(rules)}"
            )
        self.rules = tuple(None if fn is None else Rule(fn, self) for fn in rules)
        self.per_argument = self.variadic or any(rule and rule.per_argument for rule in self.rules)

    @contextmanager
    def replaced_vjp(self, argument: int | str, rule: Callable[..., Any]) -> Iterator[None]:
        """Plant another rule for `argument` (name or position), to check the checkers.

        What is recorded inside the block uses it, in every thread, even if backward runs later; so
        kernels, which know no rules, do not run inside.

        Raises:
            ShapeError: there is no such argument.
            DTypeError: it has no rules yet, or `rule` asks for something unknown.
        """
        at = position(f"{self.name}.replaced_vjp", self.arrays, argument)
        if not self.rules:
            raise DTypeError(f"{self.name}: it has no rules yet; give them with .defvjp(...)")
        before = self.rules, self.per_argument
        self.rules = (*self.rules[:at], planted := Rule(rule, self), *self.rules[at + 1 :])
        self.per_argument = self.per_argument or planted.per_argument
        PLANTED.append(self)
        try:
            yield
        finally:
            PLANTED.remove(self)
            self.rules, self.per_argument = before

    # ── the call ─────────────────────────────────────────────────────────────────────────────────
    def __call__(self, *args: Any, **given: Any) -> Any:
        """Compute; record a node if an argument has one."""
        arrays, options = args, self.defaults
        if given or len(args) != self.simple_arity:
            arrays, options = args[: self.arity], self.bind(args, given)
        raw, parents, constants, linked = [], [], False, False
        for a in arrays:
            if isinstance(a, Tensor):
                raw.append(a._data)
                parents.append(node := a.node)
                linked = linked or node is not None
            else:
                raw.append(a)
                parents.append(None)
                constants = True
        if constants:
            raw, tensors = weakened(self.name, arrays, raw)
            if not tensors:
                return self.computed(raw, options)
        try:
            out = self.forward(*raw, *options) if options else self.forward(*raw)
        except Exception as error:
            self.explain(error, raw, options)
        if out.__class__ is not ndarray:
            if out.__class__ is tuple:
                return self.several(arrays, raw, options, parents, out, constants)
            out = np.asarray(out)
        if constants:
            if out.dtype.kind not in "biufc":
                self.expect_numbers(out, raw, options)
            out = out.copy() if shares(out, raw) else out
        out.setflags(False)  # write=False; by position it costs half
        settings = SETTINGS.get()
        if settings.guard is not None:
            settings.guard.result(self, arrays, raw, options, (out,))
        if not linked or not settings.recording:
            return wrapped(out, None)
        if constants or self.per_argument or not self.rules:
            edges = self.edges(raw, options, parents, out, constants)
        else:
            edges = linked_by(parents, self.rules, [*raw, *options, out])
        node = recorded(self, tuple(parents), edges, out.shape, out.dtype, settings.scope)
        if settings.keep_values:
            node.keep(out, settings.keep_grads, arrays)
        if settings.guard is not None:
            node.place = settings.guard.place()
        return wrapped(out, node)

    def computed(self, raw: list[Any], options: tuple[Any, ...]) -> Any:
        """The forward function on arrays, its errors explained."""
        try:
            out = self.forward(*raw, *options)
        except Exception as error:
            self.explain(error, raw, options)
        self.expect_numbers(out, raw, options)
        return out

    def expect_numbers(self, out: Any, raw: list[Any], options: tuple[Any, ...]) -> None:
        """Refuse a result that came of no numbers: NumPy makes arrays of anything."""
        if type(out) not in (tuple, list) and np.asarray(out).dtype.kind not in "biufc":
            raise DTypeError(f"{self.described(raw, options)}: expected numbers")

    def explain(self, error: Exception, raw: list[Any], options: tuple[Any, ...]) -> NoReturn:
        """Raise NumPy's `error` as one of ours that names the call; any other as it is."""
        if isinstance(error, AttributeError) and not all(hasattr(a, "dtype") for a in raw):
            call = self.described(raw, options)
            raise DTypeError(f"{call}: expected arrays or tensors") from error
        if isinstance(error, (ValueError, TypeError, LookupError, OverflowError)):
            raise reraised(error, self.described(raw, options)) from error
        raise error

    def several(
        self,
        arrays: tuple[Any, ...],
        raw: list[Any],
        options: tuple[Any, ...],
        parents: Parents,
        outs: tuple[Array, ...],
        constants: bool,
    ) -> tuple[Tensor, ...]:
        """A Tensor for each result, on a shared node if there is anything to record."""
        settings = SETTINGS.get()
        outs = tuple([locked(out) for out in outs])
        if settings.guard is not None:
            settings.guard.result(self, arrays, raw, options, outs)
        if not any(parents) or not settings.recording:
            return tuple([wrapped(out, None) for out in outs])
        edges = self.edges(raw, options, parents, outs, constants)
        shapes = tuple([out.shape for out in outs])
        shared = recorded(self, tuple(parents), edges, shapes, outs[0].dtype, settings.scope)
        if settings.guard is not None:
            shared.place = settings.guard.place()
        return results(shared, outs)

    def bind(self, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, ...]:
        """Every option in order: given by position, by name, or the default."""
        if len(args) < self.arity and not self.variadic:
            raise DTypeError(f"{self.name}: expected {self.arrays}, got {len(args)} arguments")
        options = args[self.arity :]
        full = options + self.defaults[len(options) :]
        if given or len(full) > self.num_options:
            full = self.named(options, full, given)
        if self.demanding:
            for name, value in zip(self.options, full):
                if value is MISSING:
                    raise DTypeError(f"{self.name}: the option {name!r} is missing")
        return tuple([o if o.__class__ in ATOMS else self.safe(o, full) for o in full])

    def named(
        self, options: tuple[Any, ...], full: tuple[Any, ...], given: dict[str, Any]
    ) -> tuple[Any, ...]:
        """`full` with what was given by name."""
        free = list(self.options)[len(options) :]
        unknown = [name for name in given if name not in free]
        if len(full) > self.num_options or unknown:
            call = ", ".join([*self.arrays, "/", *self.options])
            got = f"{unknown[0]!r}" if unknown else f"{len(options)} options by position"
            got += " twice" if unknown and unknown[0] in self.options else ""
            raise DTypeError(f"{self.name}: expected a call {self.name}({call}), got {got}")
        return tuple([given.get(name, value) for name, value in zip(self.options, full)])

    def safe(self, option: Any, full: tuple[Any, ...]) -> Any:
        """An option nobody can write into; NumPy scalars weak."""
        if isinstance(option, Tensor):
            name = next(name for name, o in zip(self.options, full) if o is option)
            raise DTypeError(f"{self.name}: the option {name!r} must not be a tensor")
        return option.item() if isinstance(option, np.generic) else frozen(option)

    def described(self, raw: list[Any], options: tuple[Any, ...]) -> str:
        """The call, for messages: names, dtypes and shapes of the arrays, and the options."""
        arrays = [
            f"{self.argument(i)}: {a.dtype}{list(a.shape)}"
            if hasattr(a, "dtype") and not isinstance(a, type)
            else f"{self.argument(i)}={a!r}"
            for i, a in enumerate(raw)
        ]
        named = [f"{k}={v!r}" for k, v in zip(self.options, options, strict=True)]
        return f"{self.name}({', '.join(arrays + named)})"

    def argument(self, i: int) -> str:
        """The name of array argument `i`."""
        return f"{self.arrays[0]}[{i}]" if self.variadic else self.arrays[i]

    # ── recording ────────────────────────────────────────────────────────────────────────────────
    def edges(
        self, raw: list[Any], options: tuple[Any, ...], parents: Parents, out: Any, constants: bool
    ) -> list[Edge]:
        """An edge for each rule that will run, with what it asked for; nothing else lives on."""
        if not self.rules:
            raise DTypeError(f"{self.name}: it has no gradient rules; give them with .defvjp(...)")
        if constants:
            saved = self.saved_places(parents)
            raw = [constant(a, out) if i in saved else a for i, a in enumerate(raw)]
        if self.per_argument:
            return self.edges_per_argument(raw, options, parents, out)
        return linked_by(parents, self.rules, [*raw, *options, out])

    def saved_places(self, parents: Parents) -> set[int]:
        """The positions of the array arguments that the rules that will run ask for."""
        if self.variadic:
            wanted = any(rule is not None and rule.wants_args for rule in self.rules)
            return set(range(len(parents))) if wanted else set()
        running = [r for p, r in zip(parents, self.rules) if p is not None and r is not None]
        return {place for rule in running for place in rule.places}

    def edges_per_argument(
        self, raw: list[Any], options: tuple[Any, ...], parents: Parents, out: Any
    ) -> list[Edge]:
        """The same for rules that ask for something that differs from argument to argument."""
        given, rules = raw, self.rules
        args = shapes = None
        if self.variadic:
            given, rules = [], self.rules * len(raw)
            args, shapes = tuple(raw), tuple([a.shape for a in raw])
        return [
            (parent, rule, rule.fetch([*given, *options, out, parent.shape, i, args, shapes]))
            for i, (parent, rule) in enumerate(zip(parents, rules))
            if parent is not None and rule is not None
        ]


def linked_by(parents: Parents, rules: tuple[Rule | None, ...], known: list[Any]) -> list[Edge]:
    """An edge for each rule that will run, with what it asks for of all that is `known`."""
    edges: list[Edge] = []
    for parent, rule in zip(parents, rules):
        if parent is not None and rule is not None:
            edges.append((parent, rule, rule.fetch(known)))
    return edges


ATOMS = frozenset({int, float, bool, str, type(None)})  # options that need no copy


def primitive(forward: Callable[..., Any]) -> Primitive:
    """Make `forward` (arrays before `/`, then options) a primitive; `.defvjp` gives its rules."""
    return Primitive(forward)


def position(who: str, arrays: list[str], argument: int | str) -> int:
    """Where among `arrays` an argument stands, given by name or position."""
    if argument in arrays:
        return arrays.index(str(argument))
    if isinstance(argument, int) and 0 <= argument < len(arrays):
        return argument
    raise ShapeError(f"{who}: expected one of {arrays} or its position, got {argument!r}")


def weakened(who: str, arrays: tuple[Any, ...], raw: list[Any]) -> tuple[list[Any], bool]:
    """Constant operands ready for use, and is there any tensor among the arguments?

    Lists become arrays as in `Tensor(a)`; beside tensors NumPy scalars are as weak as Python's, so
    that float32 stays float32.
    """
    tensors = any(isinstance(a, Tensor) for a in arrays)
    raw = [as_array(a, who=who) if isinstance(a, (list, tuple)) else a for a in raw]
    return [a.item() if tensors and isinstance(a, np.generic) else a for a in raw], tensors


def shares(out: Array, raw: list[Any]) -> bool:
    """Is the result one of the caller's arrays, or a view of one?"""
    owner: Any = out
    while isinstance(owner, ndarray):
        if any(owner is a for a in raw):
            return True
        owner = owner.base
    return False


def constant(a: Any, out: Any) -> Any:
    """A constant operand as a node saves it: safe from writes, a scalar in the result's dtype."""
    dtype = (out[0] if type(out) is tuple else out).dtype
    return frozen(a) if isinstance(a, ndarray) else np.array(a, dtype)  # copied: maybe a buffer


def by_position(forward: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    """`forward(*arrays, name=...)` as a function that takes the options after the arrays."""

    def called(*values: Any) -> Any:
        split = len(values) - len(names)
        return forward(*values[:split], **dict(zip(names, values[split:], strict=True)))

    return called
