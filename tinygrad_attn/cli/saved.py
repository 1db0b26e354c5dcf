"""What a checkpoint holds beside the model, read with care: anybody may have written it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..checkpoint import Checkpoint, CheckpointError, load
from ..data import Vocabulary


def opened(path: Path, kind: str = "gpt") -> Checkpoint:
    """The checkpoint at `path`; where there is nothing, the error says what makes one."""
    try:
        return load(path)
    except CheckpointError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise CheckpointError(
            f"{error}, or let `tinygrad-attn train {kind}` write one: "
            f"tinygrad-attn-{kind}/model.safetensors"
        ) from error


def needed(path: Path, state: dict[str, Any], name: str, kind: type) -> Any:
    """A value that came with the model at `path`.

    Raises:
        CheckpointError: it is not there, or of another kind.
    """
    value = state.get(name)
    if not isinstance(value, kind):
        raise CheckpointError(
            f"{path}: expected {name} beside the model, got {type(value).__name__}; use a "
            "model.safetensors that `tinygrad-attn train` wrote"
        )
    return value


def vocabulary_of(path: Path, state: dict[str, Any], size: int) -> Vocabulary:
    """The symbols that came with a model for so many.

    Raises:
        CheckpointError: they are not there, or are others.
    """
    symbols = needed(path, state, "vocabulary", list)
    texts = [symbol for symbol in symbols if isinstance(symbol, str)]
    if not len(set(texts)) == len(symbols) == size:
        raise CheckpointError(
            f"{path}: expected {size} different symbols in the vocabulary, got {len(symbols)} of "
            f"which {len(set(texts))} are different texts; train the model again"
        )
    return Vocabulary(symbols)
