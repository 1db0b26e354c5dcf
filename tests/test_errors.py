"""Wrong calls: each raises a typed error that names itself and what came, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from refusals import refused

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, GraphError, IndexingError, ShapeError, Tensor, TensorError

Call = Callable[[SimpleNamespace], Any]


def given() -> SimpleNamespace:
    """Tensors to go wrong with."""
    rng = np.random.default_rng(0)

    def variable(*shape: int) -> Tensor:
        return Tensor(rng.standard_normal(shape), requires_grad=True)

    return SimpleNamespace(
        x=variable(2, 3),
        y=variable(5, 7),
        v=variable(3),
        s=variable(),
        cube=variable(2, 3, 5),
        i=Tensor(np.array([0, 2, 1])),
        c=Tensor(np.ones((2, 3))),
        empty=variable(0, 3),
    )


# (error, what the message must contain, the call)
WRONG: dict[str, list[tuple[type[Exception], str, Call]]] = {
    "shapes that do not broadcast": [
        (ShapeError, r"add\(a: float64\[2, 3\], b: float64\[5, 7\]\)", lambda t: t.x + t.y),
        (ShapeError, r"subtract\(.*\[2, 3\].*\[5, 7\]", lambda t: t.x - t.y),
        (ShapeError, r"multiply\(.*\[2, 3\].*\[5, 7\]", lambda t: t.x * t.y),
        (ShapeError, r"divide\(.*\[2, 3\].*\[7\]", lambda t: t.x / np.ones(7)),
        (ShapeError, r"power\(.*\[2, 3\].*\[7\]", lambda t: t.x ** np.ones(7)),
        (ShapeError, r"add\(.*\[2\].*\[2, 3\]", lambda t: np.ones(2) + t.x),
        (ShapeError, r"add\(.*\[2, 3\].*\[2\]", lambda t: ta.add(t.x, [1.0, 2.0])),
        (ShapeError, r"maximum\(.*\[2, 3\].*\[5, 7\]", lambda t: ta.maximum(t.x, t.y)),
        (ShapeError, r"minimum\(.*\[2, 3\].*\[5, 7\]", lambda t: ta.minimum(t.x, t.y)),
        (
            ShapeError,
            r"where\(.*bool\[7\].*\[2, 3\]",
            lambda t: ta.where(np.ones(7, bool), t.x, 0.0),
        ),
        (
            ShapeError,
            r"masked_fill.*where\(.*\[5\].*\[2, 3\]",
            lambda t: ta.masked_fill(t.x, np.ones(5, bool), 0.0),
        ),
        (ShapeError, r"clip\(.*\[2, 3\]", lambda t: ta.clip(t.x, np.ones(7), None)),
        (ShapeError, r"broadcast_to\(.*\[2, 3\].*\(7, 3\)", lambda t: ta.broadcast_to(t.x, (7, 3))),
        (ShapeError, r"broadcast_to\(.*\[2, 3\]", lambda t: ta.broadcast_to(t.x, (3,))),
        (ShapeError, r"less.*\(2,3\).*\(7,\)", lambda t: t.x < np.ones(7)),
    ],
    "shapes of matrix products": [
        (ShapeError, r"matmul.*\(2, 3\).*\(5, 7\)", lambda t: t.x @ t.y),
        (ShapeError, r"matmul.*\(2, 3\).*\(2, 3\)", lambda t: t.x @ t.x),
        (ShapeError, r"matmul.*\(3,\).*\(5, 7\)", lambda t: t.v @ t.y),
        (ShapeError, r"matmul.*\(5, 7\).*\(3,\)", lambda t: t.y @ t.v),
        (ShapeError, r"matmul.*\(\).*\(2, 3\)", lambda t: t.s @ t.x),
        (ShapeError, r"matmul.*\(2, 3\).*\(\)", lambda t: t.x @ 2.0),
        (ShapeError, r"matmul.*\[2, 3, 5\].*\[3, 5, 7\]", lambda t: t.cube @ np.ones((3, 5, 7))),
        (ShapeError, r"einsum", lambda t: ta.einsum("ij,jk->ik", t.x, t.y)),
        (ShapeError, r"einsum.*names 1 operands, got 2", lambda t: ta.einsum("ij->i", t.x, t.x)),
        (ShapeError, r"einsum.*names 3 axes.*has 2", lambda t: ta.einsum("ijk->i", t.x)),
        (ShapeError, r"einsum.*names 1 axes.*has 2", lambda t: ta.einsum("i->i", t.x)),
        (ShapeError, r"einsum", lambda t: ta.einsum("ij->ik", t.x)),
        (ShapeError, r"einsum", lambda t: ta.einsum("ij->ijj", t.x)),
        (ShapeError, r"einsum.*\.\.\.", lambda t: ta.einsum("i...->i", t.x)),
        (ShapeError, r"einsum", lambda t: ta.einsum("ii->i", t.x)),
        (DTypeError, r"einsum.*string", lambda t: ta.einsum(t.x, "ij->i")),
        (ShapeError, r"einsum", lambda t: ta.einsum("ij")),
    ],
    "axes": [
        (ShapeError, r"sum\(.*\[2, 3\], axis=2", lambda t: t.x.sum(2)),
        (ShapeError, r"sum\(.*axis=-3", lambda t: t.x.sum(axis=-3)),
        (ShapeError, r"sum\(.*duplicate", lambda t: t.x.sum((0, 0))),
        (ShapeError, r"sum\(.*duplicate", lambda t: t.x.sum((1, -1))),
        (ShapeError, r"mean\(.*axis=\(0, 5\)", lambda t: t.x.mean((0, 5))),
        (ShapeError, r"prod\(.*axis=3", lambda t: t.x.prod(3)),
        (ShapeError, r"max\(.*axis=3", lambda t: t.x.max(3)),
        (ShapeError, r"min\(.*\[0, 3\].*axis=0", lambda t: t.empty.min(0)),
        (ShapeError, r"logsumexp\(.*axis=2", lambda t: ta.logsumexp(t.x, 2)),
        (ShapeError, r"cumsum\(.*axis=2", lambda t: t.x.cumsum(2)),
        (DTypeError, r"cumsum\(.*axis=\(0, 1\)", lambda t: t.x.cumsum((0, 1))),
        (ShapeError, r"softmax\(.*axis=2", lambda t: ta.softmax(t.x, 2)),
        (ShapeError, r"log_softmax\(.*axis=-3", lambda t: ta.log_softmax(t.x, axis=-3)),
        (ShapeError, r"norm.*axis=2", lambda t: ta.norm(t.x, axis=2)),
        (ShapeError, r"norm.*one axis", lambda t: ta.norm(t.x, 3)),
        (ShapeError, r"norm.*ord must be.*nuc", lambda t: ta.norm(t.x, "nuc")),
        (ShapeError, r"var.*axis=2", lambda t: t.x.var(2)),
        (ShapeError, r"std.*duplicate", lambda t: t.x.std((0, 0))),
        (ShapeError, r"sort.*axis 2", lambda t: ta.sort(t.x, 2)),
        (ShapeError, r"argmax.*axis 2", lambda t: t.x.argmax(2)),
        (ShapeError, r"flip\(.*axis=2", lambda t: ta.flip(t.x, 2)),
        (ShapeError, r"flip\(.*repeated", lambda t: ta.flip(t.x, (0, 0))),
        (ShapeError, r"roll\(.*axis=2", lambda t: ta.roll(t.x, 1, 2)),
        (ShapeError, r"transpose\(.*repeated", lambda t: t.x.transpose(0, 0)),
        (ShapeError, r"transpose\(.*axes=\(0,\)", lambda t: ta.transpose(t.x, (0,))),
        (ShapeError, r"transpose\(.*\(0, 2\)", lambda t: t.x.transpose(0, 2)),
        (ShapeError, r"swapaxes\(.*axis2=2", lambda t: t.x.swapaxes(0, 2)),
        (ShapeError, r"swapaxes\(.*\[3\]", lambda t: t.v.mT),
        (ShapeError, r"moveaxis\(.*source=2", lambda t: ta.moveaxis(t.x, 2, 0)),
        (ShapeError, r"moveaxis\(.*repeated", lambda t: ta.moveaxis(t.x, (0, 0), (0, 1))),
        (ShapeError, r"moveaxis\(.*same number", lambda t: ta.moveaxis(t.x, (0, 1), 0)),
        (ShapeError, r"squeeze\(.*\[2, 3\], axis=0", lambda t: t.x.squeeze(0)),
        (ShapeError, r"squeeze\(.*axis=5", lambda t: t.x.squeeze(5)),
        (ShapeError, r"expand_dims\(.*axis=5", lambda t: ta.expand_dims(t.x, 5)),
        (ShapeError, r"expand_dims\(.*repeated", lambda t: ta.expand_dims(t.x, (0, 0))),
        (ShapeError, r"diagonal.*\[3\]", lambda t: ta.diagonal(t.v)),
        (ShapeError, r"diagonal.*repeated", lambda t: ta.diagonal(t.x, 0, 1, 1)),
        (TensorError, r"tril\(.*\[\]", lambda t: ta.tril(t.s)),
        (ShapeError, r"repeat\(.*axis=2", lambda t: ta.repeat(t.x, 2, 2)),
    ],
    "new shapes": [
        (ShapeError, r"reshape\(.*\[2, 3\], shape=\(7,\)", lambda t: t.x.reshape(7)),
        (ShapeError, r"reshape\(.*\(-1, -1\)", lambda t: t.x.reshape(-1, -1)),
        (ShapeError, r"reshape\(.*\(4, -1\)", lambda t: t.x.reshape(4, -1)),
        (DTypeError, r"reshape.*missing", lambda t: t.x.reshape()),
        (DTypeError, r"reshape\(.*1\.5", lambda t: t.x.reshape(1.5)),
        (
            ShapeError,
            r"concatenate\(arrays\[0\]: float64\[2, 3\], arrays\[1\]: float64\[5, 7\]",
            lambda t: ta.concat([t.x, t.y]),
        ),
        (ShapeError, r"concatenate\(.*axis=2", lambda t: ta.concat([t.x, t.x], 2)),
        (ShapeError, r"concat.*at least one", lambda t: ta.concat([])),
        (ShapeError, r"concat.*float64\[\]", lambda t: ta.concat([t.s, t.s])),
        (DTypeError, r"concat", lambda t: ta.concat(3.0)),
        (ShapeError, r"stack\(.*\[2, 3\].*\[3\]", lambda t: ta.stack([t.x, t.v])),
        (ShapeError, r"stack\(.*axis=3", lambda t: ta.stack([t.x, t.x], 3)),
        (ShapeError, r"stack", lambda t: ta.stack([])),
        (ShapeError, r"split\(.*\[2, 3\].*=2, axis=1", lambda t: ta.split(t.x, 2, 1)),
        (TensorError, r"split\(.*axis=2", lambda t: ta.split(t.x, 3, 2)),
        (ShapeError, r"split.*=0", lambda t: ta.split(t.v, 0)),
        (ShapeError, r"pad.*-1", lambda t: ta.pad(t.x, -1)),
        (ShapeError, r"pad", lambda t: ta.pad(t.x, ((1, 1), (1, 1), (1, 1)))),
        (DTypeError, r"pad.*integers.*1\.5", lambda t: ta.pad(t.x, 1.5)),
        (ShapeError, r"pad.*mode.*mean", lambda t: ta.pad(t.x, 1, "mean")),
        (ShapeError, r"tile\(.*-1", lambda t: ta.tile(t.x, -1)),
        (DTypeError, r"tile\(.*1\.5", lambda t: ta.tile(t.x, 1.5)),
        (ShapeError, r"repeat\(.*-1", lambda t: ta.repeat(t.x, -1)),
        (ShapeError, r"repeat\(.*\[1, 2\]", lambda t: ta.repeat(t.v, [1, 2])),
        (DTypeError, r"repeat\(.*0\.5", lambda t: ta.repeat(t.v, np.array([0.5, 1, 1]))),
        (TensorError, r"roll\(.*\(1, 2, 3\)", lambda t: ta.roll(t.x, (1, 2, 3), (0, 1))),
    ],
    "indices": [
        (IndexingError, r"getitem\(x: float64\[2, 3\], index=2\).*out of bounds", lambda t: t.x[2]),
        (IndexingError, r"getitem\(.*too many", lambda t: t.x[0, 0, 0]),
        (IndexingError, r"getitem\(.*1\.5", lambda t: t.x[1.5]),
        (IndexingError, r"getitem\(.*rows", lambda t: t.x["rows"]),
        (IndexingError, r"getitem\(.*boolean", lambda t: t.x[np.ones(7, bool)]),
        (IndexingError, r"getitem\(", lambda t: t.x[t.v]),
        (IndexingError, r"getitem\(.*shape mismatch", lambda t: t.x[[0, 1], [0, 1, 2]]),
        (IndexingError, r"take\(.*7", lambda t: ta.take(t.x, [7], 0)),
        (DTypeError, r"take.*integers.*float64", lambda t: ta.take(t.x, [0.5], 0)),
        (ShapeError, r"take.*axis 2.*\(2, 3\)", lambda t: ta.take(t.x, [0], 2)),
        (
            IndexingError,
            r"take_along_axis.*9",
            lambda t: ta.take_along_axis(t.x, np.array([[9], [0]]), 1),
        ),
        (
            ShapeError,
            r"take_along_axis.*\(1,\).*\(2, 3\)",
            lambda t: ta.take_along_axis(t.x, np.array([0]), 1),
        ),
        (
            DTypeError,
            r"take_along_axis.*float64",
            lambda t: ta.take_along_axis(t.x, np.zeros((2, 1)), 1),
        ),
        (
            ShapeError,
            r"take_along_axis.*axis 2",
            lambda t: ta.take_along_axis(t.x, np.array([[0]]), 2),
        ),
        (
            ShapeError,
            r"scatter_add.*\(2, 1\).*\(3,\)",
            lambda t: ta.scatter_add(t.x, np.zeros((2, 1), int), t.v),
        ),
        (
            IndexingError,
            r"scatter_add.*9",
            lambda t: ta.scatter_add(t.x, np.full((2, 1), 9), np.ones((2, 1))),
        ),
        (
            DTypeError,
            r"scatter_add.*float64",
            lambda t: ta.scatter_add(t.x, np.zeros((2, 1)), np.ones((2, 1))),
        ),
        (IndexingError, r"one_hot.*\[0, 3\).*5", lambda t: ta.one_hot([0, 5], 3)),
        (IndexingError, r"one_hot.*-1", lambda t: ta.one_hot([-1], 3)),
        (DTypeError, r"one_hot.*float", lambda t: ta.one_hot([0.5], 3)),
        (DTypeError, r"one_hot.*2\.5", lambda t: ta.one_hot([0], 2.5)),
        (DTypeError, r"read-only", lambda t: t.x.__setitem__(0, 1.0)),
        (DTypeError, r"len.*0-d", lambda t: len(t.s)),
        (DTypeError, r"0-d", lambda t: list(t.s)),
    ],
    "kinds of arguments": [
        (DTypeError, r"add\(a: float64\[2, 3\], b='a'\)", lambda t: t.x + "a"),
        (DTypeError, r"multiply\(.*None", lambda t: t.x * None),
        (DTypeError, r"add\(", lambda t: t.x + object()),
        (DTypeError, r"exp\(", lambda t: ta.exp("text")),
        (DTypeError, r"sigmoid\(", lambda t: ta.sigmoid("text")),
        (ShapeError, r"^add: .*sequence", lambda t: ta.add(t.x, [[1.0], [2.0, 3.0]])),
        (DTypeError, r"astype.*int64", lambda t: t.x.astype(int)),
        (DTypeError, r"astype", lambda t: t.x.astype("nonsense")),
        (DTypeError, r"negative\(.*bool", lambda t: -Tensor(np.array([True]))),
        (ShapeError, r"gelu.*tanh.*cubic", lambda t: ta.gelu(t.x, "cubic")),
        (DTypeError, r"hardtanh.*min_val.*tensor", lambda t: ta.hardtanh(t.x, t.s)),
        (DTypeError, r"np\.asarray.*\.numpy\(\)", lambda t: np.asarray(t.x)),
        (DTypeError, r"np\.cross is not supported", lambda t: np.cross(t.x, t.v)),
        (ShapeError, r"item.*\(2, 3\)", lambda t: t.x.item()),
        (ShapeError, r"\(2, 3\)", lambda t: float(t.x)),
        (ShapeError, r"\(2, 3\)", lambda t: bool(t.x)),
        (ShapeError, r"\(2, 3\)", lambda t: f"{t.x:.2f}"),
    ],
    "numbers and names of arguments": [
        (DTypeError, r"exp", lambda t: ta.exp()),
        (DTypeError, r"exp", lambda t: ta.exp(t.x, t.x)),
        (DTypeError, r"exp", lambda t: ta.exp(x=t.x)),
        (DTypeError, r"multiply", lambda t: ta.multiply(t.x)),
        (DTypeError, r"multiply", lambda t: ta.multiply(t.x, b=t.x)),
        (DTypeError, r"multiply", lambda t: ta.multiply(t.x, t.x, t.x)),
        (DTypeError, r"sum.*axes", lambda t: t.x.sum(axes=1)),
        (DTypeError, r"sum.*twice", lambda t: ta.sum(t.x, 1, axis=0)),
        (DTypeError, r"sum", lambda t: ta.sum(t.x, 1, True, 7)),
        (DTypeError, r"softmax.*dim", lambda t: ta.softmax(t.x, dim=-1)),
        (DTypeError, r"softmax.*tensor", lambda t: ta.softmax(t.x, axis=t.s)),
        (DTypeError, r"swapaxes.*axis2.*missing", lambda t: ta.swapaxes(t.x, 0)),
        (DTypeError, r"split.*indices_or_sections.*missing", lambda t: ta.split(t.x)),
        (DTypeError, r"roll.*shift.*missing", lambda t: ta.roll(t.x)),
        (DTypeError, r"var.*axes", lambda t: t.x.var(axes=1)),
        (DTypeError, r"sort.*kind", lambda t: ta.sort(t.x, kind="stable")),
        (DTypeError, r"where", lambda t: ta.where(np.ones((2, 3), bool), t.x)),
        (DTypeError, r"take", lambda t: ta.take(t.x)),
        (DTypeError, r"matmul", lambda t: ta.matmul(t.x)),
        (DTypeError, r"concat.*dim", lambda t: ta.concat([t.x], dim=0)),
    ],
    "backward": [
        (ShapeError, r"backward.*\(2, 3\).*pass g", lambda t: (t.x * 2.0).backward()),
        (ShapeError, r"backward.*\(2, 3\).*\(3,\)", lambda t: (t.x * 2.0).backward(np.ones(3))),
        (
            ShapeError,
            r"backward.*\(2, 3\).*\(2, 3, 1\)",
            lambda t: (t.x * 2.0).backward(np.ones((2, 3, 1))),
        ),
        (ShapeError, r"backward.*\(2, 3\).*\(\)", lambda t: (t.x * 2.0).backward(1.0)),
        (ShapeError, r"backward.*\(\).*\(1,\)", lambda t: (t.s * 2.0).backward([1.0])),
        (DTypeError, r"backward.*float64.*complex128", lambda t: (t.s * 2.0).backward(1j)),
        (TensorError, r"backward", lambda t: (t.x * 2.0).backward("text")),
        (ShapeError, r"backward", lambda t: t.empty.backward()),
        (GraphError, r"backward.*requires_grad=True", lambda t: t.c.backward()),
        (
            GraphError,
            r"backward.*requires_grad=True",
            lambda t: t.x.detach().backward(np.ones((2, 3))),
        ),
        (ShapeError, r"\(2, 3\).*\(3,\)", lambda t: ta.grad(t.x * 2.0, [t.x], np.ones(3))),
        (ShapeError, r"\(2, 3\).*pass g", lambda t: ta.grad(t.x * 2.0, [t.x])),
        (GraphError, r"grad.*input 1", lambda t: ta.grad(t.s * 2.0, [t.s, t.c])),
        (GraphError, r"grad.*input 0.*allow_unused", lambda t: ta.grad(t.s * 2.0, [t.x])),
        (GraphError, r"grad.*input 1.*allow_unused", lambda t: ta.grad(t.s * 2.0, [t.s, t.x])),
        (DTypeError, r"grad.*input 0.*ndarray", lambda t: ta.grad(t.s * 2.0, [np.ones(3)])),
        (DTypeError, r"grad.*input 0 must be a Tensor, got int", lambda t: ta.grad(t.s * 2.0, 3)),
        (GraphError, r"grad", lambda t: ta.grad(t.c, [t.x])),
        (GraphError, r"leaf", lambda t: setattr(t.s * 2.0, "data", 1.0)),
        (ShapeError, r"data.*\(2, 3\).*\(3,\)", lambda t: setattr(t.x, "data", np.ones(3))),
        (
            DTypeError,
            r"data.*float64.*complex128",
            lambda t: setattr(t.x, "data", np.ones((2, 3), complex)),
        ),
        (ShapeError, r"grad.*\(2, 3\).*\(3,\)", lambda t: setattr(t.x, "grad", np.ones(3))),
        (GraphError, r"retain_grad", lambda t: t.c.retain_grad()),
        (GraphError, r"register_hook", lambda t: t.c.register_hook(print)),
        (DTypeError, r"floating", lambda t: Tensor(np.array([1, 2]), requires_grad=True)),
        (DTypeError, r"floating", lambda t: setattr(t.i, "requires_grad", True)),
        (GraphError, r"leaf", lambda t: setattr(t.s * 2.0, "requires_grad", False)),
        (DTypeError, r"detach", lambda t: Tensor(t.x)),
        (DTypeError, r"vjp", lambda t: ta.vjp(lambda a: np.ones(3), np.ones(3))),
        (ShapeError, r"jvp.*1.*2", lambda t: ta.jvp(ta.exp, [np.ones(3)], [np.ones(3)] * 2)),
        (ShapeError, r"scalar.*\(3,\)", lambda t: ta.hessian(ta.exp, np.ones(3))),
        (DTypeError, r"floating", lambda t: ta.jacobian(ta.exp, np.array([1, 2]))),
        (DTypeError, r"recompute.*tuple", lambda t: ta.recompute(lambda a: (a, a), t.x)),
        (
            ShapeError,
            r"exp\.replaced_vjp.*'y'",
            lambda t: ta.exp.replaced_vjp("y", lambda g: g).__enter__(),
        ),
        (DTypeError, r"default_dtype.*int64", lambda t: ta.default_dtype(int)),
    ],
}
CASES = [
    pytest.param(*case, id=f"{group}: {case[1]}")
    for group, cases in WRONG.items()
    for case in cases
]


@pytest.mark.parametrize(("kind", "message", "call"), CASES)
def test_a_wrong_call_raises_a_typed_error_and_changes_nothing(
    kind: type[Exception], message: str, call: Call
) -> None:
    tensors = refused(kind, message, call, given())
    (tensors.x * 2.0).sum().backward()
    np.testing.assert_array_equal(tensors.x.grad.numpy(), np.full((2, 3), 2.0))


def test_the_table_is_long() -> None:
    assert len(CASES) >= 150


@pytest.mark.parametrize(
    ("ours", "pythons"),
    [
        (ShapeError, ValueError),
        (DTypeError, TypeError),
        (IndexingError, IndexError),
        (GraphError, RuntimeError),
    ],
)
def test_errors_are_pythons_own_kinds_too(ours: type[Exception], pythons: type[Exception]) -> None:
    assert issubclass(ours, pythons)
    assert issubclass(ours, TensorError)


def test_an_error_on_plain_arrays_is_typed_as_well() -> None:
    for call, name in [
        (lambda: ta.matmul(np.ones((2, 3)), np.ones((5, 7))), "matmul"),
        (lambda: ta.sum(np.ones(3), 4), "sum"),
        (lambda: ta.sort(np.ones(3), 4), "sort"),
        (lambda: ta.diagonal(np.ones(3)), "diagonal"),
    ]:
        with pytest.raises(ShapeError, match=name):
            call()


def test_the_cause_is_kept() -> None:
    with pytest.raises(ShapeError) as caught:
        given().x.sum(5)
    assert isinstance(caught.value.__cause__, np.exceptions.AxisError)
