"""The checkpoints of a run in its folder: the last few, and the best.

    keeper = Keeper("run", keep=3)
    keeper.save(step=200, model=model, optimizer=optimizer, best=loss < least)
    saved = keeper.load()

step-000100.safetensors    the last `keep`, by their steps
step-000200.safetensors
best.safetensors           a copy of the one that was the best
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any
from warnings import warn

from .errors import CheckpointError
from .loading import Checkpoint, load
from .saving import save

NAME = re.compile(r"step-(\d{6,})\.safetensors", re.ASCII)


class Keeper:
    """Keeps the last checkpoints of a run, and the best.

    Args:
        folder: where they stand.
        keep: how many of the last, 1 or more.
    """

    BEST = "best.safetensors"

    def __init__(self, folder: str | os.PathLike[str], keep: int = 3) -> None:
        if keep < 1:
            raise CheckpointError(f"keep: expected 1 or more checkpoints to keep, got {keep}")
        self.folder, self.keep = Path(folder), keep

    @property
    def best(self) -> Path:
        """Where the best stands, once there is one."""
        return self.folder / self.BEST

    def paths(self) -> list[Path]:
        """The checkpoints of steps that are there, the last one last; none without a folder.

        Raises:
            CheckpointError: the folder cannot be read.
        """
        try:
            names = [match for name in os.listdir(self.folder) if (match := NAME.fullmatch(name))]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(
                f"{self.folder}: expected a folder of checkpoints, but it cannot be read "
                f"({error.strerror}); check the path and its permissions"
            ) from error
        return [self.folder / match[0] for match in sorted(names, key=lambda match: int(match[1]))]

    def save(self, *, step: int, best: bool = False, **what: Any) -> Path:
        """Save what `checkpoint.save` takes; the old are removed once the new one is on the disk.

        Checkpoints of later steps, which a run leaves that began anew, are left alone.

        Raises:
            CheckpointError: as `checkpoint.save`; everything that was there is there still.
        """
        path = save(self.folder / f"step-{step:06}.safetensors", step=step, **what)
        if best:
            save(self.best, step=step, **what)
        with suppress(CheckpointError):  # an old one too many does no harm
            paths = self.paths()
            for old in paths[: paths.index(path) + 1][: -self.keep]:
                with suppress(OSError):
                    old.unlink()
        return path

    def load(self) -> Checkpoint | None:
        """The last checkpoint that is whole; None where there is none at all.

        Raises:
            CheckpointError: there are some, but none is whole; or the folder cannot be read.
        """
        error: CheckpointError | None = None
        for path in reversed(self.paths()):
            try:
                saved = load(path)
            except CheckpointError as found:
                error = error or found
                continue
            if error is not None:
                warn(f"{path.name} is taken instead, as {error}", stacklevel=2)
            return saved
        if error is not None:
            raise error
        return None
