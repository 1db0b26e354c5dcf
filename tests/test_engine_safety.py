"""No write can make a gradient silently wrong, and an error changes nothing."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from constants import CONSTANTS
from numeric import by_complex_step

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, GraphError, ShapeError, Tensor

X = np.array([[0.5, -1.5, 2.5], [1.0, 3.0, -2.0]])


def leaf(values: Any) -> Tensor:
    return Tensor(np.asarray(values, float), requires_grad=True)


def outcome(write: Callable[[], Any]) -> None:
    """Write, or be refused: both are fine as long as the gradient stays right."""
    try:
        write()
    except (ValueError, TypeError, RuntimeError):
        return


# ── the caller's arrays ─────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", CONSTANTS)
@pytest.mark.parametrize("kind", ["itself", "view", "read-only view"])
def test_writing_into_a_constant_after_the_forward_pass(name: str, kind: str) -> None:
    f, constant, value = CONSTANTS[name]
    mutable = constant.copy() if isinstance(constant, np.ndarray) else list(constant)
    given = mutable
    if isinstance(mutable, np.ndarray) and kind != "itself":
        given = mutable.view()
        given.flags.writeable = kind == "view"
    x = leaf(X)
    y = f(x, given)
    g = np.random.default_rng(0).standard_normal(y.shape)
    mutable[:] = [value] * len(mutable) if isinstance(mutable, list) else value
    y.backward(g)
    expected = by_complex_step(lambda x: f(x, constant), [X], [g], 0)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12, atol=1e-14)


class ArrayLike:
    """Something NumPy can read, without being an array."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.values.copy() if copy else self.values

    def __setitem__(self, index: int, value: float) -> None:
        self.values[index] = value


@pytest.mark.parametrize(
    "make",
    [lambda a: array("d", a), lambda a: memoryview(np.array(a)), lambda a: ArrayLike(np.array(a))],
)
def test_writing_into_something_array_like(make: Any) -> None:
    x, constant = leaf([1.0, 1.0, 1.0]), make([2.0, 3.0, 5.0])
    y = ta.multiply(x, constant)
    constant[0] = 9.0
    y.backward(np.ones(3))
    assert x.grad.numpy().tolist() == [2, 3, 5]


def test_writing_into_the_array_a_tensor_was_made_of() -> None:
    source = X.copy()
    x = Tensor(source, requires_grad=True)
    y = x * x
    source[:] = 0
    y.backward(np.ones((2, 3)))
    np.testing.assert_array_equal(x.numpy(), X)
    np.testing.assert_array_equal(x.grad.numpy(), 2 * X)


@pytest.mark.parametrize(
    "source",
    [
        np.frombuffer(bytearray(X.tobytes())),
        memoryview(X.copy()),
        X.copy()[::-1],
        X.copy().T,
        np.broadcast_to(X.copy(), (2, 2, 3)),
    ],
)
def test_a_tensor_owns_its_elements(source: Any) -> None:
    t = Tensor(source)
    assert not np.shares_memory(t.data, np.asarray(source))


@pytest.mark.parametrize("create_graph", [False, True])
def test_writing_into_g_after_backward(create_graph: bool) -> None:
    x, g = leaf(X), np.ones((2, 3))
    (x + 0.0).reshape(3, 2).reshape(2, 3).backward(g, create_graph=create_graph)
    g[:] = 9
    np.testing.assert_array_equal(x.grad.numpy(), np.ones((2, 3)))


def test_writing_into_g_while_backward_walks() -> None:
    x, g = leaf(X), np.ones((2, 3))
    y = x * 2.0
    y.register_hook(lambda seen: g.fill(9))
    (y * 3.0).backward(g)
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 3), 6.0))


def test_writing_into_the_array_given_to_grad_setter() -> None:
    x, g = leaf(X), np.ones((2, 3))
    x.grad = g
    g[:] = 9
    np.testing.assert_array_equal(x.grad.numpy(), np.ones((2, 3)))


# ── the tensor's own arrays ─────────────────────────────────────────────────────────────────────
def results() -> dict[str, Tensor]:
    x = leaf(X)
    y = ta.exp(x)
    y.sum().backward(retain_graph=True)
    return {
        "leaf": x,
        "result": y,
        "view": y.T,
        "slice": y[0],
        "grad": x.grad,
        "constant": Tensor(X),
        "detached": y.detach(),
        "broadcast": ta.broadcast_to(x, (5, 2, 3)),
        "sum": y.sum(axis=0),
    }


@pytest.mark.parametrize("name", results())
def test_arrays_inside_tensors_are_read_only(name: str) -> None:
    t = results()[name]
    for values in (t.data, t.detach().data, np.asarray(t.detach())):
        before = values.copy()
        with pytest.raises(ValueError, match="read-only"):
            values[...] = 0
        with pytest.raises(ValueError, match="read-only"):
            values += 1
        np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("name", results())
def test_data_cannot_be_made_writable(name: str) -> None:
    t = results()[name]
    for values in (t.data, np.asarray(t.detach())):
        with pytest.raises(ValueError, match="WRITEABLE"):
            values.flags.writeable = True


