"""Runs under load: full disks, damaged files, signals, and ten thousand steps."""

from __future__ import annotations

import errno
import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from words import as_found, outcome, trainer

from tinygrad_attn import checkpoint, train
from tinygrad_attn.checkpoint import CheckpointError, Keeper


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    with as_found():
        yield


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What comes out of a run that nothing happens to."""
    folder, t = tmp_path_factory.mktemp("alone"), trainer(save_every=7)
    with as_found():
        train.run(t, folder)
        return outcome(t, folder)


def finished(folder: Path) -> dict[str, Any]:
    """All that comes out when the run in a folder goes on to its end."""
    t = trainer(seed=44, save_every=7)
    t.resume(train.latest(folder))
    train.run(t, folder)
    return outcome(t, folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def after(step: int, act: Callable[[], object]) -> Callable[[train.Record], None]:
    """What `run` shows records to: it acts after a step."""
    return lambda record: act() if record.step == step and hasattr(record, "loss") else None  # type: ignore[func-returns-value]


# ── a full disk ──────────────────────────────────────────────────────────────────────────────────
@contextmanager
def small_files() -> Iterator[Callable[[int], None]]:
    """Files of this process can be limited inside, as on a disk that becomes full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("room", "error", "sentence"),
    [
        (
            1_000,
            CheckpointError,
            r"(step-000035|best)\.safetensors: .*cannot be written .*untouched",
        ),
        (
            100,
            train.TrainError,
            r"log\.jsonl: the log cannot be written .* train --resume /.*\)$",
        ),
    ],
)
def test_a_file_that_cannot_grow_loses_nothing(
    tmp_path: Path,
    expected: dict[str, Any],
    room: int,
    error: type[Exception],
    sentence: str,
) -> None:
    log = tmp_path / "log.jsonl"
    with small_files() as limit:
        fill = after(33, lambda: limit(log.stat().st_size + room))
        with pytest.raises(error, match=sentence):
            train.run(trainer(save_every=7), tmp_path, fill)
    assert train.latest(tmp_path).step == 28
    assert finished(tmp_path) == expected
    assert names(tmp_path) == ["best.safetensors", "log.jsonl", "model.safetensors"]


