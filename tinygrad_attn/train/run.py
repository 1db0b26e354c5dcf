"""A whole run: the loop with its log, its checkpoints and its picture, all in one folder.

log.jsonl                 every step and evaluation, see log.py
step-000300.safetensors   where it stood, while it runs, see folder.py
best.safetensors          the model at its best evaluation
model.safetensors         the model at the end
loss.png                  the log as a picture

Whatever ends a run, it can go on from its folder, and comes out as it would have:

    trainer.resume(latest(folder))      # a trainer made as the first one was
    run(trainer, folder)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from warnings import warn

from .. import checkpoint
from ..engine import TensorError
from ..environment import environment, limited_blas
from ..extras import need
from ..viz import plots
from .errors import TrainError, TrainWarning
from .folder import Saver
from .log import Log, is_number, read_log
from .loop import Evaluation, Record, Step, Trainer
from .resuming import unlike
from .stopping import Stop, stopping
from .task import Baseline

Show = Callable[[Record], None]


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        step: steps done.
        held_out: mean loss on all held-out examples.
        right: share of them that is right, if the task counts that.
        baseline: what the loss is compared with, if there is anything.
        best: lowest evaluation on the way (on some of the held-out examples).
        seconds: of all steps and evaluations.
        environment: on what it ran, as in the log.
    """

    step: int
    held_out: float
    right: float | None
    baseline: Baseline | None
    best: float
    seconds: float
    environment: dict[str, Any]


def run(
    trainer: Trainer,
    folder: str | Path,
    show: Show = lambda record: None,
    **state: Any,
) -> Result:
    """Train to the end; every record also goes to `show`.

    Args:
        trainer: a new one, or one that has resumed the run in the folder.
        folder: made where it is missing; a finished run in it is replaced by a new one.
        show: takes each record as it comes.
        state: further values for every checkpoint.

    Warns:
        TrainWarning: the run goes on with other versions or threads.

    Raises:
        TrainError: the folder cannot be written, another run writes or could go on there, this
            one has gone on there since it was resumed, or the loss is no longer finite.
        CheckpointError: a checkpoint cannot be written; those before it are untouched.
        Stopped: a signal (Ctrl-C, SIGTERM) came; everything is saved.
        ExtraError: matplotlib or safetensors is missing; raised before the work begins.
    """
    for package in ("matplotlib", "safetensors"):
        need(package, "training with its files")
    folder = made(folder)
    with limited_blas(trainer.config.threads), Log(folder / "log.jsonl") as log:
        ground, saver = environment(), Saver(folder, trainer, log, state)
        if trainer.config.save_every is not None:
            saver.step()  # before the log begins: whatever stands there can go on
        if trainer.resumed is None:
            saver.keeper.best.unlink(missing_ok=True)  # another run's, which this one replaces
        begin(trainer, log, ground)
        with hearing(trainer) as stop:
            follow(trainer, log, saver, stop, show)
            final = trainer.evaluate()
            log.write("end", **asdict(final))
            saver.end(final)
            draw(log.path, folder / "loss.png")
    return Result(
        trainer.step,
        final.held_out,
        final.right,
        trainer.task.baseline,
        trainer.best,
        sum(line.get("seconds", 0.0) for line in read_log(folder / "log.jsonl")),
        ground,
    )


def made(folder: str | Path) -> Path:
    """The folder, created where it is missing."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrainError(
            f"{folder}: expected a folder to write to, but it cannot be made "
            f"({reason}); choose another"
        ) from error
    return folder


def begin(trainer: Trainer, log: Log, ground: dict[str, Any]) -> None:
    """Write that the run starts, or goes on; warn if it does so on other ground."""
    task = trainer.task
    who = {
        "config": asdict(trainer.config),
        "environment": ground,
        "process": os.getpid(),
        "began": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    if trainer.resumed is not None and (changed := unlike(trainer.resumed, ground)):
        warn(changed, TrainWarning, stacklevel=3)
    # A run that goes on from step 0 was killed before it could write that it starts, or just after.
    if trainer.resumed is not None and trainer.step and log.begun:
        log.write("resume", step=trainer.step, evaluated=trainer.evaluated, **who)
        return
    log.write(
        "start",
        model=checkpoint.description(task.model),
        data=task.name,
        train=task.sizes[0],
        held_out=task.sizes[1],
        unit=task.unit,
        baseline=task.baseline and asdict(task.baseline),
        **who,
    )


def hearing(trainer: Trainer) -> AbstractContextManager[Stop]:
    """Signals end a run between two steps, if it saves any."""
    return nullcontext(Stop()) if trainer.config.save_every is None else stopping()


def follow(trainer: Trainer, log: Log, saver: Saver, stop: Stop, show: Show) -> None:
    """Take every step, write what it was, and save now and then, when a signal comes, at the end.

    Raises:
        Stopped: a signal came.
    """
    every = trainer.config.save_every
    best = trainer.best
    for record in trainer:
        log.write("step" if isinstance(record, Step) else "evaluation", **asdict(record))
        show(record)
        if isinstance(record, Evaluation) and record.held_out < best:
            best = record.held_out
            saver.best()
        if every is None:
            continue
        regular = trainer.step % every == 0 and not trainer.due
        if regular or trainer.finished or stop.requested is not None:
            saver.step()
            stop.obey(f"stopped after step {trainer.step:,} of {trainer.config.steps:,}, and saved")
    stop.saved = True
    stop.obey("stopped before the last evaluation; every step is saved")


def draw(log: str | Path, picture: str | Path) -> Path:
    """Draw the last run of a log file, finished or not.

    Raises:
        TrainError: the log cannot be read, or the picture not written.
    """
    lines = read_log(log)
    steps = [line for line in lines if line["kind"] == "step"]
    held_out = [(line["step"], line["held_out"]) for line in lines if line["kind"] == "evaluation"]
    start = lines[0]
    baseline = start.get("baseline")
    if not isinstance(baseline, dict) or not is_number(baseline.get("loss")):
        baseline = {"loss": None}
    try:
        return plots.loss_curve(
            [line["step"] for line in steps],
            [line["loss"] for line in steps],
            held_out,
            picture,
            baseline=baseline["loss"],
            baseline_label=str(baseline.get("label", "")),
            unit=f"loss ({start.get('unit', 'nats')})",
        )
    except TensorError as error:
        raise TrainError(f"{picture}: {error}") from error
