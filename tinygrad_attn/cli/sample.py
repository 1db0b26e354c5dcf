"""`tinygrad-attn sample`: let a trained GPT write."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..checkpoint import CheckpointError
from ..data import Vocabulary
from ..environment import limited_blas
from ..models import GPT
from .options import Parser, add_seed, integer, number, subparser
from .saved import opened, vocabulary_of

SUMMARY = "let a trained GPT write"
TEXT = """Let a GPT that `tinygrad-attn train` or `demo` has saved write text, character by
character, each drawn from the probabilities that the model gives."""
EXAMPLES = """tinygrad-attn-demo/model.safetensors
model.safetensors --prompt "The " --tokens 500
model.safetensors --temperature 0"""


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add this command's options."""
    parser = subparser(commands, "sample", SUMMARY, TEXT, EXAMPLES)
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="a model.safetensors that `train` or `demo` wrote",
    )
    parser.add_argument(
        "--prompt", default="", metavar="TEXT", help="how the text begins (default: a new line)"
    )
    parser.add_argument(
        "--tokens",
        type=integer(0, 1_000_000),
        default=300,
        metavar="N",
        help="characters to write (default: 300)",
    )
    parser.add_argument(
        "--temperature",
        type=number(0, 100),
        default=0.8,
        metavar="T",
        help="below 1 the text is safer, above 1 bolder; 0 takes the most probable "
        "character each time (default: 0.8)",
    )
    parser.add_argument(
        "--top-k",
        type=integer(1),
        metavar="K",
        help="draw among the K most probable characters only",
    )
    parser.add_argument(
        "--top-p",
        type=number(0, 1, above=True),
        metavar="P",
        help="draw among the fewest most probable characters that together have at least the "
        "probability P",
    )
    add_seed(parser, "the draws")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Write the prompt and what follows, as it comes."""
    model, vocabulary = language_model(options.checkpoint)
    characters = written(
        model,
        vocabulary,
        options.prompt,
        options.tokens,
        np.random.default_rng(options.seed),
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
    )
    sys.stdout.write(options.prompt)
    with limited_blas(1):
        for character in characters:
            sys.stdout.write(character)
            sys.stdout.flush()
    sys.stdout.write("\n")
    return 0


def language_model(path: Path) -> tuple[GPT, Vocabulary]:
    """The GPT at `path`, and its characters.

    Raises:
        CheckpointError: the checkpoint holds another model, or no vocabulary that fits it.
    """
    saved = opened(path)
    if not isinstance(saved.model, GPT):
        raise CheckpointError(f"{path}: expected a GPT, got a {type(saved.model).__name__}")
    return saved.model, vocabulary_of(path, saved.state, saved.model.config.vocab_size)


def written(
    model: GPT,
    vocabulary: Vocabulary,
    prompt: str,
    count: int,
    rng: np.random.Generator,
    *,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Iterator[str]:
    """`count` characters that follow `prompt`, one by one."""
    start = prompt or ("\n" if "\n" in vocabulary.token else vocabulary.symbols[0])
    tokens = model.stream(
        vocabulary.encode(start)[None],
        count,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        rng=rng,
    )
    return map(vocabulary.decode, tokens)
