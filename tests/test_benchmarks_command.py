"""The benchmarks' command: what it refuses, the figures it writes, and the charts of them."""

from __future__ import annotations

import io
import json
import sys
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rich", reason="the benchmarks' tables and bars need the extra `demo`")

from rich.console import Console

from benchmarks import charts, harness, report
from benchmarks.__main__ import main
from benchmarks.cases import CASES, PEERS, Case, Peer, Point
from benchmarks.harness import Result


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "TURN", 1e-3)
        folder = tmp_path_factory.mktemp("figures")
        main(["--only", "chain", "--peers", "floor", "--kernels", "numpy", "--rounds", "5",
              "--launches", "2", "--threads", "1", "--out", str(folder)])  # fmt: skip
    return folder


def test_a_run_writes_figures_and_a_chart(figures: Path) -> None:
    document = json.loads((figures / "figures.json").read_text(encoding="utf-8"))
    assert document["machine"]["versions"]["numpy"] == np.__version__
    assert {"cores", "processor", "python", "platform"} <= document["machine"].keys()
    assert (document["settings"]["rounds"], document["settings"]["launches"]) == (5, 2)
    (case,) = document["cases"]
    assert (case["name"], case["unit"], case["threads"]) == ("chain", "ms", 1)
    (point,) = case["points"]
    assert list(point["contestants"]) == ["tinygrad_attn (numpy)", "bare NumPy"]
    for shown in point["contestants"].values():
        assert [len(launch) for launch in shown["rounds"]] == [3, 2]
        rounds = [*chain.from_iterable(shown["rounds"])]
        assert 0 < min(rounds) <= shown["median"] == median(rounds)
    (ratio,) = point["ratios"]
    assert ratio["quartiles"][0] <= ratio["ratio"] <= ratio["quartiles"][1]
    assert (figures / "chain.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "nothing"], "argument --only: invalid choice: 'nothing'"),
        (["--peers", "numpyro"], "argument --peers: invalid choice: 'numpyro'"),
        (["--kernels", "cuda"], "argument --kernels: invalid choice: 'cuda'"),
        (["--rounds", "4"], "--rounds: expected at least 5, got 4"),
        (["--launches", "0"], "--launches: expected 1 to 12 (--rounds), got 0"),
        (["--rounds", "5", "--launches", "6"], "--launches: expected 1 to 5 (--rounds), got 6"),
        (["--threads", "0"], "--threads: expected 1 to "),
        (["--out", "{file}/x"], "cannot be written"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        main([option.format(file=tmp_path / "file") for option in options])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_the_list_names_all_cases_and_peers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It needs no rich and writes nothing."""
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.chdir(tmp_path)
    main(["--list"])
    assert not list(tmp_path.iterdir())
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*CASES, *PEERS))


# --- charts ---


def grown(name: str, seconds: list[float], lengths: list[int], **more: Any) -> dict[str, Any]:
    """A record with a line of points."""
    rounds = {"tinygrad_attn (numpy)": seconds, charts.FLOOR: [s / 2 for s in seconds]}
    points = []
    for k, length in enumerate(lengths):
        result = Result(["tinygrad_attn (numpy)"], {n: [v[k]] * 5 for n, v in rounds.items()},
                        launches=[3, 2])  # fmt: skip
        result.extra = dict.fromkeys(more.get("extra", ()), 10.0 * length)
        points.append((Point(str(length), {}, {name: length}), result))
    return report.record("grown", Case("growing", "gpt", ()), 1, points)


def test_a_chart_of_what_grows_has_a_line_for_each_contestant(tmp_path: Path) -> None:
    record = grown("T", [1.0, 3.0], [16, 32], extra=[charts.FLOOR])
    (time, memory) = charts.lines(record)
    assert time[0::2] == ("T", {"tinygrad_attn (numpy)": [(16, 1000), (32, 3000)],
                                charts.FLOOR: [(16, 500), (32, 1500)]})  # fmt: skip
    assert memory[2] == {charts.FLOOR: [(16, 160.0), (32, 320.0)]}
    path = charts.draw(record, tmp_path / "lines.png")
    assert path is not None
    assert path.stat().st_size > 5000


def test_growth_is_shown_over_the_floor(tmp_path: Path) -> None:
    record = grown("width", [1.0, 3.0], [16, 32])
    for name in ("depth", "length"):
        record["points"] += grown(name, [2.0, 5.0], [1, 2])["points"]
    drawn = [panel[2] for panel in charts.lines(record)]
    assert drawn == [{"tinygrad_attn (numpy)": [(x, 2.0), (y, 2.0)]}
                     for x, y in ((16, 32), (1, 2), (1, 2))]  # fmt: skip
    path = charts.draw(record, tmp_path / "growth.png")
    assert path is not None
    assert path.stat().st_size > 5000


def test_without_figures_there_is_no_chart(tmp_path: Path) -> None:
    record = report.record("empty", CASES["chain"], 1, [(Point("", {}), Result(["ours"]))])
    assert charts.draw(record, tmp_path / "none.png") is None


# --- tables ---


def printed(table: Any) -> str:
    """A table as text."""
    console = Console(width=160, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above


def test_a_table_has_medians_and_paired_ratios() -> None:
    rounds = {"tinygrad_attn (numpy)": [0.002, 0.004, 0.006, 0.008, 0.010], "slow": [0.02] * 5}
    result = Result(["tinygrad_attn (numpy)"], rounds, [2, 2, 1], extra={"slow": 41.7})
    lines = printed(report.table(CASES["chain"], [(Point("", {}), result)])).splitlines()
    caption = " ".join(" ".join(lines[-2:]).split())
    assert caption.startswith("5 rounds in 3 launches; ratios below 1: ")
    ours, slow = (next(li for li in lines if f"│ {name} " in li).split("│") for name in rounds)
    assert [cell.strip() for cell in ours[1:4]] == ["tinygrad_attn (numpy)", "6", ""]
    assert [cell.strip() for cell in slow[1:4]] == ["slow", "20", "0.30 (0.20 … 0.40)"]
    memory = printed(report.memory_table([(Point("T = 7", {}), result)]))
    assert "T = 7" in memory
    assert " 42 " in memory


# --- peers that are not installed ---


def test_who_is_not_installed_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(harness, "TURN", 1e-3)
    monkeypatch.setitem(PEERS, "jax", Peer("JAX jit", "no_such_package", "nowhere"))
    main(["--only", "chain", "--peers", "jax", "--kernels", "numpy", "--rounds", "5",
          "--launches", "1", "--threads", "1", "--out", str(tmp_path)])  # fmt: skip
    assert "left out, not installed: JAX jit" in capsys.readouterr().out
    document = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert document["settings"]["not_installed"] == ["JAX jit"]
    assert list(document["cases"][0]["points"][0]["contestants"]) == ["tinygrad_attn (numpy)"]
