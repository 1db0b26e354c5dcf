"""A primitive is a NumPy function and one vector-Jacobian product (VJP) per array argument.

    @primitive
    def multiply(a, b, /):
        return np.multiply(a, b)

    multiply.defvjp(
        lambda g, b: g * b,      # da = dy∘b
        lambda g, a: g * a,      # db = dy∘a
    )

Arrays stand before `/` (or are `*arrays`), options follow.  A rule asks by name for what it needs: `g` (the
gradient of the result) first, then any of

    a parameter of the forward function      an array argument or an option
    out                                      the result
    in_shape                                 the shape of the argument this rule is for
    i, args, in_shapes                       with `*arrays`: which argument, all of them, all shapes

Exactly what is asked for by the rules that will run is kept alive.  The comment after a rule is its formula;
drawings and reports read it from there.
"""

from __future__ import annotations

import functools
import inspect
import linecache
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .errors import DTypeError, GraphError, ShapeError, reraised
from .node import Container, Node, record
from .settings import SETTINGS
from .tensor import Array, Tensor, as_array, frozen, locked, wrapped

PRIMITIVES: dict[str, Primitive] = {}
EXTRAS = ("out", "in_shape", "i", "args", "in_shapes")      # what a rule may ask for besides parameters


class Rule:
    """The VJP of one argument, with the places from which its needs are fetched."""

    def __init__(self, fn: Callable[..., Any], known: list[str], arrays: list[str], name: str) -> None:
        g, *self.needs = inspect.signature(fn).parameters
        unknown = [need for need in self.needs if need not in known]
        if g != "g" or unknown:
            raise DTypeError(f"{name}.defvjp: a rule's parameters are `g` first, then any of {known}; "
                             f"got {[g, *self.needs]}")
        self.fn = fn
        self.places = [known.index(need) for need in self.needs]
        # Under create_graph these become Tensors again: (position among the needs, argument or -1 for `out`)
        self.links = [(k, -1 if need == "out" else arrays.index(need))
                      for k, need in enumerate(self.needs) if need == "out" or need in arrays]
        self.wants_args = self.needs.index("args") if "args" in self.needs else None

    @property
    def formula(self) -> str:
        """The comment beside the rule in its source, or "" where there is no source."""
        code = self.fn.__code__
        line = linecache.getline(code.co_filename, code.co_firstlineno)
        return line.partition("  # ")[2].strip()


