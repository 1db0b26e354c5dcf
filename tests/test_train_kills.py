"""Processes that train are killed, interrupted and doubled: what comes out is the same file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from words import timeless

from tinygrad_attn.train import latest, read_log
from tinygrad_attn.train.folder import unfinished

ROOT = Path(__file__).parent.parent
KILLS, STEPS = 50, 1_500
SIZES = ["--layers", "1", "--heads", "2", "--width", "8", "--length", "12", "--dropout", "0.2"]
ANEW = ["gpt", "--text", "own.txt", *SIZES, "--batch", "3", "--save-every", "7", "--out", "run"]


def begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A process that trains in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", "tinygrad_attn", "train", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listening,
    )


def listening() -> None:
    """A shell makes what runs in its background deaf to Ctrl-C; this program shall hear it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code, and what it wrote to standard error."""
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def prepared(folder: Path) -> Path:
    folder.mkdir()
    (folder / "own.txt").write_text("she sells sea shells\n" * 60)
    return folder


def left(folder: Path) -> dict[str, Any]:
    """What a finished run left: its files byte for byte, and its log without the times."""
    run = folder / "run"
    assert not unfinished(run)
    found = {path.name: path.read_bytes() for path in run.glob("*.safetensors")}
    return {**found, "log": timeless(read_log(run / "log.jsonl"))}


def log_size(folder: Path) -> int:
    log = folder / "run" / "log.jsonl"
    return log.stat().st_size if log.exists() else 0


def grown(folder: Path, size: int, process: subprocess.Popen[str]) -> None:
    """Wait until the log has so many bytes."""
    deadline = time.monotonic() + 120
    while log_size(folder) < size:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def alone(folder: Path, steps: int) -> dict[str, Any]:
    """What a run leaves that nothing happens to."""
    code, errors = ended(begin(prepared(folder), *ANEW, "--steps", str(steps)))
    assert code == 0, errors
    return left(folder)


def going_on(folder: Path, anew: Sequence[str]) -> list[str]:
    """What one would type: --resume as soon as there is something to go on from."""
    run = folder / "run"
    return ["--resume", "run"] if unfinished(run) else list(anew)


@pytest.mark.faults
def test_killed_at_fifty_random_moments_it_ends_the_same(tmp_path: Path) -> None:
    """Most while it trains or saves, a fifth while it starts or reads its checkpoint."""
    moments, anew = random.Random(0), [*ANEW, "--steps", str(STEPS)]
    expected = alone(tmp_path / "alone", STEPS)
    folder, reached = prepared(tmp_path / "killed"), []
    for number in range(KILLS):
        size = log_size(folder)
        with begin(folder, *going_on(folder, anew)) as process:
            if number % 5 == 4:
                time.sleep(moments.uniform(0, 1.5))
            else:
                grown(folder, size + moments.randrange(1, 6_000), process)
                time.sleep(moments.uniform(0, 0.01))
            assert process.poll() is None, process.communicate()
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
        reached.append(read_log(folder / "run" / "log.jsonl")[-1].get("step", 0))
    code, errors = ended(begin(folder, *going_on(folder, anew)))
    assert code == 0, errors
    print(f"killed {len(reached)} times, after steps {reached}")
    assert len(reached) == KILLS
    assert max(reached) < STEPS
    assert left(folder) == expected


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_program_with_how_to_go_on(tmp_path: Path, name: str) -> None:
    number, anew = getattr(signal, name), [*ANEW, "--steps", "300"]
    folder = prepared(tmp_path / "stopped")
    with begin(folder, *anew) as process:
        grown(folder, 2_000, process)
        process.send_signal(number)
        code, errors = ended(process)
    assert code == 128 + number
    assert errors.splitlines()[-1] == (
        f"tinygrad-attn: stopped after step {latest(folder / 'run').step} of 300, and saved; "
        "go on with: tinygrad-attn train --resume run"
    )
    code, errors = ended(begin(folder, "--resume", "run"))
    assert code == 0, errors
    assert left(folder) == alone(tmp_path / "alone", 300)


def test_of_two_in_one_folder_one_is_refused_and_the_other_undisturbed(tmp_path: Path) -> None:
    anew = [*ANEW, "--steps", "300"]
    folder = prepared(tmp_path / "both")
    with begin(folder, *anew) as first:
        grown(folder, 2_000, first)
        first.send_signal(signal.SIGSTOP)  # it must not end before the others have tried
        for arguments in (anew, ["--resume", "run"]):
            code, errors = ended(begin(folder, *arguments))
            assert code == 2
            assert f"run: another run (process {first.pid}, since " in errors
            assert len(errors.splitlines()) == 1
        first.send_signal(signal.SIGCONT)
        assert ended(first)[0] == 0
    assert left(folder) == alone(tmp_path / "alone", 300)
