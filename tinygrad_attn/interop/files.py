"""A Hugging Face folder: `config.json` and `model.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..engine import Array
from ..extras import need
from ..files import FormatError, arrays_of, read_object, write_whole
from ..files import read as read_file
from .errors import InteropError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PURPOSE = "a Hugging Face folder"


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The configuration and the arrays in a folder; bfloat16 as float32, which holds it exactly.

    Raises:
        InteropError: a file is missing or damaged.
        ExtraError: safetensors is not installed.
    """
    need("safetensors", PURPOSE)
    name = CONFIG
    try:
        config = read_object(folder / name)
        name = WEIGHTS
        return config, arrays_of(*read_file(folder / name), PURPOSE)
    except OSError as error:
        raise InteropError(str(folder), [
            f"{name} cannot be read ({error.strerror}); expected a folder with {CONFIG} and "
            f"{WEIGHTS}, weights in one file; nothing is downloaded"
        ]) from error  # fmt: skip
    except FormatError as error:
        raise InteropError(str(folder), [f"{name} is damaged ({error})"]) from error


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
        write_whole(folder / WEIGHTS, [content])
        write_whole(folder / CONFIG, [text.encode()])
    except OSError as error:
        raise InteropError(
            str(folder), [f"it cannot be written ({error.strerror}); choose another place"]
        ) from error
    return folder
