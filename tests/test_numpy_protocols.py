"""NumPy's functions on tensors find our operation or refuse; nothing detaches silently."""

from __future__ import annotations

from operator import add, eq, lt
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, Tensor
from tinygrad_attn.engine.dispatch import REGISTRY

A = np.array([[1.0, 2.0, 3.0], [5.0, 7.0, 11.0]])
B = np.array([[0.5, -1.0, 2.0], [3.0, 0.25, -0.5]])


def leaf(values: Any) -> Tensor:
    return Tensor(np.asarray(values, float), requires_grad=True)


DIFFERENTIABLE: dict[str, Any] = {
    "np.exp": np.exp,
    "np.log": np.log,
    "np.sqrt": np.sqrt,
    "np.tanh": np.tanh,
    "np.sin": np.sin,
    "np.cos": np.cos,
    "np.negative": np.negative,
    "np.square": np.square,
    "np.abs": np.abs,
    "np.fabs": np.fabs,
    "np.reciprocal": np.reciprocal,
    "np.expm1": np.expm1,
    "np.log1p": np.log1p,
    "np.sign": np.sign,
    "np.add": lambda x: np.add(x, B),
    "np.subtract": lambda x: np.subtract(B, x),
    "np.multiply": lambda x: np.multiply(x, x),
    "np.divide": lambda x: np.divide(B, x),
    "np.true_divide": lambda x: np.true_divide(x, 2),
    "np.power": lambda x: np.power(x, 2),
    "np.maximum": lambda x: np.maximum(x, 2.5),
    "np.minimum": lambda x: np.minimum(B * 9, x),
    "np.matmul": lambda x: np.matmul(x, B.T),
    "np.where": lambda x: np.where(x > 2, x, 0),
    "np.where of both": lambda x: np.where(B > 0, x, -x),
    "np.clip": lambda x: np.clip(x, 2, 6),
    "np.sum": np.sum,
    "np.sum(x, 1)": lambda x: np.sum(x, 1),
    "np.sum keepdims": lambda x: np.sum(x, axis=0, keepdims=True),
    "np.mean": lambda x: np.mean(x, -1),
    "np.var": lambda x: np.var(x, 1, ddof=1),
    "np.std": lambda x: np.std(x, axis=(0, 1)),
    "np.prod": np.prod,
    "np.max": lambda x: np.max(x, 1),
    "np.min": lambda x: np.min(x, axis=0),
    "np.amax": np.amax,
    "np.amin": np.amin,
    "np.cumsum": lambda x: np.cumsum(x, 1),
    "np.linalg.norm": np.linalg.norm,
    "np.linalg.norm(axis)": lambda x: np.linalg.norm(x, axis=1),
    "np.linalg.norm(1)": lambda x: np.linalg.norm(x, 1, 0),
    "np.concatenate": lambda x: np.concatenate([x, B]),
    "np.concatenate axis": lambda x: np.concatenate((B, x, x), axis=1),
    "np.concatenate None": lambda x: np.concatenate([x, B[0]], axis=None),
    "np.concat": lambda x: np.concat([x, x]),
    "np.stack": lambda x: np.stack([x, B], axis=-1),
    "np.split": lambda x: np.split(x, [1], axis=1)[1],
    "np.reshape": lambda x: np.reshape(x, (3, 2)),
    "np.transpose": np.transpose,
    "np.transpose axes": lambda x: np.transpose(x, (1, 0)),
    "np.swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "np.moveaxis": lambda x: np.moveaxis(x, 0, -1),
    "np.expand_dims": lambda x: np.expand_dims(x, 1),
    "np.squeeze": lambda x: np.squeeze(x[:1]),
    "np.broadcast_to": lambda x: np.broadcast_to(x, (5, 2, 3)),
    "np.flip": lambda x: np.flip(x, 1),
    "np.roll": lambda x: np.roll(x, 1),
    "np.tile": lambda x: np.tile(x, 2),
    "np.repeat": lambda x: np.repeat(x, 2, 1),
    "np.pad": lambda x: np.pad(x, 1),
    "np.tril": np.tril,
    "np.triu": lambda x: np.triu(x, 1),
    "np.diagonal": np.diagonal,
    "np.outer": lambda x: np.outer(x, B),
    "np.take": lambda x: np.take(x, [0, 0, 2], axis=1),
    "np.take_along_axis": lambda x: np.take_along_axis(x, np.array([[0, 2], [1, 1]]), 1),
    "np.sort": lambda x: np.sort(x, 0),
    "np.einsum": lambda x: np.einsum("ij,kj->ik", x, B),
    "np.tan": np.tan,
    "np.arcsin": lambda x: np.arcsin(x / 20),
    "np.arctan2": lambda x: np.arctan2(x, B),
    "np.hypot": lambda x: np.hypot(B, x),
    "np.arccosh": lambda x: np.arccosh(x + 1),
    "np.exp2": np.exp2,
    "np.log2": np.log2,
    "np.log10": np.log10,
    "np.logaddexp": lambda x: np.logaddexp(x, B),
    "np.fmax": lambda x: np.fmax(x, 4),
    "np.nan_to_num": lambda x: np.nan_to_num(x, nan=1.0),
    "np.clip of tensors": lambda x: np.clip(B, x - 2, x + 2),
    "np.floor": np.floor,
    "np.ceil": np.ceil,
    "np.trunc": np.trunc,
    "np.rint": np.rint,
    "np.remainder": lambda x: np.remainder(x, B),
    "np.mod": lambda x: np.mod(7.5, x),
    "np.fmod": lambda x: np.fmod(B, x),
    "np.floor_divide": lambda x: np.floor_divide(x, B),
    "array % x": lambda x: B % x,
    "x // array": lambda x: x // B,
    "np.round": lambda x: np.round(x, 1),
    "np.around": np.around,
    "np.median": lambda x: np.median(x, axis=0),
    "np.cumprod": lambda x: np.cumprod(x, axis=1),
    "np.linalg.norm(fro)": lambda x: np.linalg.norm(x, "fro"),
    "np.ravel": np.ravel,
    "np.atleast_3d": np.atleast_3d,
    "np.rot90": np.rot90,
    "np.flipud": np.flipud,
    "np.hstack": lambda x: np.hstack([x, B]),
    "np.vstack": lambda x: np.vstack([B, x]),
    "np.dstack": lambda x: np.dstack([x, x]),
    "np.column_stack": lambda x: np.column_stack([x, B]),
    "np.array_split": lambda x: np.array_split(x, 2, axis=1)[0],
    "np.pad edge": lambda x: np.pad(x, 1, mode="edge"),
    "sliding_window_view": lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, axis=1),
    "np.diag": np.diag,
    "np.trace": np.trace,
    "np.dot": lambda x: np.dot(x, B.T),
    "np.inner": lambda x: np.inner(B, x),
    "np.vdot": lambda x: np.vdot(x, B),
    "np.tensordot": lambda x: np.tensordot(x, B, axes=2),
    "np.kron": lambda x: np.kron(x, B),
    "np.linalg.multi_dot": lambda x: np.linalg.multi_dot([x, B.T, x]),
    "array * x": lambda x: B * x,
    "array + x": lambda x: B + x,
    "array - x": lambda x: B - x,
    "array / x": lambda x: B / x,
    "array ** x": lambda x: np.abs(B) ** x,
    "array @ x": lambda x: B.T @ x,
    "scalar * x": lambda x: np.float64(2) * x,
    "scalar - x": lambda x: np.float64(2) - x,
    "0-d array / x": lambda x: np.array(2.0) / x,
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_numpys_functions_give_tensors_with_numpys_values(name: str) -> None:
    f = DIFFERENTIABLE[name]
    x = leaf(A)
    y = f(x)
    assert isinstance(y, Tensor)
    assert y.requires_grad
    assert (y.shape, y.dtype) == (np.shape(f(A)), np.float64)
    np.testing.assert_allclose(y.numpy(), f(A), rtol=1e-14)
    assert ta.grad(y.sum(), [x])[0].shape == A.shape


