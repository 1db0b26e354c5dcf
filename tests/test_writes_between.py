"""Writes between the forward and the backward pass never make a gradient silently wrong.

What a call was given is overwritten before backward; the gradients must be those of the same call
without the write, bit for bit (or the write is refused).  Every kind of array somebody may hand
over, every set of kernels, every way to walk.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from handed import (
    BOOLEAN,
    CALLS,
    GIVING,
    LENGTHS,
    TOKENS,
    Array,
    generator,
    gradients,
    normal,
    overwrite,
    same,
    tensors,
)

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn, optim
from tinygrad_attn.nn import functional

SETS = [
    "off",
    "numpy",
    pytest.param("numba", marks=[] if find_spec("numba") else pytest.mark.numba),
]


@pytest.mark.parametrize("kernels", SETS)
@pytest.mark.parametrize("name", CALLS)
def test_writing_into_what_a_call_was_given(name: str, kernels: str) -> None:
    call, array = CALLS[name]
    for giving in GIVING.values():
        for how in ("backward", "keep_grads", "grad of grad"):
            expected = gradients(call, array, giving, kernels, how, write=False)
            same(gradients(call, array, giving, kernels, how, write=True), expected)


def test_the_check_finds_an_array_that_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    home = import_module("tinygrad_attn.engine.primitive")
    monkeypatch.setattr(home, "frozen", lambda value: value)
    call, array = CALLS["operation: multiply"]
    giving = GIVING["itself"]
    right = gradients(call, array, giving, "off", "backward", write=False)
    with pytest.raises(AssertionError):
        same(gradients(call, array, giving, "off", "backward", write=True), right)


# ── parameters ───────────────────────────────────────────────────────────────────────────────────
def model(dtype: Any) -> nn.Module:
    """All kinds of layers in a row."""
    rng = generator()
    parts = nn.Sequential(
        nn.Embedding(7, 4, rng=rng),
        nn.TransformerEncoderLayer(4, 2, 3, rng=rng, activation="gelu"),
        nn.RMSNorm(4),
        nn.Linear(4, 7, rng=rng),
    )
    return parts.astype(dtype).train()


OPTIMISERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda params: optim.SGD(params, 0.5),
    "SGD with momentum": lambda params: optim.SGD(params, 0.5, momentum=0.9, weight_decay=0.1),
    "Adam": lambda params: optim.Adam(params, 0.5, weight_decay=0.1),
    "AdamW": lambda params: optim.AdamW(params, 0.5),
}


def stepped(name: str) -> Callable[[nn.Module], None]:
    """Two steps with gradients of another batch, so that running means are written into too."""

    def write(module: nn.Module) -> None:
        optimizer = OPTIMISERS[name](list(module.parameters()))
        for _ in range(2):
            functional.cross_entropy(module(TOKENS.T), TOKENS.T).backward()
            optimizer.step()
        optimizer.zero_grad()

    return write


def loaded(module: nn.Module) -> None:
    state = {name: np.full(x.shape, 0.5, x.dtype) for name, x in module.state_dict().items()}
    module.load_state_dict(state)
    for array in state.values():
        array[...] = 9  # taken as copies
    assert all(np.all(x == 0.5) for x in module.state_dict().values())


def state_overwritten(module: nn.Module) -> None:
    for array in module.state_dict().values():
        array[...] = 9


def reassigned(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.data = np.zeros(parameter.shape)


def clipped(module: nn.Module) -> None:
    functional.cross_entropy(module(TOKENS), TOKENS).backward()
    optim.clip_grad_norm(module.parameters(), 0.01)
    module.zero_grad()


PARAMETERS: dict[str, Callable[[nn.Module], None]] = {
    **{name: stepped(name) for name in OPTIMISERS},
    "load_state_dict": loaded,
    "state_dict": state_overwritten,
    "data": reassigned,
    "clip_grad_norm": clipped,
    "astype and back": lambda module: module.astype(np.float16) and None,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernels", SETS)
@pytest.mark.parametrize("name", PARAMETERS)
def test_moving_parameters_between_forward_and_backward(
    name: str, kernels: str, dtype: Any
) -> None:
    found = []
    for write in (None, PARAMETERS[name]):
        for options in ({}, {"create_graph": True}):
            module = model(dtype)
            parameters = list(module.parameters())
            nodes = [parameter.node for parameter in parameters]
            with ta.kernels.use(kernels):
                loss = functional.cross_entropy(module(TOKENS), TOKENS)
                if write is not None:
                    write(module)
                loss.backward(**options)
            found.append([node.grad.numpy() for node in nodes])
    same(found[2], found[0])
    same(found[3], found[1])


@pytest.mark.parametrize("kernels", SETS)
@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_step_leaves_gradients_and_what_others_hold_alone(name: str, kernels: str) -> None:
    module = model(np.float32)
    with ta.kernels.use(kernels):
        functional.cross_entropy(module(TOKENS), TOKENS).backward()
        optimizer = OPTIMISERS[name](list(module.parameters()))
        held = [(p.data, p.grad.data) for p in module.parameters()]
        before = [(a.copy(), b.copy()) for a, b in held]
        for _ in range(2):
            optimizer.step()
    for arrays, copies in zip(held, before, strict=True):
        for array, copy in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_writing_into_a_gradient_given_between_steps(name: str) -> None:
    """`.grad = a` copies; so does an optimiser's state."""
    moved = []
    for write in (False, True):
        p = nn.Parameter(normal(2, 3), dtype=np.float64)
        optimizer = OPTIMISERS[name]([p])
        for seed in (1, 2):
            g = np.random.default_rng(seed).standard_normal((2, 3))
            p.grad = g
            if write:
                g[...] = 9
            optimizer.step()
            state = optimizer.state_dict()
            if write:
                for values in state["states"][0].values():
                    if isinstance(values, np.ndarray):
                        values[...] = 9
        moved.append(p.numpy())
    np.testing.assert_array_equal(*moved)


