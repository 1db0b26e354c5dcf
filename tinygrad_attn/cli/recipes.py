"""How a model that `train` trains is made: from its name, its sizes and a text.

A recipe is saved with every checkpoint, so that a run can go on from its folder alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Pairs, dates, digits, pairs, pronouns, text
from ..rng import seed
from ..train import Task, TrainConfig, Trainer, presets
from .options import SIZES, UsageError

SETTINGS = ("steps", "batch", "lr", "seed", "threads", "save_every")  # options of a TrainConfig


@dataclass(frozen=True)
class Kind:
    """What can be trained: on what corpus, and how a model for it is made."""

    corpus: Callable[[Path | None], Any]
    prepare: Callable[..., Task]
    own_text: bool = True


def translations(path: Path | None) -> Pairs:
    """The pairs in a file of one's own, or dates."""
    return dates() if path is None else pairs(path)


KINDS = {
    "gpt": Kind(text, presets.gpt),
    "seq2seq": Kind(translations, presets.seq2seq),
    "transformer": Kind(translations, presets.transformer),
    "vit": Kind(lambda _: digits(), presets.vit, own_text=False),
    "pronouns": Kind(lambda _: pronouns(), presets.pronouns, own_text=False),
}


@dataclass(frozen=True)
class Recipe:
    """What a trainer is made of.

    Attributes:
        kind: one of KINDS.
        text: a file of one's own, or None.
        sizes: of the model, where they are not its own.
        config: how it is trained.
    """

    kind: str
    text: Path | None
    sizes: dict[str, Any]
    config: TrainConfig

    def trainer(self) -> Trainer:
        """A new model with its corpus, and its trainer.

        Raises:
            UsageError: the sizes do not fit the model, each other, or the machine.
        """
        kind = KINDS[self.kind]
        if self.text and not kind.own_text:
            raise UsageError(f"--text: {self.kind} learns from its own examples; leave it out")
        check_sizes(self.kind, self.sizes)
        seed(self.config.seed)  # nothing here uses the library's own generator, but it is saved too
        rng = np.random.default_rng(self.config.seed)
        return Trainer(kind.prepare(kind.corpus(self.text), rng, **self.sizes), self.config, rng)

    def saved(self, folder: Path) -> dict[str, Any]:
        """What a checkpoint in `folder` needs of it; the trainer adds the settings.

        The text's place is told from the folder, so that both may move together.
        """
        return {"kind": self.kind, "text": relative(self.text, folder), "sizes": self.sizes}


def relative(text: Path | None, folder: Path) -> str | None:
    """Where a file is, from a folder."""
    if text is None:
        return None
    try:
        return Path(os.path.relpath(text.resolve(), folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return str(text.resolve())


def sizes_of(kind: Kind) -> dict[str, Any]:
    """The sizes that a kind takes, with their defaults."""
    parameters = signature(kind.prepare).parameters
    return {name: parameters[name].default for name in SIZES if name in parameters}


def check_sizes(kind: str, sizes: dict[str, Any]) -> None:
    """Refuse sizes that a kind does not have, that do not fit each other, or not the machine."""
    known = sizes_of(KINDS[kind])
    for name in sizes:
        if name not in known:
            names = ", ".join(f"--{size}" for size in known)
            raise UsageError(f"--{name}: {kind} has {names}; leave it out")
    if kind == "seq2seq" and sizes.get("width", 0) % 2:
        raise UsageError(f"--width must be even for seq2seq, got {sizes['width']}")
    all_sizes = {"heads": 1, **known, **sizes}
    if all_sizes["width"] % all_sizes["heads"]:
        raise UsageError("--heads must divide --width, got {heads} and {width}".format(**all_sizes))
    check_memory(all_sizes)


def check_memory(sizes: dict[str, Any]) -> None:
    """Refuse sizes that the machine cannot hold: a system out of memory kills without a word."""
    if not hasattr(os, "sysconf"):
        return
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # Attention and MLP have 12·width² weights, each with its gradient and Adam's two moments.
    layer = 16 * 12 * sizes["width"] ** 2 + 4 * sizes["heads"] * sizes.get("length", 0) ** 2
    needed = sizes.get("layers", 1) * layer
    if needed > there:
        raise UsageError(
            f"these sizes need at least {needed / 2**30:,.0f} GiB of memory, and there are "
            f"{there / 2**30:,.0f}; choose a smaller --width, --length or fewer --layers"
        )
