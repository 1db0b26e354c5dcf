"""A published run, repeated: GPT on tiny Shakespeare, here and in PyTorch.

    python -m benchmarks.shakespeare --text tinyshakespeare.txt

The settings are those that nanoGPT's README (github.com/karpathy/nanoGPT, "I only have a macbook")
gives for a computer without a GPU: 4 layers, 4 heads, 128 wide, windows of 64 characters, 12 of
them a step, no biases, no dropout, GPT-2's initial values; AdamW with a learning rate of 1e-3,
β 0.9 and 0.99, weight decay 0.1 on matrices alone, gradients clipped to norm 1; 100 steps of
warm-up, then a cosine down to 1e-4; 2,000 steps.  It publishes a validation loss of 1.88,
estimated from 20 batches.  GELU is GPT-2's, the tanh form.  With another number of steps the
warm-up is still a twentieth of them.

The first nine tenths of the characters are for training.  The loss is that of all the rest, each
character predicted once from those before it in its window of 64.  The PyTorch twin starts from
the same values, sees the same batches and follows the same schedule.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from math import cos, pi
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tinygrad_attn.data import DataError, Text, Vocabulary, batches
from tinygrad_attn.data.text import read
from tinygrad_attn.environment import limited_blas
from tinygrad_attn.extras import ExtraError, need
from tinygrad_attn.models import GPT, GPTConfig
from tinygrad_attn.train import Language, Step, TrainConfig, Trainer, TrainError, text_loss

from .harness import machine

if TYPE_CHECKING:
    from .twin import Twin

PUBLISHED = 1.88
SIZES: dict[str, Any] = {
    "max_length": 64, "num_layers": 4, "num_heads": 4, "d_model": 128, "bias": False,
}  # fmt: skip
SETTINGS: dict[str, Any] = {
    "batch": 12, "lr": 1e-3, "warmup": 0.05, "lr_end": 0.1, "weight_decay": 0.1,
    "betas": (0.9, 0.99), "clip": 1.0,
}  # fmt: skip
Run = dict[str, Any]


def corpus(path: Path) -> Text:
    """The file's characters as tokens: the first nine tenths, and the rest.

    Raises:
        DataError: the file cannot be read, or is too short.
    """
    characters = read(path)
    vocabulary = Vocabulary.of([characters])
    tokens, cut = vocabulary.encode(characters), int(0.9 * len(characters))
    return Text(str(path), tokens[:cut], tokens[cut:], vocabulary)


class Ours:
    """This library's run: its own trainer.

    Args:
        model: a GPT in its initial state.
        text: what to learn, and what to be judged by.
        config: how to train.
        rng: draws the batches.
    """

    name = "ours"

    def __init__(
        self, model: GPT, text: Text, config: TrainConfig, rng: np.random.Generator
    ) -> None:
        self.trainer = Trainer(Language(model, text), config, rng)

    def update(self) -> Step:
        """One step."""
        return self.trainer.update()

    def evaluate(self) -> float:
        """The loss on the whole validation text, in nats a character."""
        return self.trainer.evaluate().held_out


class Theirs:
    """The twin's run, with PyTorch's optimiser, clipping and schedule; arguments as in `Ours`."""

    name = "twin"

    def __init__(
        self, model: GPT, text: Text, config: TrainConfig, rng: np.random.Generator
    ) -> None:
        import torch

        from .twin import twin

        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.model, self.text, self.config, self.step = twin(model), text, config, 0
        self.optimizer = torch.optim.AdamW(groups(self.model, config), config.lr, config.betas)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda done: share(done, config)
        )
        self.batches = batches(text.train, model.config.max_length, config.batch, rng)

    def update(self) -> Step:
        """One step."""
        from torch.nn.utils import clip_grad_norm_

        began = perf_counter()
        tokens, targets = next(self.batches)
        self.model.train()
        self.optimizer.zero_grad()
        loss: Any = self.model.loss(tokens, targets)
        loss.backward()
        norm = clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.step, lr = self.step + 1, self.optimizer.param_groups[0]["lr"]
        self.optimizer.step()
        self.schedule.step()
        return Step(self.step, loss.item(), lr, norm.item(), perf_counter() - began)

    def evaluate(self) -> float:
        """The loss on the whole validation text, in nats a character."""
        import torch

        model: Any = self.model.eval()
        with torch.no_grad():
            return text_loss(model, self.text.held_out)


CONTESTANTS: dict[str, type[Ours | Theirs]] = {made.name: made for made in (Ours, Theirs)}


def groups(model: Twin, config: TrainConfig) -> list[dict[str, Any]]:
    """The parameters as two groups: matrices, and the norms' vectors without weight decay."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    return [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


