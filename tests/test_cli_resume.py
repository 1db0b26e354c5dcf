"""`train --resume`: what it takes from the folder, and one sentence for what is wrong."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from words import as_found, timeless, trainer

from tinygrad_attn import checkpoint
from tinygrad_attn.cli import main
from tinygrad_attn.models import GPT, GPTConfig
from tinygrad_attn.train import Log, Step, Trainer, read_log, run

OWN = [
    "gpt",
    "--text",
    "own.txt",
    "--layers",
    "1",
    "--heads",
    "2",
    "--width",
    "8",
    "--length",
    "12",
]
SETTINGS = ["--batch", "3", "--dropout", "0.2", "--save-every", "5", "--steps", "20"]


def stopped_after(step: int, arguments: list[str]) -> int:
    """The exit code of a `train` that a Ctrl-C reaches during a step."""
    update = Trainer.update

    def interrupted(self: Trainer) -> Step:
        record = update(self)
        if record.step == step:
            signal.raise_signal(signal.SIGINT)
        return record

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "update", interrupted)
        return main(["train", *arguments])


def broken_off(_: object) -> None:
    raise RuntimeError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text; `run`, stopped after step 12; `done`, left alone; and folders that are wrong."""
    folder = tmp_path_factory.mktemp("resume")
    (folder / "own.txt").write_text("she sells sea shells\n" * 60)
    with as_found(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert stopped_after(12, [*OWN, *SETTINGS, "--out", "run"]) == 130
        assert main(["train", *OWN, *SETTINGS, "--out", "done"]) == 0
    (folder / "empty").mkdir()
    for name in ("broken", "foreign", "moved", "changed"):
        shutil.copytree(folder / "run", folder / name / "run")
    for path in (folder / "broken" / "run").glob("*.safetensors"):
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
    for path in (folder / "foreign" / "run").glob("*.safetensors"):
        checkpoint.save(path, model=GPT(GPTConfig(2, 3, 1, 1, 4)))
    with as_found(), pytest.raises(RuntimeError):
        run(trainer(), folder / "python", broken_off)
    (folder / "changed" / "own.txt").write_text("she sells sea shell.\n" * 60)
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it all to work in."""
    folder = tmp_path / "here"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    with as_found():
        yield


def test_it_goes_on_with_what_the_folder_says(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--resume", "run"]) == 0
    assert "It goes on after step 12." in capsys.readouterr().out
    for name in ("model.safetensors", "best.safetensors"):
        assert (here / "run" / name).read_bytes() == (here / "done" / name).read_bytes()
    assert sorted(path.name for path in (here / "run").iterdir()) == sorted(
        path.name for path in (here / "done").iterdir()
    )


def test_repeating_what_the_run_has_is_no_mistake(here: Path) -> None:
    again = [*OWN, *SETTINGS, "--seed", "0", "--threads", "1", "--out", "run"]
    assert main(["train", *again, "--resume", "run"]) == 0
    assert (here / "run" / "model.safetensors").read_bytes() == (
        here / "done" / "model.safetensors"
    ).read_bytes()


def test_folder_and_text_may_move_together(here: Path) -> None:
    (here / "own.txt").rename(here / "moved" / "own.txt")
    assert main(["train", "--resume", "moved/run"]) == 0
    assert read_log(here / "moved" / "run" / "log.jsonl")[-1]["kind"] == "end"


def test_a_text_that_is_elsewhere_now_can_be_named(here: Path) -> None:
    (here / "own.txt").rename(here / "elsewhere.txt")
    assert main(["train", "--resume", "run", "--text", "elsewhere.txt"]) == 0


def test_a_run_that_is_finished_says_so_and_can_be_made_longer(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "done" / "loss.png").touch()  # `as_found` draws none
    before = {path: path.read_bytes() for path in (here / "done").iterdir()}
    assert main(["train", "--resume", "done"]) == 0
    assert capsys.readouterr().out == (
        "This run is finished: 20 steps; more --steps make it longer.\n"
    )
    assert {path: path.read_bytes() for path in (here / "done").iterdir()} == before
    assert main(["train", "--resume", "done", "--steps", "24"]) == 0
    lines = read_log(here / "done" / "log.jsonl")
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(1, 25))


@pytest.mark.parametrize("missing", ["loss.png", "learned.png"])
def test_a_finished_run_whose_end_was_cut_off_still_says_what_came_out(
    here: Path,
    missing: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signal came after the last line of the log, and before the pictures."""

    def drawn(*arguments: Any, **_: Any) -> Path:
        path: Path = arguments[3]
        path.write_bytes(b"a picture")
        return path

    monkeypatch.setattr("tinygrad_attn.viz.plots.loss_curve", drawn)
    (here / "done" / "loss.png").touch()
    (here / "done" / missing).unlink()
    log = timeless(read_log(here / "done" / "log.jsonl"))
    model = (here / "done" / "model.safetensors").read_bytes()
    assert main(["train", "--resume", "done"]) == 0
    shown = capsys.readouterr().out
    assert "After 20 steps and" in shown
    assert f"Where it looks: done{os.sep}learned.png" in shown
    assert (here / "done" / missing).stat().st_size
    assert timeless(read_log(here / "done" / "log.jsonl")) == log
    assert (here / "done" / "model.safetensors").read_bytes() == model
    assert main(["train", "--resume", "done"]) == 0
    assert capsys.readouterr().out.startswith("This run is finished: 20 steps")


def test_a_full_disk_says_how_to_go_on(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tinygrad_attn.checkpoint.saving.write_whole", full)
    assert main(["train", "--resume", "run"]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith("; then go on with: tinygrad-attn train --resume run")
    assert main(["train", *OWN, "--out", "new"]) == 2
    assert "--resume" not in capsys.readouterr().err  # there is nothing to go on from


def test_other_threads_are_told_in_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", "run", "--threads", "2"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "threads" in line]
    assert len(told) == 1
    assert "kernel threads 1 → 2" in told[0]
    assert told[0].endswith("the last bits may differ from an undisturbed run's")


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_taken(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = here / "run" / "step-000012.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["train", "--resume", "run"]) == 0
    shown = capsys.readouterr()
    assert "It goes on after step 10." in shown.out
    assert (
        "tinygrad-attn: step-000010.safetensors is taken instead, as run/step-000012" in shown.err
    )
    assert (here / "run" / "model.safetensors").read_bytes() == (
        here / "done" / "model.safetensors"
    ).read_bytes()


def test_a_log_can_be_drawn_before_the_end(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(
        "tinygrad_attn.viz.plots.loss_curve", lambda steps, *_, **__: drawn.append([*steps])
    )
    assert main(["train", "--plot", "run"]) == 0
    assert drawn == [list(range(1, 13))]


MISTAKES = {
    "--resume none": "none: expected the folder of a run (No such file or directory)",
    "--resume own.txt": "own.txt: expected the folder of a run (Not a directory)",
    "--resume empty": "empty: expected a checkpoint to go on from, but there is none",
    "--resume broken/run": "but none can be read: broken/run/step-000012.safetensors: ",
    "--resume foreign/run": "expected the checkpoints of a run of `tinygrad-attn train`",
    "--resume moved/run": "--text: moved/own.txt, from which this run learns, is not there; say",
    "--resume changed/run": "; the data have changed (held out, train, vocabulary)",
    "--resume run --text changed/own.txt": "; the data have changed (held out, train, vocabulary)",
    "vit --resume run": "--resume: this run trains a gpt, not a vit",
    "--resume run --out other": "--out: a run goes on in its folder, run; leave it out",
    "--resume run --steps 19": "but steps were 20 and are 19: they cannot become fewer",
    "--resume python": "python: this run was made in Python; go on there, with Trainer.resume(",
    "--resume run --width 16": "--width: this run has 8, not 16; a run goes on as it began",
    "--resume run --dropout 0.1": "--dropout: this run has 0.2, not 0.1",
    "--resume run --attention luong": "--attention: this run has none, not luong",
    "--resume run --batch 4": "--batch: this run has 3, not 4",
    "--resume run --lr 0.5": "not 0.5; a run goes on as it began: leave it out",
    "--resume run --seed 1": "--seed: this run has 0, not 1",
    "--resume run --save-every 0": "expected an integer from 1 to 1,000,000,000, got '0'",
    "--out run": "run: an unfinished run is here, saved in step-000012.safetensors; go on with "
    "it (tinygrad-attn train --resume run), or remove step-*.safetensors, or choose another",
    "gpt --plot run --resume done --batch 3": "nothing beside it; got --batch, MODEL, --resume",
    "--plot run --save-every 3": "--plot draws what is there, and takes nothing beside it; got --s",
    "--plot none": "none/log.jsonl: expected a log, but it cannot be read",
    "--plot empty": "empty/log.jsonl: expected a log, but it cannot be read",
    "--plot own.txt": "own.txt/log.jsonl: expected a log, but it cannot be read",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_in_one_sentence_and_nothing_changes(
    line: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    text = [] if "resume" in line or "plot" in line else OWN
    try:
        code = main(["train", *text, *line.split()])
    except SystemExit as exit:  # argparse's own way
        code = exit.code
    told = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(told) == 1
    assert MISTAKES[line] in told[0]
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


def test_a_folder_in_which_another_run_writes(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Log(here / "run" / "log.jsonl"):
        assert main(["train", "--resume", "run"]) == 2
        assert main(["train", *OWN, "--out", "run"]) == 2
    shown = capsys.readouterr()
    assert "It goes on" not in shown.out
    told = shown.err.splitlines()
    assert len(told) == 2
    assert all("is writing here; wait for its end, or choose another folder" in t for t in told)


def test_a_folder_that_cannot_be_written(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "run" / "log.jsonl").unlink()
    (here / "run" / "log.jsonl").mkdir()
    assert main(["train", "--resume", "run"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "the log cannot be written (Is a directory)" in told[0]
