"""One step of a recurrent network: the cells of the GRU and the LSTM.

A cell is elementwise.  The matrix products stand before it, so that the one with the input can be
done for all time steps at once.  In the formulas a prime on a gate is its slope: r′ = r∘(1 − r) for
a logistic gate, n′ = 1 − n∘n for a tanh.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Array, ShapeError, primitive

__all__ = ["gru_cell", "lstm_cell"]


@primitive
def gru_cell(gi: Array, gh: Array, h: Array, /) -> Array:
    """The next state y of a GRU (Cho et al. 2014, in the form of cuDNN and PyTorch).

        r = σ(gi_r + gh_r)    z = σ(gi_z + gh_z)    n = tanh(giₙ + r∘ghₙ)    y = n + z∘(h − n)

    gi = W_i x + b_i and gh = W_h h + b_h are (..., 3·H), the parts r, z, n side by side; h and y
    are (..., H).
    """
    expect_width("gru_cell", h, 3, gi=gi, gh=gh)
    _, z, n, _ = gru_gates(gi, gh)
    return n + z * (h - n)


gru_cell.defvjp(
    lambda g, gi, gh, h: gru_dgi(g, gi, gh, h),  # dgi = [Δ∘ghₙ∘r′, dy∘(h−n)∘z′, Δ], Δ = dy∘(1−z)∘n′
    lambda g, gi, gh, h: gru_dgh(g, gi, gh, h),  # dgh = [Δ∘ghₙ∘r′, dy∘(h−n)∘z′, Δ∘r]
    lambda g, gi, gh: g * gru_gates(gi, gh)[1],  # dh = dy∘z
)


def gru_gates(gi: Any, gh: Any) -> tuple[Any, Any, Any, Any]:
    """r, z, n, and the part of gh that r scales."""
    width = gi.shape[-1] // 3
    rz = logistic(gi[..., : 2 * width] + gh[..., : 2 * width])
    r, z, scaled = rz[..., :width], rz[..., width:], gh[..., 2 * width :]
    return r, z, np.tanh(gi[..., 2 * width :] + r * scaled), scaled


def gru_slopes(g: Any, gi: Any, gh: Any, h: Any) -> tuple[Any, Any, Any, Any]:
    """The gradients of what stands inside σ, σ and tanh; and r."""
    r, z, n, scaled = gru_gates(gi, gh)
    dn = g * (1 - z) * (1 - n * n)
    return dn * scaled * r * (1 - r), g * (h - n) * z * (1 - z), dn, r


def gru_dgi(g: Any, gi: Any, gh: Any, h: Any) -> Any:
    """The gradient of gi."""
    dr, dz, dn, _ = gru_slopes(g, gi, gh, h)
    return np.concatenate([dr, dz, dn], -1)


def gru_dgh(g: Any, gi: Any, gh: Any, h: Any) -> Any:
    """The gradient of gh: as gi's, but n sees gh through r."""
    dr, dz, dn, r = gru_slopes(g, gi, gh, h)
    return np.concatenate([dr, dz, dn * r], -1)


@primitive
def lstm_cell(a: Array, c: Array, /) -> tuple[Array, Array]:
    """The next state (y, s) of an LSTM (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

        i = σ(a_i)    f = σ(a_f)    u = tanh(a_u)    o = σ(a_o)
        s = f∘c + i∘u               t = tanh(s)      y = o∘t

    a = W_i x + W_h h + b is (..., 4·H), the parts i, f, u, o side by side; c, s and y are
    (..., H).
    """
    expect_width("lstm_cell", c, 4, a=a)
    i, f, u, o = lstm_gates(a)
    s = f * c + i * u
    return o * np.tanh(s), s


lstm_cell.defvjp(
    lambda g, a, c: lstm_da(g, a, c),  # da = [Δ∘u∘i′, Δ∘c∘f′, Δ∘i∘u′, dy∘t∘o′], Δ = ds + dy∘o∘t′
    lambda g, a, c: lstm_dc(g, a, c),  # dc = Δ∘f
)


def lstm_gates(a: Any) -> tuple[Any, Any, Any, Any]:
    """i, f, u and o."""
    width = a.shape[-1] // 4
    both = logistic(a[..., : 2 * width])
    u, o = np.tanh(a[..., 2 * width : 3 * width]), logistic(a[..., 3 * width :])
    return both[..., :width], both[..., width:], u, o


def lstm_slopes(g: tuple[Any, Any], a: Any, c: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
    """i, f, u, o, t, and Δ: all that reaches s."""
    i, f, u, o = lstm_gates(a)
    t = np.tanh(f * c + i * u)
    return i, f, u, o, t, g[1] + g[0] * o * (1 - t * t)


def lstm_da(g: tuple[Any, Any], a: Any, c: Any) -> Any:
    """The gradient of the pre-activations a."""
    i, f, u, o, t, ds = lstm_slopes(g, a, c)
    parts = (ds * u * i * (1 - i), ds * c * f * (1 - f), ds * i * (1 - u * u))
    return np.concatenate([*parts, g[0] * t * o * (1 - o)], -1)


def lstm_dc(g: tuple[Any, Any], a: Any, c: Any) -> Any:
    """The gradient of the state c."""
    _, f, _, _, _, ds = lstm_slopes(g, a, c)
    return ds * f


def logistic(x: Any) -> Any:
    """σ(x) as (1 + tanh(x/2)) / 2: it cannot overflow; to 1e-16 absolute, so 0 below about −37."""
    return (1 + np.tanh(x * 0.5)) * 0.5


def expect_width(who: str, state: Array, times: int, **gates: Array) -> None:
    """Refuse pre-activations that are not `times` as wide as the state."""
    for name, gate in gates.items():
        if not np.ndim(state) or np.shape(gate)[-1:] != (times * state.shape[-1],):
            raise ShapeError(
                f"{who}: expected {name} (..., {times}·H) beside a state (..., H), got "
                f"{np.shape(gate)} and {np.shape(state)}"
            )
