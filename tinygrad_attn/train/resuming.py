"""Where a training run stands, beside weights, moments and schedule: saved, compared, restored.

What decides the next step: how many are done, the last evaluation and the best, the position in the
data, and the state of every generator: the run's own, the library's, the modules'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoint import Checkpoint
from ..data import DataError
from ..engine import TensorError
from ..nn import Module
from ..rng import OWN
from .config import CHANGEABLE
from .errors import TrainError
from .folder import Latest

if TYPE_CHECKING:
    from .loop import Trainer

State = dict[str, Any]
# What a position of another kind can raise while it is restored.
DOUBTFUL = (
    TensorError,
    DataError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
)  # fmt: skip
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
        "settings": dict(trainer.task.settings),
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


def everyone(trainer: Trainer) -> dict[str, np.random.Generator]:
    """Every generator of a run by its place, its own as "run"."""
    return {**dict(generators(trainer)), "run": trainer.rng}


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
        yield from parameter_changes(theirs, model)
    then, now = dict(state["config"]), asdict(trainer.config)
    if now["steps"] < then["steps"]:
        yield f"steps were {then['steps']:,} and are {now['steps']:,}: they cannot become fewer"
    fixed = [name for name in now if name not in CHANGEABLE]
    yield from changes({n: then.get(n) for n in fixed}, {n: now[n] for n in fixed})
    yield from changes(state["settings"], trainer.task.settings)
    digests, before = dict(trainer.task.digests), state["digests"]
    parts = sorted(digests.keys() | before.keys())
    if changed := [part for part in parts if digests.get(part) != before.get(part)]:
        yield f"the data have changed ({', '.join(changed)})"
    had, has = state["generators"], dict(generators(trainer))
    if sorted(had) != sorted(has):
        yield f"generators beside the run's had {', '.join(had)}, and have {', '.join(has)}"
        return
    had, has = {**had, "run": saved.rng}, everyone(trainer)
    kinds = [{f"the generator {n}": kind_of(rng) for n, rng in part.items()} for part in (had, has)]
    yield from changes(*kinds)


def parameter_changes(theirs: Module, model: Module) -> Iterator[str]:
    """Parameters of another dtype, and those that were trained and are not, or are and were not."""
    then, now = dict(theirs.named_parameters()), dict(model.named_parameters())
    both = [name for name in now if name in then]
    dtypes = {(str(then[name].dtype), str(now[name].dtype)) for name in both}
    for had, has in sorted(dtypes):
        if had != has:
            yield f"the dtype was {had} and is {has}"
    frozen = [n for n in both if now[n].requires_grad < then[n].requires_grad]
    thawed = [n for n in both if now[n].requires_grad > then[n].requires_grad]
    if frozen:
        yield f"{', '.join(frozen)} learnt and requires no gradient now"
    if thawed:
        yield f"{', '.join(thawed)} required no gradient and learns now"


def kind_of(rng: np.random.Generator) -> str:
    """What draws its bits, such as PCG64."""
    return type(rng.bit_generator).__name__


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Values that differ, by name."""
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            yield f"{name} was {then.get(name)!r} and is {now.get(name)!r}"


@dataclass
class Stand:
    """All that decides the next step; generators by their place, the run's own as "run"."""

    batches: Mapping[str, Any]
    optimizer: State
    weights: Mapping[str, Any]
    schedule: State
    generators: dict[str, Mapping[str, Any]]

    @classmethod
    def of(cls, trainer: Trainer) -> Stand:
        """Where a trainer stands."""
        return cls(
            trainer.batches.state_dict(),
            trainer.optimizer.state_dict(),
            trainer.task.model.state_dict(),
            trainer.schedule.state_dict(),
            {name: rng.bit_generator.state for name, rng in everyone(trainer).items()},
        )

    def put(self, trainer: Trainer) -> None:
        """Put a trainer there."""
        trainer.batches.load_state_dict(self.batches)
        trainer.optimizer.load_state_dict(self.optimizer)
        trainer.task.model.load_state_dict(self.weights)
        trainer.schedule.load_state_dict(self.schedule)
        own = everyone(trainer)
        for name, state in self.generators.items():
            own[name].bit_generator.state = state


def restore(trainer: Trainer, saved: Checkpoint, state: State) -> None:
    """Put a trainer where the one stood that wrote the checkpoint, or leave it as it is."""
    assert saved.rng is not None  # `checked` has seen these
    assert saved.optimizer is not None
    assert saved.schedule is not None
    before = Stand.of(trainer)
    try:
        theirs = {**state["generators"], "run": saved.rng}
        Stand(
            state["batches"],
            saved.optimizer,
            saved.model.state_dict(),
            saved.schedule,
            {name: rng.bit_generator.state for name, rng in theirs.items()},
        ).put(trainer)
        best = inf if state["best"] is None else float(state["best"])
        evaluated = int(state["evaluated"])
    except DOUBTFUL as error:
        before.put(trainer)
        raise TrainError(
            f"the checkpoint does not fit this trainer ({error}); make it as the first one was made"
        ) from error
    trainer.step, trainer.evaluated, trainer.best = saved.step, evaluated, best
    trainer.resumed = saved.environment
    trainer.place = saved.place if isinstance(saved, Latest) else None


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
