"""A second opinion on gradients: the program that made a graph, run again on complex numbers.

Written for tests/machine.py.  A `Step` mirrors a node: which function made it of which arguments,
as they were then.  The derivative with respect to a step is found by moving it by ih and running
what depends on it again (the complex step, see numeric.py); no rule of the package is used.

A hook that multiplies a gradient by D has its counterpart forwards: what comes after the step sees
its change multiplied by D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_attn import GraphError

Array = np.ndarray[Any, Any]
H = 1e-30  # of the complex step
DELTA = 2.5e-4  # of the difference that second derivatives are found by


@dataclass(eq=False)
class Hook:
    """A function on a step's gradient: multiplies it, looks at it, or fails."""

    factor: float = 1.0
    error: type[Exception] | None = None
    seen: list[Array] = field(default_factory=list)
    remove: Callable[[], None] = lambda: None


@dataclass(eq=False)
class Step:
    """A leaf (`run` is None) or what `run` made of the arguments.

    Attributes:
        number: place in the order of creation.
        value: of a leaf now; of a result for ever.
        args: (step or None for a constant, its value then).
        error: what its gradient rule raises.
        enclosed: (leaf, its value then): what a recomputed function looks at besides its arguments.
        freed: has a walk passed that kept nothing?
        retain: is its gradient kept?
        grad: what `.grad` must be.
    """

    number: int
    value: Array
    run: Callable[..., Any] | None = None
    args: tuple[tuple[Step | None, Array], ...] = ()
    error: type[Exception] | None = None
    enclosed: tuple[tuple[Step, Array], ...] = ()
    freed: bool = False
    retain: bool = False
    grad: Array | None = None
    hooks: list[Hook] = field(default_factory=list)

    @property
    def parents(self) -> list[Step]:
        """The steps a gradient flows on to."""
        return [step for step, _ in self.args if step is not None]

    def fails(self, passed: bool = True) -> type[Exception] | None:
        """What a walk raises here; `passed`: does it go on from here?"""
        for hook in self.hooks:
            if hook.error is not None:
                return hook.error
        if not passed:
            return None
        if self.freed:
            return GraphError
        if any(not np.array_equal(leaf.value, then) for leaf, then in self.enclosed):
            return GraphError
        return self.error

    def factor(self) -> float:
        """What all hooks multiply the gradient with."""
        return float(np.prod([hook.factor for hook in self.hooks]))


def reachable(root: Step) -> set[Step]:
    """`root` and all it was made of."""
    seen, stack = {root}, [root]
    while stack:
        for parent in stack.pop().parents:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return seen


def between(root: Step, ends: Iterable[Step]) -> set[Step]:
    """The steps on a way from one of `ends` to `root`, both included."""
    found, ends = set(), set(ends)
    for step in sorted(reachable(root), key=lambda step: step.number):
        if step in ends or any(parent in found for parent in step.parents):
            found.add(step)
    return found


def walk(root: Step, retain_graph: bool, ends: Iterable[Step] | None = None) -> Any:
    """Free what a walk frees; (the steps it reached, the error that stops it or None)."""
    way = reachable(root) if ends is None else between(root, ends)
    reached = set()
    for step in sorted(way, key=lambda step: -step.number):
        passed = any(parent in way for parent in step.parents)
        error = step.fails(passed)
        if error is not None:
            return reached, error
        reached.add(step)
        step.freed = step.freed or (passed and not retain_graph)
    return reached, None


def moved(root: Step, moves: dict[Step, Any]) -> Any:
    """The change of `root` when the steps in `moves` change by so much."""
    changes: dict[Step, Any] = {}
    for step in sorted(between(root, moves), key=lambda step: step.number):
        change = moves.get(step, 0)
        if any(parent in changes for parent in step.parents):
            assert step.run is not None
            new = step.run(*(value + changes.get(source, 0) for source, value in step.args))
            change = change + (new - step.value)
        changes[step] = change * step.factor()
    return changes.get(root, 0)


def unit(step: Step, k: Any, length: complex) -> Array:
    """A move of element `k` alone."""
    move = np.zeros(step.value.shape, complex)
    move[k] = length
    return move


def gradient(root: Step, g: Array, step: Step) -> Array:
    """d⟨g, root⟩/d(step)."""
    slopes = np.zeros(step.value.shape)
    for k in np.ndindex(slopes.shape):
        slopes[k] = np.sum(g * moved(root, {step: unit(step, k, 1j * H)})).imag / H
    return slopes


def second_gradient(root: Step, g: Array, leaf: Step, w: Array, step: Step) -> Array:
    """d⟨w, d⟨g, root⟩/d(leaf)⟩/d(step): differences of complex steps, their error of order 4."""

    def slope(k: Any, length: float) -> Any:
        moves = {leaf: 1j * H * w}
        moves[step] = moves.get(step, 0) + unit(step, k, length)
        return np.sum(g * moved(root, moves)).imag / H

    slopes = np.zeros(step.value.shape)
    for k in np.ndindex(slopes.shape):
        near, far = (slope(k, d) - slope(k, -d) for d in (DELTA, 2 * DELTA))
        slopes[k] = (8 * near - far) / (12 * DELTA)
    return slopes
