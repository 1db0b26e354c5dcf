"""Checkpoints: a trained model in one safetensors file, with all that rebuilds it.

    save("model.safetensors", model=model, step=600, vocabulary=list(corpus.vocabulary.symbols))
    saved = load("model.safetensors")
    saved.model.generate(...)

The weights stand under their names in the model, the optimiser's arrays under "optimizer:", and all
else as JSON in the file's metadata; reading it runs no code from it.  A file is written beside its
place, forced to the disk and renamed, so that it is whole or not there.  A digest over everything
tells a damaged one.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import models
from .engine import Array, TensorError
from .extras import need
from .nn import Module
from .optim import Optimizer

FORMAT = 1
KEY = "tinygrad_attn"  # the metadata's entry
OPTIMIZER = "optimizer:"  # before the names of the optimiser's arrays
GENERATORS = ("PCG64", "PCG64DXSM")  # those whose state is plain numbers
PURPOSE = "a checkpoint"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read; says which file, and what to do."""


@dataclass
class Checkpoint:
    """What `load` returns.

    Attributes:
        model: rebuilt from its configuration, with the saved weights, in evaluation mode.
        optimizer: for `load_state_dict` of an optimiser made for this model, or None.
        step: number of training steps done.
        rng: a generator in the saved state, which the model uses too, or None.
        state: the further values that were saved.
    """

    model: Module
    optimizer: dict[str, Any] | None
    step: int
    rng: np.random.Generator | None
    state: dict[str, Any]


# ── saving ───────────────────────────────────────────────────────────────────────────────────────
def save(
    path: str | os.PathLike[str],
    *,
    model: Module,
    optimizer: Optimizer | None = None,
    step: int = 0,
    rng: np.random.Generator | None = None,
    **state: Any,
) -> Path:
    """Write a checkpoint; what was at `path` is replaced at once when all is on the disk.

    Args:
        model: one of `tinygrad_attn.models`, rebuilt from its `config`.
        optimizer, step, rng: what training needs to go on.
        state: further values that JSON can hold.

    Raises:
        CheckpointError: the model has no `config`, a value is not JSON, or the file is not
            writable.
        ExtraError: safetensors is not installed.
    """
    arrays = model.state_dict()
    options = None if optimizer is None else flattened(optimizer.state_dict(), arrays)
    head = {
        "format": FORMAT,
        "model": description(model),
        "optimizer": options,
        "step": step,
        "rng": None if rng is None else generator_state(rng),
        "state": state,
    }
    try:
        text = json.dumps(head, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: every further value must be one that JSON can hold "
            f"(numbers, text, lists, dicts), but: {error}"
        ) from error
    # One entry, as safetensors writes several in random order: the same run gives the same file.
    metadata = {KEY: json.dumps({"sha256": digest(text, arrays), "head": text})}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    content = need("safetensors.numpy", PURPOSE).save(arrays, metadata)
    return write_whole(Path(path), content)


def description(model: Module) -> dict[str, Any]:
    """The class and the configuration of a model."""
    name, config = type(model).__name__, getattr(model, "config", None)
    if name not in models.__all__ or not is_dataclass(config) or isinstance(config, type):
        raise CheckpointError(
            f"expected a model of tinygrad_attn.models, rebuilt from its config; "
            f"got {name}; save its state_dict() instead"
        )
    return {"name": name, "config": asdict(config)}


def flattened(state: Mapping[str, Any], arrays: dict[str, Array]) -> dict[str, Any]:
    """An optimiser's state as JSON; its arrays go into `arrays`, and their names stay behind."""
    states = []
    for number, values in enumerate(state["states"]):
        states.append(dict(values))
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                states[-1][name] = key = f"{OPTIMIZER}{number}.{name}"
                arrays[key] = value
    return {"groups": state["groups"], "states": states}


def generator_state(rng: np.random.Generator) -> Mapping[str, Any]:
    """The state of a generator as plain numbers."""
    state = rng.bit_generator.state
    if state["bit_generator"] not in GENERATORS:
        raise CheckpointError(
            f"expected a generator of {' or '.join(GENERATORS)}, such as "
            f"np.random.default_rng(0), got {state['bit_generator']}"
        )
    return state