def test_they_differentiate() -> None:
    x = leaf(A)
    np.sum(np.exp(x) * A).backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(A) * A)


def test_both_arguments_get_their_gradient() -> None:
    x, y = leaf(A), leaf(B)
    np.concatenate([x, y * 2.0]).backward(np.ones((4, 3)))
    assert x.grad.numpy().tolist() == np.ones((2, 3)).tolist()
    assert y.grad.numpy().tolist() == np.full((2, 3), 2.0).tolist()


PLAIN: dict[str, Any] = {
    "np.equal": lambda x: np.equal(x, A),
    "np.less": lambda x: np.less(x, 3),
    "np.greater_equal": lambda x: np.greater_equal(B, x),
    "array < x": lambda x: lt(B, x),
    "array == x": lambda x: eq(A, x),
    "np.isfinite": np.isfinite,
    "np.isnan": np.isnan,
    "np.isinf": np.isinf,
    "np.logical_not": np.logical_not,
    "np.shape": np.shape,
    "np.ndim": np.ndim,
    "np.size": np.size,
    "np.argmax": lambda x: np.argmax(x, 1),
    "np.argmin": np.argmin,
    "np.argsort": lambda x: np.argsort(x, axis=0),
    "np.allclose": lambda x: np.allclose(x, A),
    "np.isclose": lambda x: np.isclose(x, A),
    "np.array_equal": lambda x: np.array_equal(x, A),
    "np.any": lambda x: np.any(x),
    "np.all": lambda x: np.all(x > 0),
    "np.count_nonzero": np.count_nonzero,
    "np.zeros_like": np.zeros_like,
    "np.ones_like": lambda x: np.ones_like(x, dtype=np.float32),
    "np.full_like": lambda x: np.full_like(x, 3),
    "np.result_type": lambda x: np.result_type(x, np.float32),
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_has_no_gradient_gives_plain_values(name: str) -> None:
    f = PLAIN[name]
    got, expected = f(leaf(A)), f(A)
    assert not isinstance(got, Tensor)
    assert type(got) is type(expected)
    np.testing.assert_array_equal(got, expected)


UNSUPPORTED: dict[str, Any] = {
    "np.heaviside": lambda x: np.heaviside(x, A),
    "np.percentile": lambda x: np.percentile(x, 30),
    "np.put_along_axis": lambda x: np.put_along_axis(x, np.array([[0], [1]]), 7.0, 1),
    "np.linalg.inv": lambda x: np.linalg.inv(x @ x.T),
    "np.fft.fft": np.fft.fft,
    "np.nansum": np.nansum,
    "np.cross": lambda x: np.cross(x, A),
    "np.interp": lambda x: np.interp(x, A[0], A[0]),
    "np.cbrt": np.cbrt,
    "np.unique": np.unique,
    "np.save": lambda x: np.copyto(A.copy(), x),
    "np.convolve": lambda x: np.convolve(x[0], A[0]),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_supported_raises_and_names_itself(name: str) -> None:
    x = leaf(A)
    called = {"np.save": "np.copyto"}.get(name, name)
    with pytest.raises(DTypeError, match=f"^{called} is not supported"):
        UNSUPPORTED[name](x)


def test_out_reduce_and_other_forms_of_ufuncs_are_refused() -> None:
    x, out = leaf(A), np.zeros((2, 3))
    for call in (
        lambda: np.add(x, 1, out=out),
        lambda: np.add(A, 1, out=x),
        lambda: np.add.reduce(x),
        lambda: np.add.accumulate(x),
        lambda: np.multiply.outer(x, A),
        lambda: np.exp(x, where=A > 1),
        lambda: np.add(x, 1, dtype=np.float32),
        lambda: np.add.at(x, 0, 1),
        lambda: np.add.reduceat(A, [0], out=x),
    ):
        with pytest.raises(DTypeError, match=r"np\.(add|multiply|exp)"):
            call()
    assert out.tolist() == np.zeros((2, 3)).tolist()


@pytest.mark.parametrize(
    "form", [lambda a, x: a.__iadd__(x), lambda a, x: a.__imul__(x), lambda a, x: a.__itruediv__(x)]
)
def test_writing_a_tensor_into_an_array_is_refused(form: Any) -> None:
    array = A.copy()
    with pytest.raises(DTypeError):
        form(array, leaf(B))
    np.testing.assert_array_equal(array, A)


def test_a_variable_assigned_into_an_array_is_refused() -> None:
    array = np.zeros((2, 3))
    with pytest.raises(DTypeError, match=r"\.numpy\(\)"):
        array[0] = leaf(A)[0]
    array[0] = leaf(A).detach()[0]
    assert array[0].tolist() == A[0].tolist()


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.sum(x, dtype=np.float32),
        lambda x: np.sum(x, where=A > 1),
        lambda x: np.mean(x, dtype=np.float32),
        lambda x: np.max(x, initial=0),
        lambda x: np.where(x),
        lambda x: np.concatenate([x], out=np.zeros((2, 3))),
        lambda x: np.sort(x, kind="heapsort"),
        lambda x: np.pad(x, 1, mode="mean"),
        lambda x: np.linalg.norm(x, "nuc"),
        lambda x: np.reshape(x, (2, 3), order="F"),
    ],
)
def test_options_that_are_not_ours_are_refused(call: Any) -> None:
    """Better than a result that ignores them."""
    x = leaf(A)
    assert call(A) is not None  # NumPy itself takes it
    with pytest.raises((DTypeError, ShapeError)):
        call(x)


