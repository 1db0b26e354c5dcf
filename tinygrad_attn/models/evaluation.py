"""Using a model without training it: no dropout, and no graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..engine import no_grad
from ..nn import Module


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Inside the block, evaluation mode and no recording; every module's own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
