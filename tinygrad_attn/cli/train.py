"""`tinygrad-attn train`: train a GPT on the embedded English or on a text of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ..data import Text, text
from ..models import GPT, GPTConfig
from ..train import Progress, Result, TrainConfig, Trainer, run
from .options import Parser, UsageError, add_seed, add_sizes, folder, integer, number, subparser

SUMMARY = "train a small GPT on English or on your own text"
OUT = Path("tinygrad-attn-train")
TEXT = """Train a GPT, character by character, on the English text that every Python carries, or on
your own.  The last tenth of the text is held out and used to measure only."""
FILES = """
Written to the folder:
  log.jsonl            every step and evaluation, one JSON object a line
  loss.png             the same as a picture
  model.safetensors    the trained model, for `tinygrad-attn sample`
  best.safetensors     the model at its lowest held-out loss on the way"""
EXAMPLES = """--steps 600
--text book.txt --length 128 --steps 5000 --out book
--layers 1 --heads 2 --width 64 --lr 0.006"""


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add this command's options."""
    parser = subparser(commands, "train", SUMMARY, TEXT + "\n" + FILES, EXAMPLES)
    parser.add_argument(
        "--text",
        type=Path,
        metavar="FILE",
        help="a UTF-8 text to learn (default: Python's language reference)",
    )
    parser.add_argument(
        "--steps", type=integer(1), default=1_000, metavar="N", help="updates (default: 1000)"
    )
    add_sizes(parser)
    parser.add_argument(
        "--batch",
        type=integer(1, 100_000),
        default=12,
        metavar="N",
        help="pieces of text in one update (default: 12)",
    )
    parser.add_argument(
        "--lr",
        type=number(0, 100, above=True),
        default=4e-3,
        metavar="X",
        help="highest learning rate (default: 0.004)",
    )
    parser.add_argument(
        "--dropout",
        type=number(0, 0.99),
        default=0.0,
        metavar="P",
        help="probability of dropping a value while training (default: 0)",
    )
    add_seed(parser, "first weights, batches and dropout")
    parser.add_argument(
        "--threads",
        type=integer(1, 1_000),
        default=1,
        metavar="N",
        help="threads for matrix products; more than 1 pays from a width of some "
        "hundreds on, and may change the last bits (default: 1)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=OUT,
        metavar="DIR",
        help=f"folder for the files (default: {OUT})",
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Train, and say what came out."""
    if options.width % options.heads:
        raise UsageError(f"--heads must divide --width, got {options.heads} and {options.width}")
    out = folder(options.out)
    trainer = prepared(
        text(options.text),
        options,
        TrainConfig(
            steps=options.steps,
            batch=options.batch,
            lr=options.lr,
            seed=options.seed,
            threads=options.threads,
        ),
    )
    print(introduction(trainer))
    with Progress(options.steps) as progress:
        result = run(trainer, out, progress.show)
    print(conclusion(result))
    print(
        f"Files are in {out}; to read what the model writes: "
        f"tinygrad-attn sample {out / 'model.safetensors'}"
    )
    return 0


def prepared(corpus: Text, options: argparse.Namespace, config: TrainConfig) -> Trainer:
    """A new model of the sizes in the options, and its trainer."""
    rng = np.random.default_rng(config.seed)
    sizes = GPTConfig(
        len(corpus.vocabulary),
        options.length,
        options.layers,
        options.heads,
        options.width,
        options.dropout,
    )
    return Trainer(GPT(sizes, rng=rng), corpus, config, rng)


def introduction(trainer: Trainer) -> str:
    """What will be trained, on what."""
    corpus, sizes = trainer.corpus, trainer.model.config
    numbers = sum(p.size for p in trainer.model.parameters())
    return (
        f"Text: {corpus.name}, {len(corpus.train):,} characters to learn from and "
        f"{len(corpus.held_out):,} held out; {len(corpus.vocabulary)} different ones.\n"
        f"Model: {sizes.num_layers} layers, {sizes.num_heads} heads, {sizes.d_model} wide, "
        f"{sizes.max_length} characters at once; {numbers:,} parameters."
    )


def conclusion(result: Result) -> str:
    """The losses side by side."""
    return (
        f"After {result.step:,} steps and {result.seconds:.0f} s, on the whole held-out text:\n"
        f"  {result.held_out:.3f} nats per character   this model\n"
        f"  {result.bigram:.3f} nats per character   a model that looks at one character only"
    )
