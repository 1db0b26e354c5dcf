"""Definitions in primitives: what layers compute, as functions without state.

Everything here is composed of the operations of `tinygrad_attn.ops`, so it can be drawn,
differentiated twice and checked; most of it has kernels beside it (see kernels).  Randomness enters
as masks drawn beforehand.

    definitions.py the formulas
    operation.py   what they become: rules can be planted in them
    layers.py      linear, embedding, norms, activations, dropout
    attention.py   attention and its stages
    stages.py      its steps, when they are asked for
    masks.py       nn.Mask; limits.py: what a mask comes to
    losses.py      cross-entropy, mean squared error
"""

from ...ops import log_softmax, relu, sigmoid, softmax, tanh
from .attention import attention
from .layers import (
    dropout,
    dropout_mask,
    embedding,
    gelu,
    layer_norm,
    linear,
    rms_norm,
    silu,
)
from .losses import cross_entropy, mse_loss
from .masks import Mask
from .stages import Stages

__all__ = [
    "Mask",
    "Stages",
    "attention",
    "cross_entropy",
    "dropout",
    "dropout_mask",
    "embedding",
    "gelu",
    "layer_norm",
    "linear",
    "log_softmax",
    "mse_loss",
    "relu",
    "rms_norm",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]
