"""`tinygrad-attn train`: train a model on real input, or on a text of one's own."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from ..data import DataError, Pairs, dates, digits, pairs, pronouns, text
from ..train import Language, Progress, Reference, Result, Task, Trainer, presets, run
from .attention import attention_of, draw_heads, held_out_sentence
from .options import (
    SIZES,
    Parser,
    UsageError,
    add_seed,
    add_sizes,
    folder,
    integer,
    number,
    subparser,
)
from .readers import reader

SUMMARY = "train a model on real input, or on a text of your own"
TEXT = """Train a model, measure it on what it has never seen, and draw where it looks.

  gpt           writes English, character by character            or your own text
  seq2seq       dates as people write them → ISO 8601, recurrent  or your own pairs
  transformer   the same, with nothing but attention              or your own pairs
  vit           reads handwritten digits
  pronouns      learns what “it” means, and where to look for it

Each takes less than three minutes on two cores.  A text is UTF-8; its last tenth is held out.
Pairs are lines of a source, a tab and its target; a tenth of them is held out.

Written to the folder: log.jsonl (every step and evaluation), loss.png, learned.png (where the
model looks), model.safetensors (the trained model, for `sample` or `predict`), best.safetensors
(the model at its lowest held-out loss on the way).  Without options each model is made so:
"""
EXAMPLES = """
gpt --text book.txt --length 128 --steps 5000 --out book
seq2seq --attention luong
transformer --text words.tsv --layers 2"""


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


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add this command's options."""
    parser = subparser(commands, "train", SUMMARY, TEXT + "\n" + defaults(), EXAMPLES)
    parser.usage = "tinygrad-attn train [MODEL] [options]"
    parser.add_argument(
        "kind",
        nargs="?",
        default="gpt",
        metavar="MODEL",
        help=f"one of {', '.join(KINDS)} (default: gpt)",
    )
    parser.add_argument("--text", type=Path, metavar="FILE", help="a text of your own to learn")
    parser.add_argument("--steps", type=integer(1), metavar="N", help="updates")
    parser.add_argument(
        "--batch", type=integer(1, 100_000), metavar="N", help="examples in one update"
    )
    parser.add_argument(
        "--lr", type=number(0, 100, above=True), metavar="X", help="highest learning rate"
    )
    add_sizes(parser)
    add_seed(parser, "first weights, batches and dropout")
    parser.add_argument(
        "--threads",
        type=integer(1, 1_000),
        default=1,
        metavar="N",
        help="threads; more than 1 may change the last bits (default: 1)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the files (default: tinygrad-attn-MODEL)",
    )
    parser.set_defaults(execute=execute)


def defaults() -> str:
    """A table of what each model is made with."""
    columns = ("steps", "batch", "lr", *SIZES)
    lines = [("", *columns)]
    for name, kind in KINDS.items():
        values = {**vars(presets.SETTINGS[name]), **sizes_of(kind)}
        lines.append((name, *(str(values.get(column, "")) for column in columns)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  " + "  ".join(f"{cell:{w}}" for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def sizes_of(kind: Kind) -> dict[str, Any]:
    """The sizes that a kind takes, with their defaults."""
    parameters = signature(kind.prepare).parameters
    return {name: parameters[name].default for name in SIZES if name in parameters}


def execute(options: argparse.Namespace) -> int:
    """Train, and say what came out."""
    if options.kind not in KINDS:  # not argparse's choices, which take `--wrong 2` for this
        raise UsageError(f"train: expected one of {', '.join(KINDS)}, got {options.kind!r}")
    out = folder(options.out or Path(f"tinygrad-attn-{options.kind}"))
    trainer = prepared(options)
    print(introduction(trainer), flush=True)
    with Progress(trainer.config.steps) as progress:
        result = run(trainer, out, progress.show)
    print(conclusion(result, trainer.task))
    try:
        print(f"Where it looks: {draw(trainer.task, out / 'learned.png')}")
    except DataError as error:
        print(error)
    command = "sample" if isinstance(trainer.task, Language) else "predict"
    print(f"Files are in {out}; go on with: tinygrad-attn {command} {out / 'model.safetensors'}")
    return 0


def prepared(options: argparse.Namespace) -> Trainer:
    """A new model of the sizes in the options, with its corpus, and its trainer."""
    kind = KINDS[options.kind]
    if options.text and not kind.own_text:
        raise UsageError(f"--text: {options.kind} learns from its own examples; leave it out")
    sizes, known = given(options, SIZES), sizes_of(kind)
    for name in sizes:
        if name not in known:
            names = ", ".join(f"--{size}" for size in known)
            raise UsageError(f"--{name}: {options.kind} has {names}; leave it out")
    if options.kind == "seq2seq" and sizes.get("width", 0) % 2:
        raise UsageError(f"--width must be even for seq2seq, got {sizes['width']}")
    all_sizes = {"heads": 1, **known, **sizes}
    if all_sizes["width"] % all_sizes["heads"]:
        raise UsageError("--heads must divide --width, got {heads} and {width}".format(**all_sizes))
    check_memory(all_sizes)
    settings = given(options, ("steps", "batch", "lr", "seed", "threads"))
    config = replace(presets.SETTINGS[options.kind], **settings)
    rng = np.random.default_rng(config.seed)
    return Trainer(kind.prepare(kind.corpus(options.text), rng, **sizes), config, rng)


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


def given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Those of the options that were given."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def introduction(trainer: Trainer) -> str:
    """What will be trained, on what."""
    task = trainer.task
    numbers = sum(p.size for p in task.model.parameters())
    return f"{task.about}\nModel: {type(task.model).__name__}, {numbers:,} parameters."


def conclusion(result: Result, task: Task) -> str:
    """The loss beside what it is compared with, and what is right."""
    lines = [
        f"After {result.step:,} steps and {result.seconds:.0f} s, on everything held out:",
        f"  {result.held_out + 0.0:.3f} {task.unit}   this model",
    ]
    if result.baseline:
        lines.append(f"  {result.baseline.loss:.3f} {task.unit}   {result.baseline.label}")
    if result.right is not None:
        lines.append(f"  {result.right:.1%} of {task.sizes[1]:,} right")
    if isinstance(task, Reference):
        layer, head = task.head()
        share = task.looks(task.unseen)[layer, head]
        lines.append(
            f"  {share:.1%} where “it” looks most at its noun (layer {layer}, head {head})"
        )
    return "\n".join(lines)


def draw(task: Task, path: Path) -> Path:
    """Where the trained model looks, on something it has not seen."""
    if isinstance(task, Language):
        layer = task.model.config.num_layers - 1
        sentence = held_out_sentence(task.corpus, task.model.config.max_length)
        found = attention_of(task.model, task.corpus, sentence, layer)
        return draw_heads(found.weights, list(found.sentence), layer, path)
    trained = reader(path, task.model, task.state())
    questions, right = zip(*trained.examples, strict=True)
    return trained.draw(questions, path, right)
