"""Pictures of graphs and gradients; `plots` (matplotlib) is loaded when first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import GraphTooLargeError, MissingPackageError, MissingRendererWarning, RenderError

__all__ = [
    "GraphTooLargeError", "MissingPackageError", "MissingRendererWarning", "RenderError", "plots",
]


def __getattr__(name: str) -> Any:
    if name == "plots":
        return import_module(".plots", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
