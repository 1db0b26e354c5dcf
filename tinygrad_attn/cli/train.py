"""`tinygrad-attn train`: train a model on real input, or on a text of one's own."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

from ..checkpoint import CheckpointError
from ..data import DataError
from ..train import (
    Language,
    Progress,
    Record,
    Reference,
    Result,
    Stopped,
    Task,
    Trainer,
    presets,
    run,
)
from ..train import draw as draw_log
from ..train.folder import unfinished
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
    plain,
    subparser,
)
from .readers import reader
from .recipes import KINDS, SETTINGS, Recipe, sizes_of
from .resuming import resumed

SUMMARY = "train a model on real input, or on a text of your own"
TEXT = """Train a model, measure it on what it has never seen, and draw where it looks.

  gpt           writes English, character by character            or your own text
  seq2seq       dates as people write them → ISO 8601, recurrent  or your own pairs
  transformer   the same, with nothing but attention              or your own pairs
  vit           reads handwritten digits
  pronouns      learns what “it” means, and where to look for it

Each takes less than three minutes on two cores.  A text is UTF-8; its last tenth is held out.
Pairs are lines of a source, a tab and its target; a tenth of them is held out.

Written to the folder: log.jsonl (every step), loss.png, learned.png (where the model looks),
model.safetensors (the trained model, for `sample` or `predict`), best.safetensors (at its lowest
held-out loss) and, until the end, step-N.safetensors: whatever stops a run (Ctrl-C saves first),
--resume DIR goes on with it.  A new run replaces a finished one, no other.  The defaults are:
"""
PICTURES = ("loss.png", "learned.png")
EXAMPLES = """
gpt --text book.txt --length 128 --steps 5000 --out book
seq2seq --attention luong
transformer --text words.tsv --layers 2"""


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add this command's options."""
    parser = subparser(commands, "train", SUMMARY, TEXT + "\n" + defaults(), EXAMPLES)
    parser.usage = "tinygrad-attn train [MODEL] [options]"
    parser.add_argument(
        "kind",
        nargs="?",
        metavar="MODEL",
        help=argparse.SUPPRESS,  # the text has the names
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
    add_seed(parser, "a new run")
    parser.set_defaults(seed=None)  # of the run that goes on
    parser.add_argument(
        "--threads",
        type=integer(1, 1_000),
        metavar="N",
        help="threads; more than 1 may change the last bits (default: 1)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the files (default: tinygrad-attn-MODEL)",
    )
    parser.add_argument(
        "--save-every",
        type=integer(1),
        metavar="N",
        help="steps from checkpoint to checkpoint (100)",
    )
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="DIR",
        help="go on with a run as it began; --steps N makes it longer",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="DIR",
        help="draw loss.png from the log as it is, and nothing else",
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


def execute(options: argparse.Namespace) -> int:
    """Train, or go on, and say what came out."""
    if options.plot is not None:
        check_alone(options)
        print(draw_log(options.plot / "log.jsonl", options.plot / "loss.png"))
        return 0
    with told():
        if options.resume is not None:
            out, (recipe, trainer) = options.resume, resumed(options)
            drawn = all((out / name).is_file() for name in PICTURES)
            if trainer.finished and drawn and not unfinished(out):
                print(f"This run is finished: {trainer.step:,} steps; more --steps make it longer.")
                return 0
        else:
            out = folder(options.out or Path(f"tinygrad-attn-{options.kind or 'gpt'}"))
            recipe = prepared(options)
            trainer = recipe.trainer()
        return trained(trainer, recipe, out)


def trained(trainer: Trainer, recipe: Recipe, out: Path) -> int:
    """Train to the end, or until a signal comes."""
    print(introduction(trainer), flush=True)
    command = f"tinygrad-attn train --resume {quote(str(out))}"
    progress = Progress(trainer.config.steps, done=trainer.step)
    news = [f"It goes on after step {trainer.step:,}."] if trainer.step else []

    def show(record: Record) -> None:
        while news:  # the folder is this run's by now
            print(news.pop(), flush=True)
        progress.show(record)

    try:
        with progress:
            result = run(trainer, out, show, recipe=recipe.saved(out))
    except Stopped as stop:
        print(f"\ntinygrad-attn: {stop}; go on with: {command}", file=sys.stderr)
        return stop.code
    except CheckpointError as error:
        if not unfinished(out):
            raise
        raise CheckpointError(f"{error}; then go on with: {command}") from error
    print(conclusion(result, trainer.task))
    try:
        print(f"Where it looks: {draw(trainer.task, out / PICTURES[1])}")
    except DataError as error:
        print(error)
    command = "sample" if isinstance(trainer.task, Language) else "predict"
    print(f"Files are in {out}; go on with: tinygrad-attn {command} {out / 'model.safetensors'}")
    return 0


def check_alone(options: argparse.Namespace) -> None:
    """Refuse what is given beside --plot."""
    others = sorted(given(options, vars(options).keys() - {"plot", "execute"}))
    if others:
        names = ", ".join("MODEL" if n == "kind" else f"--{n.replace('_', '-')}" for n in others)
        raise UsageError(f"--plot draws what is there, and takes nothing beside it; got {names}")


@contextmanager
def told() -> Iterator[None]:
    """Warnings about a run, each in one line on standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)

        def tell(message: Warning | str, *_: Any, **__: Any) -> None:
            print(f"tinygrad-attn: {plain(str(message))}", file=sys.stderr)

        warnings.showwarning = tell
        yield


def prepared(options: argparse.Namespace) -> Recipe:
    """What the options ask for."""
    kind = options.kind or "gpt"
    if kind not in KINDS:  # not argparse's choices, which take `--wrong 2` for this
        raise UsageError(f"train: expected one of {', '.join(KINDS)}, got {kind!r}")
    settings = {"threads": 1, **given(options, SETTINGS)}
    config = replace(presets.SETTINGS[kind], **settings)
    return Recipe(kind, options.text, given(options, SIZES), config)


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
