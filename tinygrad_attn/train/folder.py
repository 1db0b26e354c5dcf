"""The checkpoints of a run in its folder: the newest few, the best, and the model at the end.

step-000300.safetensors   where the run stood after 300 steps; the newest `keep`, while it runs
best.safetensors          at its best evaluation
model.safetensors         at the end; then no other steps are kept
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from ..checkpoint import Checkpoint, CheckpointError, Keeper, load, save
from .errors import TrainError
from .log import Log, reached

if TYPE_CHECKING:
    from .loop import Evaluation, Trainer

LAST = "model.safetensors"


@dataclass(frozen=True)
class Place:
    """A folder, and the checkpoints from which its run can go on.

    Attributes:
        folder: its whole path.
        files: of each checkpoint by its name: which file it is, when it was written, its size.
    """

    folder: Path
    files: dict[str, tuple[int, int, int]]

    @classmethod
    def of(cls, folder: Path) -> Place:
        """As it is now."""
        files = {}
        for path in (*Keeper(folder).paths(), folder / LAST):
            with suppress(OSError):  # there is none, or no more
                found = path.stat()
                files[path.name] = found.st_ino, found.st_mtime_ns, found.st_size
        return cls(folder.resolve(), files)


@dataclass
class Latest(Checkpoint):
    """What `latest` returns: a checkpoint, and the place where it stood."""

    place: Place


class Saver:
    """Saves a trainer in a folder.

    Args:
        folder: exists.
        trainer: what is saved.
        log: is forced to the disk before each checkpoint, which must not be newer.
        state: further values for each.

    Raises:
        TrainError: another run can still go on there, and this one did not come from it, or has
            not come as far; or a finished one would be mixed with one that saves no steps.
    """

    def __init__(self, folder: Path, trainer: Trainer, log: Log, state: dict[str, Any]) -> None:
        self.keeper = Keeper(folder, trainer.config.keep)
        self.trainer, self.log, self.state = trainer, log, state
        self.saved: tuple[int, int] | None = None  # step and evaluation of the last checkpoint
        self.check(Place.of(folder))

    def check(self, here: Place) -> None:
        """Refuse a folder where this run would damage another, or a later stand of itself."""
        folder, trainer = self.keeper.folder, self.trainer
        if trainer.resumed is None:
            if there := self.keeper.paths():
                raise TrainError(
                    f"{folder}: an unfinished run is here, saved in {there[-1].name}; go on with "
                    f"it (tinygrad-attn train --resume {quote(str(folder))}), or remove "
                    "step-*.safetensors, or choose another folder"
                )
            if here.files and trainer.config.save_every is None:
                raise TrainError(
                    f"{folder}: a finished run is here, and one that saves no steps "
                    f"(save_every=None) does not replace it; remove {LAST}, or choose another "
                    "folder"
                )
            return
        came = trainer.place
        if not here.files.items() - (came.files.items() if came else set()):
            return
        if came and came.folder == here.folder:
            raise TrainError(
                f"{folder}: the run has gone on to step {reached(self.log.path):,} meanwhile; "
                "resume it again"
            )
        raise TrainError(
            f"{folder}: another run is here, and not the one that this trainer has resumed; "
            "resume(latest(folder)) goes on with it, or choose another folder"
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


def latest(folder: str | Path) -> Latest:
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
    place = Place.of(folder)  # before it is read: what is written meanwhile is newer
    try:
        saved = Keeper(folder).load()
        if saved is None and LAST in there:
            saved = load(folder / LAST)
    except CheckpointError as error:
        raise TrainError(
            f"{folder}: expected a checkpoint to go on from, but none can be read: "
            f"{error}{instead(folder)}"
        ) from error
    if saved is None:
        raise TrainError(
            f"{folder}: expected a checkpoint to go on from, but there is none{instead(folder)}"
        )
    return Latest(**vars(saved), place=place)


def instead(folder: Path) -> str:
    """What to go on from where there is no other checkpoint, if the best one can be read."""
    best = Keeper(folder).best
    try:
        step = load(best).step
    except CheckpointError:
        return ""
    return f"; {best.name} can be read: copy it to step-{step:06d}.safetensors to go on from there"