def test_writing_into_an_optimiser_state_that_was_loaded() -> None:
    moved = []
    for write in (False, True):
        p = nn.Parameter(normal(2, 3), dtype=np.float64)
        optimizer = optim.Adam([p], 0.5)
        p.grad = normal(2, 3)
        optimizer.step()
        state = optimizer.state_dict()
        optimizer.load_state_dict(state)
        if write:
            state["states"][0]["exp_avg"][...] = 9
        optimizer.step()
        moved.append(p.numpy())
    np.testing.assert_array_equal(*moved)


# ── gradients on their way ───────────────────────────────────────────────────────────────────────
WALKS = {
    "an operation": lambda t: ta.tanh(t.w) * t.w,
    "views": lambda t: t.w.T.reshape(4, 3)[::-1],
    "a split": lambda t: ta.multiply(*ta.split(t.w, 2, 1)),
    "linear": lambda t: functional.linear(t.sequence, t.w),
    "attention": lambda t: functional.attention(t.q, t.k, t.v, BOOLEAN),
    "recompute": lambda t: ta.recompute(lambda w: ta.tanh(w * w), t.w),
}


@pytest.mark.parametrize("options", [{}, {"create_graph": True}, {"retain_graph": True}])
@pytest.mark.parametrize("name", WALKS)
def test_writing_into_gradients_from_a_hook(name: str, options: dict[str, bool]) -> None:
    """Into the one it sees, the upstream one, and the one returned, once it is returned."""
    found = []
    for write in (False, True):
        t = tensors()
        out = WALKS[name](t) * 2.0
        g = np.random.default_rng(8).standard_normal(out.shape)
        returned: list[Any] = []

        def hook(seen: Tensor, g: Array = g, write: bool = write, kept: Any = returned) -> Tensor:
            array = seen.numpy() * 3.0
            new = Tensor(array)
            if write:
                g[...] = 9
                for target in (seen.data, seen.numpy(), array, *kept):
                    refused_or_harmless(target)
            kept.append(array)
            return new

        out.register_hook(hook)
        for leaf in t.leaves:
            leaf.register_hook(hook)
        out.backward(g, **options)
        if write:
            g[...] = 7
            for leaf in t.leaves:
                if leaf.grad is not None:
                    refused_or_harmless(leaf.grad.data)
                    refused_or_harmless(leaf.grad.numpy())
        found.append([None if leaf.grad is None else leaf.grad.numpy() for leaf in t.leaves])
    same(found[1], found[0])


def refused_or_harmless(array: Array) -> None:
    """Write, by every means there is."""
    try:
        array.setflags(write=True)
    except ValueError:
        assert not array.flags.writeable
        return
    array[...] = 9


