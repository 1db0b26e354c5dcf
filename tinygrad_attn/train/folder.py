"""The checkpoints of a run in its folder: the newest few, the best, and the model at the end.

step-300.safetensors   where the run stood after 300 steps; the newest `keep` of them, while it runs
best.safetensors       at its best evaluation
model.safetensors      at the end; then no other steps are kept
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import warn

from ..checkpoint import Checkpoint, CheckpointError, load
from .errors import TrainError, TrainWarning
from .log import Log

if TYPE_CHECKING:
    from .loop import Evaluation, Trainer

BEST, LAST = "best.safetensors", "model.safetensors"
STEP = re.compile(r"step-(\d{1,18})\.safetensors")


class Keeper:
    """Writes a trainer's checkpoints into a folder.

    Args:
        folder: exists.
        trainer: what is saved.
        log: is forced to the disk before each.
        state: further values for each.

    Raises:
        TrainError: another run can still go on there, and this one did not come from it.
    """

    def __init__(self, folder: Path, trainer: Trainer, log: Log, state: dict[str, Any]) -> None:
        self.folder, self.trainer, self.log, self.state = folder, trainer, log, state
        self.saved: tuple[int, int] | None = None  # step and evaluation of the last checkpoint
        there = steps_in(folder)
        if there and trainer.resumed is None:
            raise TrainError(
                f"{folder}: an unfinished run is here, saved after step {number_of(there[0]):,}; "
                "resume it, or choose another folder"
            )

    def step(self) -> None:
        """Where the trainer stands, unless that is saved; older ones beyond `keep` go."""
        now = self.trainer.step, self.trainer.evaluated
        if now == self.saved:
            return
        self.write(f"step-{now[0]}.safetensors")
        self.saved = now
        there = steps_in(self.folder)
        # A newer one is damaged, or from a future that will be computed again.
        past = [path for path in there if number_of(path) <= now[0]]
        for path in {*there} - {*past[: self.trainer.config.keep]}:
            path.unlink(missing_ok=True)

    def best(self) -> None:
        """The model at its best evaluation, just now."""
        self.write(BEST, held_out=self.trainer.best)

    def end(self, final: Evaluation) -> None:
        """The trained model; it holds all that the steps before it do."""
        self.write(LAST, held_out=final.held_out)
        for path in steps_in(self.folder):
            path.unlink(missing_ok=True)

    def write(self, name: str, **state: Any) -> None:
        """One checkpoint, whose log is on the disk."""
        self.log.sync()
        self.trainer.save(self.folder / name, **self.state, **state)


def steps_in(folder: Path) -> list[Path]:
    """The checkpoints of single steps, newest first."""
    found = [path for path in folder.iterdir() if STEP.fullmatch(path.name)]
    return sorted(found, key=number_of, reverse=True)


def number_of(path: Path) -> int:
    """The step in the name of a checkpoint."""
    match = STEP.fullmatch(path.name)
    assert match
    return int(match[1])


def latest(folder: str | Path) -> Checkpoint:
    """The newest checkpoint of the run in a folder that is whole.

    Warns:
        TrainWarning: newer ones are damaged.

    Raises:
        TrainError: there is none, or none that can be read.
    """
    folder = Path(folder)
    try:
        there = steps_in(folder)
    except OSError as error:
        raise TrainError(
            f"{folder}: expected the folder of a run ({error.strerror}); check the path"
        ) from error
    if not there and (folder / LAST).exists():
        there = [folder / LAST]
    problems = []
    for path in there:
        try:
            saved = load(path)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        if problems:
            warn(f"going on from {path.name}, as {problems[0]}", TrainWarning, stacklevel=2)
        return saved
    raise TrainError(
        f"{folder}: expected a checkpoint to go on from, "
        + (f"but none can be read: {problems[0]}" if problems else "but there is none")
    )
