"""Calls that keep what they are given, and the ways to give an array (test_writes_between.py)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
from constants import CONSTANTS

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn
from tinygrad_attn.nn import functional

Array = np.ndarray[Any, Any]


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
for method in ("definition", "fused", "tiled"):
    CALLS |= {
        f"attention {method}, boolean": (attention(method), BOOLEAN),
        f"attention {method}, a mask for each head": (
            attention(method, empty_row="uniform", softcap=2.0),
            np.array([[[True], [False]]] * 2)[..., None] | BOOLEAN,
        ),
        f"attention {method}, added": (attention(method), ADDED),
        f"attention {method}, added float32": (attention(method), ADDED.astype(np.float32)),
        f"attention {method}, Mask.keep": (made(nn.Mask.keep, method), BOOLEAN),
        f"attention {method}, Mask.block": (made(nn.Mask.block, method), ~BOOLEAN),
        f"attention {method}, Mask.additive": (made(nn.Mask.additive, method), ADDED),
        f"attention {method}, Mask.lengths": (made(nn.Mask.lengths, method), LENGTHS),
        f"attention {method}, Mask.causal": (made(nn.Mask.causal, method), OFFSETS),
        f"attention {method}, Mask.window": (
            made(lambda a: nn.Mask.window(1, 2, a), method),
            OFFSETS,
        ),
        f"attention {method}, offset": (
            lambda t, a, method=method: functional.attention(
                t.q, t.k, t.v, causal=True, offset=a, method=method
            ),
            OFFSETS,
        ),
        f"attention {method}, query": (
            lambda t, a, method=method: functional.attention(a, t.k, t.v, method=method),
            normal(2, 2, 5, 4),
        ),
        f"attention {method}, key": (
            lambda t, a, method=method: functional.attention(t.q, a, t.v, method=method),
            normal(2, 2, 5, 4),
        ),
        f"attention {method}, value": (
            lambda t, a, method=method: functional.attention(
                t.q, t.k, a, causal=True, method=method
            ),
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
