"""A safetensors file as arrays: its header is checked before anything else is read."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..engine import Array
from ..extras import need
from .header import Header, header_end, parsed
from .strict import FormatError, opened, size_of

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64), "F32": np.dtype(np.float32), "F16": np.dtype(np.float16),
    "BF16": np.dtype(np.uint16), "C64": np.dtype(np.complex64), "BOOL": np.dtype(np.bool_),
    "I64": np.dtype(np.int64), "I32": np.dtype(np.int32), "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8), "U64": np.dtype(np.uint64), "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16), "U8": np.dtype(np.uint8),
}  # fmt: skip


def read(path: str | os.PathLike[str]) -> tuple[bytes, Header]:
    """The bytes of a safetensors file and its header.

    Raises:
        FormatError: it is no safetensors file, or not whole.
        OSError: it cannot be read.
        ValueError: the path cannot be one.
    """
    with open(path, "rb", opener=opened) as file:
        size = size_of(file)
        start = file.read(8)
        end = header_end(start, size)
        start += file.read(end - 8)
        header = parsed(start[8:], size - end)
        file.seek(0)
        content = file.read(size + 1)
    if len(content) != size or not content.startswith(start):
        raise FormatError("the file changed while it was read")
    return content, header


def arrays_of(content: bytes, header: Header, purpose: str) -> dict[str, Array]:
    """The arrays in a file's bytes, by name, in the header's order.

    bfloat16 comes as float32, which holds it exactly.

    Args:
        content: the whole file.
        header: the file's.
        purpose: what is read, as the subject of the error where safetensors is missing: "a
            checkpoint".

    Raises:
        FormatError: an array is of a dtype NumPy lacks, or safetensors refuses the file.
        ExtraError: safetensors is not installed.
    """
    safetensors = need("safetensors", purpose)
    try:
        entries = dict(safetensors.deserialize(content))  # in any order
    except safetensors.SafetensorError as error:
        raise FormatError(str(error)) from error
    return {name: as_array(name, **entries[name]) for name in header.entries}


def as_array(name: str, dtype: str, shape: list[int], data: bytes) -> Array:
    """One entry as a writable array."""
    if dtype not in DTYPES:
        raise FormatError(f"{name} is {dtype}; expected one of {', '.join(DTYPES)}")
    array: Array = np.frombuffer(bytearray(data), DTYPES[dtype])
    if dtype == "BF16":  # the upper half of a float32
        array = (array.astype(np.uint32) << 16).view(np.float32)
    if dtype == "BOOL" and (array.view(np.uint8) > 1).any():
        raise FormatError(f"{name} is BOOL, but holds bytes that are neither 0 nor 1")
    return array.reshape(shape)
