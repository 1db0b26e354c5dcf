"""Tensor itself: making, showing, copying, converting, comparing."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, GraphError, ShapeError, Tensor


def leaf(values: Any, name: str | None = None) -> Tensor:
    return Tensor(np.asarray(values, float), requires_grad=True, name=name)


REPRS = [
    (lambda: Tensor(1.0), "Tensor(1.)"),
    (lambda: Tensor([1, 2]), "Tensor([1., 2.])"),
    (lambda: Tensor([1.0, 2.5], requires_grad=True), "Tensor([1. , 2.5], requires_grad=True)"),
    (lambda: Tensor([0.5], name="w"), "Tensor([0.5], name='w')"),
    (lambda: Tensor(np.array([1.0])), "Tensor([1.], dtype=float64)"),
    (lambda: Tensor(np.array([1, 2])), "Tensor([1, 2], dtype=int64)"),
    (lambda: ta.exp(Tensor([0.0], requires_grad=True)), "Tensor([1.], op=exp)"),
    (lambda: Tensor([[1, 2], [3, 4]]), "Tensor([[1., 2.],\n        [3., 4.]])"),
    (lambda: Tensor(np.zeros((0, 3), np.float32)), "Tensor([], shape=(0, 3))"),
    (lambda: Tensor(np.zeros((100, 7), np.float32), name="big"), "shape=(100, 7), name='big')"),
    (lambda: ta.split(Tensor([1.0, 2.0], requires_grad=True), 2)[1], "Tensor([2.], op=split[1])"),
]


@pytest.mark.parametrize(("make", "shown"), REPRS)
def test_repr(make: Any, shown: str) -> None:
    assert repr(make()).endswith(shown)
    assert str(make()) == repr(make())
    assert len(repr(make()).splitlines()) < 10


def test_repr_follows_the_default_dtype() -> None:
    with ta.default_dtype(np.float64):
        assert repr(Tensor([1.0])) == "Tensor([1.])"


def test_format() -> None:
    assert f"{Tensor(2.5):.2f}" == "2.50"
    assert f"{Tensor([[0.125]]):8.3f}" == "   0.125"
    assert f"{Tensor([1.0, 2.0])}" == "Tensor([1., 2.])"


def test_shape_and_size() -> None:
    t = Tensor(np.zeros((2, 3, 5)))
    assert (t.shape, t.ndim, t.size, len(t)) == ((2, 3, 5), 3, 30, 2)
    assert t.T.shape == (5, 3, 2)
    assert t.mT.shape == (2, 5, 3)
    assert t.flatten().shape == (30,)


def test_numbers_out() -> None:
    t = Tensor([[2.5]])
    assert (t.item(), float(t), int(t), t.tolist(), bool(t)) == (2.5, 2.5, 2, [[2.5]], True)


def test_iteration_gives_rows_with_gradients() -> None:
    x = leaf([[1.0, 2.0], [3.0, 5.0]])
    first, second = x
    (first * second).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[3, 5], [1, 2]])


def test_tensors_are_hashed_by_identity() -> None:
    a, b = Tensor(1.0), Tensor(1.0)
    assert len({a, b, a}) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tensor(None),
        lambda: Tensor("text"),
        lambda: Tensor([[1, 2], [3]]),
        lambda: Tensor({"a": 1}),
        lambda: Tensor(np.array(["a"])),
        lambda: Tensor([None]),
        lambda: Tensor(np.array([object()])),
        lambda: Tensor([1.0], dtype="nonsense"),
    ],
)
def test_what_is_not_numeric_is_refused(make: Any) -> None:
    with pytest.raises(ta.TensorError, match="Tensor"):
        make()


@pytest.mark.parametrize("data", [np.array([1, 2]), np.array([True]), Tensor(np.array([1]))])
def test_a_variable_must_be_floating(data: Any) -> None:
    with pytest.raises(DTypeError, match=r"floating.*dtype="):
        Tensor(data, requires_grad=True)
    c = Tensor(data)
    with pytest.raises(DTypeError):
        c.requires_grad = True
    assert not c.requires_grad


def test_python_integers_make_a_floating_variable() -> None:
    assert Tensor([1, 2], requires_grad=True).dtype == np.float32


def test_a_tensor_of_a_tensor() -> None:
    c = Tensor([1.0, 2.0], name="c")
    np.testing.assert_array_equal(Tensor(c, requires_grad=True).numpy(), [1, 2])
    assert Tensor(c, dtype=np.float64).dtype == np.float64
    with pytest.raises(DTypeError, match="detach"):
        Tensor(leaf([1.0]))
    with pytest.raises(DTypeError, match="detach"):
        Tensor(leaf([1.0]) * 2.0)


def test_np_asarray_works_for_constants_and_gradients_only() -> None:
    x = leaf([1.0, 2.0])
    for t in (x, x * 2.0):
        for convert in (
            np.asarray,
            np.array,
            lambda t: np.array([t, t]),
            lambda t: np.asarray(t, np.float32),
        ):
            with pytest.raises(DTypeError, match=r"\.numpy\(\)"):
                convert(t)
    (x * x).sum().backward()
    np.testing.assert_array_equal(np.asarray(x.grad), [2, 4])
    np.testing.assert_array_equal(np.asarray(x.detach()), [1, 2])
    assert np.asarray(Tensor([1.0]), dtype=np.float64).dtype == np.float64
    assert np.array(Tensor([1.0])).flags.writeable


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_a_leaf_of_its_own(how: str) -> None:
    x = leaf([2.0, 3.0], name="x")
    twin = COPIES[how](x)
    assert (twin.name, twin.requires_grad, twin.dtype) == ("x", True, x.dtype)
    (x * twin * twin).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4, 9])
    np.testing.assert_array_equal(twin.grad.numpy(), [8, 18])
    with pytest.raises(ValueError, match="read-only"):
        twin.data[0] = 100.0
    with pytest.raises(GraphError, match=rf"{how}.*exp"):
        COPIES[how](ta.exp(x))


def test_a_pickled_module_learns_by_itself() -> None:
    layer = ta.nn.Linear(2, 3, rng=np.random.default_rng(0))
    twin = COPIES["pickle"](layer)
    assert [type(p) for p in twin.parameters()] == [type(p) for p in layer.parameters()]
    (layer(np.ones(2)) * twin(np.ones(2))).sum().backward()
    for mine, other in zip(layer.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(mine.grad.numpy(), other.grad.numpy())


def test_deepcopy_of_leaves() -> None:
    x = leaf([1.0, 2.0], name="x")
    x.grad = np.ones(2)
    twin = copy.deepcopy(x)
    assert (twin.name, twin.requires_grad, twin.grad) == ("x", True, None)
    assert twin.node is not x.node
    (twin * twin).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 1])
    twin.data = np.zeros(2)
    np.testing.assert_array_equal(x.numpy(), [1, 2])
    assert not copy.deepcopy(Tensor([1.0])).requires_grad
    both = copy.deepcopy({"a": x, "b": [x]})
    assert both["a"] is both["b"][0]


@pytest.mark.parametrize(
    ("grad", "error"), [(np.ones(3), ShapeError), (1.0, ShapeError), ("text", DTypeError)]
)
def test_grad_must_fit(grad: Any, error: type[Exception]) -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(error):
        x.grad = grad
    assert x.grad is None


def test_grad_of_a_constant_is_none_and_can_be_cleared() -> None:
    c = Tensor([1.0])
    c.grad = None
    assert c.grad is None
    with pytest.raises(GraphError):
        c.grad = np.ones(1)


@pytest.mark.parametrize(
    "use",
    [
        lambda c: c.backward(),
        lambda c: c.retain_grad(),
        lambda c: ta.grad(c, [c]),
        lambda c: c.register_hook(print),
        lambda c: ta.grad(leaf(1.0) * 2.0, [c]),
    ],
)
def test_a_constant_has_no_graph(use: Any) -> None:
    with pytest.raises(GraphError, match="requires_grad=True"):
        use(Tensor(1.0))


COMPARED = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}


@pytest.mark.parametrize("name", COMPARED)
def test_comparisons_give_plain_boolean_arrays(name: str) -> None:
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])
    compare = COMPARED[name]
    expected = compare(a, b)
    for left, right in [(leaf(a), leaf(b)), (leaf(a), b), (a, leaf(b)), (leaf(a), 2.0)]:
        got = compare(left, right)
        assert type(got) is np.ndarray
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(compare(2.0, leaf(a)), compare(2.0, a))


@pytest.mark.parametrize(
    ("method", "args"), [("argmax", ()), ("argmin", (1,)), ("argmax", (0, True))]
)
def test_argmax_and_argmin_give_plain_arrays(method: str, args: tuple[Any, ...]) -> None:
    a = np.array([[1.0, 5.0, 3.0], [7.0, 2.0, 2.0]])
    axis, keepdims = (*args, None, False)[:2] if len(args) < 2 else args
    got = getattr(leaf(a), method)(*args)
    np.testing.assert_array_equal(got, getattr(np, method)(a, axis=axis, keepdims=keepdims))


def test_methods_take_numpys_forms() -> None:
    a = np.arange(24.0).reshape(2, 3, 4)
    t = leaf(a)
    for got, expected in [
        (t.reshape(4, 6), a.reshape(4, 6)),
        (t.reshape((4, -1)), a.reshape(4, -1)),
        (t.reshape(-1), a.reshape(-1)),
        (t.transpose(), a.transpose()),
        (t.transpose(1, 2, 0), a.transpose(1, 2, 0)),
        (t.transpose((1, 2, 0)), a.transpose(1, 2, 0)),
        (t.transpose(None), a.transpose()),
        (t.sum(1), a.sum(1)),
        (t.sum(axis=(0, 2), keepdims=True), a.sum(axis=(0, 2), keepdims=True)),
        (t.mean(-1), a.mean(-1)),
        (t.var(1, ddof=1), a.var(1, ddof=1)),
        (t.std(0), a.std(0)),
        (t.max(1), a.max(1)),
        (t.min(), a.min()),
        (t.prod(0), a.prod(0)),
        (t.cumsum(1), a.cumsum(1)),
        (t.swapaxes(0, 2), a.swapaxes(0, 2)),
        (t[:1].squeeze(0), a[0]),
        (-t, -a),
        (abs(-t), a),
        (t @ t.mT, a @ a.swapaxes(-1, -2)),
        (2 - t, 2 - a),
        (1 / (t + 1), 1 / (a + 1)),
        (2 ** (t / 9), 2 ** (a / 9)),
        (np.ones(2) @ t[:, 0], np.ones(2) @ a[:, 0]),
    ]:
        assert isinstance(got, Tensor)
        np.testing.assert_allclose(got.numpy(), expected)


def test_copy_is_a_leaf_of_its_own() -> None:
    w = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    c = copy.copy(w)
    c.data = np.array([10.0, 20.0])
    (w * c).sum().backward()
    np.testing.assert_array_equal(w.grad, [10.0, 20.0])
    np.testing.assert_array_equal(c.grad, [1.0, 2.0])


def test_a_gradient_set_by_hand_gets_the_dtype_of_its_tensor() -> None:
    x = Tensor(np.ones(2, np.float32), requires_grad=True)
    x.grad = np.ones(2)
    assert x.grad.dtype == np.float32
    with pytest.raises(DTypeError, match=r"grad: expected float32"):
        x.grad = np.ones(2, complex)


def test_an_array_like_object_keeps_its_dtype_and_its_buffer() -> None:
    class Measured:
        a = np.ones(3, np.float64)

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return self.a

    t = Tensor(Measured())
    assert t.dtype == np.float64
    Measured.a[0] = 7.0
    np.testing.assert_array_equal(t, np.ones(3))