IN_PLACE: dict[str, Callable[[Tensor, Array], Any]] = {
    "np.add(t, 1, out=t)": lambda t, a: np.add(t, 1, out=t),
    "np.add(t, a, out=a)": lambda t, a: np.add(t, a, out=a),
    "np.multiply(a, a, out=t)": lambda t, a: np.multiply(a, a, out=t),
    "np.exp(t, a)": lambda t, a: np.exp(t, a),
    "np.add.at": lambda t, a: np.add.at(t, 0, 1.0),
    "np.add.at into an array": lambda t, a: np.add.at(a, 0, t),
    "np.matmul out": lambda t, a: np.matmul(t, a, out=a),
    "np.copyto(t, a)": lambda t, a: np.copyto(t, a),
    "np.copyto(a, t)": lambda t, a: np.copyto(a, t),
    "np.put": lambda t, a: np.put(t, [0], 1.0),
    "np.putmask": lambda t, a: np.putmask(t, a > 0, 1.0),
    "np.place": lambda t, a: np.place(t, a > 0, [1.0]),
    "np.fill_diagonal": lambda t, a: np.fill_diagonal(t, 1.0),
    "np.concatenate out": lambda t, a: np.concatenate([t, t], out=np.empty((6, 3))),
    "np.sum out": lambda t, a: np.sum(t, axis=0, out=np.empty(3)),
    "a += t": lambda t, a: a.__iadd__(t),
    "a[...] = t": lambda t, a: a.__setitem__(..., t),
    "t[0] = 1": lambda t, a: t.__setitem__(0, 1.0),
    "t.data += 1": lambda t, a: t.data.__iadd__(1.0),
    "t.data.sort()": lambda t, a: t.data.sort(),
    "t.data.partition": lambda t, a: t.data.partition(0),
    "t.data.resize": lambda t, a: t.data.resize((1, 1)),
    "t.data.flat": lambda t, a: t.data.flat.__setitem__(0, 1.0),
    "t.data.T": lambda t, a: t.data.T.__setitem__(0, 1.0),
    "t.data.shape": lambda t, a: setattr(t.data, "shape", (9,)),
    "memoryview": lambda t, a: memoryview(t.data).__setitem__((0, 0), 1.0),
    "as_strided": lambda t, a: np.lib.stride_tricks.as_strided(t.data).__setitem__(0, 1.0),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_functions_are_refused_or_harmless(name: str) -> None:
    found = []
    for write in (False, True):
        x = Tensor(normal(3, 3), requires_grad=True)
        array = np.abs(normal(3, 3)) + 0.5
        y = ta.exp(x) * array
        if write:
            with suppress(ValueError, TypeError, ta.TensorError):
                IN_PLACE[name](y, array)
        y.backward(normal(3, 3))
        found.append([x.grad.numpy(), y.numpy()])
    same(found[1], found[0])


def test_augmented_assignment_makes_new_tensors() -> None:
    t = first = Tensor(normal(3, 3), requires_grad=True)
    array = held = normal(3, 3)
    before = array.copy()
    t += 1.0
    t *= array
    assert first.node.op is None
    with pytest.raises(ta.DTypeError):
        array += t
    np.testing.assert_array_equal(held, before)
    t.backward(np.ones((3, 3)))
    np.testing.assert_array_equal(first.grad.numpy(), before)


# ── what layers keep ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("kernels", SETS)
def test_a_cache_that_goes_on_or_back_between_forward_and_backward(kernels: str) -> None:
    """The first keys need no gradient and lie in an array with room; q needs one."""
    found = []
    for write in (False, True):
        rng = np.random.default_rng(9)
        cache = nn.KVCache()
        past = [rng.standard_normal((2, 2, 3, 4)) for _ in range(2)]
        keys, values = cache.append(*past)
        q = Tensor(rng.standard_normal((2, 2, 5, 4)), requires_grad=True)
        with ta.kernels.use(kernels):
            out = functional.attention(q, keys, values)
        if write:
            for array in past:
                array[...] = 9
            cache.append(*(np.full((2, 2, 2, 4), 9.0) for _ in range(2)))
            cache.truncate(1)
            cache.append(*(np.full((2, 2, 2, 4), 7.0) for _ in range(2)))
            for t in (keys, values, cache.keys, cache.values):
                refused_or_harmless(t.data)
        out.backward(np.random.default_rng(8).standard_normal(out.shape))
        found.append([q.grad.numpy()])
    same(found[1], found[0])


TABLES = {
    "SinusoidalPositions": lambda: nn.SinusoidalPositions(4, 7),
    "RotaryPositions": lambda: nn.RotaryPositions(4),
    "AlibiBias": lambda: nn.AlibiBias(2),
    "Dropout": lambda: nn.Dropout(0.5, rng=generator()),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_layers_are_read_only(name: str) -> None:
    layer = TABLES[name]()
    if name != "AlibiBias":
        layer(Tensor(normal(2, 5, 4), requires_grad=True))
    else:
        assert not layer(5, 5).flags.writeable
    arrays = [value for value in vars(layer).values() if isinstance(value, np.ndarray)]
    assert all(not array.flags.writeable for array in arrays)


def test_dropout_masks_are_read_only() -> None:
    assert not functional.dropout_mask((2, 3), 0.5, np.float64, generator()).flags.writeable


def test_a_mask_made_of_arrays_keeps_them() -> None:
    kept, added, lengths = BOOLEAN.copy(), np.zeros((5, 5)), LENGTHS.copy()
    mask = nn.Mask.keep(kept) & nn.Mask.additive(added) & nn.Mask.lengths(lengths)
    before = repr(mask)
    for array in (kept, added, lengths):
        overwrite(array)
    assert repr(mask) == before
    for array in (*mask.kept, *mask.added, *mask.counts):
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)
