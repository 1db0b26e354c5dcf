"""Loading: only what was saved comes back; everything else is a CheckpointError."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Array, TensorError
from ..extras import need
from ..files import Header, arrays_of, object_of, read
from ..files.strict import shown
from ..nn import Module
from .errors import CheckpointError
from .layout import DIGITS, FORMAT, KEY, OPTIMIZER, PURPOSE, SCHEDULE, STATE, digest
from .models import rebuilt
from .values import Unpacking, natural, optimizer_state, put, restored

DOUBTFUL = (
    TensorError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)  # fmt: skip — what a value of another type or size can raise


@dataclass
class Checkpoint:
    """What `load` returns.

    Attributes:
        model: rebuilt from its configuration, with the saved weights, in evaluation mode; it has
            its generator again if it had one of its own.
        optimizer: for `load_state_dict` of an optimiser made for this model, or None.
        step: number of training steps done.
        rng: a generator in the saved state, or None; the model uses the same one if it did then.
        state: the further values that were saved.
        schedule: for `load_state_dict` of a schedule, or None.
        environment: versions, BLAS and threads with which it was saved.
    """

    model: Module
    optimizer: dict[str, Any] | None
    step: int
    rng: np.random.Generator | None
    state: dict[str, Any]
    schedule: dict[str, Any] | None
    environment: dict[str, Any]


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint and rebuild its model.

    Raises:
        CheckpointError: the file is missing, no checkpoint, damaged, or of another version.
        ExtraError: safetensors is not installed.
    """
    need("safetensors", PURPOSE)
    head, arrays = opened(Path(path))
    try:
        return put_together(head, arrays)
    except DOUBTFUL as error:
        raise CheckpointError(
            f"{path}: the checkpoint's contents do not fit together ({error}); "
            "use another copy, or the version of tinygrad_attn that saved it"
        ) from error
    except MemoryError as error:
        raise too_large(path) from error


def too_large(path: str | os.PathLike[str]) -> CheckpointError:
    """The error of a file that may be right."""
    return CheckpointError(
        f"{path}: there is not enough memory to load the checkpoint; end other programs, or load "
        "it on a larger machine"
    )


def opened(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The head and the arrays of a file whose digest is right."""
    try:
        content, header = read(path)
        head = head_of(path, content, header)
        return head, arrays_of(content, header, PURPOSE)
    except OSError as error:
        raise CheckpointError(
            f"{path}: the checkpoint cannot be read ({error.strerror or error}); check the path"
        ) from error
    except MemoryError as error:
        raise too_large(path) from error
    except ValueError as error:
        raise CheckpointError(
            f"{path}: expected a checkpoint, but this is no safetensors file or "
            f"damaged ({error}); use another copy"
        ) from error


def head_of(path: Path, content: bytes, header: Header) -> dict[str, Any]:
    """What the metadata says, once the digest over it and everything else is right."""
    if KEY not in header.metadata:
        raise CheckpointError(
            f"{path}: this safetensors file was not saved by tinygrad_attn; "
            "read it with safetensors and use load_state_dict"
        )
    head = object_of(header.metadata[KEY], "the metadata")
    found = head.get("format", 1)  # format 1 had no such field
    right = content[DIGITS] == digest(content).encode()
    if not right and found == FORMAT:
        raise CheckpointError(
            f"{path}: the checkpoint is damaged (its digest is wrong); use another copy"
        )
    if found != FORMAT:
        raise CheckpointError(
            f"{path}: expected format {FORMAT}, got {shown(found)}; "
            "use the version of tinygrad_attn that saved it, or another copy"
        )
    return head


def put_together(head: dict[str, Any], arrays: dict[str, Array]) -> Checkpoint:
    """Everything from a head and the arrays; each array must have its place."""
    weights = {name: array for name, array in arrays.items() if not is_value(name)}
    values, what = besides(head, {n: array for n, array in arrays.items() if is_value(n)})
    model = rebuilt(head["model"], weights, values.generator(head["model"]["rng"]))
    for generator, saved in zip(values.generators, head["generators"], strict=True):
        put(generator, saved)  # building the model drew from it
    return Checkpoint(model=model, **what)


def besides(head: dict[str, Any], arrays: dict[str, Array]) -> tuple[Unpacking, dict[str, Any]]:
    """What a checkpoint holds besides its model, as `Checkpoint` takes it.

    Args:
        arrays: those that are no weights; all of them must be used.
    """
    values = Unpacking(arrays, [restored(state) for state in head["generators"]])
    optimizer, schedule = values.unpacked(head["optimizer"]), values.unpacked(head["schedule"])
    state, environment = values.unpacked(head["state"]), head["environment"]
    if optimizer is not None:
        optimizer = optimizer_state(optimizer)
    if arrays or not isinstance(state, dict):
        raise ValueError(f"nothing refers to {', '.join(arrays) or 'state'}")
    if not isinstance(environment, dict):
        raise ValueError("the environment is no object")
    if not isinstance(schedule, dict | None):
        raise ValueError("the schedule's state is no object")
    return values, {
        "optimizer": optimizer,
        "step": natural("step", head["step"]),
        "rng": values.generator(head["rng"]),
        "state": state,
        "schedule": schedule,
        "environment": environment,
    }


def is_value(name: str) -> bool:
    """Is this array no weight?"""
    return name.startswith((OPTIMIZER, SCHEDULE, STATE))
