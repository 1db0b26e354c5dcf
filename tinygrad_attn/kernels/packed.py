"""Self-attention on Q, K and V as one projection gives them, side by side.

Nothing is copied to take them apart: they are views of it, the context is written where the heads
belong, and dQ, dK and dV into one array of the projection's form.
"""

from __future__ import annotations

import numpy as np

from .attention import Kept, attend, differentiate
from .limits import Array, Plan
from .passes import Passes


def forward(
    passes: Passes, qkv: Array, added: Array | None, *, heads: int, plan: Plan
) -> tuple[Array, Kept]:
    """The heads' contexts side by side (B, T, D), of `qkv` (B, T, 3·D)."""
    batch, time, width = qkv.shape
    out = np.empty((batch, time, heads, width // (3 * heads)), qkv.dtype)
    q, k, v = apart(qkv, heads)
    kept = attend(passes, q, k, v, added, plan, out.transpose(0, 2, 1, 3))
    return out.reshape(batch, time, width // 3), kept


def backward(
    passes: Passes,
    g: Array,
    kept: Kept,
    qkv: Array,
    added: Array | None,
    *,
    needs: tuple[bool, ...],
    heads: int,
    plan: Plan,
) -> tuple[Array | None, ...]:
    """That of the projection, and that of what is added, whose broadcast axes are not summed."""
    batch, time, width = qkv.shape
    dqkv = np.empty(qkv.shape, qkv.dtype) if needs[0] else None
    dq, dk, dv = (None, None, None) if dqkv is None else apart(dqkv, heads)
    dadded = np.empty(plan.shape, qkv.dtype) if needs[1] else None
    dout = g.reshape(batch, time, heads, width // (3 * heads)).transpose(0, 2, 1, 3)
    differentiate(passes, dout, kept, plan, dq, dk, dv, dadded)
    return dqkv, dadded


def apart(qkv: Array, heads: int) -> Array:
    """(B, T, 3·D) -> Q, K and V, (3, B, H, T, d): views."""
    batch, time, width = qkv.shape
    return qkv.reshape(batch, time, 3, heads, width // (3 * heads)).transpose(2, 0, 3, 1, 4)
