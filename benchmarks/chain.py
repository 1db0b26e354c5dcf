"""What one small operation costs: softmax(y·a·b) thirty times on 8×8 float64, forward and backward.

The arrays are so small that the time is the engines' own work.  "bare NumPy" is the same
arithmetic written out by hand, without any engine: the floor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_attn as ta

from .harness import OURS, Case

LENGTH = 30
RNG = np.random.default_rng(0)
X, A, B, G = (RNG.standard_normal((8, 8)) for _ in range(4))


def ours() -> list[Any]:
    """This library."""
    x, a, b = (ta.Tensor(array, requires_grad=True) for array in (X, A, B))
    y = x
    for _ in range(LENGTH):
        y = ta.softmax(y * a * b)
    y.backward(G)
    return [x.grad, a.grad, b.grad]


def bare() -> list[Any]:
    """The same arithmetic without an engine."""
    saved, y = [], X
    for _ in range(LENGTH):
        scaled = y * A
        scores = scaled * B
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
        p = e / e.sum(axis=-1, keepdims=True)
        saved.append((y, scaled, p))
        y = p
    g, ga, gb = G, np.zeros_like(A), np.zeros_like(B)
    for y, scaled, p in reversed(saved):
        g = p * (g - (g * p).sum(axis=-1, keepdims=True))
        gb, g = gb + g * scaled, g * B
        ga, g = ga + g * y, g * A
    return [g, ga, gb]


def torch() -> Callable[[], list[Any]]:
    """PyTorch eager; one thread, which is fastest at this size."""
    import torch

    torch.set_num_threads(1)

    def work() -> list[Any]:
        x, a, b = (torch.tensor(array, requires_grad=True) for array in (X, A, B))
        y = x
        for _ in range(LENGTH):
            y = torch.softmax(y * a * b, -1)
        y.backward(torch.tensor(G))
        return [x.grad.numpy(), a.grad.numpy(), b.grad.numpy()]

    return work


def autograd() -> Callable[[], list[Any]]:
    """HIPS autograd."""
    import autograd.numpy as anp
    from autograd import make_vjp

    def chain(arrays: Any) -> Any:
        y, a, b = arrays
        for _ in range(LENGTH):
            scores = y * a * b
            e = anp.exp(scores - anp.max(scores, axis=-1, keepdims=True))
            y = e / anp.sum(e, axis=-1, keepdims=True)
        return y

    return lambda: list(make_vjp(chain)((X, A, B))[0](G))


def case(peers: list[str]) -> Case:
    """The case with those of `peers` that are installed."""
    contestants: dict[str, Callable[[], list[Any]]] = {OURS: ours, "bare NumPy": bare}
    for name, make in (("PyTorch", torch), ("HIPS autograd", autograd)):
        if not peers or name in peers:
            try:
                contestants[name] = make()
            except ImportError:
                continue
    return Case("chain", "90 small ops (mul, mul, softmax ×30) on 8×8 float64, forward + backward",
                contestants, repeats=10)  # fmt: skip
