"""The checkpoints of a run in its folder: the newest few, the best, and the model at the end.

step-000300.safetensors   where the run stood after 300 steps; the newest `keep`, while it runs
best.safetensors          at its best evaluation
model.safetensors         at the end; then no other steps are kept
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoint import Checkpoint, CheckpointError, Keeper, load, save
from .errors import TrainError
from .log import Log

if TYPE_CHECKING:
    from .loop import Evaluation, Trainer

LAST = "model.safetensors"


class Saver:
    """Saves a trainer in a folder.

    Args:
        folder: exists.
        trainer: what is saved.
        log: is forced to the disk before each checkpoint, which must not be newer.
        state: further values for each.

    Raises:
        TrainError: another run can still go on there, and this one did not come from it.
    """

    def __init__(self, folder: Path, trainer: Trainer, log: Log, state: dict[str, Any]) -> None:
        self.keeper = Keeper(folder, trainer.config.keep)
        self.trainer, self.log, self.state = trainer, log, state
        self.saved: tuple[int, int] | None = None  # step and evaluation of the last checkpoint
        there = self.keeper.paths()
        if there and trainer.resumed is None:
            raise TrainError(
                f"{folder}: an unfinished run is here, saved in {there[-1].name}; resume it, or "
                "choose another folder"
            )

    def step(self) -> None:
        """Where the trainer stands, unless that is saved."""
        now = self.trainer.step, self.trainer.evaluated
        if now != self.saved:
            self.log.sync()
            self.keeper.save(**self.trainer.contents(**self.state))
            self.saved = now

    def best(self) -> None:
        """The model at its best evaluation, just now."""
        self.write(self.keeper.best, held_out=self.trainer.best)

    def end(self, final: Evaluation) -> None:
        """The trained model; it holds all that the steps before it do."""
        self.write(self.keeper.folder / LAST, held_out=final.held_out)
        for path in self.keeper.paths():
            path.unlink(missing_ok=True)

    def write(self, path: Path, **state: Any) -> None:
        """One checkpoint beside those of the steps."""
        self.log.sync()
        save(path, **self.trainer.contents(**self.state, **state))


def unfinished(folder: Path) -> bool:
    """Is there a run in a folder that has not come to its end?"""
    return bool(Keeper(folder).paths())


def latest(folder: str | Path) -> Checkpoint:
    """The newest checkpoint of the run in a folder that is whole.

    Warns:
        UserWarning: newer ones are damaged.

    Raises:
        TrainError: there is none, or none that can be read.
    """
    folder = Path(folder)
    try:
        there = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise TrainError(
            f"{folder}: expected the folder of a run ({error.strerror}); check the path"
        ) from error
    try:
        saved = Keeper(folder).load()
        if saved is None and LAST in there:
            saved = load(folder / LAST)
    except CheckpointError as error:
        raise TrainError(
            f"{folder}: expected a checkpoint to go on from, but none can be read: {error}"
        ) from error
    if saved is None:
        raise TrainError(f"{folder}: expected a checkpoint to go on from, but there is none")
    return saved
