"""Bugs in recurrent networks: gates, saved values, and one weight that is used at every step."""

from __future__ import annotations

from collections import deque

import numpy as np

from ... import nn, ops
from ...engine import Array
from ...ops.recurrent import (
    gru_cell,
    gru_dgh,
    gru_gates,
    lstm_cell,
    lstm_da,
    lstm_gates,
    lstm_slopes,
)
from ..causes import Cause
from ..draws import normal
from .bug import Cage, Draw, Size, Subject

CAGE = Cage("recurrent networks")
plants = CAGE.plants


# ── what they are seen in ────────────────────────────────────────────────────────────────────────
def unrolled(size: Size, rng: Draw) -> Subject:
    """An Elman network over a few steps, the products done before."""

    def f(x: Array, h: Array, w: Array) -> Array:
        for t in range(size.T):
            h = ops.tanh(x[t] + ops.matmul(h, w))
        return h

    return Subject(
        f,
        (
            normal(rng, size.T, size.B, size.D),
            normal(rng, size.B, size.D),
            normal(rng, size.D, size.D),
        ),
    )


def gru(size: Size, rng: Draw) -> Subject:
    """A GRU over a few steps."""
    return Subject(nn.GRU(2, size.D, rng=rng), (normal(rng, size.B, size.T + 1, 2),))


def lstm(size: Size, rng: Draw) -> Subject:
    """An LSTM over a few steps."""
    layer = nn.LSTM(2, size.D, rng=rng)
    return Subject(lambda x: layer(x)[0], (normal(rng, size.B, size.T + 1, 2),))


# ── Elman's network ──────────────────────────────────────────────────────────────────────────────
class Newest(np.ndarray[tuple[int, ...], np.dtype[np.float64]]):
    """An array that what is added to it replaces."""

    def __add__(self, other: Array) -> Array:  # type: ignore[override]
        return other


@plants(ops.matmul, "b", unrolled, Cause.OVERWRITTEN)
def rnn_weight_of_one_step(g: Array, a: Array) -> Array:
    """`dw = …` for `dw += …` in backpropagation through time. Each step's gradient is right, and
    all but one are lost: no check of a single step can see it.
    """
    return (np.swapaxes(a, -1, -2) @ g).view(Newest)


BEFORE: deque[Array] = deque(maxlen=2)


def earlier(value: Array) -> Array:
    """What this was called with the time before, if it fits."""
    BEFORE.append(value)
    return BEFORE[0] if BEFORE[0].shape == value.shape else value


@plants(ops.tanh, "x", unrolled, Cause.STALE)
def rnn_stale_state(g: Array, out: Array) -> Array:
    """The slope is taken at the state of another time step, because a buffer was used again: right
    for one step, wrong for more.
    """
    return g * (1 - earlier(out) ** 2)


@plants(ops.tanh, "x", unrolled, Cause.WRONG_VALUE)
def rnn_slope_at_preactivation(g: Array, x: Array) -> Array:
    """1 − x² with x from before the tanh: negative for large states, and gradients explode."""
    return g * (1 - x * x)


@plants(ops.matmul, "a", unrolled, Cause.DETACHED)
def rnn_forgets_the_past(g: Array, a: Array) -> Array:
    """The state is detached between steps: truncated to one step, nothing long is ever learnt."""
    return 0 * a


# ── gates ────────────────────────────────────────────────────────────────────────────────────────
@plants(gru_cell, "h", gru, Cause.WRONG_VALUE)
def gru_keeps_the_wrong_share(g: Array, gi: Array, gh: Array) -> Array:
    """dh = dy∘(1 − z) for dy∘z: papers disagree about which of the two keeps the old state."""
    return g * (1 - gru_gates(gi, gh)[1])


@plants(gru_cell, "gh", gru, Cause.WRONG_VALUE)
def gru_reset_at_wrong_place(g: Array, gi: Array, gh: Array, h: Array) -> Array:
    """Δ∘z for Δ∘r in the last third: the update gate where the reset gate belongs."""
    r, z, _, _ = gru_gates(gi, gh)
    right = gru_dgh(g, gi, gh, h)
    width = h.shape[-1]
    return np.concatenate([right[..., : 2 * width], right[..., 2 * width :] / r * z], -1)


@plants(lstm_cell, "c", lstm, Cause.WRONG_VALUE)
def lstm_forgets_by_input_gate(g: tuple[Array, Array], a: Array, c: Array) -> Array:
    """dc = Δ∘i for Δ∘f: the gates lie side by side, and libraries order them differently."""
    i, _, _, _, _, ds = lstm_slopes(g, a, c)
    return ds * i


@plants(lstm_cell, "c", lstm, Cause.DETACHED)
def lstm_loses_its_cell_state(g: tuple[Array, Array], a: Array, c: Array) -> Array:
    """What arrives at the cell state from later steps is dropped: the one path that does not vanish
    is cut, and an LSTM remembers no longer than an RNN.
    """
    _, f, _, o, t, _ = lstm_slopes(g, a, c)
    return g[0] * o * (1 - t * t) * f


@plants(lstm_cell, "a", lstm, Cause.WRONG_VALUE)
def lstm_output_gate_of_raw_state(g: tuple[Array, Array], a: Array, c: Array) -> Array:
    """dy∘s∘o′ for dy∘tanh(s)∘o′ in the last quarter."""
    i, f, u, o = lstm_gates(a)
    da = lstm_da(g, a, c)
    return np.concatenate([da[..., : -c.shape[-1]], g[0] * (f * c + i * u) * o * (1 - o)], -1)
