"""A tiny run with everything that a checkpoint must hold, and all that came out of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import checkpoint, data, train
from tinygrad_attn.engine import Array, Tensor
from tinygrad_attn.models import GPT, GPTConfig
from tinygrad_attn.rng import OWN
from tinygrad_attn.train.config import CHANGEABLE
from tinygrad_attn.train.resuming import generators
from tinygrad_attn.train.stopping import SIGNALS

STEPS = 60
TIMES = ("seconds", "began", "process")


class Words:
    """A GPT learns seven short words: two at once, twice an update, so that epochs end amid one."""

    name, about, unit, baseline, sizes = "words", "Seven words.", "nats", None, (7, 2)
    settings: ClassVar[dict[str, float]] = {}

    def __init__(self, model: GPT, seed: int) -> None:
        self.model = model
        self.words = np.random.default_rng(seed).integers(0, 5, (9, 4))
        self.digests = {
            "train": data.digest(self.words[:7]),
            "held out": data.digest(self.words[7:]),
        }

    def batches(self, size: int, rng: np.random.Generator) -> data.Shuffled:
        return data.Shuffled(7, size, rng, lambda chosen: (self.words[chosen],))

    def loss(self, words: Array) -> Tensor:
        return self.model.loss(words[:, :-1], words[:, 1:])

    def score(self, at_most: int | None = None) -> train.Score:
        return train.Score(self.loss(self.words[7:]).item(), 2)

    def state(self) -> dict[str, Any]:
        return {}


def trainer(seed: int = 3, *, width: int = 2, words: int = 0, **settings: Any) -> train.Trainer:
    """One that draws from three generators: the run's its data, two others its dropout."""
    ta.seed(seed + 1)
    rng = np.random.default_rng(seed)
    model = GPT(GPTConfig(5, 3, num_layers=1, num_heads=1, d_model=width, dropout=0.2))
    model.drop.rng = np.random.default_rng(seed + 2)  # that of the blocks is the library's own
    wanted = {
        "steps": STEPS,
        "batch": 2,
        "accumulate": 2,
        "lr": 0.02,
        "warmup": 0.2,
        "evaluate_every": 5,
        "save_every": 1_000,
    }
    return train.Trainer(Words(model, words), train.TrainConfig(**(wanted | settings)), rng)


def outcome(t: train.Trainer, folder: Path) -> dict[str, Any]:
    """All that shall be the same however often a run was stopped: every bit, and the log."""
    optimizer = t.optimizer.state_dict()
    best = checkpoint.load(folder / "best.safetensors")
    return {
        "weights": exact(t.task.model.state_dict()),
        "moments": [exact(state) for state in optimizer["states"]],
        "groups": json.dumps(optimizer["groups"]),
        "schedule": t.schedule.state_dict(),
        "generators": {n: g.bit_generator.state for n, g in [("run", t.rng), *generators(t)]},
        "data": exact(t.batches.state_dict()),
        "reached": (t.best, t.evaluated, t.step),
        "log": timeless(train.read_log(folder / "log.jsonl")),
        "best": (best.step, exact(best.model.state_dict())),
        "saved": exact(checkpoint.load(folder / "model.safetensors").model.state_dict()),
    }


def exact(values: dict[str, Any]) -> dict[str, Any]:
    """Arrays as what they are made of."""
    return {
        name: (str(value.dtype), value.shape, value.tobytes())
        if isinstance(value, np.ndarray)
        else value
        for name, value in values.items()
    }


def timeless(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of a log without times and without settings that may change on the way."""
    kept = [{name: v for name, v in line.items() if name not in TIMES} for line in lines]
    for line in kept:
        if "config" in line:
            line["config"] = {n: v for n, v in line["config"].items() if n not in CHANGEABLE}
    return kept


@contextmanager
def as_found() -> Iterator[None]:
    """No pictures inside, which are drawn from the log, and every signal heard; then all as before.

    A shell makes what runs in its background deaf to Ctrl-C.
    """
    before = OWN.bit_generator.state
    heard = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tinygrad_attn.viz.plots.loss_curve", lambda *_, **__: Path())
            yield
    finally:
        OWN.bit_generator.state = before
        for number, handler in heard.items():
            signal.signal(number, handler)
