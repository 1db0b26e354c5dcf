"""Packages that only some features need: imported when used, named in one sentence when missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class ExtraError(ImportError):
    """A package of an optional extra is missing; the message has the command that installs it."""


def need(module: str, purpose: str, extra: str = "demo") -> Any:
    """Import and return `module`.

    Args:
        module: dotted name, e.g. "safetensors.numpy".
        purpose: what it is for, as the subject of a sentence: "reading checkpoints".
        extra: the extra of this project that brings it.

    Raises:
        ExtraError: it is not installed, or cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = {"sklearn": "scikit-learn"}.get(top := module.partition(".")[0], top)
        raise ExtraError(
            f"{purpose} needs {package}, which is not installed; "
            f'run: pip install "tinygrad_attn[{extra}]"',
            name=top,
        ) from error
