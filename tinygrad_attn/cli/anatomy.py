"""`tinygrad-attn anatomy`: one call of an attention layer, forward and backward, on one page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..data import pronouns
from ..environment import limited_blas
from ..nn import Module, MultiHeadAttention
from ..train import Progress, Trainer, presets
from ..viz.anatomy import Page, anatomy
from ..viz.anatomy.data import PathPart
from ..viz.anatomy.paths import percent
from ..viz.files import write_whole
from ..viz.labels import clean
from .options import Parser, UsageError, add_seed, file_to_write, integer, subparser
from .subjects import Subject, famous, of_bert, saved_subject
from .train import introduction

SUMMARY = "see the backward pass of an attention layer: every number, on one page"
TEXT = """Run a trained model on a few texts and write one call of an attention layer, forward and
backward, as one HTML file that needs nothing from outside: every matrix above its gradient, every
number opening into the sum it comes from, and where the gradient of the layer's input comes from.

Without a checkpoint a small BERT first learns what “it” means in “the animal didn't cross the
street because it was too tired”, in seconds; with one, a GPT or a BERT of your own reads your
texts."""
EXAMPLES = """
--sheet derivation.md
--checkpoint tinygrad-attn-demo/model.safetensors --text "The value " --layer 0
--checkpoint tinygrad-attn-pronouns/model.safetensors --target animal street"""

ENOUGH = 0.1  # held-out loss at which the pronouns are known: longer, and gradients only shrink


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add this command's options."""
    parser = subparser(commands, "anatomy", SUMMARY, TEXT, EXAMPLES)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("anatomy.html"),
        metavar="FILE",
        help="the page to write, .html (default: anatomy.html)",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="a model.safetensors that `train gpt`, `train pronouns` or `demo` wrote",
    )
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="the layer's name in the model, or its number from 0 (default: the last)",
    )
    parser.add_argument(
        "--text",
        nargs="+",
        default=[],
        metavar="TEXT",
        help="what the model reads; for a BERT sentences with “it”",
    )
    parser.add_argument(
        "--target",
        nargs="+",
        default=[],
        metavar="SYMBOL",
        help="words or characters whose logit is differentiated beside the loss (default: the "
        "right one)",
    )
    parser.add_argument(
        "--sheet",
        type=Path,
        metavar="FILE",
        help="also write the derivation with the shapes and numbers of this layer, .md",
    )
    parser.add_argument(
        "--steps",
        type=integer(1, 100_000),
        metavar="N",
        help=f"updates at most (default: {presets.SETTINGS['pronouns'].steps}); training ends as "
        f"soon as the loss on held-out sentences is {ENOUGH}",
    )
    add_seed(parser, "first weights and batches, without a checkpoint")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Train or load, record, write, and say what there is to see."""
    check(options)
    with limited_blas(1):
        subject, trainer = prepared(options)
        layer = layer_of(subject.model, options.layer)
        if trainer is not None:
            trained(trainer)
        page = page_of(subject, layer)
        path = page.save(options.out)
        if options.sheet:
            write_whole(options.sheet, page.derivation().encode("utf-8"))
    print("\n".join(findings(page)))
    sheet = f", the derivation in {options.sheet}" if options.sheet else ""
    print(f"The page is {path} ({path.stat().st_size / 1e6:.1f} MB){sheet}; open it in a browser")
    return 0


def check(options: argparse.Namespace) -> None:
    """Refuse wrong names and places before anything takes time."""
    for name, path, endings in (
        ("--out", options.out, (".html", ".htm")),
        ("--sheet", options.sheet, (".md",)),
    ):
        if path is None:
            continue
        if path.suffix.lower() not in endings:
            raise UsageError(f"{name}: expected a name that ends in {endings[0]}, got {path}")
        file_to_write(name, path)
    if options.checkpoint and options.steps:
        raise UsageError("--steps: with a checkpoint nothing is trained; leave it out")
    if options.text and not options.checkpoint:
        raise UsageError(
            "--text: needs --checkpoint FILE; let `tinygrad-attn train gpt` or `train pronouns` "
            "write one"
        )


def prepared(options: argparse.Namespace) -> tuple[Subject, Trainer | None]:
    """What is looked at, and what trains it first, where it is not trained yet."""
    if options.checkpoint:
        return saved_subject(options.checkpoint, options.text, options.target), None
    rng, corpus = np.random.default_rng(options.seed), pronouns()
    config = presets.SETTINGS["pronouns"]
    steps = options.steps or config.steps
    config = replace(config, steps=steps, target=ENOUGH, seed=options.seed)
    task = presets.pronouns(corpus, rng)
    subject = of_bert(task.model, corpus.vocabulary, famous(corpus), options.target)
    return subject, Trainer(task, config, rng)


def trained(trainer: Trainer) -> None:
    """Train to the end."""
    print(introduction(trainer), flush=True)
    with Progress(trainer.config.steps) as progress:
        for record in trainer:
            progress.show(record)


def layer_of(model: Module, asked: str | None) -> str:
    """The name of a layer of attention, given by name or number; the last where None."""
    names = [n for n, part in model.named_modules() if isinstance(part, MultiHeadAttention)]
    if asked is None:
        return names[-1]
    if asked.isdecimal() and int(asked) < len(names):
        return names[int(asked)]
    if asked not in names:
        raise UsageError(
            f"--layer: expected one of {', '.join(names)}, or a number from 0 to "
            f"{len(names) - 1}; got {asked!r:.80}"
        )
    return asked


def page_of(subject: Subject, layer: str) -> Page:
    """The page of the layer of this name."""
    return anatomy(
        subject.model,
        subject.run,
        layer=layer,
        examples=subject.examples,
        cells=[subject.cell],
        title=subject.title,
        on_progress=show_progress if sys.stderr and sys.stderr.isatty() else None,
    )


def show_progress(done: int, whole: int) -> None:
    """Show on a terminal how far the numeric gradients are."""
    end = "\n" if done == whole else ""
    print(f"\rnumeric gradients {done}/{whole}", end=end, file=sys.stderr, flush=True)


# ── what there is to see ─────────────────────────────────────────────────────────────────────────
def findings(page: Page) -> Iterator[str]:
    """A few lines: where the gradient comes from, and how well everything agrees."""
    recording = page.recording
    target, example, found = recording.targets[0], recording.examples[0], page.paths[0][0]
    yield f"{clean(recording.layer.name)}, on “{clean(example.title, 200)}”:"
    yield f"  the gradient of {clean(target.name)} reaches X " + shares(found.parts, "X")
    if found.at == "block":
        yield "  and the block's input " + shares(found.parts, "block")
    identities = [identity for each in page.identities for identity in each if identity.applies]
    worst = max((identity.deviation for identity in identities), default=0.0)
    broken = [clean(identity.name.en) for identity in identities if not identity.holds]
    yield f"  {len(identities)} identities, " + (
        f"not fulfilled: {', '.join(broken)}" if broken else f"all fulfilled to {worst:.0e}"
    )
    yield f"  gradients and complex steps differ by {difference(page):.0e} at most"


def shares(parts: Sequence[PathPart], at: str) -> str:
    """The shares of all heads together at one place, largest first."""
    whole = [p for p in parts if p.at == at and p.head is None and p.kind in ("q", "k", "v")]
    around = [p for p in parts if p.at == at and p.kind == "residual"]
    ordered = sorted([*whole, *around], key=lambda part: -abs(part.share))
    return ", ".join(f"{percent(part.share)} {part.name.en}" for part in ordered)


def difference(page: Page) -> float:
    """The largest between a recorded gradient and the complex step, of the first target."""
    target = page.recording.targets[0]
    worst = 0.0
    for name, arrays in page.recording.numeric.items():
        known = [target.parameters[name]] if name in target.parameters else None
        known = known or [gradients[name] for gradients in target.gradients]
        for analytic, steps in zip(known, arrays, strict=True):
            apart = np.abs(analytic - steps)[np.isfinite(steps)]
            worst = max(worst, float(apart.max(initial=0.0)))
    return worst
