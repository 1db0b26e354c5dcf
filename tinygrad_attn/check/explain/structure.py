"""Explanations by which elements meet: masks, broadcast axes, repeated uses, diagonals, axes."""

from __future__ import annotations

import numpy as np

from ...engine import Array
from ..causes import Cause
from .evidence import Evidence
from .plain import counted


def mask_not_applied(e: Evidence) -> str | None:
    """Right where the result depends on the argument, but elements it ignores get one too."""
    ignored = ~e.right.any(axis=0)
    spilled = ignored & e.found.any(axis=0)
    if not spilled.any() or ignored.all() or not e.fits(np.where(ignored, e.found, e.right)):
        return None
    return f"{Cause.MASK}: {counted(spilled)} get a gradient though the result ignores them"


def result_ignored(e: Evidence) -> str | None:
    """Of an operation with several results the gradient of one does not arrive."""
    if not isinstance(e.call.out, tuple):
        return None
    start = 0
    for k, out in enumerate(e.call.out):
        rows = np.arange(len(e.right))[:, None]
        left = np.where((rows >= start) & (rows < start + out.size), 0, e.right)
        start += out.size
        if e.fits(left):
            return f"{Cause.DETACHED}: the gradient of result {k} does not arrive"
    return None


def mask_inverted(e: Evidence) -> str | None:
    """The elements that the result ignores get the gradient, and only they."""
    if e.spread is None or not e.fits(np.where(e.right == 0, e.spread, 0)):
        return None
    return f"{Cause.MASK_INVERTED}: just the elements that the result ignores get a gradient"


def one_place_of_a_broadcast_axis(e: Evidence) -> str | None:
    """Of an axis that several outputs share only the first or the last place arrives."""
    if indexing(e):  # there an element is used again because it is named again
        return None
    full = e.right.reshape(e.full_shape)
    for axes in shared_axes(e):
        for place, word in ((slice(0, 1), "first"), (slice(-1, None), "last")):
            kept = np.zeros_like(full)
            at = tuple(place if axis in axes else slice(None) for axis in range(full.ndim))
            kept[at] = full[at]
            if e.fits(kept.reshape(e.right.shape)):
                named = " and ".join(map(str, axes))
                return f"{Cause.BROADCAST}: only the {word} place along axis {named} of g arrives"
    return None


def shared_axes(e: Evidence) -> list[tuple[int, ...]]:
    """Axes of the result along which it uses the same elements again, singly and all together."""
    full = np.abs(e.right.reshape((*e.out_shape, -1))) > 0
    shared = [axis for axis, n in enumerate(e.out_shape) if n > 1 and (full.sum(axis) > 1).any()]
    return [*((axis,) for axis in shared), *([tuple(shared)] if len(shared) > 1 else [])]


def indexing(e: Evidence) -> bool:
    """Does the operation choose elements by integers?"""
    given = [*e.call.arrays, *e.call.options.values()]
    whole = any(isinstance(a, np.ndarray) and a.dtype.kind in "iu" for a in given)
    return whole or e.call.op.name == "getitem"


def last_use_only(e: Evidence) -> str | None:
    """Of the outputs that use an element only the last one counts, or only the first."""
    used = e.right != 0
    if not (used.sum(axis=0) > 1).any():
        return None
    rows = np.arange(len(used))[:, None]
    last, first = (used * rows).max(axis=0), np.where(used, rows, len(used)).min(axis=0)
    cause = Cause.OVERWRITTEN if indexing(e) else Cause.BROADCAST
    for row, word in ((last, "last"), (first, "first")):
        if e.fits(np.where(rows == row, e.right, 0)):
            return f"{cause}: elements used more than once get the {word} gradient alone"
    return None


def averaged(e: Evidence) -> str | None:
    """Each element gets the mean of its gradients, not their sum."""
    uses = np.maximum(1, (e.right != 0).sum(axis=0))
    if np.ptp(uses) == 0 or not e.fits(e.right / uses):
        return None
    return f"{Cause.ARRAY_FACTOR}: each element gets the mean of its gradients, not their sum"


def diagonal_alone(e: Evidence) -> str | None:
    """Each element of the gradient comes from its own element of g alone."""
    if e.in_shape != e.out_shape or not off_diagonal(e.right).any():
        return None
    if off_diagonal(e.found).any():
        return None
    exact = e.fits(np.diag(np.diag(e.right)))
    return f"{Cause.DIAGONAL}: elements that share a sum do not hear of each other" + (
        "" if exact else ", and the diagonal is not right either"
    )


def off_diagonal(jacobian: Array) -> Array:
    """The Jacobian with zeros on its diagonal; nothing where it is zero but for rounding."""
    rest = jacobian - np.diag(np.diag(jacobian))
    return np.where(np.abs(rest) > 1e-12 * np.abs(jacobian).max(initial=0), rest, 0)


def wrong_axes(e: Evidence) -> str | None:
    """Elements meet along other axes than in the operation."""
    if e.in_shape != e.out_shape:
        return None
    wanted, got = (coupled(j, e.in_shape) for j in (e.right, e.found))
    if wanted == got or not wanted:
        return None
    return f"{Cause.WRONG_AXIS}: elements meet along {named(got)}, not along {named(wanted)}"


def coupled(jacobian: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes along which an element of the result and one it depends on may differ."""
    pairs = np.argwhere(off_diagonal(jacobian))
    places = np.stack(np.unravel_index(pairs, shape), axis=-1) if len(pairs) else pairs
    apart = places[:, 0] != places[:, 1] if len(pairs) else np.zeros((0, len(shape)), bool)
    return tuple(int(axis) for axis in np.flatnonzero(apart.any(axis=0)))


def named(axes: tuple[int, ...]) -> str:
    """Axes in words."""
    if not axes:
        return "no axis"
    return f"{'axis' if len(axes) == 1 else 'axes'} {' and '.join(map(str, axes))}"
