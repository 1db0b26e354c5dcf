"""Every cell is the sum of its terms, and a wrong number shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from anatomies import recorded

from tinygrad_attn import IndexingError
from tinygrad_attn.viz.anatomy.cells import TERMS, Cells

Rng = np.random.Generator
KINDS: dict[str, dict[str, Any]] = {
    "self": {"masked": True},
    "no bias": {"bias": False},
    "rotary, grouped": {"rotary": True, "kv_heads": 3, "masked": True},
    "cross, grouped": {"cross": True, "kv_heads": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_matrix_opens_into_sums(rng: Rng, kind: str) -> None:
    recording = recorded(rng, **KINDS[kind])
    cells = Cells(recording, recording.targets[0])
    inputs = {"X", "M", "dY", "P", "mask", "scale", "cos", "sin", "keycos", "keysin"}
    opened = set(cells.matrices) - set(recording.parameters) - inputs
    assert opened <= set(TERMS)
    for name in opened:
        array = cells.matrices[name]
        for _ in range(4):
            index = tuple(int(rng.integers(n)) for n in array.shape)
            cell = cells.cell(name, *index)
            assert cell.value == array[index]
            size = sum(abs(term.product) for term in cell.terms)
            assert cell.difference <= 1e-12 * max(1, size) or not np.isfinite(cell.value), cell
            assert cell.terms


@pytest.mark.parametrize("name", ["Q", "R", "Y", "dO", "dP", "dSmasked", "dQ", "dK", "dX", "dWq"])
def test_a_wrong_number_shows(rng: Rng, name: str) -> None:
    recording = recorded(rng)
    cells = Cells(recording, recording.targets[0])
    index = np.unravel_index(np.abs(cells.matrices[name]).argmax(), cells.matrices[name].shape)
    place = tuple(map(int, index))
    assert cells.cell(name, *place).difference < 1e-12
    cells.matrices[name] = cells.matrices[name] * (1 + 1e-6)
    assert cells.cell(name, *place).difference > 1e-9


def test_terms_stand_by_size_and_name_their_cells(rng: Rng) -> None:
    recording = recorded(rng, kv_heads=2)
    cell = Cells(recording, recording.targets[0]).cell("dP", 1, 4, 3, 2)
    sizes = [abs(term.product) for term in cell.terms]
    assert sizes == sorted(sizes, reverse=True)
    assert {term.factors for term in cell.terms} == {
        (("dC", (1, 4, 3, i)), ("V", (1, 1, 2, i))) for i in range(2)
    }
    softmax = Cells(recording, recording.targets[0]).cell("dSmasked", 0, 1, 2, 3)
    assert sum(term.sign for term in softmax.terms) == 1 - 5


def test_what_opens_into_nothing(rng: Rng) -> None:
    recording = recorded(rng)
    cells = Cells(recording, recording.targets[0])
    for name, index in (("X", (0, 1, 2)), ("dM", (0, 1, 2)), ("P", (0, 0, 0, 0))):
        with pytest.raises(IndexingError, match=f"'{name}' opens into nothing here"):
            cells.cell(name, *index)
    for place in ((0, 6, 0, 0), (0, 0, 0), (0, 0, -1, 0)):
        with pytest.raises(IndexingError):
            cells.cell("dS", *place)
    with pytest.raises(IndexingError, match=r"dX has no cell \(0, 5, 0\); its shape is"):
        cells.cell("dX", 0, 5, 0)
