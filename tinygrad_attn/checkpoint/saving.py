"""Saving: everything into one file, which is whole or not there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..engine import Array
from ..environment import environment
from ..extras import need
from ..files import FormatError, UnconfirmedError, header_of, object_of, write_whole
from ..nn import Module
from ..optim import Optimizer
from .errors import CheckpointError
from .layout import BLANK, DIGITS, FORMAT, KEY, OPTIMIZER, PURPOSE, SCHEDULE, STATE, digest
from .loading import DOUBTFUL, besides, is_value
from .models import description, particulars
from .values import Packing, check_keys, natural


class Schedule(Protocol):
    """What says where it stands, such as optim.WarmupCosine."""

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        ...


def save(
    path: str | os.PathLike[str],
    *,
    model: Module,
    optimizer: Optimizer | None = None,
    schedule: Schedule | None = None,
    step: int = 0,
    rng: np.random.Generator | None = None,
    **state: Any,
) -> Path:
    """Write a checkpoint; what was at `path` is replaced at once when all is on the disk.

    The same training gives the same bytes, where versions and threads are the same too.

    Args:
        model: one of `tinygrad_attn.models`, rebuilt from its `config`; its own generator, if it
            was given one, is saved with it.
        optimizer, schedule, step, rng: what training needs to go on.
        state: further values: what JSON can hold, tuples, arrays and generators, in lists and dicts
            up to 200 deep.

    Raises:
        CheckpointError: the model is none of those, a value would not come back as it is, or the
            file is not writable.
        ExtraError: safetensors is not installed.
    """
    try:
        write_whole(path, packed(Path(path), model, optimizer, schedule, step, rng, state))
    except UnconfirmedError as error:
        raise CheckpointError(
            f"{path}: the checkpoint is written, but the disk did not confirm its name "
            f"({error.strerror}); save again, or elsewhere"
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: the checkpoint cannot be written ({getattr(error, 'strerror', '') or error});"
            " what was there is untouched; choose another place"
        ) from error
    return Path(path)


def packed(
    path: Path,
    model: Module,
    optimizer: Optimizer | None,
    schedule: Schedule | None,
    step: Any,
    rng: np.random.Generator | None,
    state: dict[str, Any],
) -> list[bytes | memoryview]:
    """The bytes of a checkpoint, in parts: what stands before its digest, the digest, the rest."""
    packing = Packing()
    packing.arrays.update(model.state_dict())
    try:
        check_keys(state, "state")
        number = None if rng is None else packing.number(rng)
        head = {
            "format": FORMAT,
            "environment": environment(),
            "model": {**description(model), **particulars(model, packing)},
            "step": natural("step", int(step) if isinstance(step, np.integer) else step),
            "rng": number,
            "optimizer": (
                None if optimizer is None else flattened(packing, optimizer.state_dict())
            ),
            "schedule": (
                None if schedule is None else packing.packed(schedule.state_dict(), SCHEDULE)
            ),
            "state": {key: packing.packed(value, STATE + key) for key, value in state.items()},
        }
        head["generators"] = [rng.bit_generator.state for rng in packing.generators]
        text = json.dumps({"sha256": BLANK, **head}, allow_nan=False, ensure_ascii=False)
        content = serialised(packing.arrays, text)
        check_readable(text, head, packing.arrays)
    except DOUBTFUL as error:
        raise CheckpointError(
            f"{path}: not everything would come back as it is: {error}; expected values that JSON "
            "can hold (numbers, text, lists, dicts), tuples, arrays of numbers and generators"
        ) from error
    view = memoryview(content)
    return [view[: DIGITS.start], digest(content).encode(), view[DIGITS.stop :]]


def flattened(packing: Packing, state: dict[str, Any]) -> dict[str, Any]:
    """An optimiser's state as JSON; its arrays are named by its parameters' numbers."""
    return {
        "groups": packing.packed(state["groups"], f"{OPTIMIZER}groups"),
        "states": [
            packing.packed(values, f"{OPTIMIZER}{number}")
            for number, values in enumerate(state["states"])
        ],
    }


def serialised(arrays: dict[str, Array], text: str) -> bytes:
    """The file but for its digest.

    The metadata has one entry, as safetensors writes several in random order.

    Raises:
        ValueError: our own reading would refuse it: the text is too long, or no Unicode.
    """
    text.encode()
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    need("safetensors.numpy", PURPOSE)
    safetensors = need("safetensors", PURPOSE)
    try:
        content: bytes = safetensors.numpy.save(whole, {KEY: text})
        header_of(content)
    except safetensors.SafetensorError as error:  # an older one that lacks a dtype
        raise ValueError(str(error)) from error
    except FormatError as error:
        raise ValueError(f"{error}; keep long lists as arrays") from error
    if content[DIGITS] != BLANK.encode():
        raise ValueError("this version of safetensors puts the metadata elsewhere")
    return content


def check_readable(text: str, head: dict[str, Any], arrays: dict[str, Array]) -> None:
    """Refuse what our own reading would refuse, or read as something else."""
    try:
        found = object_of(text, "the metadata")
    except FormatError as error:
        raise ValueError(f"{error}; keep long lists as arrays") from error
    if found != {"sha256": BLANK, **head}:
        raise ValueError("the model's configuration would not come back as it is")
    besides(found, {name: array for name, array in arrays.items() if is_value(name)})
