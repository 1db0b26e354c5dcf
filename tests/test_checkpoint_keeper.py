"""The last checkpoints of a run and the best: which stay, which go, which is loaded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import tinygrad_attn as ta
from tinygrad_attn import checkpoint
from tinygrad_attn.checkpoint import CheckpointError, Keeper
from tinygrad_attn.models import GPT, GPTConfig

CONFIG = GPTConfig(vocab_size=7, max_length=5, num_layers=1, num_heads=2, d_model=6)
MODEL = GPT(CONFIG)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_the_last_ones_and_the_best_stay(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, keep=3)
    for step in (1, 5, 20, 300, 4000):
        keeper.save(step=step, model=MODEL, best=step == 5, loss=step / 2)
    assert names(tmp_path) == ["best.safetensors", *(
        f"step-{step:06d}.safetensors" for step in (20, 300, 4000)
    )]  # fmt: skip
    found = keeper.load()
    assert found is not None
    assert (found.step, found.state) == (4000, {"loss": 2000.0})
    assert checkpoint.load(keeper.best).step == 5


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, keep=2)
    for step in (999_999, 1_000_000, 1_000_001):
        keeper.save(step=step, model=MODEL)
    assert names(tmp_path) == ["step-1000000.safetensors", "step-1000001.safetensors"]
    assert keeper.paths()[-1].name == "step-1000001.safetensors"


def test_a_step_saved_again_counts_once(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, keep=2)
    for step in (1, 2, 2, 2):
        keeper.save(step=step, model=MODEL)
    assert [path.name[5:11] for path in keeper.paths()] == ["000001", "000002"]


def test_what_is_later_or_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "step-1.safetensors").touch()
    (tmp_path / "step-000001.safetensors.bak").touch()
    (tmp_path / "notes").touch()
    keeper = Keeper(tmp_path, keep=1)
    for step in (9, 3, 4):
        keeper.save(step=step, model=MODEL)
    assert [path.name for path in keeper.paths()] == [
        "step-000004.safetensors", "step-000009.safetensors",
    ]  # fmt: skip
    assert len(names(tmp_path)) == 5


def test_a_damaged_one_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    for step in (1, 2, 3):
        keeper.save(step=step, model=MODEL)
    for path in keeper.paths()[1:]:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="is taken instead, as ") as caught:
        found = keeper.load()
    assert len(caught) == 1
    assert found is not None
    assert found.step == 1


def test_all_damaged_is_an_error_and_none_is_none(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "run")
    assert keeper.load() is None
    (tmp_path / "run").mkdir()
    assert keeper.load() is None
    keeper.save(step=7, model=MODEL).write_bytes(b"")
    with pytest.raises(CheckpointError, match="step-000007"):
        keeper.load()


def test_a_failed_save_takes_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper(tmp_path, keep=1)
    keeper.save(step=1, model=MODEL, best=True)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        keeper.save(step=2, model=MODEL, best=True)
    assert names(tmp_path) == ["best.safetensors", "step-000001.safetensors"]
    assert checkpoint.load(keeper.best).step == 1


def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"cannot be read \(Not a directory\); check"):
        Keeper(tmp_path / "file").load()
    keeper = Keeper(tmp_path, keep=1)
    keeper.save(step=1, model=MODEL)

    def denied(folder: Path) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", denied)
    with pytest.raises(CheckpointError, match=r"cannot be read \(Permission denied\); check"):
        keeper.load()
    assert keeper.save(step=2, model=MODEL).exists()  # the old one stays


def test_none_to_keep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match="keep: expected 1 or more checkpoints to keep, got 0"
    ):
        Keeper(tmp_path, keep=0)


def test_the_keeper_is_public() -> None:
    assert ta.checkpoint.Keeper is Keeper