def test_errors_of_plain_functions_are_ours_and_name_them() -> None:
    x = leaf(A)
    for call, name in [
        (lambda: np.argmax(x, 5), "argmax"),
        (lambda: x < np.ones(7), "less"),
        (lambda: np.isclose(x, np.ones(7)), "isclose"),
        (lambda: x == np.ones(7), "equal"),
    ]:
        with pytest.raises(ShapeError, match=name):
            call()


def test_a_rule_written_with_numpy_runs_on_tensors() -> None:
    """One text for arrays and, under create_graph, for tensors."""
    x = leaf([0.5, -0.5, 2.0])
    with ta.exp.replaced_vjp(0, lambda g, x: np.where(x > 0, g * np.exp(x), g * np.exp(x))):
        y = ta.exp(x)
    (first,) = ta.grad(y.sum(), [x], create_graph=True)
    (second,) = ta.grad(first.sum(), [x])
    np.testing.assert_allclose(second.numpy(), np.exp(x.numpy()))


def test_array_priority_with_lists_and_scalars() -> None:
    x = leaf([1.0, 2.0])
    for got in (
        add([1.0, 2.0], x),
        [1.0, 2.0] * x,
        3 - x,
        np.ones(2) - x,
        np.float32(1) / x,
        True * x,
    ):
        assert isinstance(got, Tensor)
        assert got.dtype == np.float64


def test_only_operations_stand_in_for_numpy_functions() -> None:
    assert all(hasattr(op, "name") for op in REGISTRY.values())
    with pytest.raises(DTypeError, match=r"np\.cross is not supported"):
        np.cross(leaf(A), leaf(A))
