"""`tinygrad-attn film`: a small model learns what "it" means, and how its attention gets there."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data import pronouns
from ..data.pronouns import Sentence
from ..engine import Tensor
from ..environment import limited_blas
from ..train import Evaluation, Progress, Reference, Trainer, presets
from ..train.reference import reference_loss
from ..viz.anatomy.film import MOST, Film
from .options import Parser, add_seed, file_to_write, integer, subparser

SUMMARY = "film the attention of a model while it learns what “it” means"
TEXT = """Train the small BERT that learns which noun a pronoun means, and record P and dP of all
its heads on the way: on two sentences that it never sees in training, “the animal didn't cross
the street because it was too tired” and “… too wide”.

Writes one HTML file that needs nothing else: a slider through the snapshots, every head's
weights with their gradients, the loss, and the norm of every module's gradient."""
EXAMPLES = """
--steps 600 --snapshots 100
--seed 3 --out it.html"""
FAMOUS = "the animal didn't cross the street because it was too {}"


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add this command's options."""
    parser = subparser(commands, "film", SUMMARY, TEXT, EXAMPLES)
    parser.add_argument(
        "--steps",
        type=integer(1, 100_000),
        default=300,
        metavar="N",
        help="steps of training (default: 300)",
    )
    parser.add_argument(
        "--snapshots",
        type=integer(2, 500),
        default=MOST,
        metavar="N",
        help=f"snapshots in the film, at most, evenly spread (default: {MOST})",
    )
    parser.add_argument(
        "--out",
        type=page,
        default=Path("film.html"),
        metavar="FILE",
        help="file to write, .html (default: film.html)",
    )
    add_seed(parser, "first weights and batches")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Train, film, and say where the film is."""
    file_to_write("--out", options.out)
    rng = np.random.default_rng(options.seed)
    config = replace(presets.SETTINGS["pronouns"], steps=options.steps, seed=options.seed)
    trainer = Trainer(presets.pronouns(pronouns(), rng), config, rng)
    with limited_blas(config.threads), Progress(options.steps) as progress:
        film, last = filmed(trainer, options.snapshots, progress.show)
    path = film.save(options.out)
    print(f"{path}   {len(film.frames)} snapshots, {path.stat().st_size / 1e6:.1f} MB")
    print(f"unseen sentences, noun right: {last.right:.0%}")
    return 0


def filmed(
    trainer: Trainer, snapshots: int, show: Callable[[Any], None]
) -> tuple[Film, Evaluation]:
    """Train to the end; the film of it, and the last evaluation."""
    task = trainer.task
    assert isinstance(task, Reference)
    film = film_of(task, snapshots)
    steps = trainer.config.steps
    wanted = {round(at) for at in np.linspace(0, steps, min(snapshots, steps + 1))}
    film.snap(0)
    for record in trainer:
        show(record)
        if isinstance(record, Evaluation):
            last = record
            continue
        film.add_loss(record.step, record.loss)
        if record.step in wanted:
            film.snap(record.step)
    return film, last


def film_of(task: Reference, snapshots: int) -> Film:
    """A film of the task's model on the famous pair of sentences."""
    sentences = [famous(task, why) for why in ("tired", "wide")]
    rows = task.corpus.rows(sentences)

    def loss(model: Any) -> Tensor:
        logits = model.logits(model(rows.tokens))
        return reference_loss(logits, rows)

    return Film(
        task.model,
        loss,
        examples=[sentence.words for sentence in sentences],
        title="What does “it” mean? A model learns where to look",
        most=snapshots,
    )


def famous(task: Reference, why: str) -> Sentence:
    """The sentence everybody knows, from the held-out part."""
    return next(s for s in task.corpus.test if str(s) == FAMOUS.format(why))


def page(text: str) -> Path:
    """A type for the name of an HTML file."""
    path = Path(text)
    if path.suffix.lower() not in (".html", ".htm"):
        raise argparse.ArgumentTypeError(f"expected a name that ends in .html, got {text!r}")
    return path
