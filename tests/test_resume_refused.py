"""What cannot go on is refused, whole: another run's folder, an old stand, other settings."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from words import as_found, exact, trainer

from tinygrad_attn import checkpoint, train
from tinygrad_attn.data import digits
from tinygrad_attn.train.resuming import Stand


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    with as_found():
        yield


def stopped(t: train.Trainer, folder: Path, step: int = 9) -> train.Trainer:
    """Run until a Ctrl-C that comes during a step."""

    def interrupt(record: train.Record) -> None:
        if record.step == step:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(train.Stopped):
        train.run(t, folder, interrupt)
    return t


def resumed(t: train.Trainer, folder: Path) -> train.Trainer:
    t.resume(train.latest(folder))
    return t


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ── the folder ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("finished", [False, True])
def test_a_trainer_does_not_go_on_in_the_folder_of_another_run(
    tmp_path: Path, finished: bool
) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    stopped(trainer(), mine)
    if finished:
        train.run(trainer(seed=7, steps=10), theirs)
    else:
        stopped(trainer(seed=7), theirs)
    before, t = files(theirs), resumed(trainer(), mine)
    with pytest.raises(train.TrainError, match="theirs: another run is here, and not the one that"):
        train.run(t, theirs)
    assert files(theirs) == before
    assert train.run(t, mine).step == 60


def test_a_trainer_that_does_not_know_its_folder_goes_on_in_an_empty_one_only(
    tmp_path: Path,
) -> None:
    stopped(trainer(), tmp_path)
    t = trainer()
    t.resume(checkpoint.load(tmp_path / "step-000009.safetensors"))
    with pytest.raises(train.TrainError, match=r"resume\(latest\(folder\)\) goes on with it"):
        train.run(t, tmp_path)
    assert train.run(t, tmp_path / "elsewhere").step == 60


@pytest.mark.parametrize("steps", [70, 60])
def test_a_trainer_that_is_older_than_its_run_does_not_go_on(tmp_path: Path, steps: int) -> None:
    """Another has taken the run to its end, or made it longer, since this one was resumed."""
    stopped(trainer(), tmp_path)
    old = resumed(trainer(), tmp_path)
    train.run(resumed(trainer(steps=steps), tmp_path), tmp_path)
    before = files(tmp_path)
    with pytest.raises(
        train.TrainError, match=f"the run has gone on to step {steps} meanwhile; resume it again"
    ):
        train.run(old, tmp_path)
    assert files(tmp_path) == before


def test_a_trainer_that_is_older_than_its_unfinished_run_does_not_go_on(tmp_path: Path) -> None:
    stopped(trainer(), tmp_path)
    old = resumed(trainer(), tmp_path)
    stopped(resumed(trainer(), tmp_path), tmp_path, step=12)
    with pytest.raises(train.TrainError, match="gone on to step 12 meanwhile"):
        train.run(old, tmp_path)


def test_a_folder_that_was_moved_is_the_same(tmp_path: Path) -> None:
    stopped(trainer(), tmp_path / "first")
    t = resumed(trainer(), tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "second")
    assert train.run(t, tmp_path / "second").step == 60


def test_a_run_without_checkpoints_does_not_replace_a_finished_one(tmp_path: Path) -> None:
    """Broken off, its log would stand beside the model of the other."""
    train.run(trainer(steps=10), tmp_path)
    before = files(tmp_path)
    with pytest.raises(train.TrainError, match=r"a finished run is here, .*save_every=None"):
        train.run(trainer(seed=7, save_every=None), tmp_path)
    assert files(tmp_path) == before
    train.run(resumed(trainer(steps=12, save_every=None), tmp_path), tmp_path)
    assert train.latest(tmp_path).step == 12
    train.run(trainer(seed=7, steps=11), tmp_path)
    assert train.latest(tmp_path).step == 11


def test_the_best_of_a_finished_run_goes_when_another_begins_there(tmp_path: Path) -> None:
    train.run(trainer(steps=10), tmp_path)
    stopped(trainer(seed=7), tmp_path, step=3)
    assert not (tmp_path / "best.safetensors").exists()
    assert train.latest(tmp_path).step == 3


def test_where_only_the_best_can_be_read_it_says_how_to_go_on_from_there(tmp_path: Path) -> None:
    stopped(trainer(), tmp_path)
    for path in tmp_path.glob("step-*"):
        path.write_bytes(b"no checkpoint")
    sentence = r"best\.safetensors can be read: copy it to step-000005\.safetensors to go on"
    with pytest.raises(train.TrainError, match=rf"none can be read: .*{sentence}"):
        train.latest(tmp_path)
    for path in tmp_path.glob("step-*"):
        path.unlink()
    with pytest.raises(train.TrainError, match=rf"but there is none; {sentence}"):
        train.latest(tmp_path)
    best = tmp_path / "best.safetensors"
    (tmp_path / "step-000005.safetensors").write_bytes(best.read_bytes())
    assert train.run(resumed(trainer(), tmp_path), tmp_path).step == 60
    best.write_bytes(b"no checkpoint")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(train.TrainError, match=r"but there is none$"):
        train.latest(tmp_path)


# ── what must be the same ────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ({"lr": 0.01}, "but lr was 0.02 and is 0.01"),
        ({"accumulate": 3, "batch": 1}, "but accumulate was 2 and is 3; batch was 2 and is 1"),
        ({"steps": 50}, "but steps were 60 and are 50: they cannot become fewer"),
        ({"width": 4}, "but d_model was 2 and is 4"),
        ({"words": 1}, r"but the data have changed \(held out, train\)$"),
    ],
)
def test_a_run_goes_on_with_the_same_settings_only(
    tmp_path: Path, made: dict[str, Any], sentence: str
) -> None:
    stopped(trainer(), tmp_path)
    t = trainer(**made)
    weights = {name: array.copy() for name, array in t.task.model.state_dict().items()}
    with pytest.raises(train.TrainError, match=sentence):
        t.resume(train.latest(tmp_path))
    assert t.step == 0
    assert all((weights[name] == a).all() for name, a in t.task.model.state_dict().items())


@pytest.mark.parametrize(("then", "now"), [(True, False), (False, True)])
def test_a_run_goes_on_with_as_many_generators_only(tmp_path: Path, then: bool, now: bool) -> None:
    """A module that drew from its own generator draws from the run's, or the other way round."""

    def made(shared: bool) -> train.Trainer:
        t = trainer(save_every=7)
        if shared:
            t.task.model.drop.rng = t.rng
        return t

    stopped(made(then), tmp_path)
    again, t = made(then), made(now)
    again.resume(train.latest(tmp_path))
    assert again.step == 9
    before = t.rng.bit_generator.state
    with pytest.raises(train.TrainError, match=r"generators .* had library.*, and have library"):
        t.resume(train.latest(tmp_path))
    assert (t.step, t.rng.bit_generator.state) == (0, before)


