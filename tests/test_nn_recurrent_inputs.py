"""Recurrent networks refuse what does not fit, by name and shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_attn import DTypeError, ShapeError, nn
from tinygrad_attn.ops.recurrent import gru_cell, lstm_cell

B, T, D, H = 3, 5, 2, 4
every_kind = pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
ONES = np.ones((B, T, D), np.float32)


@every_kind
def test_wrong_inputs_are_refused(kind: Any) -> None:
    layer, who = kind(D, H), kind.__name__
    with pytest.raises(ShapeError, match=rf"{who}: expected x \(B, T, 2\), got \(3, 5, 3\)"):
        layer(np.ones((B, T, 3)))
    with pytest.raises(ShapeError, match=rf"{who}: expected x \(B, T, 2\), got \(5, 2\)"):
        layer(np.ones((T, D)))
    with pytest.raises(DTypeError, match=f"{who}: expected a floating x, got int64"):
        layer(np.ones((B, T, D), np.int64))


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([1, 2, 6], ShapeError, "between 0 and the 5 steps of x, got 1 … 6"),
        ([-1, 2, 3], ShapeError, "between 0 and the 5 steps of x, got -1 … 3"),
        ([1, 2], ShapeError, r"expected lengths \(3,\), one per sequence, got \(2,\)"),
        (4, ShapeError, r"expected lengths \(3,\), one per sequence, got \(\)"),
        ([1.0, 2.0, 3.0], DTypeError, "lengths must be integers, got float64"),
        ([True, True, False], DTypeError, "lengths must be integers, got bool"),
    ],
)
def test_wrong_lengths_are_refused(lengths: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=f"GRU: .*{message}"):
        nn.GRU(D, H)(ONES, lengths=lengths)


def test_wrong_states_are_refused() -> None:
    right, wrong = np.zeros((1, B, H)), np.zeros((B, H))
    shape = r"\(layers·directions, B, H\) = \(1, 3, 4\), got \(3, 4\)"
    with pytest.raises(ShapeError, match=f"GRU: expected the state h {shape}"):
        nn.GRU(D, H)(ONES, wrong)
    with pytest.raises(ShapeError, match=f"LSTM: expected the state c {shape}"):
        nn.LSTM(D, H)(ONES, (right, wrong))
    with pytest.raises(DTypeError, match=r"LSTM: expected the state \(h, c\), got 1 part"):
        nn.LSTM(D, H)(ONES, right)
    with pytest.raises(DTypeError, match=r"RNN: expected the state \(h\), got 2 parts"):
        nn.RNN(D, H)(ONES, (right, right))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.RNN(0, 2), "RNN: d_in must be an integer of 1 or more, got 0"),
        (lambda: nn.GRU(2, 1.5), "GRU: d_hidden must be an integer of 1 or more, got 1.5"),
        (lambda: nn.LSTM(2, 3, 0), "LSTM: num_layers must be an integer of 1 or more, got 0"),
        (lambda: nn.LSTM(2, 3, dropout=1.0), r"LSTM: .* must lie in \[0, 1\), got 1.0"),
        (
            lambda: nn.RNN(2, 3, nonlinearity="elu"),
            r"RNN: nonlinearity must be one of \('tanh', 'relu'\), got 'elu'",
        ),
    ],
)
def test_wrong_options_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        make()


def test_cells_refuse_widths_that_do_not_fit() -> None:
    gates, state = np.ones((2, 9)), np.ones((2, 3))
    with pytest.raises(ShapeError, match=r"gru_cell: expected gh \(..., 3·H\).* got \(2, 8\)"):
        gru_cell(gates, gates[:, :8], state)
    with pytest.raises(ShapeError, match=r"lstm_cell: expected a \(..., 4·H\).* got \(2, 9\)"):
        lstm_cell(gates, state)
    with pytest.raises(ShapeError, match="gru_cell"):
        gru_cell(gates, gates, np.ones(()))
