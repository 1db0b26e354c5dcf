"""Going on with a run of `train` from its folder, which has all that it takes."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..checkpoint import Checkpoint
from ..train import TrainConfig, Trainer, TrainError, latest
from ..train.config import CHANGEABLE
from .options import SIZES, UsageError
from .recipes import KINDS, SETTINGS, Recipe, sizes_of

FREE = [name for name in SETTINGS if name in CHANGEABLE]  # what may be given anew
FIXED = [name for name in SETTINGS if name not in CHANGEABLE]


def resumed(options: argparse.Namespace) -> tuple[Recipe, Trainer]:
    """The trainer of the run in the folder `--resume`, where it stood.

    Raises:
        UsageError: an option says something else than the run does.
        TrainError: there is no checkpoint to go on from, or it does not fit: its text has changed,
            or there shall be fewer steps.
    """
    folder: Path = options.resume
    saved = latest(folder)
    recipe = recipe_of(saved, folder)
    check_options(options, recipe)
    anew = {name: getattr(options, name) for name in FREE if getattr(options, name) is not None}
    text = options.text or recipe.text
    if text and not text.is_file():
        raise UsageError(f"--text: {text}, from which this run learns, is not there; say where")
    recipe = replace(recipe, text=text, config=replace(recipe.config, **anew))
    trainer = recipe.trainer()
    trainer.resume(saved)
    return recipe, trainer


def recipe_of(saved: Checkpoint, folder: Path) -> Recipe:
    """What a checkpoint in `folder` says of itself; anybody may have written it."""
    if "training" in saved.state and "recipe" not in saved.state:
        raise TrainError(
            f"{folder}: this run was made in Python; go on there, with "
            "Trainer.resume(latest(folder)) and run(trainer, folder)"
        )
    try:
        told, config = saved.state["recipe"], dict(saved.state["training"]["config"])
        kind, text, sizes = told["kind"], told["text"], dict(told["sizes"])
        for name, value in sizes.items():
            sizes[name] = SIZES[name][0](str(value))  # as if it were given as an option
        KINDS[kind]  # is there one?
        place = Path(os.path.relpath(folder / text)) if text else None
        return Recipe(kind, place, sizes, TrainConfig(**config))
    except (LookupError, TypeError, ValueError, argparse.ArgumentTypeError, TrainError) as error:
        raise TrainError(
            f"{folder}: expected the checkpoints of a run of `tinygrad-attn train` of this version "
            f"({type(error).__name__}: {error}); go on with the version that wrote them"
        ) from error


def check_options(options: argparse.Namespace, recipe: Recipe) -> None:
    """Refuse an option that contradicts the run."""
    if options.out is not None and options.out.resolve() != options.resume.resolve():
        raise UsageError(f"--out: a run goes on in its folder, {options.resume}; leave it out")
    if options.kind not in (None, recipe.kind):
        raise UsageError(f"--resume: this run trains a {recipe.kind}, not a {options.kind}")
    sizes = {**sizes_of(KINDS[recipe.kind]), **recipe.sizes}
    settings = {name: getattr(recipe.config, name) for name in FIXED}
    for name, value in {**dict.fromkeys(SIZES), **sizes, **settings}.items():
        asked: Any = getattr(options, name)
        if asked not in (None, value):
            raise UsageError(
                f"--{name}: this run has {'none' if value is None else value}, not {asked}; a run "
                "goes on as it began: leave it out"
            )
