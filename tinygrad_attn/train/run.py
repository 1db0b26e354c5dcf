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

from ..data import Bigram
from ..engine import TensorError
from ..extras import need
from ..viz import plots
from .environment import environment, limited_blas
from .errors import TrainError
from .log import Log, read_log
from .loop import Evaluation, Record, Step, Trainer


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        step: steps done.
        held_out: loss on the whole held-out text, in nats a character.
        bigram: loss of the model that looks at one character only, on the same characters.
        best: lowest evaluation on the way (on part of the held-out text).
        seconds: of everything.
        environment: on what it ran, as in the log.
    """

    step: int
    held_out: float
    bigram: float
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
    corpus, config = trainer.corpus, trainer.config
    bigram = Bigram(corpus.train, len(corpus.vocabulary)).loss(corpus.held_out)
    with Log(folder / "log.jsonl") as log, limited_blas(config.threads):
        ground = environment()
        log.write(
            "start",
            config=asdict(config),
            model=asdict(trainer.model.config),
            text=corpus.name,
            train=len(corpus.train),
            held_out=len(corpus.held_out),
            bigram=bigram,
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
    return Result(trainer.step, final.held_out, bigram, best, perf_counter() - began, ground)


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
    try:
        plots.loss_curve(
            [line["step"] for line in steps],
            [line["loss"] for line in steps],
            held_out,
            picture,
            baseline=lines[0]["bigram"],
            baseline_label="one character only (bigram)",
            unit="loss (nats per character)",
        )
    except TensorError as error:
        raise TrainError(f"{picture}: {error}") from error
