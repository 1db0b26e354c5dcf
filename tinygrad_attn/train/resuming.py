"""Where a training run stands, beside weights, moments and schedule: saved, compared, restored.

What decides the next step: how many are done, the last evaluation and the best, the position in the
data, and the state of every generator: the run's own, the library's, the modules'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoint import Checkpoint
from ..data import DataError
from ..engine import TensorError
from ..rng import OWN
from .config import CHANGEABLE
from .errors import TrainError

if TYPE_CHECKING:
    from .loop import Trainer

State = dict[str, Any]
# Of an environment, what can change the last bits, in words.
DECISIVE = {
    "tinygrad_attn": "tinygrad_attn",
    "numpy": "NumPy",
    "blas": "the BLAS",
    "blas_threads": "BLAS threads",
    "kernels": "the kernels",
    "kernel_threads": "kernel threads",
    "numba": "numba",
    "machine": "the machine",
}


def position(trainer: Trainer) -> State:
    """Where a trainer stands, and what must be the same when it goes on."""
    return {
        "config": asdict(trainer.config),
        "digests": dict(trainer.task.digests),
        "evaluated": trainer.evaluated,
        "best": trainer.best if isfinite(trainer.best) else None,
        "batches": trainer.batches.state_dict(),
        "generators": dict(generators(trainer)),
    }


def generators(trainer: Trainer) -> Iterator[tuple[str, np.random.Generator]]:
    """Every generator that a run may draw from beside its own, by its place."""
    yield "library", OWN
    if trainer.batches.rng is not trainer.rng:
        yield "batches", trainer.batches.rng
    for name, module in trainer.task.model.named_modules():
        rng = getattr(module, "rng", None)
        if rng is not None and rng is not trainer.rng:
            yield f"model.{name}", rng


# ── going on ─────────────────────────────────────────────────────────────────────────────────────
def checked(trainer: Trainer, saved: Checkpoint) -> State:
    """The position in a checkpoint, if this trainer can go on from there.

    Raises:
        TrainError: it cannot; all that differs is in the message.
    """
    state = saved.state.get("training")
    rest = (saved.optimizer, saved.schedule, saved.rng)
    if not isinstance(state, dict) or any(part is None for part in rest):
        raise TrainError(
            "expected a checkpoint that a run of training wrote; this one holds no position to go "
            "on from"
        )
    try:
        found = list(differences(trainer, saved, state))
    except (KeyError, TypeError, AttributeError) as error:
        raise TrainError(
            f"the checkpoint's position is not one of this version ({error!r}); go on with the "
            "version that wrote it"
        ) from error
    if found:
        raise TrainError(
            f"a run goes on with the same model, data and settings only, but {'; '.join(found)}"
        )
    return state


def differences(trainer: Trainer, saved: Checkpoint, state: State) -> Iterator[str]:
    """Whatever is another than in the checkpoint, in words."""
    model: Any = trainer.task.model
    theirs: Any = saved.model
    if type(model) is not type(theirs):
        yield f"the model was a {type(theirs).__name__} and is a {type(model).__name__}"
    else:
        yield from changes(asdict(theirs.config), asdict(model.config))
    then, now = dict(state["config"]), asdict(trainer.config)
    if now["steps"] < then["steps"]:
        yield f"steps were {then['steps']:,} and are {now['steps']:,}: they cannot become fewer"
    fixed = [name for name in now if name not in CHANGEABLE]
    yield from changes({n: then.get(n) for n in fixed}, {n: now[n] for n in fixed})
    digests, before = dict(trainer.task.digests), state["digests"]
    parts = sorted(digests.keys() | before.keys())
    if changed := [part for part in parts if digests.get(part) != before.get(part)]:
        yield f"the data have changed ({', '.join(changed)})"
    had, has = list(state["generators"]), list(dict(generators(trainer)))
    if sorted(had) != sorted(has):
        yield f"generators beside the run's had {', '.join(had)}, and have {', '.join(has)}"


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Values that differ, by name."""
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            yield f"{name} was {then.get(name)!r} and is {now.get(name)!r}"


def restore(trainer: Trainer, saved: Checkpoint, state: State) -> None:
    """Put a trainer where the one stood that wrote the checkpoint."""
    assert saved.rng and saved.optimizer and saved.schedule  # noqa: PT018 — `checked`
    own = dict(generators(trainer))
    try:
        trainer.batches.load_state_dict(state["batches"])
        trainer.optimizer.load_state_dict(saved.optimizer)
        trainer.task.model.load_state_dict(saved.model.state_dict())
        trainer.schedule.load_state_dict(saved.schedule)
        trainer.rng.bit_generator.state = saved.rng.bit_generator.state
        for name, theirs in state["generators"].items():
            own[name].bit_generator.state = theirs.bit_generator.state
    except (TensorError, DataError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise TrainError(
            f"the checkpoint does not fit this trainer ({error}); make it as the first one was made"
        ) from error
    best = state["best"]
    trainer.step, trainer.evaluated = saved.step, state["evaluated"]
    trainer.best = inf if best is None else best
    trainer.resumed = saved.environment


def unlike(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What of an environment has changed that can change the last bits; empty for nothing."""
    found = [
        f"{words} {then.get(name)} → {now.get(name)}"
        for name, words in DECISIVE.items()
        if then.get(name) != now.get(name)
    ]
    if not found:
        return ""
    return f"{', '.join(found)}: from here on the last bits may differ from an undisturbed run's"
