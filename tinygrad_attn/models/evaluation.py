"""Using a model without training it: no dropout, and no graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..engine import Array, ShapeError, no_grad
from ..nn import Module


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Inside the block, evaluation mode and no recording; every module's own mode afterwards."""
    learning = [module for module in model.modules() if module.training]
    for module in learning:
        module.training = False
    try:
        with no_grad():
            yield
    finally:
        for module in learning:
            module.training = True


def check_logits(who: str, logits: Array) -> None:
    """Refuse logits from which no token can be chosen: NaN or +∞."""
    if not (logits < np.inf).all():
        raise ShapeError(
            f"{who}.generate: the logits are not finite; look for NaN and infinity in the "
            "parameters"
        )
