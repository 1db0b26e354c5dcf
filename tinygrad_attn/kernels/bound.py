"""The kernels of attention, made from a set's passes over the scores."""

from __future__ import annotations

from functools import partial

from ..engine.kernel import Kernel
from . import attention, packed, tiled
from .passes import Passes


def attentions(passes: Passes) -> dict[str, Kernel]:
    """Attention in one piece, the same on a packed projection, and in tiles."""
    modules = {"attention": attention, "self_attention": packed, "tiled": tiled}
    return {
        name: Kernel(partial(module.forward, passes), partial(module.backward, passes))
        for name, module in modules.items()
    }
