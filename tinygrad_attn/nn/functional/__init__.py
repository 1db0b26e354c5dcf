"""Definitions in primitives: what layers compute, as functions without state.

Everything here is composed of the operations of `tinygrad_attn.ops`, so it can be drawn,
differentiated twice and checked; most of it has kernels beside it (see kernels).  Randomness enters
as masks drawn beforehand.

    definitions.py the formulas
    operation.py   what they become: rules can be planted in them
    layers.py      linear, bilinear, embedding, activations, dropout
    norms.py       layer, RMS, group, instance and batch norm
    attention.py   attention and its stages
    stages.py      its steps, when they are asked for
    masks.py       nn.Mask; limits.py: what a mask comes to
    rotary.py      pairs of features turned by angles
    losses.py      of classes: cross-entropy
    divergences.py of probabilities: binary cross-entropy, Kullback and Leibler's divergence
    distances.py   of numbers: mean squared error, Huber's loss, cosines
"""

from ...ops import log_softmax, relu, sigmoid, softmax, tanh
from .attention import attention
from .distances import cosine_similarity, huber_loss, l1_loss, mse_loss, normalize, smooth_l1_loss
from .divergences import binary_cross_entropy, binary_cross_entropy_with_logits, kl_div
from .layers import bilinear, dropout, dropout_mask, embedding, gelu, linear, silu
from .losses import cross_entropy, nll_loss
from .masks import Mask
from .norms import batch_norm, group_norm, instance_norm, layer_norm, rms_norm
from .rotary import rotary
from .stages import Stages

__all__ = [
    "Mask",
    "Stages",
    "attention",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "dropout_mask",
    "embedding",
    "gelu",
    "group_norm",
    "huber_loss",
    "instance_norm",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "linear",
    "log_softmax",
    "mse_loss",
    "nll_loss",
    "normalize",
    "relu",
    "rms_norm",
    "rotary",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "tanh",
]
