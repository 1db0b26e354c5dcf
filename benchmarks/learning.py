"""What the presets learn: every model on data it has not seen, several seeds each.

    python -m benchmarks.learning --seeds 0 1 2

"looks": for dates, the share of the year's digits written while the largest attention weight
(averaged over the heads of the last cross-attention) lies in the source's year, or one character
beside it; for pronouns, the share of sentences in which from "it" the largest weight of one head,
chosen by training sentences, lies on the noun that is meant.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from time import perf_counter

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tinygrad_attn.data import Pair, dates, digits, pronouns
from tinygrad_attn.data.dates import year_in
from tinygrad_attn.engine import Array
from tinygrad_attn.environment import limited_blas
from tinygrad_attn.train import (
    Reference,
    Step,
    Task,
    Trainer,
    Translation,
    presets,
    translated,
)

Prepared = tuple[str, Task]  # the preset's name, and what is learnt
CASES: dict[str, Callable[[int, np.random.Generator], Prepared]] = {
    "seq2seq, Bahdanau": lambda seed, rng: ("seq2seq", presets.seq2seq(dates(), rng)),
    "seq2seq, Luong": lambda seed, rng: (
        "seq2seq",
        presets.seq2seq(dates(), rng, attention="luong"),
    ),
    "transformer": lambda seed, rng: ("transformer", presets.transformer(dates(), rng)),
    "vit": lambda seed, rng: ("vit", presets.vit(digits(seed=seed), rng)),
    "pronouns": lambda seed, rng: ("pronouns", presets.pronouns(pronouns(seed=seed), rng)),
}


def looks(task: Task) -> float:
    """Share that looks where it should; NaN where that means nothing."""
    if isinstance(task, Reference):
        return float(task.looks(task.unseen)[task.head()])
    if not isinstance(task, Translation):
        return float("nan")
    pairs = task.corpus.test
    sources = [pair.source for pair in pairs]
    found = translated(task.model, task.corpus.vocabulary, sources, task.steps)
    return float(np.mean(list(hits(pairs, [weights for _, weights in found]))))


def hits(pairs: list[Pair], weights: list[Array]) -> Iterator[bool]:
    """For each digit of each year: does the character it looks at most belong to the year?"""
    for pair, rows in zip(pairs, weights, strict=True):
        year = year_in(pair)
        for place in rows[:4].argmax(axis=-1):
            yield year.start - 1 <= place <= year.stop


def main() -> None:
    """Train, measure, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE",
                        help=f"of {', '.join(CASES)} (default: all)")  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    args = parser.parse_args()
    table = Table("case", *(f"seed {seed}" for seed in args.seeds), "mean right", "mean looks",
                  "seconds each")  # fmt: skip
    with Progress(transient=True) as progress, limited_blas(1):
        for name in args.only:
            found = [measured(name, seed, progress) for seed in args.seeds]
            right, looked, seconds = (
                np.array(column, float) for column in zip(*found, strict=True)
            )
            table.add_row(
                name,
                *(f"{r:.1%}" + ("" if np.isnan(k) else f", {k:.1%}") for r, k, _ in found),
                f"{right.mean():.2%}",
                "" if np.isnan(looked).any() else f"{looked.mean():.1%}",
                f"{seconds.mean():.0f}",
            )
    Console(width=120).print(table)


def measured(name: str, seed: int, progress: Progress) -> tuple[float, float, float]:
    """Share right, share that looks where it should, seconds."""
    began, rng = perf_counter(), np.random.default_rng(seed)
    preset, task = CASES[name](seed, rng)
    trainer = Trainer(task, presets.SETTINGS[preset], rng)
    bar = progress.add_task(f"{name}, seed {seed}", total=trainer.config.steps)
    for record in trainer:
        if isinstance(record, Step):
            progress.update(bar, completed=record.step)
    seconds, right = perf_counter() - began, trainer.evaluate().right
    assert right is not None
    return right, looks(task), seconds


if __name__ == "__main__":
    main()
