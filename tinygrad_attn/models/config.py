"""What several models check alike: their configurations, and integers they are asked with."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from ..engine import DTypeError, ShapeError
from ..nn.functional.layers import real
from ..nn.layers import positive


def check_sizes(config: Any, *further: str) -> None:
    """Refuse sizes that are no integers of 1 or more: fields without a default, and `further`."""
    names = [field.name for field in fields(config) if field.default is MISSING]
    positive(name_of(config), **{name: getattr(config, name) for name in (*names, *further)})


def check_divides(config: Any, small: str, large: str) -> None:
    """Refuse two sizes of which the first does not divide the second."""
    part, whole = getattr(config, small), getattr(config, large)
    if whole % part:
        raise ShapeError(f"{name_of(config)}: {small} must divide {large}, got {part} and {whole}")


def check_eps(config: Any) -> None:
    """Refuse an `eps` under which the norms could divide by the root of a negative number."""
    if not real(name_of(config), "eps", config.eps) >= 0:
        raise ShapeError(f"{name_of(config)}: eps must be 0 or more, got {config.eps}")


def check_special_tokens(config: Any) -> None:
    """Refuse padding, start and end that both vocabularies do not have."""
    who, source, target = name_of(config), config.source_vocab, config.target_vocab
    special = (config.padding, config.start, config.end)
    inside = all(isinstance(t, (int, np.integer)) and 0 <= t < target for t in special)
    if not inside or len(set(special)) < 3:
        raise ShapeError(
            f"{who}: padding, start and end must be three different tokens in [0, {target}), "
            f"got {special}"
        )
    if config.padding >= source:
        raise ShapeError(
            f"{who}: padding must be a token of the source too, in [0, {source}), "
            f"got {config.padding}"
        )


def check_integer(who: str, name: str, n: Any) -> None:
    """Refuse an `n` that is no integer."""
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
        raise DTypeError(f"{who}: {name} must be an integer, got {n!r}")


def name_of(thing: Any) -> str:
    """The name of the configuration's or the model's class, with which messages begin."""
    return type(thing).__name__
