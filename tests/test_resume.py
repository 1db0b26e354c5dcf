"""Going on: a run that was stopped and resumed ends as one that was left alone, bit for bit."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import data, train
from tinygrad_attn.data.pairs import SPECIAL
from tinygrad_attn.models import Transformer, TransformerConfig
from tinygrad_attn.rng import OWN

STEPS = 60


@pytest.fixture(scope="module")
def pairs() -> data.Pairs:
    """Seven pairs to learn from, so that batches of two, twice an update, end amid an epoch."""
    every = [data.Pair(a + b, b + a) for a in "abc" for b in "abc"]
    return data.Pairs("swaps", every[:7], every[7:], data.Vocabulary([*SPECIAL, *"abc"]))


def trainer(pairs: data.Pairs, seed: int = 3, **settings: Any) -> train.Trainer:
    """A tiny Transformer whose dropout draws from three generators, one of them the library's."""
    ta.seed(seed + 1)
    rng = np.random.default_rng(seed)
    sizes = TransformerConfig(
        6, 6, max_length=4, num_layers=1, num_heads=1, d_model=2, d_ff=3, dropout=0.2
    )
    model = Transformer(sizes)
    droppers = [m for m in model.modules() if hasattr(m, "p")]
    droppers[0].rng, droppers[1].rng = rng, np.random.default_rng(seed + 2)
    wanted = {
        "steps": STEPS,
        "batch": 2,
        "accumulate": 2,
        "lr": 0.02,
        "warmup": 0.2,
        "evaluate_every": 7,
        "save_every": 1_000,
    }
    config = train.TrainConfig(**(wanted | settings))
    return train.Trainer(train.Translation(model, pairs), config, rng)


@pytest.fixture(autouse=True)
def _library_generator_as_found() -> Iterator[None]:
    before = OWN.bit_generator.state
    yield
    OWN.bit_generator.state = before


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are drawn from the log, which is compared."""
    monkeypatch.setattr("tinygrad_attn.train.run.draw", lambda log, picture: picture)


def stopped_after(t: train.Trainer, step: int, folder: Path) -> train.Trainer:
    """Run until a Ctrl-C that comes during this step."""
    update = t.update

    def interrupted() -> train.Step:
        record = update()
        if record.step == step:
            signal.raise_signal(signal.SIGINT)
        return record

    t.update = interrupted  # type: ignore[method-assign]
    with pytest.raises(train.Stopped) as stop:
        train.run(t, folder)
    assert stop.value.code == 130
    assert t.step == step
    return t


def resumed(t: train.Trainer, folder: Path) -> train.Trainer:
    t.resume(train.latest(folder))
    train.run(t, folder)
    return t


def everything(t: train.Trainer, folder: Path) -> dict[str, Any]:
    """All that shall be the same: bytes of weights, moments and generators, and the log."""
    optimizer = t.optimizer.state_dict()
    moments = [
        {k: v.tobytes() if isinstance(v, np.ndarray) else v for k, v in state.items()}
        for state in optimizer["states"]
    ]
    generators = [t.rng, OWN, *(m.rng for m in t.task.model.modules() if getattr(m, "rng", None))]
    return {
        "weights": {k: v.tobytes() for k, v in t.task.model.state_dict().items()},
        "moments": moments,
        "groups": json.dumps(optimizer["groups"]),
        "schedule": t.schedule.state_dict(),
        "generators": [rng.bit_generator.state for rng in generators],
        "waiting": t.batches.state_dict()["waiting"].tolist(),
        "best": (t.best, t.evaluated, t.step),
        "log": timeless(train.read_log(folder / "log.jsonl")),
        "best model": (folder / "best.safetensors").read_bytes(),
        "model": (folder / "model.safetensors").read_bytes(),
    }


def timeless(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Log lines without what differs from run to run."""
    return [
        {k: v for k, v in line.items() if k not in ("seconds", "began", "process")}
        for line in lines
    ]


@pytest.fixture(scope="module")
def alone(pairs: data.Pairs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What comes out of a run that nobody stops."""
    folder, before = tmp_path_factory.mktemp("alone"), OWN.bit_generator.state
    t = trainer(pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinygrad_attn.train.run.draw", lambda log, picture: picture)
        train.run(t, folder)
    found = everything(t, folder)
    OWN.bit_generator.state = before
    return found


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_stopped_and_resumed_at_any_step_it_ends_the_same(
    pairs: data.Pairs, alone: dict[str, Any], tmp_path: Path, step: int
) -> None:
    stopped_after(trainer(pairs), step, tmp_path)
    ta.seed(99)  # everything must come from the file: this one is made from other seeds
    t = resumed(trainer(pairs, seed=44), tmp_path)
    found = everything(t, tmp_path)
    assert [name for name in alone if found[name] != alone[name]] == []


def test_stopped_at_every_step_it_ends_the_same(
    pairs: data.Pairs, alone: dict[str, Any], tmp_path: Path
) -> None:
    stopped_after(trainer(pairs), 1, tmp_path)
    for step in range(2, STEPS + 1):
        t = trainer(pairs, seed=step)
        t.resume(train.latest(tmp_path))
        stopped_after(t, step, tmp_path)
    found = everything(resumed(trainer(pairs, seed=44), tmp_path), tmp_path)
    assert [name for name in alone if found[name] != alone[name]] == []