@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, complex, int, bool])
def test_a_view_of_a_writable_array_cannot_be_made_writable(shape: Any, dtype: Any) -> None:
    fresh = ta.primitive(lambda x, /: np.ones((2, *shape), dtype)[1, ...])
    fresh.defvjp(lambda g: g)
    t = fresh(leaf(np.ones(shape)))
    data = t.data
    assert isinstance(t._data.base, np.ndarray)
    assert np.shares_memory(data, t._data) or not data.size
    np.testing.assert_array_equal(data, np.ones(shape))
    assert (data.shape, data.dtype) == (shape, dtype)
    with pytest.raises(ValueError, match="WRITEABLE"):
        data.setflags(write=True)


def test_numpy_gives_a_writable_copy_of_its_own() -> None:
    x = leaf(X)
    y = ta.exp(x)
    x.numpy()[:] = 0
    y.numpy()[:] = 0
    y.backward(np.ones((2, 3)))
    np.testing.assert_array_equal(x.grad.numpy(), np.exp(X))


@pytest.mark.parametrize(
    "write",
    [
        lambda t: t.__setitem__(0, 1.0),
        lambda t: np.add(t, 1, out=t),
        lambda t: np.copyto(t, 0.0),
        lambda t: np.put(t, 0, 1),
        lambda t: t.data.fill(0),
        lambda t: t.data.sort(),
    ],
)
def test_in_place_writes_are_refused(write: Any) -> None:
    x = leaf(X)
    y = ta.exp(x)
    with pytest.raises((ValueError, TypeError)):
        write(y)
    y.backward(np.ones((2, 3)))
    np.testing.assert_array_equal(x.grad.numpy(), np.exp(X))


def test_augmented_assignment_makes_a_new_tensor() -> None:
    x = leaf(X)
    y = x * x
    first = y
    y *= 2.0
    y -= 1.0
    assert y is not first
    y.backward(np.ones((2, 3)))
    np.testing.assert_array_equal(x.grad.numpy(), 4 * X)


def test_new_data_after_the_forward_pass_leaves_the_gradient_of_the_old() -> None:
    x, w, c = leaf(X), leaf(X + 1), Tensor(X + 2)
    y = x * w * c
    for t in (x, w, c):
        t.data = np.zeros((2, 3))
    y.backward(np.ones((2, 3)))
    np.testing.assert_allclose(x.grad.numpy(), (X + 1) * (X + 2))
    np.testing.assert_allclose(w.grad.numpy(), X * (X + 2))
    np.testing.assert_array_equal(x.numpy(), np.zeros((2, 3)))


def test_new_data_is_copied() -> None:
    x, new = leaf(X), np.ones((2, 3))
    x.data = new
    new[:] = 9
    np.testing.assert_array_equal(x.numpy(), np.ones((2, 3)))


@pytest.mark.parametrize(
    ("new", "error"),
    [
        (np.ones(3), ShapeError),
        (np.ones((3, 2)), ShapeError),
        (np.ones((2, 3), complex), DTypeError),
        ("text", ShapeError),
        (1.0, ShapeError),
    ],
)
def test_new_data_of_another_kind_is_refused(new: Any, error: type[Exception]) -> None:
    x = leaf(X)
    with pytest.raises(error, match="data"):
        x.data = new
    np.testing.assert_array_equal(x.numpy(), X)


def test_only_leaves_take_new_data() -> None:
    y = leaf(X) * 2.0
    with pytest.raises(GraphError, match="multiply"):
        y.data = X


# ── errors change nothing ───────────────────────────────────────────────────────────────────────
def broken(g: Any) -> Any:
    raise ZeroDivisionError("broken rule")


@pytest.mark.parametrize(
    "rule",
    [
        broken,
        lambda g: g.astype(np.float32),
        lambda g: g[:1],
        lambda g: g[None].repeat(2, 0)[..., :1],
    ],
)
def test_an_error_in_a_rule_leaves_every_grad_as_it_was(rule: Any) -> None:
    x = leaf(X)
    with ta.negative.replaced_vjp(0, rule):
        y = -x
    b = leaf(X)  # newer than y: the walk reaches it before the error
    b.grad = np.ones((2, 3))
    z = (y * b).sum()
    with pytest.raises((ZeroDivisionError, DTypeError, ShapeError)) as caught:
        z.backward()
    assert "negative" in "".join(caught.value.__notes__)
    assert x.grad is None
    np.testing.assert_array_equal(b.grad.numpy(), np.ones((2, 3)))


def test_an_error_in_a_hook_leaves_every_grad_as_it_was() -> None:
    x = leaf(X)
    y = -x
    y.register_hook(broken)
    b = leaf(X)
    with pytest.raises(ZeroDivisionError):
        (y * b).sum().backward()
    assert x.grad is None
    assert b.grad is None


def test_a_refused_backward_frees_nothing() -> None:
    x = leaf(X)
    y = ta.exp(x)
    for g in (None, np.ones(3), np.ones((2, 3), complex)):
        with pytest.raises((ShapeError, DTypeError)):
            y.backward(g)
    y.backward(np.ones((2, 3)))
    np.testing.assert_array_equal(x.grad.numpy(), np.exp(X))


def test_a_failed_call_records_nothing() -> None:
    x = leaf(X)
    order = leaf(0.0).node.order
    outcome(lambda: x + np.ones(7))
    outcome(lambda: x @ x)
    assert leaf(0.0).node.order == order + 1
