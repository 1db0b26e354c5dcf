"""The digest of data: the same for the same examples, wherever they were read from."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import numpy as np

from ..engine import Array


def digest(*parts: Array | Iterable[str]) -> str:
    """SHA-256 of arrays (dtype, shape and numbers) and of lists of texts, in this order."""
    total = sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype.str} {part.shape}\0".encode())
            total.update(np.ascontiguousarray(part).tobytes())
        else:
            for text in part:
                encoded = text.encode()
                total.update(f"{len(encoded)}\0".encode() + encoded)
    return total.hexdigest()
