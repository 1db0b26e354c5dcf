"""Going on: a run that was stopped and resumed ends as one that was left alone, bit for bit."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from words import STEPS, as_found, outcome, trainer

from tinygrad_attn import train
from tinygrad_attn.rng import OWN
from tinygrad_attn.train.folder import Saver


@pytest.fixture(autouse=True, scope="module")
def _as_found() -> Iterator[None]:
    with as_found():
        yield


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What comes out of a run that nobody stops, and a folder with its checkpoint at every step."""
    folder = tmp_path_factory.mktemp("alone")
    t, aside, step = trainer(save_every=1), folder / "aside", Saver.step
    aside.mkdir()

    def saved_twice(saver: Saver) -> None:
        step(saver)
        shutil.copy(saver.keeper.paths()[-1], aside)
        if saver.keeper.best.exists():
            shutil.copy(saver.keeper.best, aside / f"{t.step}-best.safetensors")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Saver, "step", saved_twice)
        train.run(t, folder)
    shutil.copy(folder / "log.jsonl", aside)
    return aside, outcome(t, folder)


def killed_after(step: int, aside: Path, folder: Path) -> None:
    """The folder of a run that was killed at some time after its checkpoint of this step."""
    shutil.copy(aside / "log.jsonl", folder)
    shutil.copy(aside / f"step-{step:06d}.safetensors", folder)
    best = aside / f"{step}-best.safetensors"
    if best.exists():
        shutil.copy(best, folder / "best.safetensors")


def resumed(folder: Path, **made: Any) -> train.Trainer:
    """A trainer that goes on in the folder, made from other seeds: all must come from the file."""
    t = trainer(seed=44, **made)
    t.resume(train.latest(folder))
    return t


def finished(t: train.Trainer, folder: Path) -> dict[str, Any]:
    train.run(t, folder)
    return outcome(t, folder)


def unequal(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    assert found.keys() == expected.keys()
    return [name for name in expected if found[name] != expected[name]]


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_resumed_at_any_step_it_ends_the_same(
    alone: tuple[Path, dict[str, Any]], tmp_path: Path, step: int
) -> None:
    aside, expected = alone
    killed_after(step, aside, tmp_path)
    assert unequal(finished(resumed(tmp_path), tmp_path), expected) == []


def test_stopped_at_every_step_it_ends_the_same(
    alone: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    t = trainer()
    for step in range(1, STEPS + 1):
        stopped_at(step, t, tmp_path)
        t = resumed(tmp_path)
        assert t.step == step
    assert unequal(finished(t, tmp_path), alone[1]) == []


def stopped_at(step: int, t: train.Trainer, folder: Path) -> None:
    """Run until a Ctrl-C that comes during this step."""
    update = t.update

    def interrupted() -> train.Step:
        record = update()
        if record.step == step:
            signal.raise_signal(signal.SIGINT)
        return record

    t.update = interrupted  # type: ignore[method-assign]
    with pytest.raises(train.Stopped, match=rf"stopped after step {step} of 60, and saved") as stop:
        train.run(t, folder)
    assert stop.value.code == 130
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ── the comparison can fail ──────────────────────────────────────────────────────────────────────
def forget_moments(t: train.Trainer) -> None:
    t.optimizer.states = [{} for _ in t.optimizer.states]


def forget_weights(t: train.Trainer) -> None:
    t.task.model.load_state_dict(trainer(seed=44).task.model.state_dict())


def forget_schedule(t: train.Trainer) -> None:
    t.schedule.load_state_dict({**t.schedule.state_dict(), "done": 0})


def forget_module(t: train.Trainer) -> None:
    forget_generator(t.task.model.drop.rng)


def forget_generator(rng: np.random.Generator) -> None:
    rng.bit_generator.state = np.random.default_rng(44).bit_generator.state


FAULTS: dict[str, tuple[Callable[[train.Trainer], object], str]] = {
    "weights": (forget_weights, "weights"),
    "moments": (forget_moments, "moments"),
    "schedule": (forget_schedule, "groups"),
    "position in the data": (lambda t: t.batches.load_state_dict({"waiting": []}), "data"),
    "the run's generator": (lambda t: forget_generator(t.rng), "generators"),
    "the library's generator": (lambda t: forget_generator(OWN), "generators"),
    "a module's generator": (forget_module, "generators"),
    "the step": (lambda t: setattr(t, "step", t.step - 1), "log"),
    "the last evaluation": (lambda t: setattr(t, "evaluated", 0), "log"),
    "the best": (lambda t: setattr(t, "best", 0.0), "reached"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_is_not_restored_shows(
    alone: tuple[Path, dict[str, Any]], tmp_path: Path, fault: str
) -> None:
    spoil, seen = FAULTS[fault]
    aside, expected = alone
    killed_after(30, aside, tmp_path)
    t = resumed(tmp_path)
    spoil(t)
    found = unequal(finished(t, tmp_path), expected)
    assert seen in found
    assert fault in ("the last evaluation", "the best") or "weights" in found