def test_a_checkpoint_that_no_run_wrote(tmp_path: Path) -> None:
    t = trainer()
    path = checkpoint.save(tmp_path / "m", model=t.task.model, optimizer=t.optimizer, rng=t.rng)
    with pytest.raises(train.TrainError, match="holds no position to go on from"):
        t.resume(checkpoint.load(path))


@pytest.mark.parametrize(
    ("name", "words"), [("numpy", "NumPy"), ("blas_threads", "BLAS threads"), ("numba", "numba")]
)
def test_another_environment_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    stopped(trainer(), tmp_path)
    t = trainer()
    t.resume(train.latest(tmp_path))
    assert t.resumed is not None
    now = t.resumed[name]
    t.resumed[name] = "another"
    with pytest.warns(
        train.TrainWarning, match=f"^{words} another → {now}: .*last bits may differ"
    ):
        train.run(t, tmp_path)


def test_a_target_can_be_given_up(tmp_path: Path) -> None:
    train.run(trainer(target=50.0), tmp_path)
    t = resumed(trainer(), tmp_path)
    assert (t.step, t.finished) == (5, False)
    assert train.run(t, tmp_path).step == 60


def doubled(t: train.Trainer) -> None:
    t.task.model.astype(np.float64)


def frozen(t: train.Trainer) -> None:
    t.task.model.wpe.weight.requires_grad = False


