"""Checkpoints that somebody else wrote: with any metadata, and a digest that is right."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from tinygrad_attn.checkpoint.layout import BLANK, DIGITS, KEY, digest
from tinygrad_attn.files import arrays_of, header_of

Head = dict[str, Any]


def taken_apart(content: bytes) -> tuple[Head, dict[str, np.ndarray]]:
    """The metadata of a checkpoint and its arrays."""
    return json.loads(header_of(content).metadata[KEY]), arrays_of(content, "a test")


def forged(head: Head | str, arrays: Mapping[str, np.ndarray]) -> bytes:
    """A checkpoint with these; a text stands for metadata that has no place for a digest."""
    if isinstance(head, str):
        return save(dict(arrays), {KEY: head})
    return sealed(save(dict(arrays), {KEY: json.dumps({**head, "sha256": BLANK})}))


def sealed(content: bytes) -> bytes:
    """A file with the digest it should have."""
    whole = bytearray(content)
    whole[DIGITS] = digest(bytes(whole)).encode()
    return bytes(whole)


def changed(path: Path, change: Callable[[Head, dict[str, np.ndarray]], Any]) -> None:
    """Change a checkpoint where it stands."""
    head, arrays = taken_apart(path.read_bytes())
    change(head, arrays)
    path.write_bytes(forged(head, arrays))
