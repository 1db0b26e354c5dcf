"""A whole run: the loop with its log, its checkpoints and its picture, all in one folder.

log.jsonl            every step and evaluation, see log.py
model.safetensors    the model at the end
best.safetensors     the model at its best evaluation
loss.png             the log as a picture
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Any

from .. import checkpoint
from ..engine import TensorError
from ..environment import environment, limited_blas
from ..extras import need
from ..viz import plots
from .errors import TrainError
from .log import Log, read_log
from .loop import Evaluation, Record, Step, Trainer
from .task import Baseline


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        step: steps done.
        held_out: mean loss on all held-out examples.
        right: share of them that is right, if the task counts that.
        baseline: what the loss is compared with, if there is anything.
        best: lowest evaluation on the way (on some of the held-out examples).
        seconds: of everything.
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
    show: Callable[[Record], None] = lambda record: None,
) -> Result:
    """Train to the end; every record also goes to `show`.

    Raises:
        TrainError: the folder cannot be written, or the loss is no longer finite.
        ExtraError: matplotlib or safetensors is missing; raised before the work begins.
    """
    for package in ("matplotlib", "safetensors"):
        need(package, "training with its files")
    folder, began, best = made(folder), perf_counter(), inf
    task, config, baseline = trainer.task, trainer.config, trainer.task.baseline
    with Log(folder / "log.jsonl") as log, limited_blas(config.threads):
        ground = environment()
        log.write(
            "start",
            config=asdict(config),
            model=checkpoint.description(task.model),
            data=task.name,
            train=task.sizes[0],
            held_out=task.sizes[1],
            unit=task.unit,
            baseline=baseline and asdict(baseline),
            environment=ground,
        )
        for record in trainer:
            log.write("step" if isinstance(record, Step) else "evaluation", **asdict(record))
            show(record)
            if isinstance(record, Evaluation) and record.held_out < best:
                best = record.held_out
                trainer.save(folder / "best.safetensors", held_out=best)
        final = trainer.evaluate()
        log.write("end", **asdict(final))
    trainer.save(folder / "model.safetensors", held_out=final.held_out)
    draw(folder / "log.jsonl", folder / "loss.png")
    seconds = perf_counter() - began
    return Result(trainer.step, final.held_out, final.right, baseline, best, seconds, ground)


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


def draw(log: str | Path, picture: str | Path) -> None:
    """Draw the last run of a log file.

    Raises:
        TrainError: the log cannot be read, or the picture not written.
    """
    lines = read_log(log)
    steps = [line for line in lines if line["kind"] == "step"]
    held_out = [(line["step"], line["held_out"]) for line in lines if line["kind"] == "evaluation"]
    start = lines[0]
    baseline = start["baseline"] or {"loss": None, "label": ""}
    try:
        plots.loss_curve(
            [line["step"] for line in steps],
            [line["loss"] for line in steps],
            held_out,
            picture,
            baseline=baseline["loss"],
            baseline_label=baseline["label"],
            unit=f"loss ({start['unit']})",
        )
    except TensorError as error:
        raise TrainError(f"{picture}: {error}") from error