def share(done: int, config: TrainConfig) -> float:
    """The learning rate after `done` steps over the highest: a rise, then half a cosine."""
    warmup = round(config.warmup * config.steps)
    if done < warmup:
        return (done + 1) / (warmup + 1)
    progress = (done - warmup) / (config.steps - warmup)
    return config.lr_end + (1 - config.lr_end) * (1 + cos(pi * progress)) / 2


def run(name: str, seed: int, text: Text, config: TrainConfig, tick: Callable[[], None]) -> Run:
    """Train one of `CONTESTANTS`; the seed decides the initial values and the batches."""
    rng, began = np.random.default_rng(seed), perf_counter()
    model = GPT(GPTConfig(len(text.vocabulary), **SIZES), rng=rng)
    with limited_blas(config.threads):
        contestant, losses = CONTESTANTS[name](model, text, config, rng), []
        for _ in range(config.steps):
            losses.append(contestant.update().loss)
            tick()
        training = perf_counter() - began
        validation = contestant.evaluate()
    return {
        "name": name, "seed": seed, "validation": validation, "training_seconds": training,
        "seconds": perf_counter() - began, "losses": losses,
    }  # fmt: skip


def runs(names: list[str], seeds: list[int], text: Text, config: TrainConfig) -> Iterator[Run]:
    """Every run, one after the other, the contestants in turn."""
    with Progress(transient=True) as progress:
        for seed in seeds:
            for name in names:
                task = progress.add_task(f"{name}, seed {seed}", total=config.steps)
                yield run(name, seed, text, config, partial(progress.advance, task))


def table(results: list[Run], names: list[str], seeds: list[int]) -> Table:
    """Losses seed by seed and their means; with both contestants, ours minus the twin's."""
    losses = {(r["name"], r["seed"]): r["validation"] for r in results}
    both = len(names) == 2
    columns = ["validation loss", *names, *["ours − twin"] * both]
    shown = Table(*columns, caption=f"nanoGPT, tiny Shakespeare: {PUBLISHED}")
    rows = {f"seed {seed}": [losses[name, seed] for name in names] for seed in seeds}
    rows["mean"] = [mean(column) for column in zip(*rows.values(), strict=True)]
    for label, row in rows.items():
        difference = [f"{row[0] - row[1]:+.4f}"] if both else []
        shown.add_row(label, *(f"{loss:.4f}" for loss in row), *difference)
    seconds = [mean(r["seconds"] for r in results if r["name"] == name) for name in names]
    shown.add_row("seconds a run", *(f"{s:.0f}" for s in seconds), *[""] * both)
    return shown


def arguments(given: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shakespeare", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--text", type=Path, required=True, metavar="FILE",
                        help="tiny Shakespeare, or any UTF-8 text")  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N",
                        help="one run each (default: 0 1 2)")  # fmt: skip
    parser.add_argument("--steps", type=int, default=2000, help="of a run (default: 2000)")
    parser.add_argument("--only", choices=sorted(CONTESTANTS), help="one of the two")
    parser.add_argument("--threads", type=int, default=1, help="of BLAS (default: 1)")
    parser.add_argument("--out", type=Path, metavar="JSON", help="write the figures to this file")
    args = parser.parse_args(given)
    args.names = [args.only] if args.only else list(CONTESTANTS)
    if min(args.seeds) < 0:
        parser.error(f"--seeds: expected 0 or more, got {min(args.seeds)}")
    try:
        if Theirs.name in args.names:
            need("torch", "the twin", "peers")
        args.config = TrainConfig(steps=args.steps, threads=args.threads, **SETTINGS)
        args.corpus = corpus(args.text)
        if args.out is not None:
            args.out.touch()  # before the work, not after it
    except (DataError, ExtraError, TrainError) as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"--out: {args.out} cannot be written ({error.strerror})")
    return args


def main(given: list[str] | None = None) -> None:
    """Run, print a line a run and the table, write the figures."""
    args, console, results = arguments(given), Console(), []
    for result in runs(args.names, args.seeds, args.corpus, args.config):
        results.append(result)
        console.print(f"{result['name']}, seed {result['seed']}: {result['validation']:.4f} "
                      f"after {result['seconds']:.0f} s")  # fmt: skip
        if args.out is not None:
            figures = {"machine": machine(), "sizes": SIZES, "settings": asdict(args.config),
                       "published": PUBLISHED, "runs": results}  # fmt: skip
            args.out.write_text(json.dumps(figures, indent=1) + "\n")
    console.print(table(results, args.names, args.seeds))


if __name__ == "__main__":
    main()
