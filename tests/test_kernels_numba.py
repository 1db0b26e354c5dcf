"""What numba's kernels are made of: elementary functions for many numbers, code kept on disk."""

from __future__ import annotations

import os
from math import erfc, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta

Array = np.ndarray[Any, Any]
pytestmark = pytest.mark.numba
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1000.0, -1000.0, 1e30, -1e30]


@pytest.fixture(scope="module")
def mapped() -> Any:
    """Loops over many numbers, one for each function."""
    with ta.kernels.use("numba"):
        from tinygrad_attn.kernels.with_numba import compile, elementary

    @compile.elementwise
    def exp(x: Array, out: Array) -> None:
        for i in range(x.size):
            out[i] = elementary.exp(x[i])

    @compile.elementwise
    def sigmoid(x: Array, out: Array) -> None:
        for i in range(x.size):
            out[i] = elementary.sigmoid(x[i])

    @compile.elementwise
    def normal(x: Array, out: Array) -> None:
        for i in range(x.size):
            out[i] = elementary.normal(x[i])[0]

    @compile.compiled
    def largest(x: Array, out: Array) -> None:
        m = x[0]
        for i in range(x.size):
            m = elementary.maximum(m, x[i])
        out[0] = m

    loops = {"exp": exp, "sigmoid": sigmoid, "normal": normal, "largest": largest}

    def apply(name: str, values: Any, dtype: Any) -> Array:
        x = np.asarray(values, dtype)
        out = np.empty_like(x)
        loops[name](x, out)
        return out

    return apply


def numbers(dtype: Any, far: float) -> Array:
    """Odd in number, so that some are left over from whole vectors."""
    return np.linspace(-far, far, 20_011).astype(dtype)


@every_dtype
def test_exp(dtype: Any, mapped: Any) -> None:
    information = np.finfo(dtype)
    x = numbers(dtype, -float(np.log(information.smallest_normal)) - 1)
    exact = np.exp(x.astype(np.longdouble))
    assert np.abs(mapped("exp", x, dtype) / exact - 1).max() <= 3 * information.eps
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(
            mapped("exp", SPECIAL, dtype), np.exp(np.array(SPECIAL, dtype))
        )


@every_dtype
def test_exp_at_its_ends(dtype: Any, mapped: Any) -> None:
    """Up to the largest number; near the smallest normal one down to 0, never below."""
    information = np.finfo(dtype)
    top, bottom = (dtype(np.log(x)) for x in (information.max, information.smallest_normal))
    near = np.nextafter(top, dtype(0))
    assert mapped("exp", [near], dtype)[0] == pytest.approx(float(np.exp(near)), rel=1e-5)
    assert mapped("exp", [np.nextafter(top, dtype(np.inf)) + dtype(1e-3)], dtype)[0] == np.inf
    below = mapped("exp", np.linspace(bottom - 3, bottom + 3, 1001), dtype)
    assert (np.diff(below) >= 0).all()
    assert below[0] == 0 < below[-1]


@every_dtype
def test_sigmoid(dtype: Any, mapped: Any) -> None:
    x = numbers(dtype, 40.0)
    exact = 1 / (1 + np.exp(-x.astype(np.longdouble)))
    assert np.abs(mapped("sigmoid", x, dtype) - exact).max() <= 2 * np.finfo(dtype).eps
    expected = [np.nan, 1, 0, 0.5, 0.5, 1, 0, 1, 0]
    np.testing.assert_array_equal(mapped("sigmoid", SPECIAL, dtype), np.array(expected, dtype))


@every_dtype
def test_normal(dtype: Any, mapped: Any) -> None:
    x = numbers(dtype, 9.0)
    exact = np.array([erfc(-float(v) / sqrt(2)) / 2 for v in x])
    tolerance = 4e-7 if dtype == np.float32 else 1e-14
    assert np.abs(mapped("normal", x, dtype) - exact).max() <= tolerance
    expected = [np.nan, 1, 0, 0.5, 0.5, 1, 0, 1, 0]
    np.testing.assert_allclose(mapped("normal", SPECIAL, dtype), expected, rtol=tolerance)


@every_dtype
@pytest.mark.parametrize("size", [1, 7, 67])
def test_maximum(dtype: Any, size: int, mapped: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal(size).astype(dtype)
    assert mapped("largest", x, dtype)[0] == x.max()
    x[size // 2] = np.nan
    assert np.isnan(mapped("largest", x, dtype)[0])


def test_outdated_code_is_forgotten(tmp_path: Path) -> None:
    with ta.kernels.use("numba"):
        from tinygrad_attn.kernels.with_numba.compile import forget_outdated
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    for path, time in ((tmp_path / "a.py", 50), (cache / "old.nbi", 40), (cache / "new.nbi", 60)):
        path.touch()
        os.utime(path, (time, time))
    forget_outdated(tmp_path)
    assert [path.name for path in cache.iterdir()] == ["new.nbi"]
    other = tmp_path / "elsewhere" / "b.py"
    other.parent.mkdir()
    other.touch()  # now
    forget_outdated(tmp_path, other)
    assert not list(cache.iterdir())


def test_without_a_place_to_keep_code_it_is_compiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ta.kernels.use("numba"):
        from tinygrad_attn.kernels.with_numba import compile

    right = compile.njit

    def nowhere(cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return right(**options)

    monkeypatch.setattr(compile, "njit", nowhere)

    @compile.compiled
    def ratio(a: float, b: float) -> float:
        return a / b

    assert ratio(1.0, 0.0) == np.inf
