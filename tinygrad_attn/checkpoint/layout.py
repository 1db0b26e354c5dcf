"""Where the digest stands, and what it covers.

It is the SHA-256 of the whole file, every byte of header and arrays, with its own 64 digits as
zeros, and it stands at the same place in every checkpoint: the metadata has one entry, a JSON text
that begins with it.  So no bit can change unseen, not even one that means nothing to JSON.
"""

from __future__ import annotations

import hashlib
import json

FORMAT = 2
KEY = "tinygrad_attn"  # the metadata's entry
# Before the names of arrays that are no weights.
OPTIMIZER, SCHEDULE, STATE = "optimizer:", "schedule:", "state:"
PURPOSE = "a checkpoint"

BLANK = "0" * 64
ENTRY = f'{{"sha256": "{BLANK}"'  # how the entry's text begins
START = 8 + json.dumps({"__metadata__": {KEY: ENTRY}}, separators=(",", ":")).index(BLANK)
DIGITS = slice(START, START + 64)


def digest(content: bytes) -> str:
    """What a file's digest must be."""
    total = hashlib.sha256(content[: DIGITS.start])
    total.update(BLANK.encode())
    total.update(memoryview(content)[DIGITS.stop :])
    return total.hexdigest()