def digest(text: str, arrays: Mapping[str, Array]) -> str:
    """SHA-256 of the metadata and of every array's name, dtype, shape and bytes."""
    total = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def write_whole(path: Path, content: bytes) -> Path:
    """Write beside `path`, force it to the disk, and put it in its place in one step."""
    place = Path(os.path.realpath(path))
    draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(place)
            sync_folder(place.parent)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"{path}: the checkpoint cannot be written ({error.strerror}); what "
            "was there is untouched; choose another place"
        ) from error
    return path


def sync_folder(folder: Path) -> None:
    """Force the new name to the disk, on systems that can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# ── loading ──────────────────────────────────────────────────────────────────────────────────────
def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint and rebuild its model.

    Raises:
        CheckpointError: the file is missing, no checkpoint, damaged, or of a newer version.
        ExtraError: safetensors is not installed.
    """
    head, arrays = read(Path(path))
    try:
        rng = None if head["rng"] is None else restored(head["rng"])
        model = rebuilt(head["model"], rng)
        model.load_state_dict({k: v for k, v in arrays.items() if not k.startswith(OPTIMIZER)})
        if rng is not None:
            rng.bit_generator.state = head["rng"]  # building the model drew from it
        optimizer = head["optimizer"] and unflattened(head["optimizer"], arrays)
        return Checkpoint(model.eval(), optimizer, head["step"], rng, head["state"])
    except (TensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: the checkpoint does not describe a model of this version "
            f"({error}); save it again with this version"
        ) from error


def read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The metadata and the arrays of a file whose digest is right."""
    safetensors = need("safetensors", PURPOSE)
    try:
        path.open("rb").close()  # the system's own words for what is wrong with a path
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 — no mapping
        entry = json.loads(metadata.get(KEY, "{}"))
        damaged = bool(entry) and entry["sha256"] != digest(entry["head"], arrays)
        head = None if damaged or not entry else json.loads(entry["head"])
    except OSError as error:
        raise CheckpointError(
            f"{path}: the checkpoint cannot be read ({error.strerror or error}); check the path"
        ) from error
    except (
        safetensors.SafetensorError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
    ) as error:
        raise CheckpointError(
            f"{path}: expected a checkpoint, but this is no safetensors file or "
            f"damaged ({error}); use another copy"
        ) from error
    if damaged:
        raise CheckpointError(
            f"{path}: the checkpoint is damaged (its digest is wrong); use another copy"
        )
    if head is None:
        raise CheckpointError(
            f"{path}: this safetensors file was not saved by tinygrad_attn; "
            "read it with safetensors and use load_state_dict"
        )
    if head.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: expected format {FORMAT}, got {head.get('format')}; "
            "use the version of tinygrad_attn that saved it"
        )
    return head, arrays


def restored(state: Mapping[str, Any]) -> np.random.Generator:
    """A generator of the saved kind in the saved state."""
    if state["bit_generator"] not in GENERATORS:
        raise ValueError(f"unknown generator {state['bit_generator']!r}")
    rng = np.random.Generator(getattr(np.random, state["bit_generator"])())
    rng.bit_generator.state = state
    return rng


def rebuilt(saved: Mapping[str, Any], rng: np.random.Generator | None) -> Module:
    """A model of the saved class and sizes."""
    name = saved["name"]
    if name not in models.__all__ or f"{name}Config" not in models.__all__:
        raise ValueError(f"unknown model {name!r}")
    config = getattr(models, f"{name}Config")(**saved["config"])
    model: Module = getattr(models, name)(config, rng=rng)
    return model


def unflattened(saved: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, Any]:
    """The optimiser's state with its arrays back in their places."""
    states = [
        {name: arrays[value] if isinstance(value, str) else value for name, value in values.items()}
        for values in saved["states"]
    ]
    return {"groups": saved["groups"], "states": states}
