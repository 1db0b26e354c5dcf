"""A Hugging Face folder: `config.json` and `model.safetensors`."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Array
from ..extras import need
from .errors import InteropError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PURPOSE = "a Hugging Face folder"
DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I64": np.int64,
    "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The configuration and the arrays in a folder; bfloat16 as float32, which holds it exactly.

    Raises:
        InteropError: a file is missing or damaged.
        ExtraError: safetensors is not installed.
    """
    safetensors = need("safetensors", PURPOSE)
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        content = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        name = Path(error.filename or folder).name
        raise InteropError(str(folder), [
            f"{name} cannot be read ({error.strerror}); expected a folder with {CONFIG} and "
            f"{WEIGHTS}, weights in one file; nothing is downloaded"
        ]) from error  # fmt: skip
    except ValueError as error:
        raise InteropError(str(folder), [f"{CONFIG} is not JSON ({error})"]) from error
    if not isinstance(config, dict):
        raise InteropError(str(folder), [f"{CONFIG} holds {type(config).__name__}, not an object"])
    try:
        entries = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise InteropError(str(folder), [f"{WEIGHTS} is damaged ({error})"]) from error
    return config, {name: as_array(folder, name, entry) for name, entry in entries}


def as_array(folder: Path, name: str, entry: Mapping[str, Any]) -> Array:
    """One entry of a safetensors file."""
    kind = entry["dtype"]
    if kind not in DTYPES:
        raise InteropError(str(folder), [f"{name} is {kind}; expected one of {', '.join(DTYPES)}"])
    array: Array = np.frombuffer(entry["data"], DTYPES[kind])
    if kind == "BF16":  # the upper half of a float32
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.reshape(entry["shape"])


def write(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Array]) -> Path:
    """Write both files; each is whole or as it was before.

    Raises:
        InteropError: the folder cannot be written.
        ExtraError: safetensors is not installed.
    """
    # Readers look in the metadata for the library whose layout the arrays have.
    content = need("safetensors.numpy", PURPOSE).save(dict(tensors), {"format": "pt"})
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace(folder / WEIGHTS, content)
        replace(folder / CONFIG, text.encode())
    except OSError as error:
        raise InteropError(
            str(folder), [f"it cannot be written ({error.strerror}); choose another place"]
        ) from error
    return folder


def replace(path: Path, content: bytes) -> None:
    """Write beside `path` and put it in its place in one step."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
