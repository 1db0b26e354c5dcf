"""`tinygrad-attn predict`: ask a trained model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..checkpoint import CheckpointError
from ..environment import limited_blas
from ..models import GPT
from ..viz.labels import clean
from .options import Parser, UsageError, drawing, subparser
from .readers import MOST_IMAGES, MOST_TEXTS, Reader
from .readers import reader as reader_of
from .saved import opened

SUMMARY = "ask a trained model, and see where it looks"
TEXT = """Ask a model that `tinygrad-attn train` has saved:

  seq2seq, transformer   texts like those it has learnt from: dates, or your own
  vit                    pictures of one handwritten digit each (PNG files)
  pronouns               sentences with "it"

Without anything to ask, it is asked what it was never shown, beside the right answers.
(A GPT writes: see tinygrad-attn sample.)"""
EXAMPLES = """tinygrad-attn-seq2seq/model.safetensors
tinygrad-attn-seq2seq/model.safetensors "May 3rd, 2021" 3.5.21 --out dates.png
tinygrad-attn-vit/model.safetensors seven.png --out seven-seen.svg"""


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add this command's options."""
    parser = subparser(commands, "predict", SUMMARY, TEXT, EXAMPLES)
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="a model.safetensors that `train` wrote",
    )
    parser.add_argument("inputs", nargs="*", default=[], metavar="INPUT", help="what to ask")
    parser.add_argument(
        "--out",
        type=drawing,
        metavar="FILE",
        help="draw where the model looked while it answered (.png, .svg or .pdf); the first "
        f"{MOST_TEXTS} texts, or {MOST_IMAGES} pictures",
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Answer, one line each."""
    reader = asking(options.checkpoint)
    if options.out and str(options.out) in options.inputs:
        raise UsageError(f"--out: {options.out} is what is asked; choose another name")
    with limited_blas(1):
        if options.inputs:
            labels, right = options.inputs, None
            questions = [reader.question(text) for text in labels]
        else:
            questions, right = map(list, zip(*reader.examples, strict=True))
            labels = [reader.label(*numbered) for numbered in enumerate(questions, 1)]
        print("\n".join(lines(labels, reader.answers(questions), right)))
        if options.out:
            print(reader.draw(questions, options.out, right))
    return 0


def asking(path: Path) -> Reader:
    """The reader for the checkpoint at `path`."""
    saved = opened(path, "seq2seq")
    if isinstance(saved.model, GPT):
        raise CheckpointError(f"{path}: a GPT writes text: tinygrad-attn sample {path}")
    return reader_of(path, saved.model, saved.state)


def lines(
    labels: Sequence[str], answers: Sequence[str], right: Sequence[str] | None
) -> Iterator[str]:
    """Each question with its answer, and whether that is right, where it is known."""
    labels = [clean(label, 200) for label in labels]
    width = min(60, max(map(len, labels)))
    for i, (label, answer) in enumerate(zip(labels, answers, strict=True)):
        line = f"{label:{width}}  →  {clean(answer, 200)}"
        if right is not None:
            line += "   right" if answer == right[i] else f"   wrong, it is {clean(right[i], 200)}"
        yield line