class Primitive:
    """A differentiable operation: called on tensors it records a node, called on arrays it just computes.

    Attributes:
        name: of the forward function, NumPy's where NumPy has one.
        arrays: names of the array arguments (one name, `variadic`, for `*arrays`).
        options: the other parameters with their defaults.
        rules: one Rule per array argument; None where no gradient flows.
    """

    def __init__(self, forward: Callable[..., Any], name: str | None = None) -> None:
        functools.update_wrapper(self, forward)
        parameters = inspect.signature(forward).parameters.values()
        self.name = name or forward.__name__
        self.forward = forward
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.arrays = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)]
        self.options = {p.name: p.default for p in parameters if p.name not in self.arrays}
        self.defaults = tuple(self.options.values())
        self.arity = len(self.arrays)
        self.rules: tuple[Rule | None, ...] = ()
        PRIMITIVES[self.name] = self

    def __repr__(self) -> str:
        return f"<primitive {self.name}({', '.join([*self.arrays, *self.options])})>"

    # ── rules ────────────────────────────────────────────────────────────────────────────────────
    def rule(self, fn: Callable[..., Any] | None) -> Rule | None:
        arrays = [] if self.variadic else self.arrays
        return fn and Rule(fn, [*arrays, *self.options, *EXTRAS], arrays, self.name)

    def defvjp(self, *rules: Callable[..., Any] | None) -> None:
        """Give one rule per array argument; None for an argument no gradient flows to."""
        if len(rules) != self.arity:
            raise DTypeError(f"{self.name}.defvjp: expected {self.arity} rules, one for each of {self.arrays}, "
                             f"got {len(rules)}")
        self.rules = tuple(map(self.rule, rules))

    @contextmanager
    def replaced_vjp(self, argument: int | str, rule: Callable[..., Any]) -> Iterator[None]:
        """Plant another rule for `argument` (name or position) inside the block, to check the checkers."""
        at = self.arrays.index(argument) if argument in self.arrays else argument
        if not isinstance(at, int) or not -self.arity <= at < self.arity:
            raise ShapeError(f"{self.name}.replaced_vjp: expected one of {self.arrays} or its position, got {argument!r}")
        before, planted = self.rules, list(self.rules)
        planted[at] = self.rule(rule)
        self.rules = tuple(planted)
        try:
            yield
        finally:
            self.rules = before

    def rule_of(self, i: int) -> Rule | None:
        return self.rules[0 if self.variadic else i]

    # ── the call ─────────────────────────────────────────────────────────────────────────────────
    def __call__(self, *args: Any, **given: Any) -> Any:
        arrays, options = (args, self.defaults) if self.variadic else (args[:self.arity], args[self.arity:])
        if given or len(args) != self.arity + len(self.defaults):
            arrays, options = self.bind(arrays, options, given)
        raw, parents, constants, tensors = list(arrays), [], False, False
        for i, a in enumerate(arrays):
            if isinstance(a, Tensor):
                tensors = True
                raw[i] = a._data
                parents.append(a.node)
            else:
                constants = True
                parents.append(None)
        if tensors and constants:
            raw = [weak(a) for a in raw]
        try:
            out = self.forward(*raw, **dict(zip(self.options, options))) if self.variadic else self.forward(*raw, *options)
        except (ValueError, TypeError, IndexError) as error:
            raise reraised(error, self.signature(raw, options)) from error
        if not tensors:
            return out
        if type(out) is tuple:
            return self.record_several(raw, options, tuple(parents), tuple(map(locked, out)), constants)
        out = locked(out)
        for parent in parents:
            if parent is not None and SETTINGS.get().recording:
                return wrapped(out, self.record(raw, options, tuple(parents), out, constants))
        return wrapped(out, None)

    def bind(self, arrays: tuple[Any, ...], options: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, Any]:
        """Fill in the defaults and the options given by name."""
        if len(arrays) < self.arity and not self.variadic:
            raise DTypeError(f"{self.name}: expected {self.arity} arrays {self.arrays}, got {len(arrays)}")
        values = dict(self.options)
        values.update(zip(self.options, options))
        values.update(given)
        if len(values) > len(self.options) or len(options) > len(self.options):
            raise DTypeError(f"{self.name}: its options are {list(self.options)}; got {[*options, *given]}")
        missing = [name for name, value in values.items() if value is inspect.Parameter.empty]
        if missing:
            raise DTypeError(f"{self.name}: {missing[0]} is missing")
        return arrays, tuple(values.values())

    def signature(self, raw: list[Any], options: tuple[Any, ...]) -> str:
        """The call, for messages: names, dtypes and shapes of the arrays, and the options."""
        names = [f"{self.arrays[0]}[{i}]" for i in range(len(raw))] if self.variadic else self.arrays
        arrays = [f"{n}: {a.dtype}{list(a.shape)}" if isinstance(a, (np.ndarray, np.generic)) else f"{n}={a!r}"
                  for n, a in zip(names, raw)]
        return f"{self.name}({', '.join([*arrays, *(f'{k}={v!r}' for k, v in zip(self.options, options))])})"

    # ── recording ────────────────────────────────────────────────────────────────────────────────
    def record(self, raw: list[Any], options: tuple[Any, ...], parents: tuple[Node | None, ...], out: Array,
               constants: bool) -> Node | None:
        if out.dtype.kind not in "fc":
            return None
        return record(self, parents, self.gather(raw, options, parents, out, constants), out)

    def gather(self, raw: list[Any], options: tuple[Any, ...], parents: tuple[Node | None, ...], out: Any,
               constants: bool) -> list[list[Any] | None]:
        """What each rule that will run has asked for, in its order; nothing else stays alive."""
        if constants:                       # scalars become 0-d arrays, so that rules meet arrays alone
            dtype = (out[0] if type(out) is tuple else out).dtype
            raw = [frozen(a) if isinstance(a, np.ndarray) else np.asarray(a, dtype) for a in raw]
        known = [*(() if self.variadic else raw), *map(frozen, options), out, None, None, None, None]
        if self.variadic:
            known[-2:] = tuple(raw), tuple(np.shape(a) for a in raw)
        saved: list[list[Any] | None] = []
        for i, parent in enumerate(parents):
            rule = None if parent is None else self.rule_of(i)
            if rule is None or parent is None:
                saved.append(None)
                continue
            known[-4:-2] = parent.shape, i
            saved.append([known[k] for k in rule.places])
        return saved

    def record_several(self, raw: list[Any], options: tuple[Any, ...], parents: tuple[Node | None, ...],
                       outs: tuple[Array, ...], constants: bool) -> tuple[Tensor, ...]:
        """One node per result, on a shared node that collects their gradients."""
        if not SETTINGS.get().recording or all(parent is None for parent in parents):
            return tuple(wrapped(out, None) for out in outs)
        shared = Node(self, parents, self.gather(raw, options, parents, outs, constants),
                      tuple(out.shape for out in outs), outs[0].dtype, SETTINGS.get().scope)
        return results(shared, outs)

    # ── backward ─────────────────────────────────────────────────────────────────────────────────
    def pull(self, node: Node, g: Any, create_graph: bool, relevant: Container) -> Iterator[tuple[Node, Any]]:
        """Each parent's part of the gradient `g` of `node`: its rule, summed over broadcast axes, in its dtype."""
        if type(g) is Parts:
            g = tuple(np.zeros(shape, node.dtype) if part is None else part for part, shape in zip(g, node.shape))
        for i, parent in enumerate(node.parents):
            if parent is None or parent not in relevant:
                continue
            rule, needs = self.rule_of(i), node.saved[i]
            if rule is None or needs is None:
                continue
            if create_graph:
                needs = attached(node, rule, needs)
            try:
                part = rule.fn(g, *needs)
                if type(g) is not tuple and part.dtype != g.dtype:
                    raise DTypeError(f"expected a gradient of dtype {g.dtype}, got {part.dtype}")
                if part.shape != parent.shape:
                    part = unbroadcast(part, parent.shape)
            except Exception as error:
                error.add_note(f"in the gradient rule of `{node.label}` for its argument {self.argument(i)}")
                raise
            yield parent, part if part.dtype == parent.dtype else part.astype(parent.dtype)

    def argument(self, i: int) -> str:
        return f"{self.arrays[0]}[{i}]" if self.variadic else self.arrays[i]


