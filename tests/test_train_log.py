"""The log: whatever is killed while it writes, what is read is what a run left alone writes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_attn import train

ROOT = Path(__file__).parent.parent
ENDLESS = """
import sys, time
from pathlib import Path
from tinygrad_attn.train import Log
with Log(Path(sys.argv[1])) as log:
    log.write("start", process=4711, began="2026-12-01T10:00:00+01:00")
    print("open", flush=True)
    time.sleep(600)
"""


def step(n: int) -> dict[str, Any]:
    return {"kind": "step", "step": n, "loss": 1 / n}


def evaluation(n: int) -> dict[str, Any]:
    return {"kind": "evaluation", "step": n, "held_out": 2 / n}


def written(path: Path, lines: list[dict[str, Any]]) -> None:
    with train.Log(path) as log:
        for line in lines:
            log.write(**line)


def records(first: int, last: int) -> list[dict[str, Any]]:
    """Steps, and an evaluation after every fifth."""
    found = []
    for n in range(first, last + 1):
        found += [step(n), evaluation(n)] if n % 5 == 0 else [step(n)]
    return found


START = {"kind": "start", "config": {"steps": 20}}
END = {"kind": "end", "step": 20, "held_out": 0.1}


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 12), st.integers(0, 90), st.booleans()),
        max_size=6,
    )
)
def test_a_log_of_a_run_that_was_killed_again_and_again(
    tmp_path_factory: pytest.TempPathFactory, kills: list[tuple[int, int, int, bool]]
) -> None:
    """Each goes on from some step that it has reached, writes some lines, and half of another."""
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    written(path, [START])
    reached, torn = 0, json.dumps(step(7)).encode()
    for back, further, cut, evaluated in kills:
        at = max(0, reached - back)
        known = at if evaluated or at % 5 else max(0, at - 5)
        resume = {"kind": "resume", "step": at, "evaluated": known, "config": {"steps": 20}}
        reached = min(20, at + further)
        done_again = [evaluation(at)] if at and at % 5 == 0 and known < at else []
        written(path, [resume, *done_again, *records(at + 1, reached)])
        with path.open("ab") as file:
            file.write(torn[: min(cut, len(torn) - 1)])
    resume = {
        "kind": "resume",
        "step": reached,
        "evaluated": reached // 5 * 5,
        "config": {"steps": 20},
    }
    written(path, [resume, *records(reached + 1, 20), END])
    assert train.read_log(path) == [START, *records(1, 20), END]


def test_a_longer_run_has_its_own_number_of_steps(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    resume = {"kind": "resume", "step": 20, "evaluated": 20, "config": {"steps": 22}}
    written(path, [START, *records(1, 20), END])
    written(path, [resume, *records(21, 22), {**END, "step": 22}])
    start, *lines = train.read_log(path)
    assert start["config"]["steps"] == 22
    assert lines == [*records(1, 22), {**END, "step": 22}]


@pytest.mark.parametrize(
    "torn",
    [
        b'{"kind": "step", "step": 3, "lo',
        b'{"kind": "step", "text": "\xe2\x82',  # half of a character
        b"\0\0\0\0\0",
        b'{"kind": "step"}',
        b'{"kind": 3}',
        b"[" * 100_000,
        b"7" * 5_000,
        b'{"kind": "step", "step": "2", "loss": 1.0}',
        b'{"kind": "step", "step": 2.0, "loss": 1.0}',
        b'{"kind": "step", "step": true, "loss": 1.0}',
        b'{"kind": "step", "step": -2, "loss": 1.0}',
        b'{"kind": "step", "step": 2' + b"0" * 400 + b', "loss": 1.0}',
        b'{"kind": "step", "step": 2, "loss": null}',
        b'{"kind": "step", "step": 2, "loss": NaN}',
        b'{"kind": "step", "step": 2, "loss": 1e999}',
        b'{"kind": "step", "step": 2, "loss": 2' + b"0" * 400 + b"}",
        b'{"kind": "step", "step": 2, "loss": 1.0, "seconds": "x"}',
        b'{"kind": "evaluation", "step": 2, "held_out": [1.0]}',
        b'{"kind": "resume", "step": 0, "evaluated": null, "config": {}}',
        b'{"kind": "resume", "step": 0, "evaluated": 0, "config": 3}',
    ],
)
def test_a_line_that_is_no_record_is_left_out(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "log.jsonl"
    written(path, [START, step(1)])
    with path.open("ab") as file:
        file.write(torn)
    written(path, [step(2)])
    assert train.read_log(path) == [START, step(1), step(2)]


@pytest.mark.parametrize(
    ("baseline", "drawn"),
    [
        ({"loss": 2.5, "label": "pairs"}, (2.5, "pairs")),
        ({"loss": 2.5}, (2.5, "")),
        ({"loss": "x", "label": "pairs"}, None),
        ({}, None),
        (None, None),
        (3, None),
    ],
)
def test_a_baseline_that_is_none_is_not_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, baseline: Any, drawn: tuple[float, str] | None
) -> None:
    path, asked = tmp_path / "log.jsonl", {}
    written(path, [{**START, "baseline": baseline}, step(1)])
    assert train.draw(path, tmp_path / "loss.png").is_file()
    monkeypatch.setattr("tinygrad_attn.viz.plots.loss_curve", lambda *_, **how: asked.update(how))
    train.draw(path, tmp_path / "loss.png")
    found = asked["baseline"], asked["baseline_label"]
    assert found == drawn if drawn else found[0] is None


def test_a_last_line_without_its_break_counts_if_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    written(path, [START, step(1)])
    path.write_bytes(path.read_bytes()[:-1])
    written(path, [step(2)])
    assert train.read_log(path) == [START, step(1), step(2)]


def test_every_line_is_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with train.Log(path) as log:
        for n in range(1, 4):
            log.write(**step(n))
            assert path.read_bytes().count(b"\n") == n


# ── one run in a folder ──────────────────────────────────────────────────────────────────────────
def test_a_second_run_in_the_same_folder_is_told_who_writes_there(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with train.Log(path) as log:
        log.write("start", process=4711, began="2026-12-01T10:00:00+01:00")
        before = path.read_bytes()
        with pytest.raises(train.TrainError) as error:
            train.Log(path)
        assert str(error.value) == (
            f"{tmp_path}: another run (process 4711, since 2026-12-01T10:00:00+01:00) is writing "
            "here; wait for its end, or choose another folder"
        )
        assert path.read_bytes() == before
    train.Log(path).file.close()


def test_a_folder_that_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(train.TrainError, match=r"cannot be locked \(No locks available\); choose"):
        train.Log(tmp_path / "log.jsonl")


def test_the_lock_of_a_killed_process_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    command = [sys.executable, "-c", ENDLESS, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(train.TrainError, match=r"another run \(process 4711, since 2026"):
            train.Log(path)
        other.send_signal(signal.SIGKILL)
        other.wait()
    with train.Log(path) as log:
        log.write("start")
    assert train.read_log(path) == [{"kind": "start"}]
