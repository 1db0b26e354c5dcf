"""Kernels: forward and backward pairs on arrays, derived by hand; they know no Tensor.

    forward(*arrays, **options) -> (result, residuals)
    backward(g, residuals, *arrays, **options) -> one gradient, or None, for each array

Each stands beside a definition in primitives (see nn/functional), which it is compared with.

    limits.py      which query may attend to which key; dropout's factors
    attention.py   attention in one piece, keeping the weights
    tiled.py       attention over blocks of keys, keeping no weights
"""

from . import attention, tiled
from .limits import BLOCK, Factors, Limits, Plan, blocking, reached

__all__ = ["BLOCK", "Factors", "Limits", "Plan", "attention", "blocking", "reached", "tiled"]
