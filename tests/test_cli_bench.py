"""`tinygrad-attn bench`: it measures what it says, and says what it measured."""

from __future__ import annotations

import json
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest

from tinygrad_attn.cli import bench, main, workloads
from tinygrad_attn.cli.workloads import Workload
from tinygrad_attn.engine.settings import SETTINGS


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two quick workloads in place of all; the kernel sets that ran, in order."""
    ran: list[str] = []

    def work(pause: float) -> Any:
        def once() -> list[Any]:
            kernels = SETTINGS.get().kernels
            ran.append(kernels)
            sleep(0.012 if kernels == "off" else pause)
            return [np.array([1.0, 2.0 if kernels == "off" else 2.5])]

        return once

    works = [Workload("quick", "2 × 3", work(0.006)), Workload("slow", "5", work(0.036))]
    monkeypatch.setattr(bench, "workloads", lambda: works)
    monkeypatch.setattr(bench, "installed", lambda: False)
    return ran


def test_it_measures_in_turn(few: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "quick", "--rounds", "5", "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    assert "numba: not installed; pip install" in shown or "numba: 0." in shown
    assert "1 threads" in shown
    assert few[:2] == ["off", "numpy"]
    assert few[-10:] == ["off", "numpy"] * 5
    assert "slow" not in shown


def test_the_figures_are_what_was_measured(few: list[str], tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    assert main(["bench", "--rounds", "5", "--out", str(out)]) == 0
    figures = json.loads(out.read_text())
    quick, slow = figures["rows"]
    assert quick["kernels"] == slow["kernels"] == "numpy"
    assert quick["off"] >= 0.012
    assert quick["seconds"] >= 0.006
    assert quick["ratio"] < 1 < slow["ratio"]
    assert quick["quartiles"][0] <= quick["ratio"] <= quick["quartiles"][1]
    assert quick["difference"] == 0.25
    assert {"numpy", "blas", "kernels", "kernel_threads", "numba"} <= figures["environment"].keys()


def test_every_workload_agrees_with_its_definition() -> None:
    """One round of each, as `bench` runs it."""
    for row in bench.rows(workloads.workloads(), ["numpy"], 2):
        assert row.difference is None or row.difference < 1e-5
        assert row.seconds > 0


def test_the_table_shows_what_the_work_is_done_to() -> None:
    shown = {one.name: one.sizes for one in workloads.workloads()}
    assert shown["embedding"] == "12 × 64"
    assert shown["linear"] == "768 × 128"
    assert shown["self-attention"] == "12 × 64 × 384"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing-like-this"], "nothing has 'nothing-like-this' in its name; there are: linear"),
        (["--rounds", "4"], "expected an integer from 5"),
        (["--threads", "0"], "expected an integer from 1"),
        (["--out", "no/such/folder.json"], "there is no folder"),
    ],
)
def test_wrong_input_is_answered_by_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["bench", *arguments])
    except SystemExit as exit:
        code = exit.code
    assert code == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.splitlines()) == 1
