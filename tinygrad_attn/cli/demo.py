"""`tinygrad-attn demo`: train attention end to end, and look at it from every side, in one page."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ..data import text
from ..environment import limited_blas
from ..extras import need
from ..train import Language, Progress, Result, TrainConfig, Trainer, presets, run
from . import attention
from .anatomy import page_of
from .findings import Findings, write_page
from .options import Parser, add_seed, folder, integer, subparser
from .sample import written
from .subjects import of_gpt
from .train import conclusion, introduction

SUMMARY = "train a GPT, check its gradients, draw its attention: one page in about a minute"
TEXT = """Train a small GPT on the English text that every Python carries, beside a model that looks
at one character only; let it write; check the gradients of its attention; draw that layer's
graph, its weights and their gradients, and its anatomy.  All of it ends up in one folder with a
page, index.html."""
EXAMPLES = """
--out pictures --seed 1"""
STEPS, RATE = 600, 6e-3
TARGET, GOAL = 1.70, 1.80  # the target is measured on a part of the text: leave room for the rest
LAYER = 1  # the layer that is looked at: the last
PROMPT, WRITTEN, TEMPERATURE = "The ", 400, 0.9


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add this command's options."""
    parser = subparser(commands, "demo", SUMMARY, TEXT, EXAMPLES)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("tinygrad-attn-demo"),
        metavar="DIR",
        help="folder for the page and the pictures (default: tinygrad-attn-demo)",
    )
    parser.add_argument(
        "--steps",
        type=integer(1, 100_000),
        default=STEPS,
        metavar="N",
        help=f"updates at most (default: {STEPS}); training ends as soon as the "
        f"loss on held-out text is {TARGET:.2f}",
    )
    add_seed(parser, "first weights, batches and the sample")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Everything in turn, if it can be done."""
    for package in ("rich", "matplotlib", "safetensors"):
        need(package, "the demo")
    out = folder(options.out)
    with limited_blas(1):  # products this small gain nothing from more threads, and may lose
        return demonstrated(
            out,
            TrainConfig(
                steps=options.steps,
                lr=RATE,
                target=TARGET,
                seed=options.seed,
                save_every=None,  # a minute is soon done again
            ),
        )


def demonstrated(out: Path, config: TrainConfig) -> int:
    """Train, look, write the page."""
    rng = np.random.default_rng(config.seed)
    task = presets.gpt(text(), rng)
    trainer = Trainer(task, config, rng)
    print(introduction(trainer), flush=True)
    with Progress(config.steps) as progress:
        result = run(trainer, out, progress.show)
    print(conclusion(result, task))
    if result.held_out >= GOAL:
        print(f"That is not below {GOAL}: give it more --steps than {result.step}.")
    index = write_page(investigated(task, config, result, out), out)
    print(f"\nEverything is in {out}; open {index.resolve()}")
    return 0


def investigated(task: Language, config: TrainConfig, result: Result, out: Path) -> Findings:
    """Let the model write, check its gradients, draw its attention."""
    model, corpus = task.model, task.corpus
    rng = np.random.default_rng(config.seed)
    sample = PROMPT + "".join(
        written(model, corpus.vocabulary, PROMPT, WRITTEN, rng, temperature=TEMPERATURE)
    )
    print("\nIt writes:\n\n" + "\n".join(f"    {line}" for line in sample.splitlines()) + "\n")
    reports = attention.checked(model, corpus, LAYER)
    for report in reports:
        print(
            f"Gradient check of its attention, order {report.order}: {report.verdict}, "
            f"largest error {report.max_error:.1e} of {report.entries} numbers"
        )
    sentence = attention.held_out_sentence(corpus, model.config.max_length)
    seen = attention.attention_of(model, corpus, sentence, LAYER)
    attention.draw_attention(seen, LAYER, out)
    graph, no_graph = attention.draw_graph(model, corpus, LAYER, out)
    if no_graph:
        print(no_graph)
    subject = of_gpt(model, corpus.vocabulary, [sentence])
    page_of(subject, f"blocks.{LAYER}.attn").save(out / "anatomy.html")
    return Findings(task, config, result, sample, reports, seen, graph, no_graph, LAYER)
