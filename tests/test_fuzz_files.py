"""Fuzzed files: our own errors only, and agreement with safetensors; and the judge is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.fuzz import checkpoints, judging
from benchmarks.fuzz.__main__ import main
from benchmarks.fuzz.judging import tally
from tinygrad_attn.checkpoint import CheckpointError
from tinygrad_attn.checkpoint.layout import DIGITS, digest
from tinygrad_attn.files import FormatError, Header

LOADED, SAME = "checkpoint loaded", "accepted by both"


def wrong(outcomes: Any) -> list[str]:
    return [outcome for outcome in outcomes if outcome.startswith("WRONG")]


@pytest.mark.faults
@pytest.mark.parametrize("block", range(4))
def test_ten_thousand_files(block: int, tmp_path: Path) -> None:
    outcomes = tally(1, range(2_500 * block, 2_500 * (block + 1)), tmp_path)
    assert wrong(outcomes) == []
    assert sum(outcomes.values()) == 2_500
    assert min(outcomes[LOADED], outcomes["checkpoint refused"], outcomes[SAME]) > 100
    assert outcomes["refused by both"] > 1_000
    assert outcomes["refused by us alone"] > 10


def test_some_files(tmp_path: Path) -> None:
    outcomes = tally(0, range(400), tmp_path)
    assert wrong(outcomes) == []
    assert len(outcomes) >= 6


def test_a_file_is_made_again_from_its_number(tmp_path: Path) -> None:
    first = list(judging.judged(5, range(40), tmp_path))
    assert list(judging.judged(5, range(20, 40), tmp_path)) == first[20:]
    assert len({content for *_, content in first}) > 35


def test_the_digest_of_a_spoiled_checkpoint_stands_in_its_place() -> None:
    head, arrays = checkpoints.taken_apart(checkpoints.right()[0])
    for spoiled in ({k: v for k, v in head.items() if k != "sha256"}, {**head, "sha256": [1]}):
        content = checkpoints.forged(spoiled, arrays)
        assert content[: DIGITS.start].endswith(b'"{\\"sha256\\": \\"')
        assert content[DIGITS] == digest(content).encode()


# ── planted faults ───────────────────────────────────────────────────────────────────────────────
def header_without_check(content: bytes) -> Header:
    """Reads, but for the last array."""
    found = judging.header_of.__wrapped__(content)  # type: ignore[attr-defined]
    if found.entries:
        found.entries.popitem()
    return found


def planted(monkeypatch: pytest.MonkeyPatch, name: str, function: Any) -> None:
    function.__wrapped__ = getattr(judging, name)
    monkeypatch.setattr(judging, name, function)


def test_a_reader_that_forgets_an_array_is_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    planted(monkeypatch, "header_of", header_without_check)
    assert "WRONG: WrongError: safetensors reads {" in "".join(tally(0, range(60), tmp_path))


def test_a_reader_that_forgets_metadata_is_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def forgets(content: bytes) -> Header:
        found = forgets.__wrapped__(content)  # type: ignore[attr-defined]
        return Header({}, found.entries)

    planted(monkeypatch, "header_of", forgets)
    assert "safetensors reads the metadata {" in "".join(tally(0, range(60), tmp_path))


def test_values_that_are_others_are_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def negated(content: bytes, header: Header, purpose: str) -> Any:
        arrays = negated.__wrapped__(content, header, purpose)  # type: ignore[attr-defined]
        return {name: array == 0 for name, array in arrays.items()}

    planted(monkeypatch, "arrays_of", negated)
    assert "has other values" in "".join(tally(0, range(60), tmp_path))


@pytest.mark.parametrize("error", [KeyError("x"), FormatError("x"), RecursionError(), OSError()])
def test_another_error_is_seen(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def raises(path: Path) -> None:
        raise error

    monkeypatch.setattr(judging, "load", raises)
    outcomes = tally(0, range(20), tmp_path, tmp_path / "kept")
    assert [type(error).__name__ in outcome for outcome in wrong(outcomes)] == [True]
    assert sum(outcomes.values()) == len(list((tmp_path / "kept").iterdir())) == 20


def test_a_load_of_anything_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(judging, "load", lambda path: None)
    assert any("without a digest" in outcome for outcome in tally(0, range(20), tmp_path))


def test_a_slow_reader_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuses(path: Path) -> None:
        raise CheckpointError("no")

    times = iter(range(0, 10_000, 2))
    monkeypatch.setattr(judging, "load", refuses)
    monkeypatch.setattr(judging.time, "process_time", lambda: float(next(times)))
    assert wrong(tally(0, range(1), tmp_path)) == ["WRONG: WrongError: it took 4.0 seconds"]


# ── the command ──────────────────────────────────────────────────────────────────────────────────
def test_the_command_counts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--files", "40", "--seed", "3", "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(int(line.split()[0]) for line in lines[:-1]) == 40
    assert lines[-1].endswith(", 0 judged wrongly")
    assert not (tmp_path / "out").exists()


def test_the_command_keeps_what_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(judging, "load", lambda path: 1 / 0)
    assert main(["--files", "3", "--first", "7", "--out", str(tmp_path / "out")]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["0-7.safetensors", "0-8.safetensors", "0-9.safetensors"]


def test_no_files_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--files", "0"])
    assert "expected --files ≥ 1" in capsys.readouterr().err
