"""A fused operation made for tests: tanh(x w) ∘ x · scale + bias, and its kernel's two passes."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import Tensor

CALLS: list[str] = []


def gated(x: Any, w: Any, bias: Any = None, *, scale: Any = 1.0) -> Any:
    """tanh(x w) ∘ x · scale + bias, composed of primitives."""
    CALLS.append("definition")
    out = ta.tanh(ta.matmul(x, w)) * x * scale
    return out if bias is None else out + bias


def forward(x: Any, w: Any, bias: Any = None, *, scale: Any = 1.0) -> tuple[Any, Any]:
    CALLS.append("forward")
    t = np.tanh(x @ w)
    out = t * x * scale
    return (out if bias is None else out + bias), t


def backward(
    g: Any, t: Any, x: Any, w: Any, bias: Any = None, *, needs: Any, scale: Any = 1.0
) -> tuple[Any, ...]:
    CALLS.append("backward")
    inner = g * scale * x * (1 - t * t)
    parts = (g * scale * t + inner @ w.T, x.T @ inner)
    return parts if bias is None else (*parts, g)


def variables(dtype: Any = np.float64) -> tuple[Tensor, Tensor, Tensor, Any]:
    rng = np.random.default_rng(0)
    made = [
        Tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True)
        for shape in ((2, 3), (3, 3), (3,))
    ]
    return (*made, rng.standard_normal((2, 3)))


def same(got: Any, expected: Any) -> None:
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-14)
