"""A rule machine: random programs on tensors, each step mirrored in a model (programs.py).

After every backward, and after every one that fails, `.grad` of every tensor alive must be what
the model says.  Arguments are small numbers that choose among what there is, so that Hypothesis can
make a failing program short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from programmed import JOINS, MAPS, Join, Map
from programs import Array, Hook, Step, between, gradient, reachable, second_gradient, walk

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, GraphError, ShapeError, Tensor
from tinygrad_attn.engine.settings import SETTINGS

MOST, LARGE, ALIVE = 24, 30.0, 12  # elements, largest value, tensors alive
SHAPES = ((), (3,), (2, 3), (3, 2), (2, 1, 3))
small = st.integers(0, 15)
newest = st.integers(0, 3)
flags = st.booleans()
hook_factors = st.sampled_from([-1.0, 0.5, 3.0, None])  # None: a hook that only looks
modes = st.sampled_from(["plain"] * 6 + ["no_grad", "keep_grads"])


def numbers(seed: int, shape: tuple[int, ...]) -> Array:
    """Numbers in [−1.5, 1.5), the same for the same seed."""
    return np.random.default_rng(seed).uniform(-1.5, 1.5, shape)


@dataclass(eq=False)
class Pair:
    """A tensor and its step; None for a constant."""

    tensor: Tensor
    step: Step | None
    value: Array


class GraphMachine(RuleBasedStateMachine):
    """Tensors made of tensors, and what can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[Pair] = []
        self.clock = 0
        self.settings = SETTINGS.get()

    # ── what there is ────────────────────────────────────────────────────────────────────────────
    def tick(self) -> int:
        self.clock += 1
        return self.clock

    def among(self, i: int, suited: Callable[[Pair], bool] = lambda p: True) -> Pair | None:
        """The i-th of the suited tensors, counted from the newest."""
        found = [pair for pair in reversed(self.pairs) if suited(pair)]
        return found[i % len(found)] if found else None

    def variable(self, i: int) -> Pair | None:
        return self.among(i, lambda pair: pair.step is not None)

    def leaf(self, i: int) -> Pair | None:
        return self.among(i, lambda pair: pair.step is not None and pair.step.run is None)

    def add(self, tensor: Tensor, step: Step | None, value: Array) -> Pair:
        pair = Pair(tensor, step, value)
        made = [pair for pair in self.pairs if pair.step is None or pair.step.run is not None]
        self.pairs.append(pair)
        if len(made) > ALIVE:
            self.pairs.remove(made[0])
        return pair

    def record(
        self,
        call: Callable[..., Any],
        run: Callable[..., Any],
        args: list[Pair],
        mode: str = "plain",
        **more: Any,
    ) -> Pair | None:
        """Apply `call` to tensors and `run` to their values, and keep what comes of it."""
        value = np.asarray(run(*(pair.value for pair in args)))
        if value.size > MOST or not np.all(np.abs(value) < LARGE):
            return None
        scopes = {"plain": nullcontext, "no_grad": ta.no_grad, "keep_grads": ta.keep_grads}
        with scopes[mode]():
            tensor = call(*(pair.tensor for pair in args))
        made = tuple((pair.step, pair.value) for pair in args)
        step = None
        if mode != "no_grad" and any(source is not None for source, _ in made):
            step = Step(self.tick(), value, run, made, retain=mode == "keep_grads", **more)
        return self.add(tensor, step, value)

    # ── programs ─────────────────────────────────────────────────────────────────────────────────
    @rule(seed=small, shape=st.sampled_from(SHAPES))
    def new_leaf(self, seed: int, shape: tuple[int, ...]) -> None:
        value = numbers(seed, shape)
        source = value.copy()
        tensor = Tensor(source, requires_grad=True)
        source[...] = 99
        self.add(tensor, Step(self.tick(), value, retain=True), value)

    @rule(seed=small, shape=st.sampled_from(SHAPES))
    def new_constant(self, seed: int, shape: tuple[int, ...]) -> None:
        value = numbers(seed, shape)
        self.add(Tensor(value), None, value)

    @initialize(
        shapes=st.lists(st.sampled_from(SHAPES), min_size=2, max_size=4),
        start=st.integers(0, 999),
    )
    def some_leaves(self, shapes: list[tuple[int, ...]], start: int) -> None:
        for seed, shape in enumerate(shapes):
            self.new_leaf(seed, shape)
        self.grow(start, 9)

    @rule(seed=st.integers(0, 999), length=st.integers(1, 9))
    def grow(self, seed: int, length: int) -> None:
        """Several calls at once, among which the newest tensors are the likeliest arguments."""
        rng = np.random.default_rng(seed)
        for _ in range(length):
            i, j = (int(n) for n in rng.geometric(0.4, 2) - 1)
            map_, join = MAPS[rng.integers(len(MAPS))], JOINS[rng.integers(len(JOINS))]
            which = rng.random()
            if which < 0.5:
                self.one_argument(map_, i, "plain")
            elif which < 0.8:
                self.two_arguments(join, i, j, "plain")
            else:
                self.an_array_beside_it(join, i, j, which < 0.9)

    @rule(op=st.sampled_from(MAPS), i=small, mode=modes)
    def one_argument(self, op: Map, i: int, mode: str) -> None:
        pair = self.among(i, lambda pair: op.suits(pair.value))
        if pair is not None:
            self.record(op.call, op.run, [pair], mode)

    @rule(op=st.sampled_from(JOINS), i=small, j=small, mode=modes)
    def two_arguments(self, op: Join, i: int, j: int, mode: str) -> None:
        a = self.among(i)
        b = a and self.among(j, lambda pair: op.suits(a.value, pair.value))
        if a is not None and b is not None:
            self.record(op.call, op.run, [a, b], mode)

    @rule(op=st.sampled_from(JOINS), i=small, seed=small, first=flags)
    def an_array_beside_it(self, op: Join, i: int, seed: int, first: bool) -> None:
        """A plain array as the other argument, which is written into at once."""
        a = self.variable(i)
        if a is None or not op.suits(a.value, a.value):
            return
        value = numbers(seed, a.value.shape)
        array = value.copy()
        args = [array, a.tensor] if first else [a.tensor, array]
        run = (lambda x: op.run(value, x)) if first else (lambda x: op.run(x, value))
        self.record(lambda _: op.call(*args), run, [a])
        array[...] = 99

    @rule(i=small, at=st.integers(1, 2), which=st.sampled_from([(0,), (1,), (0, 1)]))
    def split(self, i: int, at: int, which: tuple[int, ...]) -> None:
        pair = self.among(i, lambda p: p.step is not None and 3 in p.value.shape[-1:])
        if pair is None:
            return
        parts = ta.split(pair.tensor, [at], -1)
        shared = Step(self.tick(), pair.value, np.array, ((pair.step, pair.value),))
        for k, part in enumerate(parts):  # each has a node, kept or not
            step = Step(
                self.tick(),
                np.split(pair.value, [at], -1)[k],
                lambda x, k=k: np.split(x, [at], -1)[k],
                ((shared, pair.value),),
            )
            if k in which:
                self.add(part, step, step.value)
        if len(which) == 2:
            self.two_arguments(JOINS[2], 0, 1, "plain")

    @rule(i=small, j=small, change=flags)
    def recompute(self, i: int, j: int, change: bool) -> None:
        """A function recorded again in backward; it looks at a leaf, which may change."""
        pair, leaf = self.variable(i), self.leaf(j)
        if pair is None or leaf is None or leaf is pair:
            return
        inside = leaf.tensor
        self.record(
            lambda x, _: ta.recompute(lambda x: ta.sin(x + (inside * inside).sum()), x),
            lambda x, c: np.sin(x + np.sum(c * c)),
            [pair, leaf],
            enclosed=((leaf.step, leaf.value),),
        )
        if change:
            self.change(leaf, np.asarray(leaf.value * 0.5))

    @rule(i=small)
    def detach(self, i: int) -> None:
        pair = self.variable(i)
        if pair is not None:
            self.add(pair.tensor.detach(), None, pair.value)

    @rule(i=small, seed=small)
    def new_data(self, i: int, seed: int) -> None:
        """What was recorded before keeps the old numbers."""
        pair = self.leaf(i)
        if pair is not None:
            self.change(pair, numbers(seed, pair.value.shape))

    def change(self, leaf: Pair, value: Array) -> None:
        assert leaf.step is not None
        array = value.copy()
        leaf.tensor.data = array
        array[...] = 99
        leaf.value = leaf.step.value = value

    @rule(i=small)
    def forget(self, i: int) -> None:
        pair = self.among(i)
        if pair is not None and len(self.pairs) > 2:
            self.pairs.remove(pair)

    # ── gradients asked for ──────────────────────────────────────────────────────────────────────
    @rule(i=small)
    def retain_grad(self, i: int) -> None:
        pair = self.variable(i)
        if pair is not None:
            assert pair.step is not None
            pair.tensor.retain_grad()
            pair.step.retain = True

    @rule(i=small, factors=st.lists(hook_factors, min_size=1, max_size=3))
    def hooks(self, i: int, factors: list[float | None]) -> None:
        """Each multiplies the gradient, or only looks at it."""
        pair = self.variable(i)
        if pair is None:
            return
        assert pair.step is not None
        for factor in factors:
            hook = Hook(factor or 1.0)
            hook.remove = pair.tensor.register_hook(looking(hook, factor))
            pair.step.hooks.append(hook)

    @rule(i=small, error=st.sampled_from([ZeroDivisionError, ShapeError]))
    def broken_hook(self, i: int, error: type[Exception]) -> None:
        """It raises, or returns a gradient of another shape."""
        pair = self.variable(i)
        if pair is None:
            return
        assert pair.step is not None
        hook = Hook(error=error)
        wrong = Tensor(np.ones((5, 7)))

        def called(g: Tensor) -> Tensor:
            return wrong if error is ShapeError else 1 // 0

        hook.remove = pair.tensor.register_hook(called)
        pair.step.hooks.append(hook)

    @rule(i=small)
    def broken_rule(self, i: int) -> None:
        """A result whose gradient rule raises."""
        pair = self.variable(i)
        if pair is not None:
            with ta.negative.replaced_vjp(0, lambda g: 1 // 0):
                self.record(ta.negative, np.negative, [pair], error=ZeroDivisionError)

    @rule(i=small, k=small)
    def remove_hook(self, i: int, k: int) -> None:
        pair = self.among(i, lambda pair: pair.step is not None and bool(pair.step.hooks))
        if pair is not None:
            assert pair.step is not None
            pair.step.hooks.pop(k % len(pair.step.hooks)).remove()

    @rule(i=small, seed=st.none() | small)
    def assign_grad(self, i: int, seed: int | None) -> None:
        pair = self.among(i, lambda pair: pair.step is not None and pair.step.retain)
        if pair is None:
            return
        assert pair.step is not None
        pair.step.grad = pair.tensor.grad = None
        if seed is not None:
            array = numbers(seed, pair.value.shape)
            pair.step.grad, pair.tensor.grad = array.copy(), array
            array[...] = 99

    # ── gradients ────────────────────────────────────────────────────────────────────────────────
    @rule(i=newest, seed=small, keep=st.sampled_from(["free", "retain", "create"]), every=flags)
    def backward(self, i: int, seed: int, keep: str, every: bool) -> None:
        root = self.variable(i)
        if root is None:
            return
        assert root.step is not None
        g = numbers(seed, root.value.shape)
        reached, error = walk(root.step, keep != "free")
        array = g.copy()
        options = {"retain_graph": keep == "retain", "create_graph": keep == "create"}
        with ta.keep_grads() if every else nullcontext():
            if error is None:
                root.tensor.backward(array, **options)
            else:
                self.refused(error, lambda: root.tensor.backward(array, **options))
                return
        array[...] = 99
        for pair in self.pairs:
            if pair.step in reached and (pair.step.retain or pair.step.hooks or every):
                self.passed(pair.step, gradient(root.step, g, pair.step), every)

    def passed(self, step: Step, whole: Array, every: bool) -> None:
        """The walk has passed `step` with this gradient, hooks included."""
        if step.retain or every:
            step.grad = whole if step.grad is None else step.grad + whole
        before = whole / step.factor()
        for hook in step.hooks:
            assert hook.seen, "the hook was not called"
            close(hook.seen[-1], before)
            before = before * hook.factor

    @rule(i=newest, j=small, k=small, seed=small, retain=flags)
    def grad(self, i: int, j: int, k: int, seed: int, retain: bool) -> None:
        """Through intermediates: total derivatives, and no `.grad` changes."""
        root, *inputs = (self.variable(n) for n in (i, j, k))
        if root is None or None in inputs:
            return
        steps = [pair.step for pair in inputs]
        g = numbers(seed, root.value.shape)
        tensors = [pair.tensor for pair in inputs]
        ways = [between(root.step, [step]) for step in steps]
        reached, error = walk(root.step, retain, steps) if any(ways) else (set(), None)

        def call() -> Any:
            return ta.grad(root.tensor, tensors, g, retain_graph=retain, allow_unused=True)

        if error is not None:
            self.refused(error, call)
            return
        for step, found in zip(steps, call(), strict=True):
            assert (found is None) == (step not in reached)
            if found is not None:
                close(found.numpy(), gradient(root.step, g, step))

    @rule(i=newest, j=small, seed=small)
    def second_order(self, i: int, j: int, seed: int) -> None:
        root, leaf = self.variable(i), self.leaf(j)
        if root is None or leaf is None or not between(root.step, [leaf.step]):
            return
        way = reachable(root.step)
        if any(step.fails() or (step.run and step.factor() != 1) for step in way):
            return  # a rule may use its result: how often a factor enters then is its own affair
        g, w = numbers(seed, root.value.shape), numbers(seed + 1, leaf.value.shape)
        (gx,) = ta.grad(root.tensor, [leaf.tensor], g, create_graph=True)
        close(gx.numpy(), gradient(root.step, g, leaf.step))
        targets = [pair for pair in self.pairs if pair.step is not None and pair.step.run is None]
        tensors = [pair.tensor for pair in targets]
        found: Any = [None] * len(tensors)
        if gx.node is not None:
            found = ta.grad((gx * w).sum(), tensors, retain_graph=True, allow_unused=True)
        for pair, part in zip(targets, found, strict=True):
            expected = second_gradient(root.step, g, leaf.step, w, pair.step)
            actual = np.zeros(expected.shape) if part is None else part.numpy()
            close(actual, expected, 1e-6)

    @rule(i=small, dtype=st.sampled_from([float, complex]))
    def wrong_g(self, i: int, dtype: type) -> None:
        root = self.among(i)
        assert root is not None
        error: type[Exception] = ShapeError if dtype is float else DTypeError
        g = np.ones((5, 7) if dtype is float else root.value.shape, dtype)
        self.refused(error if root.step else GraphError, lambda: root.tensor.backward(g))

    def refused(self, error: Any, call: Callable[[], Any]) -> None:
        """It raises; that nothing has changed is what `gradients_are_right` finds.

        Hooks that fail come off, so that the next walk may be clean.
        """
        with raising(error):
            call()
        for pair in self.pairs:
            if pair.step is not None:
                for hook in [hook for hook in pair.step.hooks if hook.error]:
                    hook.remove()
                    pair.step.hooks.remove(hook)

    # ── always ───────────────────────────────────────────────────────────────────────────────────
    @invariant()
    def gradients_are_right(self) -> None:
        for pair in self.pairs:
            expected = None if pair.step is None else pair.step.grad
            grad = pair.tensor.grad
            assert (grad is None) == (expected is None)
            if grad is not None:
                assert grad.dtype == pair.tensor.dtype
                close(grad.numpy(), expected)
                untouchable(grad)

    @invariant()
    def values_are_right(self) -> None:
        for pair in self.pairs:
            assert (pair.tensor.node is None) == (pair.step is None)
            assert pair.tensor.dtype == np.float64
            close(pair.tensor.numpy(), pair.value)
            untouchable(pair.tensor)

    @invariant()
    def settings_are_as_found(self) -> None:
        assert SETTINGS.get() == self.settings


def looking(hook: Hook, factor: float | None) -> Callable[[Tensor], Tensor | None]:
    """What `hook` does: note the gradient, try to write into it, multiply it."""

    def called(g: Tensor) -> Tensor | None:
        hook.seen.append(g.numpy())
        untouchable(g)
        return None if factor is None else g * factor

    return called


@contextmanager
def raising(kind: Any, message: str = "") -> Iterator[None]:
    """pytest.raises, but that its failure is an AssertionError, which Hypothesis understands."""
    try:
        yield
    except kind as error:
        if message not in str(error):
            raise
    else:
        raise AssertionError(f"{kind} was not raised")


def untouchable(t: Tensor) -> None:
    """Nobody can write into the array, nor make it writable."""
    assert not t.data.flags.writeable
    with raising(ValueError, "WRITEABLE"):
        t.data.setflags(write=True)


def close(actual: Array, expected: Array, tolerance: float = 1e-9) -> None:
    """Equal up to rounding, relative to the largest element."""
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    assert np.all(np.abs(actual - expected) <= tolerance * scale), (actual, expected)