def primitive(forward: Callable[..., Any]) -> Primitive:
    """Make `forward` (arrays before `/`, then options) a primitive; give its rules with `.defvjp`."""
    return Primitive(forward)


def inner(name: str) -> Callable[[Callable[..., Any]], Primitive]:
    """Make a function the primitive `name`, whose public form is an adapter (see `adapts`)."""
    return lambda forward: Primitive(forward, name)


def weak(a: Any) -> Any:
    """A constant operand beside tensors: scalars weak, so that float32 stays float32; lists as arrays."""
    if isinstance(a, np.generic):
        return a.item()
    return as_array(a) if isinstance(a, (list, tuple)) else a


def attached(node: Node, rule: Rule, needs: list[Any]) -> list[Any]:
    """The saved arrays as Tensors on the nodes that produced them, so that the rule itself is recorded."""
    needs = list(needs)
    for k, argument in rule.links:
        source = node if argument < 0 else node.parents[argument]
        if isinstance(needs[k], tuple):
            needs[k] = results(node, needs[k])
        elif source is not None:
            needs[k] = wrapped(needs[k], source)
    if rule.wants_args is not None:
        needs[rule.wants_args] = tuple(a if p is None else wrapped(a, p)
                                       for a, p in zip(needs[rule.wants_args], node.parents))
    return needs


def unbroadcast(part: Any, shape: tuple[int, ...]) -> Any:
    """Sum `part` over the axes along which an argument of `shape` was broadcast."""
    extra = part.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and part.shape[i + extra] != 1)
    total = part.sum(axis=axes).reshape(shape) if extra >= 0 and axes else part
    if total.shape != shape:
        raise ShapeError(f"expected a gradient of shape {shape} or one that broadcasting made from it, got {part.shape}")
    return total


# ── operations with several results ──────────────────────────────────────────────────────────────────
class Parts(tuple[Any, ...]):
    """Gradients of the results of one operation, None where none came; `+` adds them one by one."""

    __slots__ = ()

    def __add__(self, other: Any) -> Parts:
        return Parts(a if b is None else b if a is None else a + b for a, b in zip(self, other))


class Result:
    """The operation of result number `slot` of `name`: it hands its gradient to the shared node."""

    def __init__(self, name: str, slot: int) -> None:
        self.name, self.slot = f"{name}[{slot}]", slot

    def pull(self, node: Node, g: Any, create_graph: bool, relevant: Container) -> Iterator[tuple[Node, Any]]:
        """The shared node gets `g` in this result's slot."""
        shared = node.parents[0]
        if shared is not None and shared in relevant:
            yield shared, Parts(g if k == self.slot else None for k in range(len(shared.shape)))


def results(shared: Node, outs: tuple[Array, ...]) -> tuple[Tensor, ...]:
    """A Tensor per result, each on a node of its own before the `shared` one."""
    assert shared.op is not None
    return tuple(wrapped(out, record(Result(shared.op.name, k), (shared,), (), out)) for k, out in enumerate(outs))


class Adapter:
    """A function in NumPy's calling form around a primitive whose arrays stand first.

        @adapts(concatenate)
        def concat(arrays, axis=0):
            return concatenate(*arrays, axis=axis)
    """

    def __init__(self, fn: Callable[..., Any], inner: Primitive) -> None:
        functools.update_wrapper(self, fn)
        self.fn, self.primitive, self.name = fn, inner, fn.__name__
        self.replaced_vjp = inner.replaced_vjp

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.fn(*args, **options)

    def __repr__(self) -> str:
        return f"<{self.name}, an adapter of {self.primitive!r}>"


def adapts(inner: Primitive) -> Callable[[Callable[..., Any]], Adapter]:
    """Make a function the public form of the primitive `inner`."""
    return lambda fn: Adapter(fn, inner)
