"""Writes between the forward and the backward pass never make a gradient silently wrong.

What a call was given is overwritten before backward; the gradients must be those of the same call
without the write, bit for bit (or the write is refused).  Every kind of array somebody may hand
over, every set of kernels, every way to walk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import nullcontext, suppress
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_engine_safety import CONSTANTS

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn, optim
from tinygrad_attn.nn import functional

Array = np.ndarray[Any, Any]
SETS = [
    "off",
    "numpy",
    pytest.param("numba", marks=[] if find_spec("numba") else pytest.mark.numba),
]


def generator() -> np.random.Generator:
    return np.random.default_rng(3)


def tensors(dtype: Any = np.float64) -> SimpleNamespace:
    """Leaves; what `layer` makes counts too, and `built` lists it."""
    rng = np.random.default_rng(5)

    def leaf(*shape: int) -> Tensor:
        return Tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True)

    t = SimpleNamespace(
        x=leaf(2, 3), sequence=leaf(2, 5, 4), w=leaf(3, 4), table=leaf(7, 4), logits=leaf(2, 5, 7)
    )
    t.q, t.k, t.v = leaf(2, 2, 5, 4), leaf(2, 2, 5, 4), leaf(2, 2, 5, 4)
    t.leaves = [value for value in vars(t).values() if isinstance(value, Tensor)]

    def layer(module: nn.Module) -> nn.Module:
        module.astype(dtype)
        t.leaves.extend(module.parameters())
        return module

    t.layer = layer
    return t


def normal(*shape: int) -> Array:
    return np.random.default_rng(6).standard_normal(shape)


# ── what is handed over, and how it is written into ──────────────────────────────────────────────
def overwrite(values: Any) -> None:
    """Other numbers, booleans or places in the same memory."""
    if isinstance(values, list):
        for i, item in enumerate(values):
            if isinstance(item, list):
                overwrite(item)
            else:
                values[i] = not item if isinstance(item, bool) else 0 if item else 1
    elif values.dtype == bool:
        np.logical_not(values, out=values)
    else:
        values[...] = np.where(values == 0, 1, 0)


def in_a_file(values: Array) -> Any:
    with tempfile.NamedTemporaryFile() as file:
        mapped = np.memmap(file, values.dtype, "w+", shape=values.shape)
    mapped[...] = values
    return mapped, mapped


def in_a_buffer(values: Array) -> Any:
    buffer = bytearray(values.tobytes())
    array = np.frombuffer(buffer, values.dtype).reshape(values.shape)
    return array, array


def locked_view(values: Array) -> Any:
    view = values.view()
    view.setflags(write=False)
    return view, values


def locked_after_the_view(values: Array) -> Any:
    """The array handed over is read-only, but a view made before is not."""
    view = values.view()
    values.setflags(write=False)
    return values, view


def a_part(values: Array) -> Any:
    whole = np.zeros((2, *values.shape, 2), values.dtype)
    whole[1, ..., 0] = values
    return whole[1, ..., 0], whole


def listed(values: Array) -> Any:
    items = values.tolist()
    return items, items


GIVING: dict[str, Callable[[Array], Any]] = {
    "itself": lambda values: (values, values),
    "read-only view": locked_view,
    "a part of another": a_part,
    "memory-mapped": in_a_file,
    "a buffer": in_a_buffer,
    "locked, a view is not": locked_after_the_view,
    "list": listed,
}

# ── calls, and the arrays they are given ─────────────────────────────────────────────────────────
BOOLEAN = np.tril(np.ones((5, 5), bool))
ADDED = np.where(BOOLEAN, normal(5, 5), -np.inf)
OFFSETS = np.array([0, 2])
LENGTHS = np.array([3, 5])
TOKENS = np.array([[0, 3, 3, 6, 1], [2, 2, 5, 4, 1]])
CAUSE = {"causal": True}


def attention(method: str, **options: Any) -> Callable[[Any, Any], Tensor]:
    """Attention with a mask made of what is given."""

    def call(t: Any, a: Any) -> Tensor:
        return functional.attention(t.q, t.k, t.v, a, method=method, **options)

    return call


def made(make: Callable[[Any], nn.Mask], method: str) -> Callable[[Any, Any], Tensor]:
    """The same with an nn.Mask."""
    return lambda t, a: functional.attention(t.q, t.k, t.v, make(a), method=method)


def encoder(t: Any) -> nn.Module:
    return t.layer(nn.TransformerEncoderLayer(4, 2, 3, rng=generator()))


def decoder(t: Any) -> nn.Module:
    return t.layer(nn.TransformerDecoderLayer(4, 2, 3, rng=generator()))


def heads(t: Any, **options: Any) -> nn.Module:
    return t.layer(nn.MultiHeadAttention(4, 2, rng=generator(), **options))


def recurrent(kind: type[nn.Recurrent]) -> Callable[[Any], nn.Module]:
    return lambda t: t.layer(kind(4, 3, rng=generator()))


Call = tuple[Callable[[Any, Any], Any], Array]
CALLS: dict[str, Call] = {
    f"operation: {name}": (lambda t, a, f=f: f(t.x, a), np.asarray(constant))
    for name, (f, constant, _) in CONSTANTS.items()
    if name not in ("roll", "tile", "pad", "split", "list index", "Tensor of it")
}
CALLS |= {
    "linear, x": (lambda t, a: functional.linear(a, t.w), normal(2, 5, 4)),
    "linear, weight": (lambda t, a: functional.linear(t.sequence, a), normal(3, 4)),
    "linear, bias": (lambda t, a: functional.linear(t.sequence, t.w, a), normal(3)),
    "layer_norm, x": (lambda t, a: functional.layer_norm(a, t.table[0], t.table[1]), normal(5, 4)),
    "layer_norm, weight": (lambda t, a: functional.layer_norm(t.sequence, a, None), normal(4)),
    "rms_norm, weight": (lambda t, a: functional.rms_norm(t.sequence, a), normal(4)),
    "rms_norm, x": (lambda t, a: functional.rms_norm(a, t.table[0]), normal(5, 4)),
    "embedding": (lambda t, a: functional.embedding(a, t.table), TOKENS),
    "cross_entropy": (lambda t, a: functional.cross_entropy(t.logits, a), TOKENS),
    "cross_entropy, ignored": (
        lambda t, a: functional.cross_entropy(t.logits, a, 3, 0.1, "none"),
        TOKENS,
    ),
    "mse_loss": (lambda t, a: functional.mse_loss(t.w, a), normal(3, 4)),
    "mse_loss, prediction": (lambda t, a: functional.mse_loss(a, t.w), normal(3, 4)),
    "dropout": (lambda t, a: functional.dropout(t.sequence, 0.5, mask=a), normal(2, 5, 4)),
    "one_hot": (lambda t, a: ta.one_hot(a, 7, np.float64) @ t.table, TOKENS),
    "gru_cell": (lambda t, a: ta.gru_cell(t.table[0, :3], a, t.w[0, :1]), normal(3)),
    "lstm_cell": (lambda t, a: ta.lstm_cell(t.table[0], a)[0], normal(1)),
}
for how in ("definition", "fused", "tiled"):
    CALLS |= {
        f"attention {how}, boolean": (attention(how), BOOLEAN),
        f"attention {how}, a mask for each head": (
            attention(how, empty_row="uniform", softcap=2.0),
            np.array([[[True], [False]]] * 2)[..., None] | BOOLEAN,
        ),
        f"attention {how}, added": (attention(how), ADDED),
        f"attention {how}, added float32": (attention(how), ADDED.astype(np.float32)),
        f"attention {how}, Mask.keep": (made(nn.Mask.keep, how), BOOLEAN),
        f"attention {how}, Mask.block": (made(nn.Mask.block, how), ~BOOLEAN),
        f"attention {how}, Mask.additive": (made(nn.Mask.additive, how), ADDED),
        f"attention {how}, Mask.lengths": (made(nn.Mask.lengths, how), LENGTHS),
        f"attention {how}, Mask.causal": (made(nn.Mask.causal, how), OFFSETS),
        f"attention {how}, Mask.window": (made(lambda a: nn.Mask.window(1, 2, a), how), OFFSETS),
        f"attention {how}, offset": (
            lambda t, a, how=how: functional.attention(
                t.q, t.k, t.v, causal=True, offset=a, method=how
            ),
            OFFSETS,
        ),
        f"attention {how}, query": (
            lambda t, a, how=how: functional.attention(a, t.k, t.v, method=how),
            normal(2, 2, 5, 4),
        ),
        f"attention {how}, key": (
            lambda t, a, how=how: functional.attention(t.q, a, t.v, method=how),
            normal(2, 2, 5, 4),
        ),
        f"attention {how}, value": (
            lambda t, a, how=how: functional.attention(t.q, t.k, a, method=how, **CAUSE),
            normal(2, 2, 5, 4),
        ),
    }
CALLS |= {
    "stages": (lambda t, a: functional.attention(t.q, t.k, t.v, a, return_stages=True)[0], BOOLEAN),
    "MultiHeadAttention, mask": (lambda t, a: heads(t)(t.sequence, mask=a), BOOLEAN),
    "MultiHeadAttention, added": (lambda t, a: heads(t)(t.sequence, mask=a), ADDED),
    "MultiHeadAttention, keys": (
        lambda t, a: heads(t)(t.sequence, Tensor(a, dtype=np.float64)),
        normal(2, 7, 4),
    ),
    "MultiHeadAttention, offset": (
        lambda t, a: heads(t)(t.sequence, causal=True, offset=a),
        OFFSETS,
    ),
    "MultiHeadAttention, ALiBi": (
        lambda t, a: heads(t, positions=nn.AlibiBias(2))(t.sequence, mask=a),
        BOOLEAN,
    ),
    "TransformerEncoderLayer": (lambda t, a: encoder(t)(t.sequence, a), BOOLEAN),
    "TransformerEncoderLayer, lengths": (
        lambda t, a: encoder(t)(t.sequence, nn.Mask.lengths(a)),
        LENGTHS,
    ),
    "TransformerDecoderLayer": (
        lambda t, a: decoder(t)(t.sequence, t.sequence * 2.0, memory_mask=a),
        BOOLEAN,
    ),
    "Embedding": (lambda t, a: t.layer(nn.Embedding(7, 4, rng=generator()))(a), TOKENS),
    "BahdanauAttention": (
        lambda t, a: t.layer(nn.BahdanauAttention(4, 4, 3, rng=generator()))(
            t.sequence[:, 0], t.sequence, mask=a
        ),
        np.array([[True, False, True, True, False], [True, True, True, False, False]]),
    ),
    "LuongAttention": (
        lambda t, a: nn.LuongAttention(4, 4)(t.sequence[:, 0], t.sequence, mask=a),
        np.array([[True, False, True, True, False], [True, True, True, False, False]]),
    ),
}
for cell in (nn.RNN, nn.GRU, nn.LSTM):
    CALLS[f"{cell.__name__}, lengths"] = (
        lambda t, a, cell=cell: recurrent(cell)(t)(t.sequence, lengths=a)[0],
        LENGTHS,
    )
    CALLS[f"{cell.__name__}, x"] = (
        lambda t, a, cell=cell: recurrent(cell)(t)(Tensor(a, dtype=np.float64))[0],
        normal(2, 5, 4),
    )


def gradients(
    call: Callable[[Any, Any], Any],
    array: Array,
    giving: Callable[[Array], Any],
    kernels: str,
    how: str,
    write: bool,
) -> list[Any]:
    """All leaves' gradients, the array overwritten before backward or not."""
    given, memory = giving(array.copy())
    t = tensors()
    with ta.kernels.use(kernels):
        out = call(t, given)
    if write:
        overwrite(memory)
    g = np.random.default_rng(8).standard_normal(out.shape)
    if how == "grad of grad":
        first = ta.grad(out, t.leaves, g, create_graph=True, allow_unused=True)
        total = sum((part * part).sum() for part in first if part is not None)
        found = [None] * len(t.leaves)
        if total.node is not None:
            found = list(ta.grad(total, t.leaves, allow_unused=True))
        return [None if part is None else part.numpy() for part in [*first, *found]]
    with ta.keep_grads() if how == "keep_grads" else nullcontext():
        out.backward(g)
    return [None if leaf.grad is None else leaf.grad.numpy() for leaf in t.leaves]


def same(found: list[Any], expected: list[Any]) -> None:
    """Bit for bit."""
    assert len(found) == len(expected)
    assert any(part is not None and np.any(part) for part in expected)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b)


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