def test_a_full_disk_loses_nothing(
    tmp_path: Path, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    fill = after(33, lambda: monkeypatch.setattr(os, "fsync", full))
    with pytest.raises((CheckpointError, train.TrainError), match="No space left on device"):
        train.run(trainer(save_every=7), tmp_path, fill)
    monkeypatch.undo()
    monkeypatch.setattr("tinygrad_attn.viz.plots.loss_curve", lambda *_, **__: Path())
    assert finished(tmp_path) == expected


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────
def stopped(folder: Path, step: int = 30, **settings: Any) -> train.Trainer:
    """A run that Ctrl-C ended after a step."""
    t = trainer(**{"save_every": 7, **settings})
    with pytest.raises(train.Stopped):
        train.run(t, folder, after(step, lambda: signal.raise_signal(signal.SIGINT)))
    return t


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    stopped(tmp_path, keep=3)
    kept = [checkpoint.load(path).step for path in Keeper(tmp_path).paths()]
    assert kept == [21, 28, 30]
    best = min(
        (line["held_out"], line["step"])
        for line in train.read_log(tmp_path / "log.jsonl")
        if line["kind"] == "evaluation"
    )
    saved = checkpoint.load(tmp_path / "best.safetensors")
    assert (saved.state["held_out"], saved.step) == best


def test_from_a_damaged_checkpoint_it_goes_back_to_the_one_before(
    tmp_path: Path, expected: dict[str, Any]
) -> None:
    stopped(tmp_path)
    newest = Keeper(tmp_path).paths()[-1]
    content = bytearray(newest.read_bytes())
    content[-5] ^= 1
    newest.write_bytes(content)
    with pytest.warns(
        UserWarning, match=rf"step-000028.*taken instead, as .*{newest.name}: .*damaged"
    ):
        assert train.latest(tmp_path).step == 28
    newest.unlink()
    assert finished(tmp_path) == expected


def test_a_folder_with_nothing_to_go_on_from(tmp_path: Path) -> None:
    with pytest.raises(train.TrainError, match="expected a checkpoint to go on from, but there is"):
        train.latest(tmp_path)
    with pytest.raises(train.TrainError, match=r"none: expected the folder of a run"):
        train.latest(tmp_path / "none")
    (tmp_path / "step-000007.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(train.TrainError, match=r"none can be read: .*7\.safetensors: expected"):
        train.latest(tmp_path)


def test_a_new_run_does_not_replace_one_that_can_go_on(tmp_path: Path) -> None:
    stopped(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(train.TrainError, match="an unfinished run is here, saved in step-000030"):
        train.run(trainer(), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    train.run(trainer(), tmp_path)
    t = trainer(steps=70, seed=44)
    t.resume(train.latest(tmp_path))
    assert (t.step, t.finished) == (60, False)
    train.run(t, tmp_path)
    start, *lines = train.read_log(tmp_path / "log.jsonl")
    assert start["config"]["steps"] == 70
    rates = [line["lr"] for line in lines if line["kind"] == "step"]
    assert len(rates) == 70
    assert rates[59] < rates[60] == t.schedule.rate(0.02, 60)  # from there on the longer schedule's


def test_without_checkpoints_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as stop:
        train.run(
            trainer(save_every=None),
            tmp_path,
            after(4, lambda: signal.raise_signal(signal.SIGINT)),
        )
    assert not isinstance(stop.value, train.Stopped)
    assert names(tmp_path) == ["log.jsonl"]


# ── signals ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_saves_and_ends_the_run(
    tmp_path: Path, expected: dict[str, Any], name: str
) -> None:
    number = getattr(signal, name)
    with pytest.raises(train.Stopped, match=r"^stopped after step 33 of 60, and saved$") as stop:
        train.run(trainer(save_every=7), tmp_path, after(33, lambda: signal.raise_signal(number)))
    assert stop.value.code == 128 + number
    assert train.latest(tmp_path).step == 33
    assert finished(tmp_path) == expected


def test_a_second_signal_ends_it_at_once(tmp_path: Path, expected: dict[str, Any]) -> None:
    t = trainer(save_every=7)
    contents = t.contents

    def slow(**state: Any) -> dict[str, Any]:
        if t.step == 33:
            signal.raise_signal(signal.SIGINT)
        return contents(**state)

    t.contents = slow  # type: ignore[method-assign]
    with pytest.raises(train.Stopped, match=r"^stopped at once$"):
        train.run(t, tmp_path, after(33, lambda: signal.raise_signal(signal.SIGINT)))
    assert train.latest(tmp_path).step == 28
    assert finished(tmp_path) == expected


def test_while_the_last_evaluation_is_made_a_signal_ends_it_at_once(
    tmp_path: Path, expected: dict[str, Any]
) -> None:
    t = trainer(save_every=7)
    evaluate = t.evaluate

    def interrupted(at_most: int | None = None) -> train.Evaluation:
        if at_most is None:
            signal.raise_signal(signal.SIGTERM)
        return evaluate(at_most)

    t.evaluate = interrupted  # type: ignore[method-assign]
    with pytest.raises(train.Stopped, match=r"^stopped at once$"):
        train.run(t, tmp_path)
    assert finished(tmp_path) == expected


def test_a_handler_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        train.run(trainer(), tmp_path, after(3, lambda: signal.raise_signal(signal.SIGTERM)))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


def test_a_run_in_another_thread(tmp_path: Path, expected: dict[str, Any]) -> None:
    """It hears no signals, and sets no handlers, which only the main thread may."""
    t = trainer(save_every=7)
    thread = threading.Thread(target=train.run, args=(t, tmp_path))
    thread.start()
    thread.join()
    assert outcome(t, tmp_path) == expected


# ── for long ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.faults
def test_ten_thousand_steps_without_growth(tmp_path: Path) -> None:
    """With an evaluation after every 50 steps and a checkpoint after every 100."""
    blocks: dict[int, int] = {}
    resident: dict[int, int] = {}
    handles: dict[int, int] = {}

    def measure(record: train.Record) -> None:
        if record.step in (2_000, 10_000):
            gc.collect()
            blocks[record.step] = sys.getallocatedblocks()
            pages = Path("/proc/self/statm").read_text().split()[1]
            resident[record.step] = int(pages) * os.sysconf("SC_PAGE_SIZE")
            handles[record.step] = len(os.listdir("/proc/self/fd"))

    t = trainer(steps=10_000, accumulate=1, save_every=100, evaluate_every=50)
    train.run(t, tmp_path, measure)
    growths = [values[10_000] - values[2_000] for values in (blocks, resident, handles)]
    print("growth in blocks of memory, resident bytes and open files:", growths)
    assert growths[0] < 1_000  # one object forgotten in every step would be 8,000
    assert growths[1] < 1_000_000
    assert growths[2] == 0
