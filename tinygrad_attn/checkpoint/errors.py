"""The error of this part."""

from __future__ import annotations


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read; says which file, and what to do."""