@pytest.mark.parametrize(
    ("change", "there", "back"),
    [
        (doubled, "the dtype was float64 and is float32", "the dtype was float32 and is float64"),
        (
            frozen,
            "wpe.weight required no gradient and learns now",
            "wpe.weight learnt and requires no gradient now",
        ),
    ],
)
def test_a_run_goes_on_with_the_same_parameters_only(
    tmp_path: Path, change: Callable[[train.Trainer], None], there: str, back: str
) -> None:
    changed, plain = tmp_path / "changed", tmp_path / "plain"
    for folder in (changed, plain):
        t = trainer()
        if folder == changed:
            change(t)
        stopped(t, folder)
    with pytest.raises(train.TrainError, match=f"but {there}$"):
        resumed(trainer(), changed)
    t = trainer()
    change(t)
    with pytest.raises(train.TrainError, match=f"but {back}$"):
        resumed(t, plain)
    assert resumed(t, changed).step == 9


def test_a_run_goes_on_with_the_same_label_smoothing_only(tmp_path: Path) -> None:
    images = digits()

    def seeing(smoothing: float) -> train.Trainer:
        rng = np.random.default_rng(0)
        task = train.presets.vit(images, rng, layers=1, width=4, heads=2)
        task.label_smoothing = smoothing
        config = replace(train.presets.SETTINGS["vit"], steps=4, batch=2, evaluate_examples=2)
        return train.Trainer(task, config, rng)

    stopped(seeing(0.1), tmp_path, step=2)
    with pytest.raises(train.TrainError, match=r"but label_smoothing was 0\.1 and is 0\.9$"):
        resumed(seeing(0.9), tmp_path)
    assert resumed(seeing(0.1), tmp_path).step == 2


def everything(t: train.Trainer) -> dict[str, Any]:
    """All of a trainer that resuming replaces."""
    stand = Stand.of(t)
    return {
        "weights": exact(dict(stand.weights)),
        "moments": [exact(state) for state in stand.optimizer["states"]],
        "groups": repr(stand.optimizer["groups"]),
        "schedule": stand.schedule,
        "data": exact(dict(stand.batches)),
        "generators": stand.generators,
        "reached": (t.step, t.evaluated, t.best, t.resumed, t.place),
    }


def test_a_run_goes_on_with_generators_of_the_same_kind_only(tmp_path: Path) -> None:
    stopped(trainer(), tmp_path)
    t = trainer()
    t.rng = t.batches.rng = np.random.Generator(np.random.PCG64DXSM(1))  # type: ignore[misc]
    t.task.model.drop.rng = np.random.Generator(np.random.PCG64DXSM(2))
    before = everything(t)
    with pytest.raises(
        train.TrainError,
        match=r"the generator model\.drop was 'PCG64' and is 'PCG64DXSM'; the generator run was",
    ):
        resumed(t, tmp_path)
    assert everything(t) == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda saved: saved.state["training"].update(batches={}),
        lambda saved: saved.state["training"].update(best="low"),
        lambda saved: saved.state["training"].update(evaluated=None),
        lambda saved: saved.optimizer.update(states=[]),
        lambda saved: saved.schedule.clear(),
    ],
)
def test_what_fails_amid_the_restoring_leaves_the_trainer_as_it_was(
    tmp_path: Path, spoil: Callable[[checkpoint.Checkpoint], object]
) -> None:
    stopped(trainer(), tmp_path)
    saved, t = train.latest(tmp_path), trainer(seed=20)
    list(zip(range(7), t, strict=False))  # it stands somewhere itself
    spoil(saved)
    before = everything(t)
    with pytest.raises(train.TrainError, match="the checkpoint does not fit this trainer"):
        t.resume(saved)
    assert everything(t) == before
