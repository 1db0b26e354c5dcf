"""PyTorch's products, by ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_attn as ta

Function = Callable[..., Any]


def added(product: Function) -> Function:
    """beta·x + alpha·product(a, b)."""
    return lambda x, a, b, beta=1, alpha=1: beta * x + alpha * product(a, b)


def convolution(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """`conv`; PyTorch takes a single image too, a bias, and "same" as padding."""
    ndim = weight.ndim - 2
    batch = ta.reshape(x, (1, *x.shape)) if x.ndim == ndim + 1 else x
    if isinstance(padding, str):
        gaps = np.broadcast_to(dilation, ndim) * (np.array(weight.shape[2:]) - 1)
        gaps = gaps if padding == "same" else 0 * gaps
        batch, padding = ta.pad(batch, [(0, 0), (0, 0), *((n // 2, n - n // 2) for n in gaps)]), 0
    options = [v[0] if np.ndim(v) and len(v) == 1 else v for v in (stride, padding, dilation)]
    y = ta.conv(batch, weight, *options, groups)
    y = y if bias is None else y + ta.reshape(bias, (-1,) + (1,) * ndim)
    return y[0] if x.ndim == ndim + 1 else y


FUNCTIONS: dict[str, Function] = {
    **dict.fromkeys(("matmul", "mm", "bmm", "mv"), ta.matmul),
    **{name: getattr(ta, name) for name in ("dot", "inner", "outer", "kron")},
    "tensordot": lambda a, b, dims=2: ta.tensordot(a, b, dims),
    "linalg.multi_dot": ta.multi_dot,
    "einsum": lambda arrays, equation: ta.einsum(equation, *arrays),
    **{name: added(ta.matmul) for name in ("addmm", "addmv", "baddbmm")},
    "addbmm": added(lambda a, b: ta.sum(ta.matmul(a, b), 0)),
    **dict.fromkeys(("nn.functional.conv1d", "nn.functional.conv2d"), convolution),
}
