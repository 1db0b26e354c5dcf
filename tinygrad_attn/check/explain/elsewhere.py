"""Explanations by another call: another argument, option, operand, value, or time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from ...engine import PRIMITIVES, Array, Primitive
from ...engine.backward import unbroadcast
from ..causes import Cause
from ..problem import upstream
from ..trace import Call
from .evidence import Evidence, found_jacobian_of, jacobian_of, recomputed

MASKS = ("mask", "condition", "causal", "limits", "added", "keep", "low", "high", "window")
WORDS = {"none", "tanh"}  # options that are words, with what else they can be


def another_argument(e: Evidence) -> str | None:
    """What belongs to another argument of the same shape."""
    for k, (name, array) in enumerate(zip(e.call.names, e.call.arrays, strict=False)):
        same = isinstance(array, np.ndarray) and array.shape == e.in_shape
        if k == e.call.argument or not same or not floats(array):
            continue
        if e.fits(jacobian_of(replace(e.call, argument=k))):
            return f"{Cause.ANOTHER_ARGUMENT}: it is that of {name}"
    return None


def another_option(e: Evidence) -> str | None:
    """The derivative of the operation with another option, or without its mask."""
    for name, value, call in other_calls(e.call):
        changed = recomputed(call)
        if changed is None or not e.fits(jacobian_of(changed)):
            continue
        last = name.rpartition(".")[2]
        how = f"as if {last} were {value}"
        if last in MASKS and isinstance(value, int) and not isinstance(value, bool):
            return f"{Cause.ANOTHER_CALL}: as if the mask were shifted by one"
        if last in MASKS:
            inverted = value == "inverted"
            return f"{Cause.MASK_INVERTED if inverted else Cause.MASK}: {how}"
        if last in ("axis", "axes"):
            return f"{Cause.WRONG_AXIS}: {how}"
        return f"{Cause.ANOTHER_CALL}: {how}"
    return None


def other_calls(call: Call) -> Iterator[tuple[str, Any, Call]]:
    """(what is changed, to what, the call with it) for options and masks that may be mistaken."""
    for name, option in call.options.items():
        for told, path, value in alternatives(name, option, call.arrays[call.argument].ndim):
            yield path, told, replace(call, options={**call.options, name: value})
    for k, array in enumerate(call.arrays):
        if k == call.argument or not isinstance(array, np.ndarray):
            continue
        for told, value in other_masks(array):
            arrays = (*call.arrays[:k], value, *call.arrays[k + 1 :])
            yield "mask", told, replace(call, arrays=arrays)


def alternatives(name: str, option: Any, ndim: int) -> Iterator[tuple[Any, str, Any]]:
    """(in words, where, value) for each other value an option might have been taken for."""
    if isinstance(option, np.ndarray):
        yield from ((told, name, value) for told, value in other_masks(option))
    elif is_dataclass(option) and not isinstance(option, type):
        for part in fields(option):
            for told, path, value in alternatives(part.name, getattr(option, part.name), ndim):
                try:
                    yield told, f"{name}.{path}", replace(option, **{part.name: value})
                except (TypeError, ValueError):  # a field that cannot be given
                    continue
    elif name == "axis" and (option is None or isinstance(option, int)):
        for axis in (*range(ndim), None):
            if axis != option and (option is None or axis is None or axis != option % ndim):
                yield axis, name, axis
    elif isinstance(option, bool):
        yield not option, name, not option
    elif isinstance(option, int):
        yield from ((value, name, value) for value in (None, option - 1, option + 1))
    elif isinstance(option, float):
        yield from ((value, name, value) for value in (None, 0.0, 1.0))
    elif isinstance(option, str) and option in WORDS:
        yield from ((repr(word), name, word) for word in sorted(WORDS - {option}))


def other_masks(array: Array) -> Iterator[tuple[str, Array]]:
    """A mask that forbids nothing, and the mask the wrong way round."""
    if array.dtype.kind == "b":
        yield "true everywhere", np.ones_like(array)
        yield "inverted", ~array
        yield "false everywhere", np.zeros_like(array)
    elif floats(array) and np.isneginf(array).any():
        yield "0 everywhere", np.where(np.isneginf(array), 0, array)


def operand_transposed(e: Evidence) -> str | None:
    """Another operand stands the wrong way round, alone or with g."""
    for k, (name, array) in enumerate(zip(e.call.names, e.call.arrays, strict=False)):
        if k == e.call.argument or not isinstance(array, np.ndarray) or array.ndim < 2:
            continue
        if array.shape[-1] != array.shape[-2] or not floats(array):
            continue
        turned = np.swapaxes(array, -1, -2)
        arrays = (*e.call.arrays[:k], turned, *e.call.arrays[k + 1 :])
        if e.fits(jacobian_of(replace(e.call, arrays=arrays))):
            return f"{Cause.TRANSPOSED}: {name} stands the wrong way round"
    return None


def another_value(e: Evidence) -> str | None:
    """Right, if what the rule asks for under one name is given it under another."""
    call = e.call
    if not isinstance(call.op, Primitive) or call.op.variadic or isinstance(call.out, tuple):
        return None
    known = dict(zip([*call.names, "out"], [*call.arrays, call.out], strict=True))
    selects = bool(
        np.isin(e.found, (0, 1)).all()
    )  # 1 − x in place of x: the smallest, not the largest
    for need in [need for need in call.rule.needs if need in known]:
        for name, array in in_other_forms(known):
            if selects and name.startswith("1 −"):
                continue
            if name == need or np.shape(array) != np.shape(known[need]):
                continue
            if e.mends(rule_jacobian(call, {need: array})):
                return f"{Cause.WRONG_VALUE}: the rule uses {need} where {name} is needed"
    return None


def in_other_forms(known: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """All that is known, then what simple functions make of it."""
    yield from known.items()
    for name, array in known.items():
        if isinstance(array, np.ndarray) and floats(array):
            with np.errstate(all="ignore"):
                yield f"exp({name})", np.exp(array)
                yield f"log({name})", np.log(array)
                yield f"tanh({name})", np.tanh(array)
                yield f"1 − {name}", 1 - array
                yield f"{name}²", array * array
                yield f"√{name}", np.sqrt(array)
                yield f"1/{name}", 1 / array


def another_rule(e: Evidence) -> str | None:
    """The rule of another operation with one argument, or a factor that depends on x held fixed."""
    call = e.call
    if len(call.arrays) != 1 or e.in_shape != e.out_shape or not floats(call.arrays[0]):
        return None
    with np.errstate(all="ignore"):
        if e.fits(np.diag((call.out / call.arrays[0]).ravel())):
            return f"{Cause.DETACHED}: as if the result were {call.name} times a constant"
    for op in PRIMITIVES.values():
        other = replace(call, op=op, planted=None)
        if op is not call.op and alike(op) and e.fits(rule_jacobian(other, {})):
            return f"{Cause.ANOTHER_CALL}: it is the rule of `{op.name}`"
    return None


def alike(op: Primitive) -> bool:
    """Has it one argument, and a rule that asks for that and the result alone?"""
    rule = op.rules[0] if len(op.arrays) == 1 and op.rules and not op.variadic else None
    return rule is not None and len(rule.needs) > 0 and {*rule.needs} <= {"out", *op.arrays}


def rule_jacobian(call: Call, values: dict[str, Any]) -> Array | None:
    """What the rule makes of a call when some of what it asks for is given other values."""
    argument, size = call.arrays[call.argument], call.out.size
    try:
        rows = [
            unbroadcast(call.pulled(g.reshape(call.out.shape), values), argument.shape).ravel()
            for g in np.eye(size)
        ]
    except Exception:  # the rule does not take these values
        return None
    return np.array(rows).reshape(size, argument.size)


def stale_value(e: Evidence) -> str | None:
    """The numbers of another time: of another call, or none that follow the arguments."""
    for other in e.others:
        same = other.op is e.call.op and other.argument == e.call.argument
        if same and other.node is not e.call.node and e.fits(jacobian_of(other)):
            return f"{Cause.STALE}: those of another call, {other.label}"
    if constant_though_it_should_not(e):
        return f"{Cause.STALE}: the rule gives the same when its arguments change"
    return None


def remembered(e: Evidence) -> str | None:
    """The first gradient after another call differs from the second: the rule has a memory."""
    moved = elsewhere_too(e.call)
    if moved is None:
        return None
    g = upstream(np.random.default_rng(0), (len(e.found),))[None]
    found_jacobian_of(moved)
    first, second, third = (e.call.problem().pull(g) for _ in range(3))
    if np.array_equal(first, second) or not np.array_equal(second, third):
        return None
    return f"{Cause.STALE}: the rule remembers an earlier call"


def elsewhere_too(call: Call) -> Call | None:
    """The call at other values."""
    rng = np.random.default_rng(0)
    arrays = tuple(
        a + rng.uniform(0.1, 0.2, a.shape) if isinstance(a, np.ndarray) and floats(a) else a
        for a in call.arrays
    )
    return recomputed(replace(call, arrays=arrays))


def constant_though_it_should_not(e: Evidence) -> bool:
    """Does the rule give the same at other values, where the right gradient differs?"""
    moved = elsewhere_too(e.call)
    right = jacobian_of(moved)
    if moved is None or right is None or np.allclose(right, e.right, rtol=1e-6, atol=1e-9):
        return False
    return np.array_equal(found_jacobian_of(moved), e.found)


def floats(array: Array) -> bool:
    """Is it something a gradient can depend on?"""
    return array.dtype.kind == "f"
